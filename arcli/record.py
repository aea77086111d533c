"""The record of an item, and the batches in which records pass through the house.

A record is one JSON object on one line, written on the engine (``arcli.engine``) and completed with
what the whole chunk shares. Most of arcli moves records as those bytes; only what must look inside
decodes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any, Literal, get_args

import msgspec
import orjson
from msgspec import Struct, to_builtins

from arcli.engine.tally import Tally

Kind = Literal["map", "apply", "command", "notebook"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a job runs, by the key that says so."""
JOB_NAME = re.compile(r"(?!\.\.?$)[A-Za-z0-9_.-]+")
"""What jobs can be called: their names are parts of paths, where ``..`` would lead out."""
# orjson reads an integer beyond 64 bits as a float, and refuses lone surrogates.
# A run of 19 digits is looked for in a copy of which only digits are left: ten times as fast as a pattern.
_DIGITS = bytes(ord("0") if chr(code).isdecimal() and code < 128 else ord(" ") for code in range(256))
_LONG_NUMBER = b"0" * 19


def read(text: bytes) -> Any:
    """Read JSON that arcli wrote, its numbers exact. Raises ValueError."""
    # The fast reader where it is exact; the slow one, which knows integers of any size and lone
    # surrogates, where it is not.
    if _LONG_NUMBER not in text.translate(_DIGITS):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(text)
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def decode(line: bytes) -> dict[str, Any]:
    """Read one line of JSON as a dict, its numbers exact; raises ValueError for anything else."""
    tree = read(line)
    if not isinstance(tree, dict):
        raise ValueError("not a record")
    return tree


def dump(tree: Any) -> bytes:
    """Compact JSON of plain data: integers of any size, lone surrogates as escapes."""
    try:
        return orjson.dumps(tree)
    except TypeError:
        return json.dumps(tree, separators=(",", ":")).encode("ascii")


_NO_TEXT = re.compile(r"None|True|False|nan|-?inf|-?\d[\d.e+-]*")
"""How a key that is no text looks as text."""
NUMBER_TAGS = frozenset(["$float", "$int"])
"""Tags of what JSON lacks, and what a record has all the same as it was."""
_LARGE_EXPONENT = re.compile(r"e(?:[^-]|-\d\d)")
_SMALL = re.compile(r"(?<!\d)0\.0000\d+")


def in_python(numbers: Sequence[float]) -> str | None:
    """Return numbers as Python writes them, with commas between; None where JSON's writer might not.

    To have each written by ``repr`` takes five times as long.
    """
    try:
        text = msgspec.json.encode(numbers)[1:-1].decode()
    except OverflowError:  # integers of more than 64 bits
        return None
    # What JSON lacks is null there, and bools have other names; exponents have one digit less, and begin
    # with a smaller number.
    if "u" in text or "l" in text or ("e" in text and _LARGE_EXPONENT.search(text)):
        return None
    text = text.replace("e-", "e-0")
    return _SMALL.sub(lambda number: repr(float(number[0])), text) if "0.0000" in text else text


def file_of(tree: Any) -> str | None:
    """Return the file, below the run's folder, of which a record's value is only a sight; None: none."""
    if isinstance(tree, dict):
        array = tree.get("$array")
        path = tree.get("$pickle") or (array.get("path") if isinstance(array, dict) else None)
        if path is not None:
            return str(path)
        tree = list(tree.values())
    paths = map(file_of, tree if isinstance(tree, list) else ())
    return next((path for path in paths if path is not None), None)


def is_tagged(value: Mapping[str, Any]) -> bool:
    """Tell whether a mapping stands for a value that JSON lacks (``$float``, ``$pickle`` …)."""
    return any(key.startswith("$") and not key.startswith("$$") for key in value)


def is_whole(tree: Any, tags: Set[str] = NUMBER_TAGS, *, kinds: Set[str] = frozenset()) -> bool:
    """Tell whether what a record says of an item is all of it: of what JSON lacks it has only ``tags``.

    Keys of what stands in a spec (``kinds``) may have been numbers, which are text in a record.
    """
    if isinstance(tree, list):
        return all(is_whole(part, tags, kinds=kinds) for part in tree)
    if not isinstance(tree, dict):
        return True
    if is_tagged(tree):
        return tree.keys() <= tags
    by_hand = not kinds.isdisjoint(("list", "cases"))
    if by_hand and any(map(_NO_TEXT.fullmatch, tree)):
        return False
    return all(is_whole(part, tags, kinds=kinds) for part in tree.values())


def user_key(key: str) -> str:
    """Return a key as the user wrote it: one that begins with ``$`` has a second one in a record."""
    return key[1:] if key.startswith("$$") else key


def parts(value: Any) -> dict[str, Any]:
    """Return the parts of a mapping by its user's keys; none of what stands for another value."""
    if not isinstance(value, dict) or is_tagged(value):
        return {}
    return {user_key(key): part for key, part in value.items()}


