"""Jobs that build on each other: whether what they need is there, and comes before them."""

from __future__ import annotations

from collections.abc import Iterator

from arcli.errors import Problem
from arcli.fields import jobs_in
from arcli.record import JOB_NAME
from arcli.specfile.checks.checked import Checked
from arcli.specfile.model import Job
from arcli.specfile.tree import Places
from arcli.suggest import did_you_mean

LATE = ("args", "kwargs", "over", "command", "command_stdin", "cwd", "env")
"""What of a job may have values that only a run knows."""
_OF_VALUES = ("apply", "reduce", "gather", "collect")


def names(spec: Checked, places: Places) -> Iterator[Problem]:
    """Yield names of jobs that are no names, or not the only one."""
    for at, name in enumerate(spec.names):
        # A name that is missing or no text is a problem of its shape, which is told already.
        if at not in spec.jobs or "name" in spec.broken[at]:
            continue
        if not JOB_NAME.fullmatch(name):
            hint = "letters, digits, _ . and - make a job's name"
            yield places.problem(f"{name!r} is not a name", "jobs", at, "name", hint=hint)
        elif name in spec.names[:at]:
            yield places.problem(f"a second job {name!r}", "jobs", at, "name")


def check(job: Job, at: int, spec: Checked, places: Places) -> Iterator[Problem]:
    """Check that the jobs which a job builds on are there, and come before it."""
    references: list[tuple[str, tuple[str | int, ...]]] = [
        (name, ("needs", place)) for place, name in enumerate(job.needs)
    ]
    for path, part in job.over.walk() if job.over is not None else ():
        references += [(name, ("over", *path, part.kind)) for name in part.input.jobs()]
    references += [(name, (key,)) for key, name in valued(job)]
    # References go backwards only, since jobs run in the order of the file.
    for name, path in references:
        if name == job.name:
            yield places.problem(f"job {name!r} cannot build on itself", *path)
        elif name in spec.names[at + 1 :]:
            message = f"job {name!r} comes later"
            yield places.problem(message, *path, hint="jobs run in their order: move it up")
        elif name not in spec.names:
            # `${jobs.NAME.part.value}`: a job's value can only be had as a whole.
            first = name.rpartition(".")[0]
            near = (
                f"write ${{jobs.{first}.value}}" if first in spec.names else did_you_mean(name, spec.names)
            )
            earlier = ", ".join(filter(None, spec.names[:at]))
            hint = near or (f"before it are: {earlier}" if earlier else "it is the first one")
            yield places.problem(f"there is no job {name!r}", *path, hint=hint)
    for key, name in valued(job):
        place = next((place for place, other in spec.jobs.items() if other.name == name), None)
        if place is None or not spec.sure(place, *_OF_VALUES):
            continue
        # The results of a map are records and no value, unless it says so: a million of them would
        # be held in memory. What is folded, gathered, or comes once an engine is a value anyway.
        other = spec.jobs[place]
        anyway = other.folds or other.gather is not None or other.kind == "apply"
        if other.collect == "none" or (other.collect is None and not anyway):
            hint = "give it a reduce, or collect: list"
            yield places.problem(f"job {name!r} has no value", key, hint=hint)


def valued(job: Job) -> Iterator[tuple[str, str]]:
    """Yield the keys of a job in which ``${jobs.NAME.value}`` stands, and the names."""
    for key in LATE:
        yield from ((key, name) for name in jobs_in(getattr(job, key)))
