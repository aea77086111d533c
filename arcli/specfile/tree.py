"""The text of a spec, and the nodes it consists of: they know where they stand, for problems there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from arcli.errors import Problem, SpecError
from arcli.paths import is_folder

LARGEST = 10_000_000
"""Bytes of a spec. What is larger holds items, which belong in a file of their own."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_ITEMS_ELSEWHERE = "put the items in a file of their own: over: {lines: …}, {csv: …}, {jsonl: …}"


class Text(Struct, frozen=True, eq=False):
    """What was read, and what it is called in messages."""

    label: str
    text: str

    def problem(
        self, message: str, line: int | None = None, column: int | None = None, hint: str = ""
    ) -> Problem:
        """Return a problem at a place; ``line`` and ``column`` count from 0, as PyYAML's marks do."""
        if line is None:
            return Problem(message=message, file=self.label, hint=hint or None)
        return Problem(
            message=message,
            file=self.label,
            line=line + 1,
            column=None if column is None else column + 1,
            source=self.line(line),
            hint=hint or None,
        )

    def line(self, number: int) -> str:
        """Return one line, counted from 0, without its end; empty where there is none."""
        lines = self.text.split("\n")
        return lines[number].rstrip("\r") if number < len(lines) else ""


def read(source: str) -> Text:
    """Return the text of a file, or of standard input for ``-``. Raises SpecError."""
    if source == "-":
        return _decoded("stdin", sys.stdin.buffer.read(LARGEST + 1) if sys.stdin else b"")
    path = Path(source)
    nothing = Text(source or "''", "")
    if not source:
        raise SpecError([nothing.problem("an empty name is no file's", hint="give the path of a spec")])
    try:
        if is_folder(path):
            specs = sorted(entry.name for entry in path.glob("*.y*ml"))
            hint = f"in it: {', '.join(specs[:5])}" if specs else "give the path of a file"
            raise SpecError([nothing.problem("this is a directory, not a spec", hint=hint)])
        # Bounded, so that a device or a huge file ends in a message.
        with path.open("rb") as file:
            return _decoded(source, file.read(LARGEST + 1))
    except OSError as error:
        import difflib

        # Another file beside one that is there, and only may not be read, would be no help.
        here = isinstance(error, FileNotFoundError) and is_folder(path.parent)
        specs = [file.name for file in path.parent.glob("*.y*ml")] if here else []
        close = difflib.get_close_matches(path.name, specs, 1)
        hint = f"did you mean {path.with_name(close[0])}?" if close else ""
        why = error.strerror or str(error)
        raise SpecError([nothing.problem(f"cannot be read: {why}", hint=hint)]) from None


def _decoded(label: str, data: bytes) -> Text:
    """Return what was read as text, which YAML can hold. Raises SpecError with the place of a bad byte."""
    if len(data) > LARGEST:
        message = f"a spec has at most {LARGEST // 1_000_000} MB"
        raise SpecError([Text(label, "").problem(message, hint=_ITEMS_ELSEWHERE)])
    try:
        text = Text(label, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        # The place of a bad byte is counted in the characters before it.
        before = data[: error.start].decode("utf-8", "replace")
        good = Text(label, data.decode("utf-8", "replace"))
        byte = data[error.start]
        message = f"not UTF-8: byte 0x{byte:02x}"
        raise SpecError([good.problem(message, *_place(before), hint="save the file as UTF-8")]) from None
    # PyYAML's ReaderError for these has an offset and no line.
    if match := _CONTROL.search(text.text):
        message = f"a control character, U+{ord(match[0]):04X}, which YAML does not allow"
        raise SpecError([text.problem(message, *_place(text.text[: match.start()]))])
    return text


def _place(before: str) -> tuple[int, int]:
    """Line and column, from 0, of what comes after some text."""
    line = before.count("\n")
    return line, len(before) - (before.rfind("\n") + 1)


NodePath = tuple[str | int, ...]


class Entry(NamedTuple):
    """A key and its value."""

    key: Node
    value: Node


class Node(Struct, eq=False):
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

    def put(self, key: str, value: Node, name: Node | None = None) -> None:
        """Set a map's key, which stands where ``name`` does, or its value."""
        name = name or Node("scalar", key, value.text, value.line, value.column, raw=key)
        self.value[key] = Entry(self.value[key].key if key in self.value else name, value)

    def follow(self, path: Sequence[str | int]) -> tuple[Node, NodePath]:
        """Return the node as far down a path as nodes go, and the path to it.

        Steps that lead nowhere are left out: a short form has no node for the key it stands for.
        In a list of maps, a name leads to the one that has it.
        """
        node = self
        followed: NodePath = ()
        for step in path:
            below: Node | None = None
            if node.kind == "map":
                entry: Entry | None = node.value.get(step)
                below = entry.value if entry is not None else None
            elif node.kind == "list" and isinstance(step, int):
                below = node.value[step] if step < len(node.value) else None
            # Jobs are named rather than counted in paths, as people write them.
            elif node.kind == "list":
                named = [part for part in node.value if (name := part.get("name")) and name.value == step]
                below = named[0] if named else None
            if below is not None:
                node, followed = below, (*followed, step)
        return node, followed

    def plain_data(self) -> Any:
        """Return the tree as Python data."""
        if self.kind == "list":
            return [part.plain_data() for part in self.value]
        if self.kind == "map":
            return {key: entry.value.plain_data() for key, entry in self.value.items()}
        return self.value


class Places(Struct, frozen=True, eq=False):
    """The nodes of a spec, after defaults and short forms have found their places; of it what is ``under``
    a path.
    """

    root: Node
    under: NodePath = ()

    @classmethod
    def nowhere(cls) -> Places:
        """Return those of a spec that was not read from a text."""
        return cls(Node("map", {}, Text("spec", ""), 0, 0))

    def below(self, *path: str | int) -> Places:
        """Return the places below a path, such as ``"jobs", 0``."""
        return Places(self.root, (*self.under, *path))

    def node(self, *path: str | int) -> Node:
        """Return what is at a path, such as ``"jobs", "squares", "over"``, as far down as nodes go."""
        return self.root.follow((*self.under, *path))[0]

    def problem(self, message: str, *path: str | int, hint: str | None = "") -> Problem:
        """Return a problem with what is at a path."""
        return self.node(*path).problem(message, hint or "")

    def key_problem(self, message: str, *path: str | int, hint: str = "") -> Problem:
        """Return a problem with the key at the end of a path, or with what it would be in."""
        # A key of something that is itself not in the file, such as a default, has no place of its own.
        *above, key = self.under + path
        node, existing = self.root.follow(above)
        entry = node.value.get(key) if node.kind == "map" else None
        if entry is None or len(existing) < len(above):
            return node.problem(message, hint)
        problem: Problem = entry.key.problem(message, hint)
        return problem
