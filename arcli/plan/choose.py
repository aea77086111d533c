"""Some of a spec's jobs, with what they need."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from arcli.errors import UsageError
from arcli.inputs import Over
from arcli.specfile.checks.order import deferred_values
from arcli.specfile.model import Job, Spec
from arcli.syntax import used_names


def only(spec: Spec, names: Sequence[str]) -> Spec:
    """Return the spec with the named jobs and those that they need, in its order. Raises UsageError.

    Outputs of other jobs are left out, so that what they hold stays as it is.
    """
    jobs = {job.name: job for job in spec.jobs}
    chosen: set[str] = set()
    waiting = list(names)
    # Whatever a chosen job builds on is chosen, too, by what it needs and by the
    # names that it uses.
    while waiting:
        name = waiting.pop()
        if name not in jobs:
            near = difflib.get_close_matches(name, jobs, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(jobs)}"
            raise UsageError(f"there is no job {name!r} in {spec.file}", hint=hint)
        if name not in chosen:
            chosen.add(name)
            job = jobs[name]
            waiting += [*job.needs, *sources(job.over), *valued(job), *pushed(job, spec)]
    # Files of jobs that do not run stay as they are.
    kept = [job for job in spec.jobs if job.name in chosen]
    output = [output for output in spec.output if output.job is None or output.job in chosen]
    return spec.model_copy(update={"jobs": kept, "output": output})


def sources(over: Over | None) -> Iterator[str]:
    """Yield the jobs that an input takes values from."""
    for _, part in over.walk() if over is not None else ():
        yield from part.input.jobs()


def pushed(job: Job, spec: Spec) -> Iterator[str]:
    """Yield the jobs whose ``push_as`` names a job uses, or may use, where that cannot be known."""
    functions = (job.map, job.apply, job.reduce, job.combine, job.finish)
    used = used_names([text for text in functions if text is not None], spec.setup.run)
    refs = {late.name.partition(".")[0] for late in deferred_values([job.args, job.kwargs])}
    pushers: dict[str, str] = {}
    for other in spec.jobs:
        if other.name == job.name:
            break
        if other.push_as is not None and (used is None or other.push_as in used | refs):
            pushers[other.push_as] = other.name
    yield from pushers.values()


def valued(job: Job) -> Iterator[str]:
    """Return the jobs whose ``${jobs.NAME.value}`` stands somewhere in a job."""
    return values_in([job.args, job.kwargs, job.over, job.command, job.command_stdin, job.cwd, job.env])


def values_in(tree: Any) -> Iterator[str]:
    """Yield the jobs whose ``${jobs.NAME.value}`` stands somewhere in a part of a spec."""
    for late in deferred_values(tree):
        if late.kind == "jobs":
            yield late.name.removesuffix(".value")
