"""The folder of each item: whether its name can be made, and what is looked for in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from arcli.engine.template import words_in_braces
from arcli.errors import Problem
from arcli.inputs import Source
from arcli.specfile.checks.command import item_names, placeholder_fault
from arcli.specfile.checks.texts import in_text
from arcli.specfile.model import Job
from arcli.specfile.places import Places


def check(job: Job, at: int, source: Source | None, places: Places) -> Iterator[Problem]:
    """Yield what is wrong with ``outdir`` and ``artifacts``; ``source`` as far as it is open."""
    if job.outdir is None:
        if job.artifacts:
            hint = 'such as `outdir: "out/{index}"`'
            yield places.key_problem("artifacts are in an outdir", "jobs", at, "artifacts", hint=hint)
        return
    if job.kind in {"apply", "notebook"}:
        yield places.key_problem(
            f"outdir is for maps and commands, not for {job.kind}", "jobs", at, "outdir"
        )
    if isinstance(job.outdir, str):
        names = item_names(job.over, source)
        for place in words_in_braces(job.outdir):
            if (fault := placeholder_fault(place, job.outdir, names)) is not None:
                yield in_text(fault, places, ("jobs", at, "outdir"))
        if not list(words_in_braces(job.outdir)):
            hint = 'name what tells the items apart: "out/{index}"'
            yield places.problem("one folder for all items", "jobs", at, "outdir", hint=hint)
    for number, artifact in enumerate(job.artifacts):
        path = PurePath(artifact.path)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            message = f"{artifact.path!r} is not inside of the item's folder"
            yield places.problem(message, "jobs", at, "artifacts", number)
