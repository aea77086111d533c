"""What can be known of the inputs before anything is run."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from arcli.errors import InputError, Problem, SpecError
from arcli.inputs import Source, SourceContext, build_source
from arcli.plan.choose import values_in
from arcli.plan.deferred import Resolver
from arcli.specfile.model import Job, Spec

_SOME_INPUT = io.BytesIO()


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """A job and its items. ``source`` is None for an apply, and where only the run will tell."""

    job: Job
    source: Source | None


def preview(spec: Spec, *, slots: int | None = None, stdin: BinaryIO | None = _SOME_INPUT) -> list[Preview]:
    """Every job's source, built and not read. ``slots`` is the number of engines, if it is known.

    ``stdin`` is None where standard input is closed. Raises SpecError with the place of each input
    that can already be seen to be wrong: a range that is none, factors of unequal lengths, a table
    without the columns that are asked for; and of missing engines.
    """
    previews: list[Preview] = []
    found: list[Problem] = []
    context = SourceContext(
        folder=spec.folder,
        stdin=stdin,
        jobs={job.name: _not_yet for job in spec.jobs},
        resolve=Resolver(slots or 1, _no_value),
        load_callable=_nothing_is_run,
    )
    for job in spec.jobs:
        source = None
        if job.over is not None and not list(values_in(job.over)):
            try:
                source = build_source(job.over, context)
            except InputError as error:
                place = ("jobs", job.name, "over", *error.path)
                found.append(spec.places.problem(error.message, *place, hint=error.hint or ""))
        if source is not None and source.length == 0 and not job.allow_empty:
            hint = "allow_empty: true makes that a warning"
            message = f"job {job.name!r} has no items"
            found.append(spec.places.problem(message, "jobs", job.name, "over", hint=hint))
        if source is not None and source.length is None and pinned(job):
            place = ("jobs", job.name, "view" if job.view == "direct" else "targets")
            found.append(spec.places.problem(UNCOUNTED, *place, hint=COUNTED))
        if slots is not None:
            found += _missing_targets(spec, job, slots)
        previews.append(Preview(job=job, source=source))
    if found:
        raise SpecError(found)
    return previews


def pinned(job: Job) -> bool:
    """Whether a map's items are dealt out to the engines before it starts."""
    return job.targets != "any" and (job.view == "direct" or isinstance(job.targets, list))


UNCOUNTED = "the items are dealt out before the job starts, and how many there are is not known until then"
COUNTED = "use view: load_balanced without targets, or a source whose length is known"


def _missing_targets(spec: Spec, job: Job, slots: int) -> Iterator[Problem]:
    for place, slot in enumerate(job.targets if isinstance(job.targets, list) else []):
        if slot >= slots:
            hint = f"there {'are' if slots > 1 else 'is'} {slots}, from 0 on"
            where = ("jobs", job.name, "targets", place)
            yield spec.places.problem(f"there is no engine {slot}", *where, hint=hint)


def problems(spec: Spec) -> list[Problem]:
    """What ``preview`` finds to be wrong."""
    try:
        preview(spec)
    except SpecError as error:
        return error.problems
    return []


def _not_yet(where: str) -> Iterator[Any]:
    yield from ()
    raise AssertionError("no source is read before the run")


def _no_value(name: str) -> Any:
    raise AssertionError("jobs that use values are left out")


def _nothing_is_run(text: str) -> Callable[..., Any]:
    raise AssertionError("nothing of the user's is run before the run")
