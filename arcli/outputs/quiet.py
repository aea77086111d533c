"""Only the end of a run, beside results in another format; for cron only where it went wrong."""

from __future__ import annotations

from typing import Any

from arcli.outputs.run_end import RunOrigin, write_end
from arcli.outputs.stream import Stream
from arcli.record import RecordBatch
from arcli.timing.summary import RunSummary


class QuietOutput:
    """Silent until a run ends: ``quiet`` with another exit code than 0, else in any case."""

    def __init__(
        self, report: Stream, origin: RunOrigin, *, quiet: bool = True, full: bool = False
    ) -> None:
        self._report = report
        self._origin = origin
        self._quiet = quiet
        self._full = full

    def start(self) -> None:
        """See Output."""

    def record(self, batch: RecordBatch) -> None:
        """See Output."""

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        if not self._quiet or summary.exit_code != 0:
            write_end(self._report, summary, self._origin, full=self._full, quiet=self._quiet)

    def abort(self) -> None:
        """See Output."""
