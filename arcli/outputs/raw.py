"""What the items print, and nothing else: for pipes, ``arcli map … | sort``."""

from __future__ import annotations

from typing import Any

from arcli.engine.template import text_of
from arcli.outputs.base import OutputContext
from arcli.outputs.target import NullStream, Target
from arcli.record import RecordBatch, decode, dump
from arcli.timing.summary import RunSummary


class RawOutput:
    """Each item's stdout, whole, in the records' order; on stdout with each item's stderr beside it.

    With the option ``tag`` each line begins with the item and a tab. With ``values`` what an item
    returned follows what it printed, on a line of its own, unless that is None.
    """

    def __init__(self, context: OutputContext) -> None:
        self._stdout = context.target
        self._stderr: Target = context.report.target
        if self._stderr is self._stdout:  # a file holds what the items print to stdout alone
            self._stderr = NullStream()
        self._tag = context.options.get("tag", False)
        self._values = context.options.get("values", False)

    def start(self) -> None:
        """See Output."""
        self._stdout.open()

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        for line in batch.lines.splitlines():
            record = decode(line)
            tag = _label(record.get("input")) + b"\t" if self._tag else b""
            if err := record.get("stderr"):
                self._stderr.write(_tagged(_bytes(err), tag))
            out = _bytes(record.get("stdout") or "")
            if self._values and record["status"] == "ok" and record.get("value") is not None:
                out += _shown(record["value"]) + b"\n"
            if out:
                self._stdout.write(_tagged(out, tag))

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        self._stdout.commit()

    def abort(self) -> None:
        """See Output."""
        self._stdout.discard()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _shown(value: Any) -> bytes:
    """A value as a line: text as it is, anything else as JSON."""
    return value.encode("utf-8", "backslashreplace") if isinstance(value, str) else dump(value)


def _label(item: Any) -> bytes:
    """An item in one line, as its places in a command would have it."""
    parts = item.values() if isinstance(item, dict) else [item]
    return " ".join(text_of(part) for part in parts).replace("\n", " ").encode("utf-8", "surrogateescape")


def _tagged(text: bytes, tag: bytes) -> bytes:
    """Each line behind the tag; a last line without an end keeps none."""
    return b"".join(tag + line for line in text.splitlines(keepends=True)) if tag else text
