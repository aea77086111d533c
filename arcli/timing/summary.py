"""What a ledger adds up to: counts, timing, and where the engines' time went; read back, too. All pure.

The names of the keys in ``to_dict`` are public: they are the ``counts`` and ``timing`` objects of
``--format json``. All times are seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct, ValidationError, convert, to_builtins
from msgspec.structs import asdict, replace

from arcli.engine.tally import STATUSES, Status
from arcli.escape import plain
from arcli.timing.failures import FailureGroup
from arcli.timing.ledger import End, EngineUse, Ledger


class JobStatus(StrEnum):
    """What a job came to."""

    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EMPTY = "empty"


class RunStatus(StrEnum):
    """What a run came to; ``running`` and ``killed`` are of those that have not ended by themselves."""

    OK = "ok"
    FAILED = "failed"
    RUNNING = "running"
    KILLED = "killed"


class Counts(Struct, frozen=True, kw_only=True):
    """Items of a job. ``planned`` is the sum of the five statuses once a job has ended.

    ``unread`` items of a stopped job were never read from their source (None: nobody knows how
    many); ``replayed`` ones were kept from the run that is resumed, ``retried`` ones needed more
    than one attempt.
    """

    planned: int
    ok: int
    error: int
    timeout: int
    lost: int
    cancelled: int
    unread: int | None
    replayed: int
    retried: int

    @property
    def failed(self) -> int:
        """Items that ran, or should have, and have no value."""
        return self.error + self.timeout + self.lost

    @property
    def recorded(self) -> int:
        """Items that have a record."""
        return self.ok + self.failed + self.cancelled

    @classmethod
    def of(cls, jobs: Sequence[JobSummary]) -> Counts:
        """Add up the items of jobs; how many are unread is unknown where it is of one of them."""
        sums: dict[str, Any] = {}
        for name in cls.__struct_fields__:
            numbers = [getattr(job.counts, name) for job in jobs]
            sums[name] = None if None in numbers else sum(numbers)
        return cls(**sums)


class Overhead(Struct, frozen=True, kw_only=True):
    """Engine-seconds: what the engines' ``present`` time was spent on.

    ``present = compute + attempts + envelope + idle``: the items' own code, attempts that were tried
    again or cut short, arcli's own around them, and nothing. ``returning`` is how long finished chunks
    were under way to the client, while engines went on.
    """

    present: float
    compute: float
    envelope: float
    idle: float
    returning: float
    attempts: float = 0.0

    def share(self, part: float) -> float:
        """A part as a share (0 … 1) of the engine-seconds, 0 where there are none."""
        return part / self.present if self.present > 0 else 0.0


class EngineSummary(Struct, frozen=True, kw_only=True):
    """One engine's part in a job; ``idle`` is its present time without a chunk."""

    engine_id: int
    slot: int | None
    host: str
    pid: int | None
    items: int
    chunks: int
    present: float
    busy: float
    compute: float
    idle: float
    returning: float
    attempts: float = 0.0

    @property
    def busy_share(self) -> float:
        """The share (0 … 1) of its time that it had a chunk."""
        return self.busy / self.present if self.present > 0 else 0.0

    @property
    def place(self) -> tuple[str, int]:
        """Where it worked; a replacement inherits the slot of the engine that died."""
        return ("id", self.engine_id) if self.slot is None else ("slot", self.slot)


class Chunks(Struct, frozen=True, kw_only=True):
    """How the items travelled; ``given`` is the spec's chunk size, None where arcli chose it."""

    count: int
    smallest: int
    typical: int
    largest: int
    given: int | None


class Timing(Struct, frozen=True, kw_only=True):
    """How long a job took, and what it would have taken on one engine.

    ``serial`` is the items' own seconds added up (of a resumed run: what this run computed),
    ``speedup`` is serial ÷ wall, ``efficiency`` the share of the engines' time that items had
    (where they run one at a time: speed-up ÷ number of engines), ``throughput`` items a second; the rest
    describes the seconds an item: ``median``, ``p95`` and ``p99`` are by rank (``Tally.quantile``), exact
    up to 10,000 items, then within 1 %. All of these are 0 where no item has seconds.
    """

    wall: float
    serial: float
    speedup: float
    efficiency: float
    throughput: float
    mean: float
    stddev: float
    min: float
    median: float
    p95: float
    p99: float
    max: float

    @property
    def measured(self) -> bool:
        """Whether any item has seconds; of clocks that go on none takes exactly nothing."""
        return self.max > 0


