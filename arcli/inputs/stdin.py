"""Standard input, in one of the forms that files have."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import BinaryIO, ClassVar, Literal

from arcli.errors import InputError
from arcli.inputs import where
from arcli.inputs.base import Input, Source, SourceContext, Stream
from arcli.inputs.csv import STDIN, Csv, read_csv
from arcli.inputs.files import lines_of, read_jsonl

BLOCK = 1 << 16
"""Bytes that are read at once, at most."""


class Stdin(Input):
    """Standard input: lines, texts that NUL bytes end, JSON Lines, or a table."""

    key: ClassVar[str] = "stdin"
    short: ClassVar[str] = "form"
    reads_stdin: ClassVar[bool] = True
    form: Literal["lines", "nul", "jsonl", "csv"]
    """What it consists of."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        # Each form is read by what reads a file of it, from a stream that is there already.
        stdin = context.stdin
        if stdin is None:
            raise InputError("standard input is closed")
        if self.form == "nul":
            return Stream(lambda: read_nul(stdin))
        if self.form == "csv":
            settings, texts = Csv(path=STDIN), context.texts
            rows = partial(read_csv, settings, stdin, "stdin", texts=texts, at_once=False)
            return Stream(rows, unpack="kwargs")
        lines = lines_of(stdin, "stdin")
        if self.form == "jsonl":
            return Stream(lambda: read_jsonl(lines, "stdin", where.condition(None)))
        return Stream(lambda: lines)

    def keys(self, source: Source) -> Iterable[str] | None:
        """See Input."""
        return () if self.form in {"lines", "nul"} else None


def read_nul(stream: BinaryIO) -> Iterator[str]:
    """Yield what is between NUL bytes, as ``find -print0`` writes it."""
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
