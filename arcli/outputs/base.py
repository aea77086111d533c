"""What every consumer of records looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from arcli.outputs.run_end import RunOrigin
from arcli.outputs.stream import Stream
from arcli.outputs.target import Target
from arcli.record import RecordBatch
from arcli.timing.summary import RunSummary


class Output(Protocol):
    """Consumes one run: ``start`` once, ``record`` for each batch, then ``finish`` or ``abort``.

    An output for one job is never shown another's batches. An output never asks back.
    """

    def start(self) -> None:
        """Prove that the output can be made, before any work starts. Raises OutputError."""

    def record(self, batch: RecordBatch) -> None:
        """Take a batch; it is the output's to let go. Raises OutputError."""

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """Complete the output: the run is over, however it ended.

        ``values`` has each job's collected value, encoded. Raises OutputError.
        """

    def abort(self) -> None:
        """The output itself failed or the run cannot be summed up: leave nothing half-written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputContext:
    """What an output is made with: where it writes, and what it is to show.

    ``name`` is what messages call it. ``job`` is the one job that it is shown, None for all;
    ``runs`` is the folder that has those of all runs. ``options`` are those of the spec that its
    format allows. Text for people goes to ``results`` while items come, and to ``report`` at the
    end; both are ``target`` where that is a file.
    ``full``: the end has the tables of timing, too.
    """

    target: Target
    name: str
    job: str | None = None
    runs: Path = Path()
    options: Mapping[str, Any] = field(default_factory=dict)
    results: Stream
    report: Stream
    origin: RunOrigin = field(default_factory=RunOrigin)
    several_jobs: bool = False
    verbose: bool = False
    full: bool = False
