"""``arcli run --dry-run`` and ``--estimate``: what would be done, and how long that would take."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

from arcli.cli.assembly import standard_input
from arcli.cli.calls import called, function_call
from arcli.cli.error_boundary import Call, tell
from arcli.cli.options import RunFlags, is_inline, slots_of
from arcli.engine.program import PARTIAL, folder_of
from arcli.engine.template import BadTemplate
from arcli.escape import one_line, shortened
from arcli.inputs import Source
from arcli.inputs.base import Fixed, Input, Unpack
from arcli.paths import is_stored
from arcli.plan.job import outdir_of, side_by_side
from arcli.plan.preview import Preview, preview, sources, valued
from arcli.specfile.model import Job, Spec
from arcli.timing.estimate import Estimate, estimate_job, folding_seconds, pilot_size
from arcli.timing.words import plural
from arcli.units import format_seconds

if TYPE_CHECKING:
    from arcli.execution.run import Finished


SHOWN = 3
"""Calls that are shown from each end of a job."""
WIDEST = 200
PATIENCE = 10.0
"""Seconds that an input is read for its number of items; a filter may let none of 10^12 pass."""


class Plan(Struct, frozen=True, kw_only=True):
    """A job as it would be run; ``calls`` from both ends, by the items' numbers.

    ``items`` is None where only the run itself will tell, ``chunks`` where they choose themselves;
    ``at_least`` is how many were read of an input that takes long.
    """

    name: str
    kind: str
    items: int | None
    at_least: int | None
    chunks: int | None
    ordered: bool
    calls: dict[int, str] = field(default_factory=dict)
    then: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)


def show_plan(spec: Spec, flags: RunFlags) -> int:
    """Print the plan of a spec; reads inputs, and runs nothing. Returns the exit code."""
    slots = slots_of(spec, flags)
    inline = is_inline(spec, flags)
    over = spec.jobs[0].over
    # Every command on a line of its own, which a shell can read or `diff` compare.
    if flags.form == "raw" and not (over is not None and over.only_in_runs):
        for previewed in preview(spec, slots=slots, stdin=standard_input()):
            if previewed.source is None:
                click.echo(function_call(previewed.job, (), {}))
                continue
            for index, item in enumerate(islice(previewed.source, flags.limit)):
                click.echo(_planned(previewed.job, previewed.source.unpack, index, item, spec.folder))
        return 0
    plans = [
        _plan(job_plan, spec.folder, slots, flags.limit)
        for job_plan in preview(spec, slots=slots, stdin=standard_input())
    ]
    if flags.form in {"text", "raw"}:
        where = f"on {plural(slots, 'engine')}" if slots is not None else "on a running cluster"
        if inline:
            where = "in this process"
        click.echo(f"{spec.name}: {plural(len(plans), 'job')} {where}")
        for plan in plans:
            click.echo("\n".join(_lines(plan)))
        return 0
    # Anything else is for programs: one object.
    document = {"name": spec.name, "engines": slots, "jobs": [to_builtins(plan) for plan in plans]}
    click.echo(json.dumps(document, default=str))
    return 0


def _plan(previewed: Preview, folder: Path, slots: int | None, limit: int | None) -> Plan:
    job, source = previewed.job, previewed.source
    calls: dict[int, str] = {}
    items: int | None = None
    at_least = None
    if job.kind == "apply":
        items = len(job.targets) if isinstance(job.targets, list) else slots
        items = 1 if job.targets == "any" else items
        calls = {0: function_call(job, (), {})}
    # A generator is the user's code, which a dry run does not run, and an earlier job's values are not
    # there yet; some of them still know how many they will be.
    elif source is None or (job.over is not None and job.over.only_in_runs):
        items = source.length if source is not None else None
        items = items if items is None or limit is None else min(items, limit)
    else:
        items, ends = _ends(source, limit)
        if items is None:
            at_least = ends[-1][0] + 1 if ends else 0
            ends = ends[:SHOWN]
        calls = {index: _planned(job, source.unpack, index, item, folder) for index, item in ends}
    # Chunks that choose themselves go by times that nobody has measured yet.
    chunks = None
    if items is not None and isinstance(job.chunksize, int):
        chunks = -(-items // job.chunksize)
    steps = {
        "parse what is printed as": job.parse,
        "reduce by": job.reduce,
        "finish by": job.finish,
        "collect:": job.collect,
        "push to every engine as": job.push_as,
    }
    return Plan(
        name=job.name,
        kind=job.kind,
        items=items,
        at_least=at_least,
        chunks=chunks,
        ordered=job.ordered,
        calls=calls,
        then=[f"{step} {name}" for step, name in steps.items() if name is not None],
        needs=list(dict.fromkeys([*job.needs, *sources(job.over), *valued(job)])),
    )


def _ends(source: Source, limit: int | None) -> tuple[int | None, list[tuple[int, Any]]]:
    """Return how many items there are, and the first and last of them with their numbers.

    Where reading takes longer than ``PATIENCE`` the number is None, and the last are those so far.
    """
    # A list is looked at from both ends; anything else has to be read to its end, keeping only what
    # may turn out to be the last.
    if isinstance(source, Fixed):
        count = min(source.length, source.length if limit is None else limit)
        numbers = [*range(min(SHOWN, count)), *range(max(SHOWN, count - SHOWN), count)]
        return count, [(number, source.items[number]) for number in numbers]
    first: list[tuple[int, Any]] = []
    last: deque[tuple[int, Any]] = deque(maxlen=SHOWN)
    failures: list[Exception] = []

    def read() -> None:
        try:
            for item in enumerate(source if limit is None else islice(source, limit)):
                (first if len(first) < SHOWN else last).append(item)
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits
            failures.append(error)

    # On a thread, for between two items there may be an hour, and a pipe may never end.
    reader = threading.Thread(target=read, name="arcli-input", daemon=True)
    reader.start()
    reader.join(PATIENCE)
    complete = not reader.is_alive()
    if failures:
        raise failures[0]
    shown = [*first, *last.copy()]
    return (shown[-1][0] + 1 if shown else 0) if complete else None, shown


def _planned(job: Job, usual: Unpack, index: int, item: Any, folder: Path) -> str:
    """Write the call of an item that is still to run; ``folder`` is the spec's."""
    from arcli.store.folder import run_root

    if job.outdir is None:
        return called(job, usual, index, item)
    # What a run is called is known once there is one.
    template = outdir_of(job, folder, str(run_root(os.environ) / "runs" / "RUN"))
    try:
        outdir = folder_of(template, item, index, job.batch or 0)
    except BadTemplate as error:
        return f"not possible: {error}"
    return called(job, usual, index, item, constants={"outdir": outdir + PARTIAL})


