"""Values that only a running cluster knows: the client's share of them, and the engines'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from arcli.fields import Deferred, DeferredText


@dataclass(frozen=True, slots=True)
class JobValue:
    """An earlier job's value on its way to engines, which open it: the classes of it are theirs.

    For ``form`` and ``parts`` see ``engine.functions.assembled``.
    """

    form: str
    parts: list[tuple[Any, str | None, bytes | None]]


@dataclass(frozen=True, slots=True)
class _Text:
    """A string with parts that engines fill in."""

    parts: tuple[str | Deferred | JobValue, ...]


class Resolver:
    """Fills ``${engines.…}`` and ``${jobs.…}`` into trees of data; ``${ref.…}`` stays.

    ``slots`` is the number of engine slots; ``value_of`` gives an earlier job's value by its name,
    itself or as a ``JobValue``.
    """

    def __init__(self, slots: int, value_of: Callable[[str], Any]) -> None:
        self._slots = slots
        self._value_of = value_of

    def __call__(self, tree: Any) -> Any:
        """Return the tree with all that is known by now filled in."""
        if isinstance(tree, Deferred):
            return self._deferred(tree)
        if isinstance(tree, DeferredText):
            parts = tuple(self(part) for part in tree.parts)
            # A job's value inside of a text stays what it is until the command is
            # put together.
            if any(isinstance(part, Deferred | JobValue) for part in parts):
                return _Text(tuple(p if isinstance(p, Deferred | JobValue) else str(p) for p in parts))
            return "".join(map(str, parts))
        if isinstance(tree, list):
            return [self(part) for part in tree]
        if isinstance(tree, Mapping):
            return {key: self(part) for key, part in tree.items()}
        return tree

    def _deferred(self, late: Deferred) -> Any:
        if late.kind == "engines":
            return list(range(self._slots)) if late.name == "slots" else self._slots
        if late.kind == "jobs":
            return self._value_of(late.name.removesuffix(".value"))
        return late


def to_engine(tree: Any) -> Any:
    """References in a form that needs no arcli on the other side: tuples, which YAML lacks."""
    if isinstance(tree, Deferred):
        return (tree.kind, tree.name)
    if isinstance(tree, JobValue):
        return ("value", tree.form, tree.parts)
    if isinstance(tree, DeferredText | _Text):
        return ("text", tuple(to_engine(part) for part in tree.parts))
    if isinstance(tree, list):
        return [to_engine(part) for part in tree]
    if isinstance(tree, Mapping):
        return {key: to_engine(part) for key, part in tree.items()}
    return tree
