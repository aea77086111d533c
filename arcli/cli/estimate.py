"""``arcli run --estimate``: a short pilot, and what the whole run would take."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from arcli.cli.options import RunFlags, slots_of
from arcli.plan.choose import sources
from arcli.plan.preview import Preview, preview
from arcli.specfile.model import Spec
from arcli.timing.estimate import Estimate, estimate_job, pilot_size
from arcli.units import format_seconds

if TYPE_CHECKING:
    from arcli.execution.run import Finished

PILOT_SECONDS = 3.0
MOST_ITEMS = 20_000
FIRST = 2
"""Items an engine in the first pilot, which tells how many fit into the second."""

Pilot = Callable[[Spec, RunFlags], "Finished"]


def estimate(spec: Spec, flags: RunFlags, run: Pilot) -> tuple[Estimate, Finished]:
    """Run a pilot of the spec, or two, and estimate the whole.

    A pilot is a run as any other, of the first items of each job and without the spec's outputs and
    notifications; ``run`` runs it. The second one has as many items as fit into some seconds.
    """
    lengths = dict(_lengths(spec, flags))
    pilot = spec.model_copy(update={"output": [], "notify": []})
    quiet = replace(flags, outputs=(), form="text", quiet=True, expectations=(), dry_run=False)
    slots = slots_of(spec, flags) or 1
    finished = run(pilot, replace(quiet, limit=FIRST * slots))
    slots = finished.summary.engines
    jobs = [job for job in finished.summary.jobs if job.kind != "apply"]
    size = pilot_size(jobs, slots, PILOT_SECONDS, MOST_ITEMS)
    longest = max((length for length in lengths.values() if length is not None), default=size)
    if not finished.errors and FIRST * slots < min(size, longest) and None not in lengths.values():
        # What the first one has opened has been read.
        again = pilot.model_copy(update={"sources": {}})
        finished = run(again, replace(quiet, limit=size))
    summary = finished.summary
    return Estimate(
        engines=summary.engines,
        around=summary.startup + summary.finish,
        jobs=tuple(
            estimate_job(job, lengths.get(job.name, job.counts.recorded), summary.engines)
            for job in summary.jobs
        ),
    ), finished


def _lengths(spec: Spec, flags: RunFlags) -> Iterator[tuple[str, int | None]]:
    """Yield how many items each map has; a job over another's values has as many as that one."""
    lengths: dict[str, int | None] = {}
    for previewed in preview(spec, slots=slots_of(spec, flags)):
        source, job = previewed.source, previewed.job
        length = None if source is None else source.length
        if job.kind == "apply":
            continue
        if length is None and job.over is not None:
            needed = [name for name in sources(job.over) if name in lengths]
            length = lengths[needed[0]] if needed else _counted(previewed)
        if length is not None and flags.limit is not None:
            length = min(length, flags.limit)
        lengths[job.name] = length
        yield job.name, length


def _counted(previewed: Preview) -> int | None:
    """Count the items of a file; None for what can be read only once, or only in a run."""
    over = previewed.job.over
    if previewed.source is None or over is None or over.only_in_runs:
        return None
    if any(part.kind == "stdin" for _, part in over.walk()):
        return None
    return sum(1 for _ in previewed.source)


def show(prediction: Estimate, finished: Finished, name: str, usable: int, *, as_json: bool) -> None:
    """Print an estimate for people, or as one JSON document; ``usable`` is the most engines."""
    engines = prediction.engines
    wall, off = prediction.wall(engines), prediction.uncertainty(engines)
    best = prediction.recommended(usable)
    if as_json:
        jobs = [{**asdict(job), "seconds": job.seconds(engines)} for job in prediction.jobs]
        document: dict[str, Any] = {
            "name": name, "engines": engines, "seconds": wall, "uncertainty": off,
            "startup_and_end": prediction.around, "recommended_engines": best, "jobs": jobs,
        }  # fmt: skip
        click.echo(json.dumps(document))
        return
    for job in prediction.jobs:
        total = f"{job.seen:,} items, how many there are is not known"
        if job.items is not None:
            total = f"{job.items:,} items, estimated from {job.seen:,}"
        spread = f"{format_seconds(job.fastest)} … {format_seconds(job.slowest)}"
        click.echo(f"{job.name}: {total}")
        click.echo(f"  an item    {format_seconds(job.mean)} ± {format_seconds(job.stddev)}, {spread}")
        click.echo(f"  a message  {format_seconds(job.message)}; chunksize {job.chunksize} (auto finds it)")
        click.echo(f"  the job    {format_seconds(job.seconds(engines))}")
    where = f"{engines} engine{'s' * (engines != 1)}"
    around = f"start-up and end {format_seconds(prediction.around)}"
    click.echo(f"{name}: {format_seconds(wall)} ± {format_seconds(off)} on {where}, {around}")
    if best != engines:
        click.echo(f"  recommended: -n {best}, {format_seconds(prediction.wall(best))}")
    failed = sum(job.counts.failed for job in finished.summary.jobs)
    if failed:
        click.echo(f"  {failed:,} items of the pilot failed: see arcli show {finished.summary.run}")
