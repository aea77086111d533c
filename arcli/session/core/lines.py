"""Records as lines of bytes: put together from what engines send, cut, and added up."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from arcli.engine.encode import encode_apart
from arcli.engine.errors import safe_repr
from arcli.engine.protocol import ChunkReply
from arcli.engine.tally import Tally
from arcli.inputs.pickled import PickledInput
from arcli.record import decode, read
from arcli.session.core.chunk import Chunk
from arcli.session.core.messages import IndexedPickle

LARGE = 10_000
"""Bytes of a record beyond which copying it costs more than looking at it by itself."""


def complete(lines: bytes, count: int, prefix: bytes, stamp: bytes) -> bytes:
    """Put records together from ``count`` items' own parts, and what all of a chunk share on both sides."""
    # Large values are copied once, line by line.
    if len(lines) > LARGE * count:
        parts: list[bytes | memoryview] = []
        view, at = memoryview(lines), 0
        while at < len(lines):
            end = lines.index(b"\n", at)
            parts += (prefix, view[at:end], stamp)
            at = end + 1
        return b"".join(parts)
    # One replace for the whole chunk: at a million items this line is what a record costs the client.
    # What follows the last line's end is left out by a view.
    ended = lines.replace(b"\n", stamp + prefix)
    return b"".join((prefix, memoryview(ended)[: -len(prefix)]))


def consecutive(chunk: Chunk, runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Turn runs of positions into runs of consecutive item numbers: ``(first number, count)``."""
    # A chunk fresh from its source is a range; only a retried one has gaps to look for.
    indices = chunk.indices
    if isinstance(indices, range):
        return [(indices[first], count) for first, count in runs]
    spans: list[tuple[int, int]] = []
    for first, count in runs:
        for index in indices[first : first + count]:
            if spans and sum(spans[-1]) == index:
                spans[-1] = (spans[-1][0], spans[-1][1] + 1)
            else:
                spans.append((index, 1))
    return spans


def after(done: int, lines: bytes, runs: list[tuple[int, int]]) -> tuple[bytes, list[tuple[int, int]]]:
    """Keep the lines and runs at positions from ``done`` on."""
    positions = [p for first, count in runs for p in range(first, first + count)]
    each = lines.splitlines(keepends=True)
    kept = b"".join(line for p, line in zip(positions, each, strict=True) if p >= done)
    cut = [(max(first, done), first + count) for first, count in runs if first + count > done]
    return kept, [(first, end - first) for first, end in cut]


def indexed(chunk: Chunk, reply: ChunkReply) -> list[IndexedPickle]:
    """Find the pickles of a reply by their items' numbers, without those that are in already."""
    values: list[IndexedPickle] = []
    offset = 0
    for value in reply.values:
        if value.position >= chunk.done:
            index = chunk.indices[value.position]
            values.append(IndexedPickle(index, value.saved, offset, value.length, value.file))
        offset += value.length
    return values


class _Outcome(Struct, frozen=True, gc=False):
    """What a tally needs of a record."""

    status: str
    seconds: float | None
    attempt: int


_OUTCOME = msgspec.json.Decoder(_Outcome)
"""Reads it in a quarter of the time that the whole record takes."""


def tally_of(lines: bytes) -> Tally:
    """Add up records from their text."""
    tally = Tally()
    for line in lines.splitlines():
        outcome = _outcome(line if line.startswith(b"{") else b"{" + line + b"}")
        tally.add(outcome.status, outcome.seconds, outcome.attempt)
    return tally


def _outcome(line: bytes) -> _Outcome:
    # Lone surrogates and deep nesting are JSON, too, but not to the fast reader.
    with suppress(msgspec.DecodeError, RecursionError):
        return _OUTCOME.decode(line)
    data = decode(line)
    return _Outcome(data["status"], data["seconds"], data["attempt"])


def shown(item: Any, *, sizes: bool = False) -> Any:
    """Give an input as a record shows it; ``sizes``: of bytes how many there are."""
    try:
        text = item.text if isinstance(item, PickledInput) else encode_apart(item, None, sizes=sizes)[0]
    except Exception:  # noqa: BLE001 - Unfit, and what a mapping or array of the user's raises
        return {"$pickle": None, "repr": safe_repr(item)}
    return read(text.encode("utf-8", "surrogatepass"))
