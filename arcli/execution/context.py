"""What the jobs of a run share: how it is to be run, and what they have come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import msgspec
from msgspec import Struct

from arcli.session.interfaces import Listener, NoListener
from arcli.timing.summary import JobSummary, summarize_job

if TYPE_CHECKING:
    from arcli.engine.tally import Tally
    from arcli.errors import ArcliError
    from arcli.execution.interrupts import Interrupts
    from arcli.outputs.progress import Progress
    from arcli.plan.deferred import JobValue
    from arcli.record import RecordBatch
    from arcli.session.recorder import Storage
    from arcli.session.results import Folded, JobResults
    from arcli.session.session import Session
    from arcli.specfile.model import Spec
    from arcli.timing.ledger import Ledger
    from arcli.timing.thresholds import Expectation


class History(Protocol):
    """What is known of earlier runs beside what they have computed; see ``explain``."""

    def why(self, job: str, key: str, *, slot: int | None) -> str:
        """Say why an item runs that is not kept: ``with a new input``, ``that failed before``."""

    def is_kept(self, job: str, key: str, *, exact: bool, slot: int | None) -> bool:
        """Whether an item has a record that is kept; ``exact`` and ``slot`` are as in ``Kept.take``."""

    def parts(self, job: str) -> Mapping[str, str]:
        """The hashes of what a job's keys were made of, by what that is."""

    def compare(self, job: str, parts: Mapping[str, str]) -> Mapping[str, str]:
        """Look at what a job is made of now, before its items; return what to note of that."""

    def record(self, job: str, key: str) -> Mapping[str, Any]:
        """Return the record of an item that is kept."""


class Kept(Protocol):
    """What an earlier run has already computed."""

    def take(self, job: str, key: str, *, index: int, exact: bool, slot: int | None) -> bytes | None:
        """Return the record's line for this run, or None.

        ``exact``: only if its value is whole; ``slot``: only if it ran on this one, None: wherever it ran.
        """

    def compare(self, job: str, parts: Mapping[str, str]) -> Mapping[str, str]:
        """Look at what a job is made of now, before its items; return what to note of that."""


class Consumer(Protocol):
    """Takes records; see ``arcli.outputs.base.Output``."""

    def record(self, batch: RecordBatch) -> None:
        """Take a batch."""


class JobWatcher:
    """Is told how the jobs go; this one takes no notice."""

    def begin(self, job: str) -> None:
        """A job's items begin."""

    def make_value(self, job: str, tally: Tally) -> None:
        """A job's items are done, which come to ``tally``, and its value is made of them."""

    def end(self, summary: JobSummary) -> None:
        """A job has ended, or will not begin."""


class Options(Struct, frozen=True, kw_only=True):
    """How a spec is to be run. ``began`` is when the process did (a monotonic time).

    ``notice`` takes sentences for people, and never blocks, ``warn`` those that are told to who
    wants quiet, too; ``stuck`` tells for how many seconds a write that somebody reads has been
    blocked. ``limit`` cuts each map's items, ``stdin`` is binary. ``whole_output`` keeps all that
    commands print. ``up`` is called, on another thread, when the cluster is up. ``passing`` are
    exceptions of items in this process that end the run where they were raised, for a debugger.
    ``listener`` hears what items print while they run. ``at_once`` is how many items run at a time on
    all engines together, None: as jobs say. Where items run in this process it stands for the engine
    in ``slot`` of ``slots``.
    """

    began: float = 0.0
    notice: Callable[[str], None] = lambda sentence: None
    warn: Callable[[str], None] = lambda sentence: None
    stuck: Callable[[], float] = lambda: 0.0
    limit: int | None = None
    at_once: int | None = None
    deadline: float | None = None
    stdin: BinaryIO | None = None
    kept: Kept | None = None
    history: History | None = None
    whole_output: bool = False
    progress: Progress | None = None
    listener: Listener = msgspec.field(default_factory=NoListener)
    expectations: Sequence[Expectation] = ()
    up: Callable[[], None] = lambda: None
    passing: tuple[type[Exception], ...] = ()
    slot: int = 0
    slots: int = 1


class Context(Struct, frozen=True, kw_only=True):
    """What the jobs of a run share; ``slots`` is the number of engines.

    ``note_parts`` takes the hashes of what a job's keys are made of, for a later run to compare.
    """

    spec: Spec
    session: Session
    storage: Storage
    outputs: Consumer
    interrupts: Interrupts
    slots: int
    options: Options = msgspec.field(default_factory=Options)
    watcher: JobWatcher = msgspec.field(default_factory=JobWatcher)
    note_parts: Callable[[str, Mapping[str, str]], None] = lambda job, parts: None

    def end(self, outcome: Outcome, ledger: Ledger) -> None:
        """Put down what a job has come to."""
        summary = summarize_job(ledger)
        outcome.jobs.append(summary)
        self.watcher.end(summary)


@dataclass
class Outcome:
    """What a run has come to so far: summaries, values and records by job, and the errors.

    ``pushed`` are the digests of what jobs have put on the engines.
    ``loading`` are the seconds in which engines have imported what the jobs run, ``setup`` those in
    which the first of them has done the spec's setup.
    """

    jobs: list[JobSummary] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    folded: dict[str, Folded] = field(default_factory=dict)
    gathered: dict[str, JobValue] = field(default_factory=dict)
    pushed: dict[str, str] = field(default_factory=dict)
    results: dict[str, JobResults] = field(default_factory=dict)
    errors: list[ArcliError] = field(default_factory=list)
    loading: float = 0.0
    setup: float = 0.0

    def summary(self, job: str) -> JobSummary | None:
        """Return a job's summary, None where it has not run."""
        return next((summary for summary in self.jobs if summary.name == job), None)
