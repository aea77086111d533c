"""Blocks of a file or of standard input, cut where a record begins: what one call reads at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar

from pydantic import BeforeValidator, WithJsonSchema

from arcli.errors import InputError
from arcli.fields import Count
from arcli.inputs.base import Input, Source, SourceContext, Stream
from arcli.inputs.files import UNREADABLE, is_packed, missing, opened, unreadable
from arcli.paths import is_stored

READ = 1 << 16
"""Bytes that are read at once where the next record is looked for."""
NAMES = ("path", "offset", "length")
"""What says where a block of a file is."""
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kKMG])?i?[Bb]?\s*")
_SIZE_FORMS = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": f"^{_SIZE.pattern}$"},
    ]
}
_UNITS = {None: 1, "k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _size(value: Any) -> Any:
    """Read ``1M`` as a number of bytes: K, M and G are powers of 1,024, as GNU parallel has them."""
    # A number is bytes already; a unit is one of powers of 1,024 with or without `i` and `B`.
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match is None:
            raise ValueError("give a number of bytes such as 65536, 64K or 1M")
        return int(float(match[1]) * _UNITS[match[2]])
    return value


class Blocks(Input):
    """Blocks for a command's standard input; a function gets the bytes, or path, offset and length."""

    key: ClassVar[str] = "blocks"
    short: ClassVar[str] = "of"
    of: str
    """A file, which each call reads its part of; or `stdin`, whose bytes travel, as a packed file's or
    a pipe's do."""
    bytes: Annotated[Count, BeforeValidator(_size), WithJsonSchema(_SIZE_FORMS)] = 1 << 20
    """How long a block is at least; it goes on until the next record begins."""
    start: str = ""
    """What a line begins with where a record begins; by default every line is a record."""

    @property
    def reads_stdin(self) -> bool:  # type: ignore[override]
        """Whether it is standard input that is cut."""
        return self.of == "stdin"

    def check(self, folder: Path) -> Iterator[InputError]:
        """See Input."""
        if not self.reads_stdin:
            yield from missing(self.of, folder, "of")

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        mark = b"\n" + self.start.encode()
        if not self.reads_stdin:
            path = context.folder / self.of
            if not _has_parts(path):
                return Stream(lambda: read_blocks(path, self.bytes, mark))
            return Stream(lambda: parts_of(path, self.bytes, mark), distinct=True, names=NAMES)
        # A file is read by each call itself; of a pipe the bytes have to travel.
        stdin = context.stdin
        if stdin is None:
            raise InputError("standard input is closed")
        return Stream(lambda: blocks_of(stdin, self.bytes, mark))

    def reads(self, folder: Path) -> Iterator[Path]:
        """See Input."""
        if not self.reads_stdin:
            yield folder / self.of

    def state(self, folder: Path) -> list[Any] | None:
        """Return what tells whether a file has changed whose parts are the items; None where bytes are.

        Its path, size and time of change (nanoseconds): an item does not have the bytes that it names.
        """
        path = folder / self.of
        if self.reads_stdin or not _has_parts(path):
            return None
        about = path.stat()
        return [str(path), about.st_size, about.st_mtime_ns]

    def keys(self, source: Source) -> Iterable[str] | None:
        """See Input."""
        return source.names or ()  # bytes have none

    def nothing(self) -> str:
        """See Input."""
        return f"{self.of} is empty"


def _has_parts(path: Path) -> bool:
    """Tell whether each call can read its part of a file."""
    return is_stored(path) and not is_packed(path)


def parts_of(path: Path, size: int, mark: bytes) -> Iterator[dict[str, Any]]:
    """Yield where the blocks of a file are; of the file only the ends of blocks are read."""
    try:
        with path.open("rb") as file:
            end, offset = path.stat().st_size, 0
            while offset < end:
                # A line's end belongs to its block, so the search begins with the last byte of it.
                file.seek(offset + size - 1)
                cut = _next(file, mark)
                after = end if cut is None else offset + size - 1 + cut
                yield {"path": str(path), "offset": offset, "length": after - offset}
                offset = after
    except UNREADABLE as error:
        raise InputError(f"{path} cannot be read: {unreadable(error)}") from None


def _next(file: BinaryIO, mark: bytes) -> int | None:
    """Return how far behind the file's place the next record begins, None where none does."""
    seen, dropped = b"", 0
    while data := file.read(READ):
        seen += data
        at = seen.find(mark)
        if at >= 0:
            return dropped + at + 1
        # The mark may lie across two reads: as much of the end as can be its beginning is kept.
        kept = len(mark) - 1
        dropped += len(seen) - kept
        seen = seen[len(seen) - kept :]
    return None


def read_blocks(path: Path, size: int, mark: bytes) -> Iterator[bytes]:
    """Yield the blocks of a packed file or a pipe, of which no call can read a part. Raises InputError."""
    with opened(path) as stream:
        try:
            yield from blocks_of(stream, size, mark)
        except UNREADABLE as error:
            raise InputError(f"{path} cannot be read any further: {unreadable(error)}") from None


def blocks_of(stream: BinaryIO, size: int, mark: bytes) -> Iterator[bytes]:
    """Yield what a stream has, in blocks that end where a record does."""
    # An array grows at its end and shrinks at its beginning without a copy of the rest each time.
    held, searched = bytearray(), size - 1
    while data := stream.read(READ):
        held += data
        while (at := held.find(mark, searched)) >= 0:
            # At the very end nobody knows yet whether there is another record.
            if at + 1 == len(held):
                break
            yield bytes(held[: at + 1])
            del held[: at + 1]
            searched = size - 1
        else:
            searched = max(size - 1, len(held) - len(mark) + 1)
    if held:
        yield bytes(held)