def _lines(plan: Plan) -> Iterator[str]:
    amount = "as many items as there will be" if plan.items is None else plural(plan.items, "item")
    if plan.at_least is not None:
        amount = f"at least {plural(plan.at_least, 'item')} (that many in {PATIENCE:.0f} s)"
    if plan.kind == "apply":
        amount = "on all engines" if plan.items is None else f"on {plural(plan.items, 'engine')}"
    order = "in order" if plan.ordered else "as they come"
    chunks = "chunks choose themselves" if plan.chunks is None else plural(plan.chunks, "chunk")
    yield f"\n{plan.name}: {plan.kind}, {amount}, {chunks}, {order}"
    if plan.needs:
        yield f"  only if ok: {', '.join(plan.needs)}"
    # The first and the last calls, with a mark where some between them are left out.
    width = len(str(max(plan.calls, default=0)))
    before = -1
    for index, call in plan.calls.items():
        if index != before + 1:
            yield f"  {'…':>{width}}"
        yield f"  {index:>{width}}  {_cut(call)}"
        before = index
    for step in plan.then:
        yield f"  then {_cut(step)}"


def _cut(text: str) -> str:
    return shortened(one_line(text), WIDEST)


PILOT_SECONDS = 3.0
MOST_ITEMS = 20_000
FIRST = 2
"""Items an engine in the first pilot, which tells how many fit into the second."""


def estimate(spec: Spec, flags: RunFlags) -> tuple[Estimate, Finished]:
    """Run a pilot of the spec, or two, and estimate the whole. Raises what a run can raise.

    A pilot is a run as any other, of the first items of each job and without the spec's outputs and
    notifications. The second one has as many items as fit into some seconds.
    """
    from arcli.cli.assembly import execute_spec

    lengths = dict(_lengths(spec, flags))
    pilot = spec.model_copy(update={"output": [], "notify": []})
    quiet = replace(flags, outputs=(), form="text", quiet=True, expectations=(), dry_run=False)
    slots = slots_of(spec, flags) or 1
    # The first pilot tells how long items take, and only then it is known how many fit into the second;
    # a joined cluster tells how many engines it has only when it is joined.
    first = FIRST * slots * max(_beside(spec, flags, slots).values())
    finished = execute_spec(pilot, replace(quiet, limit=first), None, time.monotonic())
    slots = finished.summary.engines
    beside = _beside(spec, flags, slots)
    jobs = [job for job in finished.summary.jobs if job.kind != "apply"]
    folded = {job.name for job in spec.jobs if job.folds}
    folding = folding_seconds(finished.summary, folded) * len(folded)
    size = pilot_size(jobs, beside, slots, PILOT_SECONDS, MOST_ITEMS, folding)
    longest = max((length for length in lengths.values() if length is not None), default=size)
    ended = finished.errors or finished.stopped
    if not ended and first < min(size, longest) and None not in lengths.values():
        # What the first one has opened has been read.
        again = pilot.model_copy(update={"sources": {}})
        finished = execute_spec(again, replace(quiet, limit=size), None, time.monotonic())
    summary = finished.summary
    folding = folding_seconds(summary, folded)
    return Estimate(
        engines=summary.engines,
        around=summary.startup + summary.finish,
        jobs=tuple(
            estimate_job(
                job,
                lengths.get(job.name, job.counts.recorded),
                summary.engines,
                beside[job.name],
                folding if job.name in folded else 0.0,
            )
            for job in summary.jobs
        ),
    ), finished


