"""Standard input, in one of the forms that files have."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, BinaryIO, ClassVar, Literal

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
    picks_rows: ClassVar[bool] = True
    form: Literal["lines", "nul", "jsonl", "csv"]
    """What it consists of."""
    where: str | dict[str, Any] | None = None
    """Only items for which this holds: an expression of their keys, or keys and values."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        # Each form is read by what reads a file of it, from a stream that is there already.
        stdin = context.stdin
        if stdin is None:
            raise InputError("standard input is closed")
        where.check(self.where, None)
        holds = where.condition(self.where)
        if self.form == "csv":
            settings = Csv(path=STDIN, where=self.where)
            words = {"texts": context.texts, "compared": context.compared}
            return Stream(
                partial(read_csv, settings, stdin, "stdin", **words, at_once=False), unpack="kwargs"
            )
        if self.form == "jsonl":
            return Stream(lambda: read_jsonl(lines_of(stdin, "stdin"), "stdin", holds))
        texts = read_nul(stdin) if self.form == "nul" else lines_of(stdin, "stdin")
        if self.where is None:
            return Stream(lambda: texts)
        return Stream(
            lambda: (text for number, text in enumerate(texts, 1) if holds(text, f"stdin:{number}"))
        )

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
