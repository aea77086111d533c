"""What the items print, and nothing else: for pipes, ``arcli map … | sort``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from arcli.engine.capture import printed_path
from arcli.engine.encode import from_tree
from arcli.engine.template import text_of
from arcli.outputs.base import OutputContext, TargetOutput
from arcli.outputs.target import NullStream, Target
from arcli.record import RecordBatch, decode, dump
from arcli.timing.summary import RunSummary

BLOCK = 1 << 20
"""Bytes of a long output that are written at a time."""
ESCAPE = "\\x"
"""What a record has for each byte that is no text (``backslashreplace``)."""


class RawOutput(TargetOutput):
    """Each item's stdout, whole, in the records' order; on stdout with each item's stderr beside it.

    With the option ``tag`` each line begins with the item and a tab, or with its number where that is
    ``number``. With ``values`` what an item returned follows what it printed, on a line of its own, unless
    that is None: text and bytes as they are, anything else as JSON.
    """

    def __init__(self, context: OutputContext) -> None:
        super().__init__(context)
        self._stderr: Target = context.report.target
        if self._stderr is self._target:  # a file holds what the items print to stdout alone
            self._stderr = NullStream()
        self._runs = context.runs
        self._tag = context.options.get("tag", False)
        self._values = context.options.get("values", False)

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        for line in batch.lines.splitlines():
            record = decode(line)
            tag = self._label(record) if self._tag else b""
            for stream, target in (("err", self._stderr), ("out", self._target)):
                _write(self._printed(record, stream), tag, target)
            value = record.get("value")
            if self._values and record["status"] == "ok" and value is not None:
                _write([_bytes_of(value) + b"\n"], tag, self._target)

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        self._stderr.commit()
        super().finish(summary, values)

    def abort(self) -> None:
        """See Output."""
        self._stderr.discard()
        super().abort()

    def _label(self, record: dict[str, Any]) -> bytes:
        """Return the item in one line, as its places in a command would have it, and a tab."""
        item = record["index"] if self._tag == "number" else from_tree(record.get("input"))
        parts = item.values() if isinstance(item, dict) else [item]
        label = " ".join(text_of(part) for part in parts).replace("\n", " ")
        return label.encode("utf-8", "surrogateescape") + b"\t"

    def _printed(self, record: dict[str, Any], stream: str) -> Iterator[bytes]:
        """Yield what an item printed, in pieces that end with a line where that is possible."""
        text, truncated = record.get("std" + stream) or "", record.get("truncated")
        # More than a record keeps, and what is no text, was written to a file, which has all of it.
        if truncated or ESCAPE in text:
            name = printed_path(record["run"], record["job"], record["index"], record["attempt"], stream)
            with suppress(FileNotFoundError), (self._runs / name).open("rb") as file:
                while block := file.read(BLOCK):
                    yield block + file.readline(BLOCK)
                return
        if text:
            yield text.encode("utf-8", "surrogateescape")
        # It is not the whole output, and whoever reads it should know.
        if stream == "out" and truncated:
            self._stderr.write(b"arcli: item %d printed more than is kept\n" % record["index"])


def _write(pieces: Iterable[bytes], tag: bytes, target: Target) -> None:
    """Write text piece by piece; with a tag before each line, the last one of which is ended."""
    begins = True
    for piece in pieces:
        lines = piece
        if tag:
            # A line may go on in the next piece. What comes after the last one begins a line of its own.
            lines = piece.removesuffix(b"\n").replace(b"\n", b"\n" + tag)
            lines = (tag if begins else b"") + lines + (b"\n" if piece.endswith(b"\n") else b"")
        target.write(lines)
        begins = piece.endswith(b"\n")
    if tag and not begins:
        target.write(b"\n")


def _bytes_of(value: Any) -> bytes:
    """Return a record's value as it is printed."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace")
    # Text that JSON cannot hold, such as a file's name that is not UTF-8, is bytes there, too.
    if isinstance(value, dict) and "$bytes" in value:
        return bytes(from_tree(value))
    return dump(value)
