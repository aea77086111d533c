"""Items from files and streams that are text, with the line of what is wrong in them."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from arcli.errors import InputError
from arcli.inputs.where import Condition

BLOCK = 1 << 16


def opened(path: Path) -> BinaryIO:
    """A file to read bytes from. Raises InputError."""
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def lines_of(stream: BinaryIO, name: str) -> Iterator[str]:
    """Lines without their ends; bytes that are not UTF-8 survive as Python's surrogates."""
    try:
        for number, raw in enumerate(stream):
            line = raw.removeprefix(codecs.BOM_UTF8) if number == 0 else raw
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
    except OSError as error:
        raise InputError(f"{name} cannot be read any further: {error.strerror}") from None


def read_lines(path: Path) -> Iterator[str]:
    """A file's lines."""
    with opened(path) as stream:
        yield from lines_of(stream, str(path))


def read_nul(stream: BinaryIO) -> Iterator[str]:
    """What is between NUL bytes, as ``find -print0`` writes it."""
    begun: list[bytes] = []
    # One read at a time: what has arrived must not wait for a full block.
    while block := os.read(stream.fileno(), BLOCK):
        end, *more = block.split(b"\0")
        begun.append(end)
        for part in more:
            yield os.fsdecode(b"".join(begun))
            begun = [part]
    if rest := b"".join(begun):
        yield os.fsdecode(rest)


def read_jsonl(lines: Iterable[str], name: str, wanted: Condition) -> Iterator[Any]:
    """A value a line; empty lines are passed over. Raises InputError with the place."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except ValueError as error:
            column = getattr(error, "colno", 1)
            said = getattr(error, "msg", str(error))
            raise InputError(f"{name}:{number}:{column}: not JSON: {said}") from None
        except RecursionError:
            raise InputError(f"{name}:{number}: nested too deeply") from None
        if wanted(item, f"{name}:{number}"):
            yield item
