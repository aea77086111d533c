"""One JSON document at the end of the run: ``{"run": {…}, "jobs": [{…, "items": […]}]}``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from arcli.outputs.base import OutputContext
from arcli.outputs.spool import SpooledOutput
from arcli.record import RecordBatch, dump
from arcli.timing.summary import RunSummary


class JsonDocument(SpooledOutput):
    """Items wait in a spool, so the document's size is no matter of memory.

    A context's ``job`` restricts the document to it. Jobs that the summary lacks are not in it.
    """

    def __init__(self, context: OutputContext) -> None:
        super().__init__(context)
        self._stretches: list[tuple[str, int, int]] = []
        """Whose lines stand where in the spool: of a job, from, to."""

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        start = self._spool.size
        self._spool.write(batch.lines)
        if self._stretches and self._stretches[-1][0] == batch.job:
            start = self._stretches.pop()[1]
        self._stretches.append((batch.job, start, self._spool.size))

    def _document(self, summary: RunSummary, values: dict[str, Any]) -> Iterator[bytes]:
        yield b'{"run":' + dump(summary.to_dict()) + b',\n"jobs":['
        separator = b"\n"
        for job in summary.jobs:
            if self._job in {None, job.name}:
                head = dump({**job.to_dict(), "value": values.get(job.name)})
                yield separator + head[:-1] + b',"items":[\n'
                yield from self._items(job.name)
                yield b"]}"
                separator = b",\n"
        yield b"\n]}\n"

    def _items(self, job: str) -> Iterator[bytes]:
        """Yield lines, with a comma after each but the last."""
        newline = b""
        stretches = [(start, end) for name, start, end in self._stretches if name == job]
        for block in (block for stretch in stretches for block in self._spool.blocks(*stretch)):
            text = newline + block
            newline = b"\n" if text.endswith(b"\n") else b""
            yield (text[:-1] if newline else text).replace(b"\n", b",\n")
        yield newline
