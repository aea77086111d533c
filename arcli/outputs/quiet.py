"""Only the end of a run, beside results in another format; for cron only where it went wrong."""

from __future__ import annotations

from typing import Any

from arcli.engine.tally import Status
from arcli.outputs.failures import Failures
from arcli.outputs.stream import Stream
from arcli.record import RecordBatch, decode
from arcli.timing.summary import RunSummary


class QuietOutput:
    """Silent until a run ends with another exit code than 0, or ``always`` until it ends."""

    def __init__(self, report: Stream, *, always: bool = False) -> None:
        self._report = report
        self._always = always
        self._failures = Failures()

    def start(self) -> None:
        """See Output."""

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        if batch.tally.counts.get(Status.OK, 0) == batch.count:
            return
        for line in batch.lines.splitlines():
            record = decode(line)
            if record["status"] != Status.OK:
                self._failures.add(record)

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        if self._always or summary.exit_code != 0:
            from arcli.outputs.report import write_report

            write_report(self._report, summary, self._failures)

    def abort(self) -> None:
        """See Output."""
