"""One job: whether it is clear what is called, and what becomes of the results."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arcli import syntax
from arcli.errors import Problem
from arcli.fields import deferred_places, deferred_values
from arcli.paths import is_file
from arcli.record import KINDS
from arcli.specfile.checks.checked import Checked, in_text
from arcli.specfile.model import Cluster, Job
from arcli.specfile.tree import Places
from arcli.suggest import did_you_mean

_OF_COMMANDS = ("shell", "command_stdin", "cwd", "env", "ok_exit", "parse")


def call(job: Job, at: int, spec: Checked, places: Places) -> Iterator[Problem]:
    """Yield where it is not clear what a job calls and with what, and keys that mean nothing there."""
    ways = [way for way in KINDS if getattr(job, way) is not None]
    certain = spec.sure(at, *KINDS)
    if not ways and certain:
        yield places.problem(f"job {job.name!r} needs one of {', '.join(KINDS)}")
    # The first one is taken for what was meant, and each other is a problem at its own place.
    for way in ways[1:]:
        yield places.key_problem(f"job {job.name!r} has {ways[0]} already, and a job has only one", way)
    if ways and job.kind == "apply" and job.over is not None:
        hint = "`map:` takes items; apply calls once an engine"
        yield places.key_problem("apply has no items", "over", hint=hint)
    elif ways and job.kind != "apply" and job.over is None and spec.sure(at, "over"):
        hint = "such as `over: {range: 10}` or `over: [a, b, c]`"
        yield places.key_problem(f"{job.kind} needs items: the key 'over' is missing", ways[0], hint=hint)
    # Whether a key belongs to the job depends on its kind, which a misspelt `comand:` leaves open.
    if not certain:
        return
    for key in _OF_COMMANDS if job.kind != "command" else ():
        if key in job.model_fields_set:
            yield places.key_problem(f"{key} is for commands", key)
    for key in {"command": ("args", "kwargs", "unpack"), "notebook": ("args", "unpack")}.get(job.kind, ()):
        if key in job.model_fields_set:
            yield places.key_problem(f"a {job.kind} takes no {key}", key)
    yield from _items_of_calls(job, places)
    if job.shell is not None and isinstance(job.command, list):
        hint = "write the command as one text"
        yield places.key_problem("no shell reads a list of arguments", "shell", hint=hint)


def _items_of_calls(job: Job, places: Places) -> Iterator[Problem]:
    """Yield batches for what takes none, and blocks of which a command can read only one."""
    if len(job.blocks) > 1:
        hint = f"command_stdin says what it reads; {{{job.blocks[0]}}} in it or the command is one of them"
        message = f"a command reads one block a call, and there are {' and '.join(job.blocks)}"
        yield places.key_problem(message, "over", hint=hint)
    if job.batch is None:
        return
    if job.kind in {"apply", "notebook"}:
        yield places.key_problem(f"batch is for maps and commands, not for {job.kind}", "batch")
    elif job.blocks:
        yield places.key_problem(
            "a command reads one block a call", "batch", hint="`bytes` makes it larger"
        )


def results(job: Job, at: int, spec: Checked, places: Places) -> Iterator[Problem]:
    """Yield contradictions in what becomes of a job's results, and of its failures."""
    folds = "reduce" if job.reduce is not None else "finish"
    forms = [key for key in (folds, "gather", "collect") if getattr(job, key) is not None]
    # A job has one value, and each of these says how it is made.
    for key in forms[1:]:
        yield places.key_problem(f"{key} and {forms[0]} exclude each other", key)
    if job.reduce is None and spec.sure(at, "reduce"):
        for key in ("combine", "initial", "commutative"):
            if key in job.model_fields_set:
                yield places.key_problem(f"{key} needs a reduce", key)
    # Whoever folds may begin anew with it, on any engine.
    for path, late in deferred_places(job.initial):
        hint = "reduce and finish find names on the engines; a job's value gets there by its push_as"
        yield places.problem(
            f"initial must be known before the run, and {late} is not", "initial", *path, hint=hint
        )
    # Both become names in the engines' namespace, where anything else could never be used.
    for key in ("push_as", "gather"):
        name = getattr(job, key)
        if name is not None and not name.isidentifier():
            yield places.problem(f"{name!r} is not a Python name", key)
    if job.push_as is not None and job.collect in {"none", "count"}:
        yield places.key_problem(f"there is no value to push with collect: {job.collect}", "push_as")
    # The number may come from `defaults:`, for jobs of which only some halt: it is idle only where
    # no job of the spec halts.
    if "max_failures" not in job.model_fields_set or not spec.sure(at, "halt"):
        return
    if not isinstance(job.halt, str):
        message = "halt says itself after how many failures: failed"
        yield places.key_problem(message, "max_failures", hint="leave max_failures out")
    elif not any(other.halts is not None for other in spec.jobs.values()):
        hint = "halt: soon or halt: now makes it count"
        message = "max_failures does nothing while halt is never"
        yield places.key_problem(message, "max_failures", hint=hint)


