"""Some of a spec's jobs, with what they need."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from arcli.errors import UsageError
from arcli.spec.model import Job, Late, LateText, Over, Spec


def only(spec: Spec, names: Sequence[str]) -> Spec:
    """The spec with the named jobs and those that they need, in its order. Raises UsageError."""
    jobs = {job.name: job for job in spec.jobs}
    wanted: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in jobs:
            near = difflib.get_close_matches(name, jobs, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(jobs)}"
            raise UsageError(f"there is no job {name!r} in {spec.file}", hint=hint)
        if name not in wanted:
            wanted.add(name)
            job = jobs[name]
            waiting += [*job.needs, *sources(job.over), *valued(job)]
    return spec.model_copy(update={"jobs": [job for job in spec.jobs if job.name in wanted]})


def sources(over: Over | None) -> Iterator[str]:
    """The jobs that an input takes values from."""
    if over is None:
        return
    if over.from_ is not None:
        yield over.from_.job
    for factors in (over.product, over.zip_):
        for factor in (factors or {}).values():
            yield from sources(factor)


def valued(job: Job) -> Iterator[str]:
    """The jobs whose ``${jobs.NAME.value}`` stands somewhere in a job."""
    return _valued([job.args, job.kwargs, job.over])


def _valued(tree: Any) -> Iterator[str]:
    if isinstance(tree, Late) and tree.kind == "jobs":
        yield tree.name.removesuffix(".value")
    elif isinstance(tree, LateText):
        yield from _valued(list(tree.parts))
    elif isinstance(tree, list):
        for part in tree:
            yield from _valued(part)
    elif isinstance(tree, Mapping):
        yield from _valued(list(tree.values()))
    elif isinstance(tree, Over):
        yield from _valued([getattr(tree, name) for name in type(tree).model_fields])
