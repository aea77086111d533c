"""Every kind of input, by its key. A new one is a class in a file of its own and a line here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from arcli.errors import UsageError

if TYPE_CHECKING:
    from arcli.inputs.base import Input, Unpack

BUILT_IN = {
    "list": "arcli.inputs.values:List",
    "range": "arcli.inputs.values:Range",
    "linspace": "arcli.inputs.values:Linspace",
    "logspace": "arcli.inputs.values:Logspace",
    "lines": "arcli.inputs.files:Lines",
    "csv": "arcli.inputs.csv:Csv",
    "jsonl": "arcli.inputs.files:Jsonl",
    "parquet": "arcli.inputs.parquet:Parquet",
    "glob": "arcli.inputs.glob:Glob",
    "stdin": "arcli.inputs.stdin:Stdin",
    "blocks": "arcli.inputs.blocks:Blocks",
    "python": "arcli.inputs.python:Python",
    "from": "arcli.inputs.values:FromJob",
    "product": "arcli.inputs.combinations:Product",
    "zip": "arcli.inputs.combinations:Zip",
    "cases": "arcli.inputs.combinations:Cases",
}
"""Where the class of each kind is; only those that a spec uses are imported."""
_BY_NAME = ("csv", "parquet", "product", "zip", "cases")
GROUP = "arcli.inputs"
"""The group of entry points by which installed packages add inputs."""


def kind_of(key: str) -> type[Input]:
    """Return the class of a kind of input. Raises KeyError where there is none, and UsageError."""
    # Looking for packages reads the metadata of all that are installed: only for what is not arcli's own.
    if key not in BUILT_IN:
        return _of_other_packages()[key]
    module, _, name = BUILT_IN[key].partition(":")
    kind: type[Input] = getattr(importlib.import_module(module), name)
    return kind


def usual_unpack(over: Mapping[str, Any]) -> Unpack:
    """Return how the sources of inputs as they are written have items unpacked; none is opened for it."""
    stdin = over.get("stdin")
    form = stdin.get("form") if isinstance(stdin, Mapping) else stdin
    by_name = form == "csv" or any(over.get(key) is not None for key in _BY_NAME)
    return "kwargs" if by_name else "none"


def keys() -> tuple[str, ...]:
    """Return the keys of all kinds of input, in the order in which messages name them.

    Raises UsageError for an installed package whose input cannot be loaded.
    """
    return (*BUILT_IN, *_of_other_packages())


def inputs() -> dict[str, type[Input]]:
    """Import all kinds of input, and return them by their keys. Raises UsageError as ``keys`` does."""
    return {key: kind_of(key) for key in keys()}


@cache
def _of_other_packages() -> dict[str, type[Input]]:
    from importlib.metadata import entry_points

    from arcli.inputs.base import Input

    kinds: dict[str, type[Input]] = {}
    # A package that cannot be loaded is named: the user can do something about it.
    for entry in entry_points(group=GROUP):
        package = entry.dist.name if entry.dist is not None else entry.value
        try:
            kind: Any = entry.load()
        except Exception as error:  # noqa: BLE001 - importing a package may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise _unusable(entry.name, package, reason) from None
        if not (isinstance(kind, type) and issubclass(kind, Input)):
            raise _unusable(entry.name, package, f"{entry.value} is no arcli.inputs.base.Input")
        if kind.key in {*BUILT_IN, *kinds}:
            raise _unusable(entry.name, package, f"there is an input {kind.key!r} already")
        kinds[kind.key] = kind
    return kinds


def _unusable(name: str, package: str, reason: str) -> UsageError:
    message = f"the input {name!r} of the package {package} cannot be used: {reason}"
    return UsageError(message, hint=f"mend or uninstall {package}")