def functions(job: Job, folder: Path, names: set[str] | None, places: Places) -> Iterator[Problem]:
    """Yield functions that cannot be what is called, and ``${ref.…}`` to names that no engine has.

    ``names`` are those in the engines' namespace, None where they cannot be known.
    """
    for key, text in job.functions.items():
        for fault in syntax.faults_of(text, folder, names):
            yield in_text(fault, places, key)
    if names is None:
        return
    # Only of a name's first part it can be told: what a module or an object has is seen on engines.
    for key in ("args", "kwargs"):
        for late in deferred_values(getattr(job, key)):
            first = late.name.partition(".")[0]
            if late.kind == "ref" and first not in names and not hasattr(builtins, first):
                hint = did_you_mean(first, names) or syntax.WHERE_NAMES_COME_FROM
                yield places.problem(f"there is no {first!r} on the engines", key, hint=hint)


def targets(job: Job, cluster: Cluster, places: Places) -> Iterator[Problem]:
    """Yield engines in ``targets`` that are not there, or are there twice."""
    if not isinstance(job.targets, list):
        return
    if not job.targets:
        yield places.problem("targets names no engine", "targets")
    # With `engines: auto` nobody knows yet how many there are, and `inline` has one whatever the
    # number says: the plan compares these when it has the real one.
    for place, slot in enumerate(job.targets):
        beyond = isinstance(cluster.engines, int) and slot >= cluster.engines
        if slot < 0 or (beyond and cluster.launcher != "inline"):
            hint = f"there are {cluster.engines}, from 0 on" if beyond else "they count from 0"
            yield places.problem(f"there is no engine {slot}", "targets", place, hint=hint)
        elif slot in job.targets[:place]:
            yield places.problem(f"engine {slot} is there twice", "targets", place)


def notebook(job: Job, folder: Path, places: Places) -> Iterator[Problem]:
    """Yield what a notebook's file itself tells; kernels are looked for on the engines."""
    if (name := job.notebook) is None:
        return
    if not is_file(folder / name):
        yield places.problem(f"there is no file {name}", "notebook")
        return
    try:
        data = json.loads((folder / name).read_bytes())
    except OSError as error:
        yield places.problem(f"{name} cannot be read: {error.strerror}", "notebook")
        return
    except (ValueError, RecursionError) as error:
        yield places.problem(f"{name} is not a notebook: {error}", "notebook")
        return
    if not isinstance(data, dict) or "nbformat" not in data:
        yield places.problem(f"{name} is not a notebook: it has no nbformat", "notebook")
        return
    # Items go into a cell after the tagged one, as papermill does it:
    # https://papermill.readthedocs.io/en/latest/usage-parameterize.html
    # The file is anybody's JSON, in which each level may be of another type.
    metadata = [_as_map(_as_map(cell).get("metadata")) for cell in _as_list(data.get("cells"))]
    if not any("parameters" in _as_list(each.get("tags")) for each in metadata):
        message = f"{name} has no cell that is tagged 'parameters', so that items would change nothing"
        hint = "tag the cell that gives the parameters their defaults: parameters"
        yield places.problem(message, "notebook", hint=hint)


def _as_map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def concurrency(job: Job, folder: Path, places: Places) -> Iterator[Problem]:
    """Tell whether items can run side by side in an engine, where that is asked for."""
    if job.concurrency == 1:
        return
    hint = "more engines run more at once: cluster: {engines: N}"
    # What would be silently sequential is refused: whoever asks for it believes that it helps.
    if job.kind in {"apply", "notebook"}:
        message = (
            f"concurrency is for commands and async functions: an engine runs one {job.kind} at a time"
        )
        yield places.key_problem(message, "concurrency", hint=hint)
    elif job.map is not None and syntax.is_async(job.map, folder) is False:
        message = (
            f"concurrency is for commands and async functions: {job.map.strip()!r} is a plain function, "
            "and a second call in the same engine could not begin before the first one has ended"
        )
        yield places.key_problem(message, "concurrency", hint=hint)
    elif job.map is not None and job.outdir is not None:
        message = "concurrency and outdir go together for commands only: all calls have one environment"
        yield places.key_problem(message, "concurrency")
    if job.delay:
        message = "delay has items travel alone: concurrency does nothing"
        yield places.key_problem(message, "concurrency")
    if isinstance(job.chunksize, int) and job.chunksize < job.concurrency:
        message = (
            f"chunksize: {job.chunksize} is less than this: places would stand empty on joined engines"
        )
        yield places.key_problem(message, "concurrency", hint="chunksize: auto is as large as it should be")
