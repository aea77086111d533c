"""``arcli run --dry-run``: what would be done."""

from __future__ import annotations

import json
import shlex
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, BinaryIO

import click

from arcli.cluster.cpus import usable_cpus
from arcli.cluster.open import joins
from arcli.engine.command import argv_call, placeholders, values_of
from arcli.engine.functions import kind_of
from arcli.escape import one_line
from arcli.plan.preview import Preview, preview
from arcli.plan.sources import Source
from arcli.spec.model import Job, Late, LateText, Spec

SHOWN = 3
"""Calls that are shown from each end of a job."""
WIDEST = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A job as it would be run; ``calls`` from both ends, by the items' numbers.

    ``items`` is None where only the run itself will tell, ``chunks`` where they choose themselves.
    """

    name: str
    kind: str
    items: int | None
    chunks: int | None
    ordered: bool
    calls: dict[int, str] = field(default_factory=dict)
    then: list[str] = field(default_factory=list)


def show(spec: Spec, flags: dict[str, Any]) -> int:
    """Print the plan of a spec; reads inputs, and runs nothing. Returns the exit code."""
    engines = flags["engines"] or spec.cluster.engines
    engines = usable_cpus() if engines == "auto" else engines
    inline = flags["inline"] or (spec.cluster.launcher == "inline" and not flags["cluster_name"])
    slots = 1 if inline else engines
    stdin = sys.stdin.buffer if sys.stdin is not None else None
    plans = [
        _plan(found, slots, flags["limit"], stdin)
        for found in preview(spec, slots=slots, stdin=stdin)
    ]
    if flags["form"] == "text":
        where = f"on {slots} engine{'s' * (slots != 1)}"
        if inline:
            where = "in this process"
        elif flags["cluster_name"] or joins(spec.cluster):
            where = "on a running cluster"
        click.echo(f"{spec.name}: {len(plans)} job{'s' * (len(plans) != 1)} {where}")
        for plan in plans:
            click.echo("\n".join(_lines(plan)))
        return 0
    document = {"name": spec.name, "engines": slots, "jobs": [asdict(plan) for plan in plans]}
    click.echo(json.dumps(document, default=str))
    return 0


def _plan(found: Preview, slots: int, limit: int | None, stdin: BinaryIO | None) -> Plan:
    job, source = found.job, found.source
    calls: dict[int, str] = {}
    items: int | None = None
    if job.kind == "apply":
        targets = job.targets if isinstance(job.targets, list) else list(range(slots))
        items = 1 if job.targets == "any" else len(targets)
        calls = {0: _call(job, (), {})}
    elif source is not None and not _runs_code(job):
        items, ends = _ends(source, limit)
        calls = {index: _called(job, source, index, item) for index, item in ends}
    chunks = None
    if items is not None and isinstance(job.chunksize, int):
        chunks = -(-items // job.chunksize)
    return Plan(
        name=job.name,
        kind=job.kind,
        items=items,
        chunks=chunks,
        ordered=job.ordered,
        calls=calls,
        then=list(_then(job)),
    )


def _runs_code(job: Job) -> bool:
    """Whether reading the items would run something of the user's, or needs earlier results."""
    text = repr(job.over)
    return "PythonSource(" in text or "FromSource(" in text


def _ends(source: Source, limit: int | None) -> tuple[int, list[tuple[int, Any]]]:
    """How many items there are, and the first and last of them with their numbers."""
    items = enumerate(source if limit is None else islice(source, limit))
    first = list(islice(items, SHOWN))
    last = deque(items, SHOWN)
    shown = [*first, *last]
    return (shown[-1][0] + 1 if shown else 0), shown


def _called(job: Job, source: Source, index: int, item: Any) -> str:
    if job.kind == "command":
        return _commanded(job, index, item)
    unpack = job.unpack or source.unpack
    if unpack == "kwargs" and isinstance(item, dict):
        return _call(job, (), item)
    return _call(job, item if unpack == "args" else (item,), {})


def _call(job: Job, args: Any, kwargs: dict[str, Any]) -> str:
    """A call as one would write it."""
    name = job.map or job.apply or job.notebook or ""
    if kind_of(name) == "expression" and not name.replace(".", "").isidentifier():
        name = f"({name})"
    given = [_shown(arg) for arg in [*args, *job.args]]
    given += [f"{key}={_shown(value)}" for key, value in {**job.kwargs, **kwargs}.items()]
    return f"{name}({', '.join(given)})"


def _shown(value: Any) -> str:
    if isinstance(value, Late):
        return f"${{{value.kind}.{value.name}}}"
    if isinstance(value, LateText):
        return "".join(part if isinstance(part, str) else _shown(part) for part in value.parts)
    return repr(value)


def _commanded(job: Job, index: int, item: Any) -> str:
    """A command with its values filled in: as it could be typed."""
    names = values_of(item, index)
    if isinstance(job.command, list):
        return shlex.join(argv_call(job.command, names))
    assert job.command is not None
    text, end = "", 0
    for found in placeholders(job.command):
        if found.name in names:
            text += job.command[end : found.start] + shlex.quote(names[found.name])
            end = found.start + len(found.name) + 2
    return text + job.command[end:]


def _then(job: Job) -> Iterator[str]:
    """What becomes of the results."""
    if job.reduce is not None:
        yield f"reduce by {job.reduce}"
    if job.finish is not None:
        yield f"finish by {job.finish}"
    if job.collect is not None:
        yield f"collect: {job.collect}"
    if job.push_as is not None:
        yield f"push to every engine as {job.push_as}"


def _lines(plan: Plan) -> Iterator[str]:
    said = "as many items as there will be" if plan.items is None else _count(plan.items, "item")
    if plan.kind == "apply":
        said = f"on {_count(plan.items or 0, 'engine')}"
    order = "in order" if plan.ordered else "as they come"
    chunks = "chunks choose themselves" if plan.chunks is None else _count(plan.chunks, "chunk")
    yield f"\n{plan.name}: {plan.kind}, {said}, {chunks}, {order}"
    width = len(str(max(plan.calls, default=0)))
    before = -1
    for index, call in plan.calls.items():
        if index != before + 1:
            yield f"  {'…':>{width}}"
        yield f"  {index:>{width}}  {_cut(one_line(call))}"
        before = index
    for step in plan.then:
        yield f"  then {_cut(one_line(step))}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
