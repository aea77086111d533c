"""What the jobs of a run share, and what they have come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from arcli.errors import (
    ArcliError,
)
from arcli.execution.interrupts import Interrupts
from arcli.plan.deferred import JobValue
from arcli.record import RecordBatch
from arcli.session.recorder import Storage
from arcli.session.reducer import Folded
from arcli.session.results import JobResults
from arcli.session.session import Session
from arcli.specfile.model import Spec
from arcli.timing.ledger import Ledger
from arcli.timing.summary import JobSummary, summarize_job


class History(Protocol):
    """What is known of earlier runs beside what they have computed; see ``explain``."""

    def why(self, job: str, key: str) -> str:
        """Say why an item runs that is not kept: ``with a new input``, ``that failed before``."""

    def is_kept(self, job: str, key: str) -> bool:
        """Whether an item has a record that is kept."""

    def parts(self, job: str) -> Mapping[str, str]:
        """The hashes of what a job's keys were made of, by what that is."""


class Kept(Protocol):
    """What an earlier run has already computed."""

    def take(self, job: str, key: str, *, index: int, exact: bool) -> bytes | None:
        """Return the record's line for this run, or None; ``exact``: only if its value is whole."""


class Consumer(Protocol):
    """Takes records; see ``arcli.outputs.base.Output``."""

    def record(self, batch: RecordBatch) -> None:
        """Take a batch."""


class JobWatcher:
    """Is told how the jobs go; this one takes no notice."""

    def begin(self, job: str) -> None:
        """A job's items begin."""

    def make_value(self, job: str) -> None:
        """A job's items are done, and its value is made of them."""

    def end(self, summary: JobSummary) -> None:
        """A job has ended, or will not begin."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the jobs of a run share. ``limit`` cuts each map's items, ``stdin`` is binary.

    ``notice`` and ``warn`` take sentences for people, the latter under ``-q``, too. ``whole_output``
    keeps all that commands print.
    """

    spec: Spec
    session: Session
    storage: Storage
    outputs: Consumer
    interrupts: Interrupts
    watcher: JobWatcher = field(default_factory=JobWatcher)
    slots: int
    stdin: BinaryIO | None = None
    kept: Kept | None = None
    limit: int | None = None
    rerun_changed: bool = False
    whole_output: bool = False
    expect: Callable[[str, int | None], None] = lambda job, total: None
    notice: Callable[[str], None] = lambda sentence: None
    warn: Callable[[str], None] = lambda sentence: None

    note_parts: Callable[[str, Mapping[str, str]], None] = lambda job, parts: None
    history: History | None = None

    def end(self, outcome: Outcome, ledger: Ledger) -> None:
        """Put down what a job has come to."""
        summary = summarize_job(ledger)
        outcome.jobs.append(summary)
        self.watcher.end(summary)


@dataclass
class Outcome:
    """What a run has come to so far: summaries, values and records by job, and the errors.

    ``loading`` are the seconds in which engines have imported what the jobs run.
    """

    jobs: list[JobSummary] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    folded: dict[str, Folded] = field(default_factory=dict)
    gathered: dict[str, JobValue] = field(default_factory=dict)
    results: dict[str, JobResults] = field(default_factory=dict)
    errors: list[ArcliError] = field(default_factory=list)
    loading: float = 0.0

    def summary(self, job: str) -> JobSummary | None:
        """Return a job's summary, None where it has not run."""
        return next((summary for summary in self.jobs if summary.name == job), None)
