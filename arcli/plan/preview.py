"""What can be known of the inputs before anything is run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from arcli.errors import InputError, Problem, SpecError
from arcli.inputs import Source, SourceContext
from arcli.inputs.loading import loader
from arcli.plan import outdirs
from arcli.plan.choose import values_in
from arcli.plan.deferred import Resolver
from arcli.specfile.model import Job, Spec


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """A job and its items. ``source`` is None for an apply, and where only the run will tell."""

    job: Job
    source: Source | None


def preview(spec: Spec, *, slots: int | None = None) -> list[Preview]:
    """Return every job with its source, opened and not read.

    ``slots`` is the number of engines, if it is known: then sources that depend on it are opened,
    too. Raises SpecError with the place of each of these that is wrong, and of missing engines.
    """
    previews: list[Preview] = []
    problems: list[Problem] = []
    for job in spec.jobs:
        source = spec.sources.get(job.name)
        if source is None and job.over is not None and slots is not None and not list(values_in(job.over)):
            try:
                source = job.over.open(_context(spec, job, slots))
            except InputError as error:
                place = ("jobs", job.name, "over", *error.path)
                problems.append(spec.places.problem(error.message, *place, hint=error.hint or ""))
        twins = None if source is None else outdirs.problem_of(job, source)
        if twins is not None:
            problems.append(spec.places.problem(twins, "jobs", job.name, "outdir", hint=outdirs.HINT))
        if slots is not None:
            problems += _missing_targets(spec, job, slots)
        previews.append(Preview(job=job, source=source))
    if problems:
        raise SpecError(problems)
    return previews


def _context(spec: Spec, job: Job, slots: int) -> SourceContext:
    return SourceContext(
        folder=spec.folder,
        jobs={job.name: _not_yet for job in spec.jobs},
        resolve=Resolver(slots, _no_value),
        load_callable=loader(spec.folder, spec.setup.path),
        texts=job.kind == "command",
    )


def _missing_targets(spec: Spec, job: Job, slots: int) -> Iterator[Problem]:
    for place, slot in enumerate(job.targets if isinstance(job.targets, list) else []):
        if slot >= slots:
            hint = f"there {'are' if slots > 1 else 'is'} {slots}, from 0 on"
            where = ("jobs", job.name, "targets", place)
            yield spec.places.problem(f"there is no engine {slot}", *where, hint=hint)


def _not_yet(where: str) -> Iterator[Any]:
    yield from ()
    raise AssertionError("no source is read before the run")


def _no_value(name: str) -> Any:
    raise AssertionError("jobs that use values are left out")
