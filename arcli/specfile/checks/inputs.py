"""Where items come from: whether the files are there, and standard input is read once."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from arcli import syntax
from arcli.engine.functions import kind_of
from arcli.errors import Problem
from arcli.installation import how_to_add
from arcli.specfile.checks.checked import Checked
from arcli.specfile.model import Over, RowsSource
from arcli.specfile.places import Places
from arcli.suggest import did_you_mean, quoted


def check(over: Over, path: tuple[str | int, ...], folder: Path, places: Places) -> Iterator[Problem]:
    """Files that are not there, and combinations of nothing."""
    for key in ("lines", "jsonl", "parquet", "csv"):
        source = getattr(over, key)
        name = source.path if isinstance(source, RowsSource) else source
        if name is not None and (folder / name).is_dir():
            hint = f"glob: {quoted(f'{name}/*')} gives the files in it"
            yield places.problem(f"{name} is a folder", *path, key, "path", hint=hint)
        elif name is not None and not (folder / name).exists():
            hint = did_you_mean(Path(name).name, _beside(folder / name))
            yield places.problem(f"{name} does not exist", *path, key, "path", hint=hint)
    if over.parquet is not None and importlib.util.find_spec("pyarrow") is None:
        hint = how_to_add("pyarrow")
        yield places.key_problem("parquet needs pyarrow", *path, "parquet", hint=hint)
    for kind, factors in (("product", over.product), ("zip", over.zip_)):
        if factors is not None and not factors:
            yield places.problem(f"{kind} needs at least one factor", *path, kind)
        for name, factor in (factors or {}).items():
            yield from check(factor, (*path, kind, name), folder, places)
    if over.python is not None:
        yield from _generator(over.python.call, (*path, "python", "call"), folder, places)
    if over.glob is not None:
        for at, pattern in enumerate(over.exclude):
            if isinstance(pattern, str) and set(pattern) & set("*?["):
                hint = "glob: {patterns: […], exclude: […]} leaves out what matches"
                message = f"{pattern!r} is no file's path"
                yield places.problem(message, *path, "exclude", at, hint=hint)


def _generator(call: str, path: tuple[str | int, ...], folder: Path, places: Places) -> Iterator[Problem]:
    if kind_of(call) == "expression":
        hint = "module:generator, or file.py:generator"
        yield places.problem("not a generator's name", *path, hint=hint)
        return
    for fault in syntax.faults_of(call, folder, None):
        yield places.problem(fault.message, *path, hint=fault.hint)


def _beside(path: Path) -> list[str]:
    return [found.name for found in path.parent.iterdir()] if path.parent.is_dir() else []


def stdin(spec: Checked, places: Places, *, from_stdin: bool) -> Iterator[Problem]:
    """A second reader of standard input; ``from_stdin``: the spec is the first one."""
    readers = [(path, at) for at, job in spec.jobs.items() for path in _stdins(job.over, ("over",))]
    for path, at in readers[0 if from_stdin else 1 :]:
        message = "standard input is the spec" if from_stdin else "standard input is read once only"
        yield places.key_problem(message, "jobs", at, *path)


def _stdins(over: Over | None, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if over is None:
        return
    if over.stdin is not None:
        yield (*path, "stdin")
    for kind, factors in (("product", over.product), ("zip", over.zip_)):
        for name, factor in (factors or {}).items():
            yield from _stdins(factor, (*path, kind, name))
