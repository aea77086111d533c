"""What every consumer of records looks like."""

from __future__ import annotations

from typing import Any, Protocol

from arcli.record import RecordBatch
from arcli.timing.summary import RunSummary


class Output(Protocol):
    """Consumes one run: ``start`` once, ``record`` for each batch, then ``finish`` or ``abort``.

    A output for one job is never shown another's batches. A output never asks back.
    """

    def start(self) -> None:
        """Prove that the output can be made, before any work starts. Raises OutputError."""

    def record(self, batch: RecordBatch) -> None:
        """Take a batch; it is the output's to let go. Raises OutputError."""

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """The run is over, however it ended; ``values`` has each job's collected value, encoded.

        Raises OutputError.
        """

    def abort(self) -> None:
        """The output itself failed or the run cannot be summed up: leave nothing half-written."""
