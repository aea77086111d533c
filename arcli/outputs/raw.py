"""What the items print, and nothing else: for pipes, ``arcli map … | sort``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from arcli.engine.capture import printed_path
from arcli.engine.template import text_of
from arcli.outputs.base import OutputContext, TargetOutput
from arcli.outputs.target import NullStream, Target
from arcli.record import RecordBatch, decode, dump

BLOCK = 1 << 20
"""Bytes of a long output that are written at a time."""
ESCAPE = "\\x"
"""What a record has for each byte that is no text (``backslashreplace``)."""


class RawOutput(TargetOutput):
    """Each item's stdout, whole, in the records' order; on stdout with each item's stderr beside it.

    With the option ``tag`` each line begins with the item and a tab. With ``values`` what an item
    returned follows what it printed, on a line of its own, unless that is None.
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
            tag = b""
            # The item in one line, as its places in a command would have it.
            if self._tag:
                item = record.get("input")
                parts = item.values() if isinstance(item, dict) else [item]
                label = " ".join(text_of(part) for part in parts).replace("\n", " ")
                tag = label.encode("utf-8", "surrogateescape") + b"\t"
            for stream, target in (("err", self._stderr), ("out", self._target)):
                for part in self._printed(record, stream):
                    target.write(_tagged(part, tag))
            value = record.get("value")
            if self._values and record["status"] == "ok" and value is not None:
                text = value.encode("utf-8", "backslashreplace") if isinstance(value, str) else dump(value)
                self._target.write(_tagged(text + b"\n", tag))

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


def _tagged(text: bytes, tag: bytes) -> bytes:
    """Return each line behind the tag, and ended: whatever comes next begins a line of its own."""
    if not tag:
        return text
    lines = text.removesuffix(b"\n").split(b"\n")
    return b"".join(tag + line + b"\n" for line in lines)
