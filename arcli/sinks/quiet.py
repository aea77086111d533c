"""For cron: nothing where all went well, what failed and the tables where not."""

from __future__ import annotations

from typing import Any

from arcli.record import RecordBatch
from arcli.sinks.failures import Failures
from arcli.sinks.lines import decode
from arcli.sinks.page import Page
from arcli.sinks.report import write_report
from arcli.timing.summary import RunSummary


class QuietSink:
    """Silent until a run ends with another exit code than 0."""

    def __init__(self, report: Page) -> None:
        self._report = report
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
        if summary.exit_code != 0:
            write_report(self._report, summary, self._failures)

    def abort(self) -> None:
        """See Sink."""
