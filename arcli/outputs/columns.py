"""Records as tables: blocks of columns, made as the records come.

Mappings are spread: an input or a value ``{"where": {"x": 1}}`` is the column ``value.where.x``. What
a person looks for comes first: inputs, values, the status, then the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from arcli.engine.encode import from_tree
from arcli.record import FIELDS, OPTIONAL, Record, RecordBatch, decode, dump, is_tagged, user_key

BLOCK_BYTES = 1 << 19
"""Of records' lines that become a block together: so few that they stay in a processor's cache."""
MOST_COLUMNS = 1000
"""Columns that inputs and values are spread to; what needs others stays in one piece, as JSON."""
DEEPEST = 8
"""Mappings inside each other that are spread."""
FIRST = ("status", "reason", "error.type", "error.message", "seconds")
REST = (
    "job", "index", "attempt", "engine_id", "slot", "stdout", "stderr", "truncated", "exact",
    "submitted", "started", "completed", "received", "chunk", "msg_id", "key", "run",
)  # fmt: skip
"""Columns that every table has."""
_SCALARS = {str, int, float, bool, type(None)}
_PLAIN = {kind | None for kind in (str, int, float, bool)}
_HINTS = {
    name: hint | None if hint | None in _PLAIN else Any for name, hint in get_type_hints(Record).items()
}
_WELL = {"status": "ok", "reason": None, "error": None, "attempt": 1}
"""What stands in the record of an item that was in order at its first attempt."""


@cache
def _decoder(names: tuple[str, ...]) -> Any:
    """Return what reads these fields of records: ten times as fast as into dicts, integers exactly."""
    return msgspec.json.Decoder(
        msgspec.defstruct("_Line", [(name, _HINTS[name], None) for name in names], gc=False)
    )


class Block(Struct, frozen=True, kw_only=True):
    """Consecutive records as columns of ``rows`` cells: scalars, None, JSON text of the rest.

    ``same`` has the cell of each column whose cells are all the same; what is in neither is empty.
    """

    rows: int
    columns: Mapping[str, Sequence[Any]]
    same: Mapping[str, Any]


class Columns:
    """The columns of a table, learnt from the blocks that have been made so far."""

    def __init__(self) -> None:
        self._spread: dict[str, dict[str, None]] = {"input": {}, "value": {}}
        self._others: dict[str, None] = {}
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._facts: dict[str, Any] = {}

    def add(self, batch: RecordBatch) -> Iterator[Block]:
        """Take a batch, and yield blocks once there is enough for one. Raises ValueError."""
        well = batch.tally.counts["ok"] == batch.count and not batch.tally.retried
        facts = {**(decode(batch.shared) if batch.shared else {}), **(_WELL if well else {})}
        # What is known of a part of them only is to be looked for in all.
        self._facts = dict(facts.items() & self._facts.items()) if self._waiting else facts
        self._waiting.append(batch.lines)
        self._bytes += len(batch.lines)
        if self._bytes >= BLOCK_BYTES:
            yield from self.rest()

    def rest(self) -> Iterator[Block]:
        """Yield blocks of what has not become one. Raises ValueError."""
        lines, self._waiting, self._bytes = b"".join(self._waiting), [], 0
        start, view = 0, memoryview(lines)
        while start < len(lines):
            end = lines.find(b"\n", start + BLOCK_BYTES) + 1 or len(lines)
            yield self.block(view[start:end], self._facts)
            start = end

    @property
    def names(self) -> tuple[str, ...]:
        """The columns from left to right."""
        inputs, values = (tuple(names) or (prefix,) for prefix, names in self._spread.items())
        return (*inputs, *values, *FIRST, *REST, *self._others)

    def block(self, lines: bytes | memoryview, facts: Mapping[str, Any]) -> Block:
        """Turn records' lines into columns, and learn which there are. Raises ValueError.

        ``facts`` are what all of them have in some fields, as far as that is known.
        """
        # Records of a chunk have much in common, which outputs need to look at only once: what is known to
        # be is not even read.
        same = {**facts}
        names = tuple(name for name in FIELDS if name not in same)
        try:
            records = map(astuple, _decoder(names).decode_lines(lines))
            columns: dict[str, Sequence[Any]] = dict(zip(names, zip(*records, strict=True), strict=True))
        except msgspec.MsgspecError:  # half of a surrogate pair, which only the slow reader takes
            trees = [decode(line) for line in bytes(lines).splitlines()]
            columns = {name: [tree.get(name) for tree in trees] for name in names}
        rows = len(columns["index"])
        others = {name: column for name in OPTIONAL if (column := columns.pop(name)).count(None) < rows}
        for prefix, known in self._spread.items():
            column = columns.pop(prefix)
            parts = _spread(column, prefix)
            if len(known.keys() | parts.keys()) > MOST_COLUMNS:
                parts = self._in_one_piece(column, prefix)
            known.update(dict.fromkeys(parts))
            columns.update(parts)
        errors = columns.pop("error", (same.pop("error", None),))
        for name in ("type", "message"):
            columns[f"error.{name}"] = (
                [error and error.get(name) for error in errors] if any(errors) else errors
            )
        # Some records have more: replayed ones, those of commands, those with artifacts.
        for name, column in sorted(others.items()):
            parts = _spread(column, name)
            self._others.update(dict.fromkeys(parts))
            columns.update(parts)
        same |= {name: column[0] for name, column in columns.items() if is_same(column)}
        varying = {name: column for name, column in columns.items() if name not in same}
        return Block(rows=rows, columns=varying, same=same)

    def _in_one_piece(self, values: Iterable[Any], prefix: str) -> dict[str, Sequence[Any]]:
        """Spread only what fits into the columns that there are."""
        rows = []
        for value in values:
            row = _flat(value, prefix, DEEPEST)
            fits = row.keys() <= self._spread[prefix].keys()
            rows.append(row if fits else {prefix: scalar(value)})
        return _columns_of(rows)


def is_same(column: Sequence[Any]) -> bool:
    """Tell whether all cells are the same: they are equal, of one type, and no zeros of two signs."""
    first = column[0]
    if first != column[-1] or column.count(first) != len(column):
        return False
    return type(first) is not float and len(set(map(type, column))) == 1


def scalar(value: Any) -> Any:
    """A scalar as it is, NaN and the infinities as floats, anything else as compact JSON text."""
    # Tables have no tags: a number that JSON lacks is one again.
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict) and len(value) == 1:
        if "$float" in value:
            value = from_tree(value)
            return value if isinstance(value, float) else dump(value).decode()
        if "$int" in value:
            return value["$int"]
    return dump(value).decode()


def _spread(values: Sequence[Any], prefix: str, depth: int = DEEPEST) -> dict[str, Sequence[Any]]:
    """Spread one column of values of any kind; none where there is nothing in it."""
    kinds = set(map(type, values))
    if kinds == {type(None)}:
        return {}
    if kinds <= _SCALARS:
        return {prefix: values}
    # Mostly all values are mappings with the same keys, and those that failed have none.
    first = next(value for value in values if value is not None)
    if kinds <= {dict, type(None)} and first and depth and not is_tagged(first):
        missing = dict.fromkeys(first)
        rows = [missing if value is None else value for value in values] if len(kinds) > 1 else values
        parts = _parts(rows, [*first])
        if parts is not None:
            columns: dict[str, Sequence[Any]] = {}
            for key, part in zip(first, parts, strict=True):
                columns.update(_spread(part, f"{prefix}.{_bare(key)}", depth - 1))
            return columns
    return _columns_of([_flat(value, prefix, depth) for value in values])


def _parts(rows: Sequence[Mapping[str, Any]], keys: list[str]) -> list[Sequence[Any]] | None:
    """Return the column of each key of mappings, None where they have not all the same keys."""
    if set(map(len, rows)) != {len(keys)}:
        return None
    try:
        return [list(map(itemgetter(key), rows)) for key in keys]
    except KeyError:
        return None


def _flat(value: Any, prefix: str, depth: int) -> dict[str, Any]:
    """Spread one value."""
    # An empty map would be no column at all, and a tagged one is a single value.
    if not isinstance(value, dict) or not value or not depth or is_tagged(value):
        return {} if value is None else {prefix: scalar(value)}
    row: dict[str, Any] = {}
    for key, part in value.items():
        row.update(_flat(part, f"{prefix}.{_bare(key)}", depth - 1))
    return row


def _columns_of(rows: list[dict[str, Any]]) -> dict[str, Sequence[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _bare(key: str) -> str:
    """A key as a part of a column's name: with quotes where its dots would mean something else."""
    bare = user_key(key)
    return dump(bare).decode() if "." in bare or bare.startswith('"') else bare