def attempts(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what a record says of each attempt of its item, the last one being the record itself."""
    about = {name: record.get(name) for name in ("job", "index", "input", "replayed")}
    for earlier in record.get("earlier_attempts") or ():
        yield {**about, **earlier, "tried_again": True}
    yield record


class TwinKeys(ValueError):
    """Two items have the same key of ``collect: dict``."""


class EntryKeys:
    """The keys under which ``collect: dict`` has the values of a job's records, one after another."""

    def __init__(self, kind: str) -> None:
        # An apply's keys are engines, a map's are inputs.
        self._field = "engine_id" if kind == "apply" else "input"
        self._owners: dict[Any, tuple[int, Any, bool]] = {}

    def of(self, record: Mapping[str, Any]) -> tuple[str, Any]:
        """Return the key of a record: as text, and as it is. Raises TwinKeys."""
        number, given = record["index"], record.get(self._field)
        # An input that cannot be a key has its number.
        is_key = isinstance(given, str | int | float)
        key = given if is_key else number
        text = key if isinstance(key, str) else dump(key).decode()
        owner = number, key, is_key
        # What Python takes for the same (1 and true) are twins, and what JSON does (1 and "1").
        for name in (key, ("", text)):
            first = self._owners.setdefault(name, owner)
            if first[0] != number:
                mine, other = (_shown_key(key, is_key=whose) for _, key, whose in (owner, first))
                also = "too" if mine == other else f"the same as {mine}"
                reason = f"item {first[0]} has the key {other}, {also}"
                raise TwinKeys(f"{reason}; collect: list keeps all values")
        return text, key


def _shown_key(key: Any, *, is_key: bool) -> str:
    """Return a key as a message has it; one that no input is, is its item's number."""
    shown = repr(key) if isinstance(key, str) else dump(key).decode()
    return shown if is_key else f"{shown} (its number)"


class ItemError(Struct, frozen=True, kw_only=True):
    """What went wrong in an item."""

    type: str
    message: str
    traceback: str


class Attempt(Struct, frozen=True, kw_only=True):
    """One try of an item that did not end with its record: where it ran, how it ended and when.

    ``started`` and ``completed`` are ISO 8601 UTC, of the engine's clock where it lived to tell.
    """

    engine_id: int
    slot: int
    status: str
    reason: str
    started: str
    completed: str
    seconds: float


class Record(Struct, frozen=True, kw_only=True):
    """The one canonical form of an item's result; its fields are the keys of a journal's line."""

    run: str
    job: str
    index: int
    key: str
    input: Any
    status: str
    reason: str | None
    value: Any
    exact: bool
    error: ItemError | None
    stdout: str
    stderr: str
    truncated: bool
    engine_id: int | None
    slot: int | None
    msg_id: str | None
    chunk: int | None
    attempt: int
    submitted: str | None
    started: str | None
    completed: str | None
    received: str | None
    seconds: float | None
    replayed: bool = False
    earlier_attempts: list[dict[str, Any]] | None = None
    usage: dict[str, float | None] | None = None
    outdir: str | None = None
    artifacts: list[dict[str, Any]] | None = None

    @classmethod
    def from_line(cls, line: bytes) -> Record:
        """Decode one line of JSON; raises ValueError for what is not a record."""
        data = decode(line)
        if "index" not in data or "status" not in data:
            raise ValueError("not a record")
        if data.get("error") is not None:
            data["error"] = ItemError(**data["error"])
        return cls(**{name: data[name] for name in FIELDS if name in data})

    def to_line(self) -> bytes:
        """Return one line of JSON, its newline included."""
        data = {name: getattr(self, name) for name in FIELDS}
        data["error"] = to_builtins(self.error)
        for optional in OPTIONAL:
            if not data[optional]:
                del data[optional]
        return dump(data) + b"\n"


FIELDS = Record.__struct_fields__
OPTIONAL = ("replayed", "earlier_attempts", "usage", "outdir", "artifacts")
"""Fields that stand in a record only where they say something."""


class RecordBatch(Struct, kw_only=True):
    """Records of ``count`` consecutive items of one job, ``first`` to ``first + count - 1``.

    ``lines`` holds one JSON object a line, each with its newline; ``tally`` what they add up to.
    ``offset`` and ``length`` say where the lines stand in the journal, from which a session reads them
    again that let go of them meanwhile; ``journal`` is its descriptor, None where there is none.
    ``pickles`` says where the values that JSON does not hold exactly are kept for this run:
    ``(offset, length)`` by index. ``shared`` is one JSON object of fields that are the same in all records,
    where that is known.
    """

    job: str
    first: int
    count: int
    lines: bytes
    tally: Tally
    offset: int = 0
    length: int = 0
    journal: int | None = None
    pickles: dict[int, tuple[int, int]] | None = None
    shared: bytes = b""

    @classmethod
    def of_line(cls, line: bytes) -> RecordBatch:
        """Return one record of a journal, which nobody adds up any more. Raises ValueError."""
        record = decode(line)
        return cls(job=record["job"], first=record["index"], count=1, lines=line, tally=Tally())

    def __iter__(self) -> Iterator[Record]:
        for line in self.lines.splitlines():
            yield Record.from_line(line)


class PrintedLines(Struct, frozen=True):
    """Lines that an item has printed to ``out`` or ``err``; ``left_out`` more were too many."""

    job: str
    index: int
    stream: str
    lines: list[str]
    left_out: int = 0