class JobSummary(Struct, frozen=True, kw_only=True):
    """One job, added up.

    ``ended``, ``reason``, ``value_error``, ``value_note``, ``input_error`` and ``failures`` are as in the
    ledger.
    """

    name: str
    kind: str
    status: JobStatus
    ended: End
    counts: Counts
    timing: Timing
    overhead: Overhead
    engines: tuple[EngineSummary, ...]
    chunks: Chunks
    restarts: int
    value_error: str | None
    input_error: str | None = None
    failures: tuple[FailureGroup, ...] = ()
    reason: str | None = None
    value_note: str | None = None

    @property
    def width(self) -> int:
        """Engines that worked side by side: an engine and its replacement are one."""
        return _width(self.engines)

    @property
    def ok(self) -> bool:
        """Whether nothing is missing: every item ok, and the value too."""
        return self.status in {JobStatus.OK, JobStatus.EMPTY}

    @property
    def ended_words(self) -> str:
        """How it ended, as summaries put it: ``needs NAME`` names the job that failed."""
        return f"{self.ended} {self.reason}" if self.ended is End.NEEDS else str(self.ended)

    def to_dict(self) -> dict[str, Any]:
        """The keys of this job in ``--format json``, without ``value`` and ``items``."""
        timing = to_builtins(self.timing)
        for name in ("overhead", "chunks", "restarts", "engines"):
            timing[name] = to_builtins(getattr(self, name))
        return {
            "name": self.name,
            "kind": self.kind,
            "status": self.status,
            "ended": self.ended_words,
            "reason": self.reason,
            "value_error": self.value_error,
            "value_note": self.value_note,
            "input_error": self.input_error,
            "counts": to_builtins(self.counts),
            "timing": timing,
            "failures": to_builtins(self.failures),
        }


class RunSummary(Struct, frozen=True, kw_only=True):
    """One run, added up.

    ``started`` is ISO 8601 UTC. ``wall`` is the seconds of the whole process, interpreter and imports
    included, until now: ``startup`` until the cluster was ready (of it, ``reading`` until the spec was
    read), the jobs (of them, ``setup`` until the first engine had done it, and ``loading`` the functions,
    with all that they import, before the first item of each), and ``finish`` (``stopping`` the engines,
    ``writing`` the outputs). ``exit_code`` is None where the run goes on or was killed. ``error`` is the
    message of what ended it early, or of an expectation that failed, or that it has not ended; else None.
    """

    run: str
    name: str
    exit_code: int | None
    error: str | None = None
    started: str
    startup: float = 0.0
    wall: float = 0.0
    finish: float = 0.0
    reading: float = 0.0
    setup: float = 0.0
    loading: float = 0.0
    stopping: float = 0.0
    writing: float = 0.0
    engines: int = 0
    jobs: tuple[JobSummary, ...] = ()

    @property
    def began(self) -> bool:
        """Whether there is a result of any job: an item's record, or an end without items."""
        return any(job.counts.planned or job.ended is End.DONE for job in self.jobs)

    @property
    def counts(self) -> Counts:
        """The items of all jobs."""
        return Counts.of(self.jobs)

    @property
    def work(self) -> tuple[float, float]:
        """The jobs' ``wall`` and ``serial`` seconds."""
        return sum(job.timing.wall for job in self.jobs), sum(job.timing.serial for job in self.jobs)

    @property
    def status(self) -> RunStatus:
        """``ok`` exactly where the exit code is 0."""
        if self.exit_code is None:
            goes_on = any(job.ended is End.RUNNING for job in self.jobs)
            return RunStatus.RUNNING if goes_on else RunStatus.KILLED
        return RunStatus.OK if self.exit_code == 0 else RunStatus.FAILED

    def failures(self, *, cancelled: bool = False) -> list[tuple[str, FailureGroup]]:
        """Return the jobs' names and their groups of failures, the largest first.

        Items that were ``cancelled`` have not failed: they are among them where that is asked for.
        """
        groups = [(job.name, group) for job in self.jobs for group in job.failures]
        groups = [pair for pair in groups if cancelled or pair[1].status != Status.CANCELLED]
        return sorted(groups, key=lambda pair: -pair[1].count)

    def to_dict(self) -> dict[str, Any]:
        """The ``run`` object of ``--format json``; the jobs stand beside it."""
        own = {name: value for name, value in asdict(self).items() if name != "jobs"}
        return {"run": self.run, "name": self.name, "status": self.status, **own}


def summarize_job(ledger: Ledger) -> JobSummary:
    """Add up one job's ledger, which is left as it is."""
    # Every status is named, those without items as 0: readers of the JSON look keys
    # up without asking whether they are there.
    by_status = {status: ledger.tally.counts.get(status, 0) for status in STATUSES}
    counts = Counts(
        planned=ledger.planned,
        unread=ledger.unread,
        replayed=ledger.replayed,
        retried=ledger.tally.retried,
        **by_status,
    )
    engines = tuple(_engine(use) for _, use in sorted(ledger.engines.items()))
    # Engine by engine: one whose clock measured more for its items than for their
    # chunk must not shorten what the others spent around theirs.
    spent = ("present", "compute", "idle", "returning", "attempts")
    overhead = Overhead(
        **{name: sum(getattr(engine, name) for engine in engines) for name in spent},
        envelope=sum(max(0.0, engine.busy - engine.compute - engine.attempts) for engine in engines),
    )
    told = (
        "kind", "ended", "reason", "restarts", "value_error", "value_note", "input_error", "failures"
    )  # fmt: skip
    return JobSummary(
        name=ledger.job,
        status=_status(ledger, counts),
        counts=counts,
        timing=_timing(ledger, counts, _width(engines)),
        overhead=overhead,
        engines=engines,
        chunks=Chunks(
            count=ledger.chunks,
            smallest=ledger.smallest_chunk,
            typical=ledger.typical_chunk,
            largest=ledger.largest_chunk,
            given=ledger.chunksize,
        ),
        **{name: getattr(ledger, name) for name in told},
    )


