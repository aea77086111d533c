"""Records of a journal, added up to ledgers: what is known of a run that left no summary.

Counts and seconds are what the run itself would have said. What only its session knew is told from
the records' times: a chunk was busy from its first item's start to its last item's end.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from arcli.engine.tally import Tally
from arcli.record import attempts
from arcli.timing.failures import Failures
from arcli.timing.ledger import End, EngineUse, Ledger
from arcli.units import parse_time

UNDER_WAY = 4
"""Chunks of one engine whose records may still come in turns; twice what a session sends ahead."""


class Presence(Struct, frozen=True, kw_only=True):
    """An engine of the run: from when to when it was there, in seconds since the epoch.

    ``ready`` is when it had done its setup; ``reason`` why it ended before the run did, if it did.
    """

    engine_id: int
    slot: int | None
    host: str
    pid: int | None
    came: float
    ready: float
    went: float
    reason: str | None = None


class _Chunk(Struct, kw_only=True):
    first: float = math.inf
    last: float = -math.inf
    received: float = -math.inf
    items: int = 0
    compute: float = 0.0
    longest: float = 0.0


class _JobAccount(Struct, kw_only=True):
    """One job so far. Memory grows with its engines and its chunk sizes, not with its items."""

    name: str
    began: float = math.inf
    ended: float = -math.inf
    planned: int = 0
    replayed: int = 0
    tally: Tally = field(default_factory=Tally)
    failures: Failures = field(default_factory=Failures)
    uses: dict[int, EngineUse] = field(default_factory=dict)
    open: dict[int, dict[int, _Chunk]] = field(default_factory=dict)
    sizes: Counter[int] = field(default_factory=Counter)

    def add(self, record: Mapping[str, Any]) -> None:
        self.planned += 1
        if record["status"] != "ok":
            self.failures.add(record)
        # A resumed run copies the records that it keeps. Their seconds were spent in
        # an earlier run: counted here, they would make this one look faster than it was.
        if record.get("replayed"):
            self.replayed += 1
            self.tally.add(record["status"], None)
            return
        seconds = record.get("seconds")
        self.tally.add(record["status"], seconds, record.get("attempt") or 1)
        # The job lasted from its first submission to its last reply, whichever
        # items these belong to.
        submitted = parse_time(record.get("submitted"))
        received = parse_time(record.get("received"))
        self.began = min(self.began, submitted if submitted is not None else math.inf)
        self.ended = max(self.ended, received if received is not None else -math.inf)
        for attempt in attempts(record):
            number = attempt.get("engine_id")
            if number is None:
                continue
            use = self.uses.setdefault(number, EngineUse(engine_id=number, slot=attempt.get("slot")))
            # What was tried again or cut short came in no chunk's reply.
            if attempt.get("chunk") is None:
                use.busy += attempt["seconds"] or 0.0
                use.attempts += attempt["seconds"] or 0.0
            else:
                self._engine(use, record, seconds or 0.0, received)

    def _engine(
        self, use: EngineUse, record: Mapping[str, Any], seconds: float, received: float | None
    ) -> None:
        number = use.engine_id
        use.items += 1
        chunks = self.open.setdefault(number, {})
        chunk = chunks.get(record.get("chunk") or 0)
        # Records of a chunk come together: those of the oldest are complete when a
        # few newer ones are open. Without this a job of a million chunks would be
        # held in memory until its end.
        if chunk is None:
            if len(chunks) >= UNDER_WAY:
                self._close(use, chunks.pop(next(iter(chunks))))
            chunk = chunks[record.get("chunk") or 0] = _Chunk()
        chunk.items += 1
        chunk.compute += seconds
        chunk.longest = max(chunk.longest, seconds)
        # The journal has no times of chunks, only those of items, as the engine's
        # clock told them. Items that never ran, such as cancelled ones, have none.
        started, completed = parse_time(record.get("started")), parse_time(record.get("completed"))
        if started is not None and completed is not None:
            chunk.first = min(chunk.first, started)
            chunk.last = max(chunk.last, completed)
        chunk.received = max(chunk.received, received if received is not None else -math.inf)

    def _close(self, use: EngineUse, chunk: _Chunk) -> None:
        use.chunks += 1
        self.sizes[chunk.items] += 1
        # Only items that never ran have no times; they took no seconds either.
        if chunk.last < chunk.first:
            return
        # Times are of microseconds, which a short item's seconds are finer than: a chunk took no less
        # than its longest item. A moment in which several ran side by side is one of the engine's.
        span = max(chunk.last - chunk.first, chunk.longest)
        use.busy += span
        use.compute += min(chunk.compute, span)
        # ``received`` is of the client's clock and the others are of the engine's:
        # where that one is ahead, the way back would have taken less than no time.
        use.returning += max(0.0, chunk.received - chunk.last)

    def ledger(self, presences: Mapping[int, Presence], *, kind: str, ended: End) -> Ledger:
        # Chunks that are still open have no newer ones behind them: these are the last.
        for number, chunks in self.open.items():
            for chunk in chunks.values():
                self._close(self.uses[number], chunk)
        self.open.clear()
        # An engine was there from its start, or the job's, to its end, or the job's.
        # It was so at least as long as it worked: the log of the cluster may lack it,
        # or begin late, and idle time must not become negative.
        for use in self.uses.values():
            came, went = self.began, self.ended
            if presence := presences.get(use.engine_id):
                use.slot = presence.slot if use.slot is None else use.slot
                use.host, use.pid = presence.host, presence.pid
                came, went = max(came, presence.ready), min(went, presence.went)
            use.present = max(use.busy, went - came if went > came else 0.0)
        # How many items were never read is known only of a job that read them all:
        # a killed one took the number with it.
        sizes = self.sizes
        return Ledger(
            job=self.name,
            kind=kind,
            wall=max(0.0, self.ended - self.began) if self.began < math.inf else 0.0,
            planned=self.planned,
            unread=0 if ended is End.DONE else None,
            replayed=self.replayed,
            ended=ended,
            tally=self.tally,
            engines=self.uses,
            chunks=sizes.total(),
            smallest_chunk=min(sizes, default=0),
            largest_chunk=max(sizes, default=0),
            # The middle one of all chunks.
            typical_chunk=sorted(sizes.elements())[sizes.total() // 2] if sizes else 0,
            failures=self.failures.groups(),
        )


class Account:
    """The ledgers of a run's jobs, from their records one after another, in any order."""

    def __init__(self) -> None:
        self._jobs: dict[str, _JobAccount] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a record; its ``job``, ``status``, ``seconds`` and ``engine_id`` must be sound."""
        name: str = record["job"]
        job = self._jobs.get(name)
        if job is None:
            job = self._jobs[name] = _JobAccount(name=name)
        job.add(record)

    @property
    def began(self) -> float:
        """When the first chunk was submitted (seconds since the epoch); infinite if none was."""
        return min((job.began for job in self._jobs.values()), default=math.inf)

    @property
    def ended(self) -> float:
        """When the last record came; minus infinite if none did."""
        return max((job.ended for job in self._jobs.values()), default=-math.inf)

    def ledgers(
        self, presences: Iterable[Presence], *, kinds: Mapping[str, str], ended: End
    ) -> list[Ledger]:
        """Return the jobs' ledgers in the order of their first records. To be called once, at the end.

        ``kinds`` has the kind of each job that is not a map; ``ended`` is how the last job ended.
        """
        by_engine = {presence.engine_id: presence for presence in presences}
        # Jobs run one after another: where a later one has records, the ones before
        # it had come to their end, and only the last was cut short.
        last = next(reversed(self._jobs), None)
        return [
            job.ledger(by_engine, kind=kinds.get(name, "map"), ended=ended if name == last else End.DONE)
            for name, job in self._jobs.items()
        ]
