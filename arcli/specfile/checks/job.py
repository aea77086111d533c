"""One job: whether it is clear what is called, and what becomes of the results."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arcli import syntax
from arcli.errors import Problem
from arcli.paths import is_file
from arcli.specfile.checks.checked import Checked, in_text
from arcli.specfile.checks.order import deferred_values
from arcli.specfile.model import Cluster, Job
from arcli.specfile.tree import Places
from arcli.suggest import did_you_mean

_WAYS = ("map", "apply", "command", "notebook")
_OF_COMMANDS = ("shell", "command_stdin", "cwd", "env", "ok_exit", "parse")


def check(job: Job, at: int, spec: Checked, names: set[str] | None, places: Places) -> Iterator[Problem]:
    """Yield every problem within one job; ``names`` are those in the engines' namespace, if known."""
    yield from _ways(job, at, spec, places)
    if spec.sure(at, *_WAYS):
        yield from _strangers(job, at, places)
    if spec.sure(at, "halt"):
        yield from _failures(job, at, spec, places)
    yield from _value(job, at, spec, places)
    yield from _functions(job, at, spec.folder, names, places)
    yield from _references(job, at, names, places)
    yield from _engines(job, at, spec.cluster, places)
    if job.notebook is not None:
        yield from _notebook(job.notebook, at, spec.folder, places)


def _ways(job: Job, at: int, spec: Checked, places: Places) -> Iterator[Problem]:
    """Tell whether it is clear what is called, and with what."""
    ways = [way for way in _WAYS if getattr(job, way) is not None]
    if not ways:
        if spec.sure(at, *_WAYS):
            message = f"job {job.name!r} needs one of {', '.join(_WAYS)}"
            yield places.problem(message, "jobs", at)
        return
    # The first one is taken for what was meant, and each other is a problem at its
    # own place.
    for way in ways[1:]:
        message = f"job {job.name!r} has {ways[0]} already, and a job has only one"
        yield places.key_problem(message, "jobs", at, way)
    if job.kind == "apply":
        if job.over is not None:
            hint = "`map:` takes items; apply calls once an engine"
            yield places.key_problem("apply has no items", "jobs", at, "over", hint=hint)
    elif job.over is None and spec.sure(at, "over"):
        hint = "such as `over: {range: 10}` or `over: [a, b, c]`"
        message = f"{job.kind} needs items: the key 'over' is missing"
        yield places.key_problem(message, "jobs", at, ways[0], hint=hint)


def _strangers(job: Job, at: int, places: Places) -> Iterator[Problem]:
    """Yield keys that mean nothing beside the others."""
    if job.kind != "command":
        for key in _OF_COMMANDS:
            if key in job.model_fields_set:
                yield places.key_problem(f"{key} is for commands", "jobs", at, key)
    if job.kind in {"command", "notebook"}:
        wrong = ("args", "kwargs", "unpack") if job.kind == "command" else ("args", "unpack")
        for key in wrong:
            if key in job.model_fields_set:
                yield places.key_problem(f"a {job.kind} takes no {key}", "jobs", at, key)
    if job.batch is not None and job.kind in {"apply", "notebook"}:
        yield places.key_problem(f"batch is for maps and commands, not for {job.kind}", "jobs", at, "batch")
    if job.shell is not None and isinstance(job.command, list):
        message = "no shell reads a list of arguments"
        yield places.key_problem(message, "jobs", at, "shell", hint="write the command as one text")


def _failures(job: Job, at: int, spec: Checked, places: Places) -> Iterator[Problem]:
    halts = any(other.halts is not None for other in spec.jobs.values())
    if "max_failures" in job.model_fields_set and not isinstance(job.halt, str):
        message = "halt says itself after how many failures: failed"
        yield places.key_problem(message, "jobs", at, "max_failures", hint="leave max_failures out")
    elif "max_failures" in job.model_fields_set and not halts:
        hint = "halt: soon or halt: now makes it count"
        message = "max_failures does nothing while halt is never"
        yield places.key_problem(message, "jobs", at, "max_failures", hint=hint)