def _status(ledger: Ledger, counts: Counts) -> JobStatus:
    # Whoever asked for the first success has got it, whatever became of the others.
    if ledger.ended is End.ENOUGH and ledger.value_error is None:
        return JobStatus.OK
    # A failure outweighs a stop: the job would have failed had it run to its end.
    if counts.failed or ledger.value_error is not None or ledger.ended.is_fault:
        return JobStatus.FAILED
    # An unknown number of unread items (None) is not 0: the job may lack results.
    if ledger.ended is not End.DONE or counts.cancelled or counts.unread != 0:
        return JobStatus.CANCELLED
    return JobStatus.OK if counts.planned else JobStatus.EMPTY


def _width(engines: Iterable[EngineSummary]) -> int:
    # A replacement has an id of its own but the slot of the engine that died. Counted
    # by id, a restart would lower the efficiency of a job that never had more engines.
    return len({engine.place for engine in engines})


def _timing(ledger: Ledger, counts: Counts, width: int) -> Timing:
    tally, wall = ledger.tally, ledger.wall
    # Replayed items are in the tally, but their seconds were spent in an earlier run.
    computed = sum(use.compute for use in ledger.engines.values())
    serial = computed if ledger.replayed else tally.seconds
    speedup = serial / wall if wall > 0 else 0.0
    # Cancelled items cost nothing: a job that was stopped early would otherwise seem
    # to have got through its items the faster, the earlier it was stopped.
    done = counts.recorded - counts.cancelled - counts.replayed
    return Timing(
        wall=wall,
        serial=serial,
        speedup=speedup,
        # Where items ran side by side, an engine was used once for all of them.
        efficiency=computed / wall / width if width and wall > 0 else 0.0,
        throughput=max(0, done) / wall if wall > 0 else 0.0,
        mean=tally.mean,
        stddev=tally.deviation,
        min=tally.shortest if tally.ran else 0.0,
        median=tally.quantile(0.5),
        p95=tally.quantile(0.95),
        p99=tally.quantile(0.99),
        max=tally.longest,
    )


def _engine(use: EngineUse) -> EngineSummary:
    """Add what is worked out to what was measured."""
    measured = {name: getattr(use, name) for name in EngineSummary.__struct_fields__ if name != "idle"}
    # Attempts that ran side by side share the engine's time, as the items of a chunk do.
    measured["attempts"] = min(use.attempts, max(0.0, use.busy - use.compute))
    # Both times are measured apart, so busy may come out a little above present.
    return EngineSummary(**measured, idle=max(0.0, use.present - use.busy))


def run_from_dict(run: Any, jobs: Any) -> RunSummary:
    """The inverse of ``RunSummary.to_dict`` and of the jobs'. Raises ValueError for other data."""
    # Earlier versions did not tell these parts of what comes before and after the jobs.
    times = dict.fromkeys(("reading", "setup", "loading", "stopping", "writing"), 0.0)
    try:
        data = {**times, **convert(run, dict[str, Any])}
        data["jobs"] = [_job(job) for job in convert(jobs, list[dict[str, Any]])]
        # What has a default where a summary is made must be there where one is read.
        fields = {name: data[name] for name in RunSummary.__struct_fields__}
        summary: RunSummary = _harmless(convert(fields, RunSummary))
    except KeyError as error:
        raise ValueError(f"not a summary: it lacks {error}") from None
    except ValidationError as error:
        raise ValueError(f"not a summary: {error}") from None
    return summary


def _job(job: dict[str, Any]) -> dict[str, Any]:
    """Return what ``to_dict`` wrote of a job as the fields of a JobSummary."""
    timing = convert(job["timing"], dict[str, Any])
    fields = {**job, **{name: timing[name] for name in ("overhead", "chunks", "restarts", "engines")}}
    # The name of the job that was needed stands behind it, for people.
    how, _, name = convert(job["ended"], str).partition(" ")
    return {**fields, "ended": how, "reason": name} if how == End.NEEDS else fields


def _harmless(value: Any) -> Any:
    """Return a structure whose texts do nothing to a terminal: anybody may have written the file."""
    if isinstance(value, Struct):
        parts = {name: _harmless(getattr(value, name)) for name in value.__struct_fields__}
        return replace(value, **parts)
    if isinstance(value, tuple):
        return tuple(map(_harmless, value))
    return plain(value) if type(value) is str else value
