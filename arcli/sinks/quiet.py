"""Only the end of a run, beside results in another format; for cron only where it went wrong."""

from __future__ import annotations

from typing import Any

from arcli.record import RecordBatch, decode
from arcli.sinks.failures import Failures
from arcli.sinks.page import Page
from arcli.timing.summary import RunSummary


class QuietSink:
    """Silent until a run ends with another exit code than 0, or ``always`` until it ends."""

    def __init__(self, report: Page, *, always: bool = False) -> None:
        self._report = report
        self._always = always
        self._failures = Failures()

    def start(self) -> None:
        """See Sink."""

    def record(self, batch: RecordBatch) -> None:
        """See Sink."""
        if batch.tally.counts.get("ok", 0) == batch.count:
            return
        for line in batch.lines.splitlines():
            record = decode(line)
            if record["status"] != "ok":
                self._failures.add(record)

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Sink."""
        if self._always or summary.exit_code != 0:
            from arcli.sinks.report import write_report

            write_report(self._report, summary, self._failures)

    def abort(self) -> None:
        """See Sink."""