def _beside(spec: Spec, flags: RunFlags, engines: int) -> dict[str, int]:
    """Return how many items of each job an engine runs side by side, of so many engines."""
    return {
        job.name: side_by_side(job, spec.folder, flags.at_once, max(1, engines))[0] for job in spec.jobs
    }


def _lengths(spec: Spec, flags: RunFlags) -> Iterator[tuple[str, int | None]]:
    """Yield how many items each map has; a job over another's values has as many as that one."""
    lengths: dict[str, int | None] = {}
    for previewed in preview(spec, slots=slots_of(spec, flags), stdin=standard_input()):
        source, job = previewed.source, previewed.job
        length = None if source is None else source.length
        if job.kind == "apply":
            continue
        if length is None and job.over is not None:
            needed = [name for name in sources(job.over) if name in lengths]
            # A file is counted by reading it, unless that would use up what can be read only once.
            if needed:
                length = lengths[needed[0]]
            elif source is not None and not job.over.only_in_runs:
                once = any(_reads_once(part.input, spec.folder) for _, part in job.over.walk())
                length = None if once else sum(1 for _ in source)
        if length is not None and flags.limit is not None:
            length = min(length, flags.limit)
        lengths[job.name] = length
        yield job.name, length


def _reads_once(given: Input, folder: Path) -> bool:
    """Tell whether what an input has read is gone: standard input and pipes; a glob opens no file."""
    return given.reads_stdin or (given.key != "glob" and not all(map(is_stored, given.reads(folder))))


def estimate_run(call: Call, spec: Spec, flags: RunFlags) -> int:
    """Run a pilot and print what the whole run would take. Returns 0, or how the pilot ended early."""
    from arcli.cluster.embedded.supervisor_process import usable_cpus
    from arcli.cluster.open import joins

    prediction, finished = estimate(spec, flags)
    for error in finished.errors:
        tell(error, call)
    if finished.errors or finished.stopped:
        return int(finished.summary.exit_code or 0)
    # More engines than there are now can only be recommended where arcli starts them on this machine.
    embedded = spec.cluster.launcher == "embedded" and not (flags.cluster_name or joins(spec.cluster))
    engines = prediction.engines
    usable = max(usable_cpus(), engines) if embedded and not flags.inline else engines
    wall, off = prediction.wall(engines), prediction.uncertainty(engines)
    best = prediction.recommended(usable)
    if flags.form == "json":
        jobs = [{**to_builtins(job), "seconds": job.seconds(engines)} for job in prediction.jobs]
        document: dict[str, Any] = {
            "name": spec.name, "engines": engines, "seconds": wall, "uncertainty": off,
            "startup_and_end": prediction.around, "recommended_engines": best, "jobs": jobs,
        }  # fmt: skip
        click.echo(json.dumps(document))
        return 0
    for line in _prediction(prediction, spec.name, best):
        click.echo(line)
    if failed := finished.summary.counts.failed:
        click.echo(f"  {plural(failed, 'item')} of the pilot failed: see arcli show {finished.summary.run}")
    return 0


def _prediction(prediction: Estimate, name: str, best: int) -> Iterator[str]:
    """Yield the lines of an estimate for people; ``best`` is how many engines it recommends."""
    engines = prediction.engines
    for job in prediction.jobs:
        total = f"{plural(job.seen, 'item')}, how many there are is not known"
        if job.items is not None:
            total = f"{plural(job.items, 'item')}, estimated from {job.seen:,}"
        spread = f"{format_seconds(job.fastest)} … {format_seconds(job.slowest)}"
        yield f"{job.name}: {total}"
        yield f"  an item    {format_seconds(job.mean)} ± {format_seconds(job.stddev)}, {spread}"
        yield f"  a message  {format_seconds(job.message)}; chunksize {job.chunksize} (auto finds it)"
        if job.folding:
            yield f"  a value    {format_seconds(job.folding)} in the reducer, one after another"
        yield f"  the job    {format_seconds(job.seconds(engines))}"
    wall, off = prediction.wall(engines), prediction.uncertainty(engines)
    around = f"start-up and end {format_seconds(prediction.around)}"
    # All jobs, one after another, with what is around them, which no number of engines makes shorter.
    on = f"on {plural(engines, 'engine')}, {around}"
    line = f"{name}: {format_seconds(wall)} ± {format_seconds(off)} {on}"
    # Of a job whose items nobody can count the whole is anybody's guess, and so is what helps it.
    if any(job.items is None for job in prediction.jobs):
        yield f"{line}; this is for the items of the pilot alone"
        return
    yield line
    if best != engines:
        yield f"  recommended: -n {best}, {format_seconds(prediction.wall(best))}"
