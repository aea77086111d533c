"""Files that inputs read: whether they are there, how they are opened, their lines and what is in these."""

from __future__ import annotations

import codecs
import errno
import gzip
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, cast

from arcli.engine.parse import TooLargeError, json_value
from arcli.errors import InputError
from arcli.inputs import where
from arcli.inputs.base import Input, Source, SourceContext, Stream
from arcli.paths import exists, is_folder, is_refused, names_in
from arcli.suggest import did_you_mean, quoted

BLOCK = 1 << 16
"""Bytes of text that are read at once, at most."""


def missing(name: str, folder: Path, key: str = "path") -> Iterator[InputError]:
    """Yield an error where ``name``, which stands under a ``key`` of an input, is no file in ``folder``."""
    # A folder is the likeliest mistake, and a misspelt name the next: both have a hint.
    path = folder / name
    if is_folder(path):
        hint = f"glob: {quoted(f'{name}/*')} gives the files in it"
        yield InputError(f"{name} is a folder", hint=hint, path=(key,))
    elif is_refused(path):
        yield InputError(f"{name} cannot be read: {os.strerror(errno.EACCES)}", path=(key,))
    elif not exists(path):
        hint = did_you_mean(Path(name).name, names_in(path.parent))
        yield InputError(f"{name} does not exist", hint=hint, path=(key,))


UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading a file raises that is broken, or that is no gzip file though it is called so."""


def unreadable(error: Exception) -> str:
    """Return in words why a file cannot be read."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def is_packed(path: Path) -> bool:
    """Tell whether a file is called packed, as an output of that name would be."""
    return path.suffix.lower() == ".gz"


def opened(path: Path) -> BinaryIO:
    """Open a file to read bytes from; ``.gz`` is unpacked as it is read. Raises InputError."""
    try:
        if is_packed(path):
            return cast("BinaryIO", gzip.open(path, "rb"))
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {unreadable(error)}") from None


def lines_of(stream: BinaryIO, name: str) -> Iterator[str]:
    """Yield lines without their ends; bytes that are not UTF-8 survive as Python's surrogates."""
    # What there is, and not a full block: a line that has arrived must not wait for the next one.
    read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    begun: list[bytes] = []
    mark = codecs.BOM_UTF8
    try:
        while block := read(BLOCK):
            end = block.rfind(b"\n") + 1
            begun.append(block[:end] or block)
            if end:
                whole, begun = b"".join(begun), [block[end:]] if end < len(block) else []
                yield from _split(whole.removeprefix(mark))
                mark = b""
        if begun:
            yield from _split(b"".join(begun).removeprefix(mark) + b"\n")
    except UNREADABLE as error:
        raise InputError(f"{name} cannot be read any further: {unreadable(error)}") from None


def _split(whole: bytes) -> list[str]:
    """Split lines, all of which have their ends, many at a time: they read as each would by itself."""
    lines = whole.decode("utf-8", "surrogateescape").split("\n")
    del lines[-1]
    return [line.removesuffix("\r") for line in lines] if b"\r" in whole else lines


def read_lines(path: Path) -> Iterator[str]:
    """Yield a file's lines."""
    with opened(path) as stream:
        yield from lines_of(stream, str(path))


class FileInput(Input):
    """An input that reads one file."""

    short: ClassVar[str] = "path"
    path: str
    """The file."""

    def check(self, folder: Path) -> Iterator[InputError]:
        """See Input."""
        yield from missing(self.path, folder)

    def reads(self, folder: Path) -> Iterator[Path]:
        """See Input."""
        yield folder / self.path


class FileOfRows(FileInput):
    """An input that reads rows of one file, and may pick some of them as they are read."""

    picks_rows: ClassVar[bool] = True
    where: str | dict[str, Any] | None = None
    """Only rows for which this holds: an expression of their keys, or keys and values."""


class Lines(FileInput):
    """Lines of a text file, without their ends."""

    key: ClassVar[str] = "lines"
    named: ClassVar[bool] = False

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        path = context.folder / self.path
        return Stream(lambda: read_lines(path))


class Jsonl(FileOfRows):
    """Values of a file with one JSON text a line; ``where`` picks rows."""

    key: ClassVar[str] = "jsonl"

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        path = context.folder / self.path
        where.check(self.where, None)
        condition = where.condition(self.where)
        return Stream(lambda: read_jsonl(read_lines(path), str(path), condition))


def read_jsonl(lines: Iterable[str], name: str, condition: where.Condition) -> Iterator[Any]:
    """Yield a value a line; empty lines are passed over. Raises InputError with the place."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        # A bad line is met when it is its turn: what stands before it has been handed on by then.
        try:
            item = json_value(line)
        except TooLargeError as error:
            column = line.index(error.number) + 1
            raise InputError(f"{name}:{number}:{column}: {error}") from None
        except ValueError as error:
            column = getattr(error, "colno", 1)
            reason = getattr(error, "msg", str(error))
            raise InputError(f"{name}:{number}:{column}: not JSON: {reason}") from None
        except RecursionError:
            raise InputError(f"{name}:{number}: nested too deeply") from None
        if condition(item, f"{name}:{number}"):
            yield item
