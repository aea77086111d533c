"""Where items come from: whether inputs can be opened, and standard input is read once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from msgspec.structs import replace

from arcli.errors import InputError, Problem
from arcli.fields import deferred_places, deferred_values
from arcli.inputs import Source, SourceContext
from arcli.inputs.base import unread
from arcli.inputs.python import loader
from arcli.specfile.checks.checked import Checked
from arcli.specfile.model import Job
from arcli.specfile.tree import Places

SOME_INPUT = io.BytesIO()
"""Stands for a standard input that is there, and not read."""
UNCOUNTED = "the items are dealt out before the job starts, and how many there are is not known until then"
COUNTED = "use view: load_balanced without targets, or a source whose length is known"


def open_sources(
    spec: Checked, stdin: BinaryIO | None, problems: list[Problem], places: Places
) -> dict[int, Source]:
    """Open the source of every job, as far as that can be done before the run, by the job's place.

    Adds what is wrong with inputs to ``problems``. A source with late values is opened by the run.
    """
    context = SourceContext(
        folder=spec.folder,
        stdin=stdin,
        jobs=dict.fromkeys(spec.names, unread),
        load_callable=loader(spec.folder, spec.setup.path if spec.setup is not None else ()),
        python=spec.cluster.python,
    )
    sources: dict[int, Source] = {}
    for at, job in spec.jobs.items():
        if job.over is None:
            continue
        # Opening reads what a file says of itself, such as the columns of a table: only what has the
        # right settings, is known already, and is whole in the file can be opened now.
        errors = list(job.over.check(spec.folder))
        if not errors and spec.sure(at, "over") and not list(deferred_values(job.over)):
            try:
                sources[at] = job.open_items(replace(context, texts=job.command is not None))
            except InputError as failure:
                errors.append(failure)
        for error in errors:
            where = ("jobs", at, "over", *error.path)
            problems.append(places.problem(error.message, *where, hint=error.hint))
    return sources


def check(job: Job, source: Source, places: Places) -> Iterator[Problem]:
    """Yield what is wrong with the number of items of an opened source."""
    if source.length == 0 and not job.allow_empty:
        hint = "allow_empty: true allows that"
        yield places.problem(f"job {job.name!r} has no items", "over", hint=hint)
    if source.length is None and pinned(job):
        key = "view" if job.view == "direct" else "targets"
        yield places.problem(UNCOUNTED, key, hint=COUNTED)


def references(job: Job, places: Places) -> Iterator[Problem]:
    """Yield names of the engines among a job's items, which are made before an engine has them."""
    for path, late in deferred_places(job.over):
        if late.kind == "ref":
            name = late.name.rpartition(".")[2]
            way = "in the command" if job.kind == "command" else f'kwargs: {{{name}: "{late}"}}'
            message = f"{late} is known to engines only, and items are made before they get there"
            yield places.problem(message, "over", *path, hint=f"it can be a constant of every call: {way}")


def pinned(job: Job) -> bool:
    """Tell whether a map's items are dealt out to the engines before it starts."""
    return job.targets != "any" and (job.view == "direct" or isinstance(job.targets, list))


def stdin_readers(spec: Checked, places: Places, *, from_stdin: bool) -> Iterator[Problem]:
    """Yield a second reader of standard input; ``from_stdin``: the spec is the first one."""
    readers = [
        ("jobs", at, "over", *path, part.kind)
        for at, job in spec.jobs.items()
        if job.over is not None
        for path, part in job.over.walk()
        if part.input.reads_stdin
    ]
    message = "standard input is the spec" if from_stdin else "standard input is read once only"
    for path in readers[0 if from_stdin else 1 :]:
        yield places.key_problem(message, *path)