def _value(job: Job, at: int, spec: Checked, places: Places) -> Iterator[Problem]:
    """Tell whether what becomes of the results makes sense."""
    folds = "reduce" if job.reduce is not None else "finish"
    forms = [key for key in (folds, "gather", "collect") if getattr(job, key) is not None]
    # A job has one value, and each of these says how it is made.
    for key in forms[1:]:
        yield places.key_problem(f"{key} and {forms[0]} exclude each other", "jobs", at, key)
    if job.reduce is None and spec.sure(at, "reduce"):
        for key in ("combine", "initial", "commutative"):
            if key in job.model_fields_set:
                yield places.key_problem(f"{key} needs a reduce", "jobs", at, key)
    if job.push_as is not None:
        if not job.push_as.isidentifier():
            yield places.problem(f"{job.push_as!r} is not a Python name", "jobs", at, "push_as")
        if job.collect in {"none", "count"}:
            message = f"there is no value to push with collect: {job.collect}"
            yield places.key_problem(message, "jobs", at, "push_as")
    if job.gather is not None and not job.gather.isidentifier():
        yield places.problem(f"{job.gather!r} is not a Python name", "jobs", at, "gather")


def _functions(
    job: Job, at: int, folder: Path, names: set[str] | None, places: Places
) -> Iterator[Problem]:
    for key in ("map", "apply", "reduce", "combine", "finish"):
        text = getattr(job, key)
        if text is not None:
            for fault in syntax.faults_of(text, folder, names):
                yield in_text(fault, places, ("jobs", at, key))


def _references(job: Job, at: int, names: set[str] | None, places: Places) -> Iterator[Problem]:
    """``${ref.…}`` to what nothing puts into the engines' namespace."""
    if names is None:
        return
    for key in ("args", "kwargs"):
        for late in deferred_values(getattr(job, key)):
            first = late.name.partition(".")[0]
            if late.kind == "ref" and first not in names and not hasattr(builtins, first):
                hint = did_you_mean(first, names) or syntax.WHERE_NAMES_COME_FROM
                yield places.problem(f"there is no {first!r} on the engines", "jobs", at, key, hint=hint)


def _engines(job: Job, at: int, cluster: Cluster, places: Places) -> Iterator[Problem]:
    if not isinstance(job.targets, list):
        return
    if not job.targets:
        yield places.problem("targets names no engine", "jobs", at, "targets")
    for place, slot in enumerate(job.targets):
        beyond = isinstance(cluster.engines, int) and slot >= cluster.engines
        if slot < 0 or (beyond and cluster.launcher != "inline"):
            message = f"there is no engine {slot}"
            hint = f"there are {cluster.engines}, from 0 on" if beyond else "they count from 0"
            yield places.problem(message, "jobs", at, "targets", place, hint=hint)
        elif slot in job.targets[:place]:
            yield places.problem(f"engine {slot} is there twice", "jobs", at, "targets", place)


def _notebook(name: str, at: int, folder: Path, places: Places) -> Iterator[Problem]:
    """Yield what the file itself tells; kernels are looked for on the engines."""
    path = folder / name
    if not is_file(path):
        yield places.problem(f"there is no file {name}", "jobs", at, "notebook")
        return
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        yield places.problem(f"{name} cannot be read: {error.strerror}", "jobs", at, "notebook")
    except (ValueError, RecursionError) as error:
        yield places.problem(f"{name} is not a notebook: {error}", "jobs", at, "notebook")
    else:
        if not isinstance(data, dict) or "nbformat" not in data:
            message = f"{name} is not a notebook: it has no nbformat"
            yield places.problem(message, "jobs", at, "notebook")
        elif not any(_is_tagged(cell) for cell in _as_list(data.get("cells"))):
            message = f"{name} has no cell that is tagged 'parameters', so that items would change nothing"
            hint = "tag the cell that gives the parameters their defaults: parameters"
            yield places.problem(message, "jobs", at, "notebook", hint=hint)


def _is_tagged(cell: Any) -> bool:
    metadata = cell.get("metadata") if isinstance(cell, dict) else None
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return "parameters" in _as_list(tags)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
