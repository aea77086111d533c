"""What a session notes down while it runs a job: the raw material of every timing table."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, field

from arcli.engine.tally import Tally
from arcli.timing.failures import FailureGroup


class End(StrEnum):
    """How a job ended, or why it did not begin; the values are those of summaries."""

    DONE = "done"
    HALT = "halt"
    ENOUGH = "enough"
    """As many items were ok as were asked for: the others are not missed."""
    DEADLINE = "deadline"
    INTERRUPTED = "interrupted"
    CLUSTER_LOST = "cluster lost"
    SETUP_FAILED = "setup failed"
    INPUT_ERROR = "input error"
    OUTPUT_FAILED = "output failed"
    NEEDS = "needs"
    """A job that it needs failed: ``reason`` is that job's name."""
    RUNNING = "running"
    KILLED = "killed"

    @property
    def is_fault(self) -> bool:
        """Whether the job failed by this end, whatever its items came to."""
        return self in {End.SETUP_FAILED, End.INPUT_ERROR, End.OUTPUT_FAILED}

    @property
    def is_reached(self) -> bool:
        """Whether the job came to its end, or to as many items that are ok as it was to have."""
        return self in {End.DONE, End.ENOUGH}


class EngineUse(Struct, kw_only=True):
    """One engine's part in a job. All times are seconds.

    ``present`` is how long the engine was there during the job; of it, ``busy`` it spent on chunks,
    and of that, ``compute`` in the items' own code, and ``attempts`` in that of items that were tried
    again later, or cut short. ``returning`` is from the end of a chunk on the
    engine until the client had it (clocks of two hosts may differ, then it is only indicative).
    """

    engine_id: int
    slot: int | None = None
    host: str = ""
    pid: int | None = None
    items: int = 0
    chunks: int = 0
    present: float = 0.0
    busy: float = 0.0
    compute: float = 0.0
    attempts: float = 0.0
    returning: float = 0.0


class Ledger(Struct, kw_only=True):
    """One job's account. ``wall`` is seconds from its first submission to its last record.

    ``planned`` counts the items that were read from the source, ``unread`` those that a stopped run
    never read (None: unknown). ``ended`` says how the job ended, ``reason`` why, in words, where it
    was not by its last item.
    """

    job: str
    kind: str = "map"
    wall: float = 0.0
    planned: int = 0
    unread: int | None = 0
    replayed: int = 0
    ended: End = End.DONE
    reason: str | None = None
    tally: Tally = field(default_factory=Tally)
    engines: dict[int, EngineUse] = field(default_factory=dict)
    restarts: int = 0
    chunks: int = 0
    chunksize: int | None = None
    """The chunk size that was given; None when it was chosen."""
    smallest_chunk: int = 0
    largest_chunk: int = 0
    typical_chunk: int = 0
    """The median number of items that travelled together."""
    value_error: str | None = None
    """Why the reduce, the finish or the collecting failed, where it did."""
    value_note: str | None = None
    """What the job's value lacks, where it lacks something."""
    input_error: str | None = None
    """Why the job's items could not all be read, where they could not."""
    failures: tuple[FailureGroup, ...] = ()
    """The items that are not ok, by what went wrong."""
