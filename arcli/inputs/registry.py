"""Every kind of input, by its key. A new one is a class in a file of its own and a word here."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from arcli.errors import UsageError
from arcli.inputs.base import Input
from arcli.inputs.cases import Cases
from arcli.inputs.csv import Csv
from arcli.inputs.from_job import FromJob
from arcli.inputs.glob import Glob
from arcli.inputs.jsonl import Jsonl
from arcli.inputs.lines import Lines
from arcli.inputs.linspace import Linspace
from arcli.inputs.list import List
from arcli.inputs.logspace import Logspace
from arcli.inputs.parquet import Parquet
from arcli.inputs.product import Product
from arcli.inputs.python import Python
from arcli.inputs.range import Range
from arcli.inputs.stdin import Stdin
from arcli.inputs.zip import Zip

BUILT_IN: tuple[type[Input], ...] = (
    List, Range, Linspace, Logspace, Lines, Csv, Jsonl, Parquet, Glob, Stdin, Python, FromJob,
    Product, Zip, Cases,
)  # fmt: skip
GROUP = "arcli.inputs"
"""The group of entry points by which installed packages add inputs."""


@cache
def inputs() -> dict[str, type[Input]]:
    """Return all kinds of input by their keys, in the order in which messages name them.

    Raises UsageError for an installed package whose input cannot be loaded.
    """
    kinds = {kind.key: kind for kind in BUILT_IN}
    # A package that cannot be loaded is named: the user can do something about it.
    for entry in entry_points(group=GROUP):
        package = entry.dist.name if entry.dist is not None else entry.value
        try:
            kind = entry.load()
        except Exception as error:  # noqa: BLE001 - importing a package may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise _unusable(entry.name, package, reason) from None
        if not (isinstance(kind, type) and issubclass(kind, Input)):
            raise _unusable(entry.name, package, f"{entry.value} is no arcli.inputs.base.Input")
        if kind.key in kinds:
            raise _unusable(entry.name, package, f"there is an input {kind.key!r} already")
        kinds[kind.key] = kind
    return kinds


def _unusable(name: str, package: str, reason: str) -> UsageError:
    message = f"the input {name!r} of the package {package} cannot be used: {reason}"
    return UsageError(message, hint=f"mend or uninstall {package}")
