"""A YAML document as nodes that know where they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from arcli.errors import Problem
from arcli.specfile.text import Text

Path = tuple[str | int, ...]


class Entry(NamedTuple):
    """A key and its value."""

    key: Node
    value: Node


@dataclass(slots=True, eq=False)
class Node:
    """A scalar, a list or a map. Line and column count from 0.

    ``value`` is the scalar's Python value, a list of nodes, or a dict from keys to entries.
    ``raw`` is a scalar's text before it meant anything; ``block``: written with ``|`` or ``>``.
    """

    kind: Literal["scalar", "list", "map"]
    value: Any
    text: Text
    line: int
    column: int
    raw: str = ""
    plain: bool = False
    block: bool = False

    def problem(self, message: str, hint: str = "") -> Problem:
        """Return a problem with this node."""
        return self.text.problem(message, self.line, self.column, hint)

    def get(self, key: str) -> Node | None:
        """Return a map's value, None where there is none, or this is no map."""
        entry = self.value.get(key) if self.kind == "map" else None
        return entry.value if entry is not None else None

    def entries(self) -> Iterator[tuple[Any, Entry]]:
        """Yield a map's keys and entries."""
        yield from self.value.items() if self.kind == "map" else ()

    def put(self, key: str, value: Node) -> None:
        """Set a map's key."""
        name = Node("scalar", key, value.text, value.line, value.column, raw=key)
        self.value[key] = Entry(self.value[key].key if key in self.value else name, value)

    def follow(self, path: Sequence[str | int]) -> tuple[Node, Path]:
        """As far down a path as nodes go, and the path that was gone.

        Steps that lead nowhere are left out: a short form has no node for the key it stands for.
        In a list of maps, a name leads to the one that has it.
        """
        node = self
        followed: Path = ()
        for step in path:
            below = node._below(step)
            if below is not None:
                node, followed = below, (*followed, step)
        return node, followed

    def _below(self, step: str | int) -> Node | None:
        if self.kind == "map":
            entry: Entry | None = self.value.get(step)
            return entry.value if entry is not None else None
        if self.kind == "list" and isinstance(step, int):
            below: Node | None = self.value[step] if step < len(self.value) else None
            return below
        if self.kind == "list":
            # Jobs are named rather than counted in paths, as people write them.
            for part in self.value:
                name = part.get("name")
                if name is not None and name.value == step:
                    named: Node = part
                    return named
        return None

    def plain_data(self) -> Any:
        """Return the tree as Python data."""
        if self.kind == "list":
            return [part.plain_data() for part in self.value]
        if self.kind == "map":
            return {key: entry.value.plain_data() for key, entry in self.value.items()}
        return self.value
