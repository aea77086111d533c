"""Which items go where next, and what becomes of them: a state machine without threads or clocks.

The session tells it what happened (``returned``, ``lost``) and asks what to send (``next``).
Retries, the search for an item that kills engines, and the halt policy all live here, so that they
can be tested by simulation.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from arcli.engine.tally import Status
from arcli.session.chunk import Chunk, ClientRecord, verdicts
from arcli.session.policy import ChunkPolicy
from arcli.specfile.model import Policy

PIECES = 8
"""A chunk that was lost without a trace of which item did it falls into this many pieces."""
MIN_KILLS = 2
"""An engine may have died for a reason of its own; an item is to blame from the second time on."""
JUDGED_FROM = 100
"""A percentage of failures says little about the first few items."""
MAX_DELAY = 300.0
OVERTAKEN = 4
"""Chunks that may go before one that needs an engine to itself, until engines are let run dry."""


class Supply(Protocol):
    """Where numbered items come from."""

    def take(self, count: int) -> Chunk | None:
        """Up to ``count`` items that are there now, or None; never blocks."""

    @property
    def left(self) -> int | None:
        """How many items are still to come, None where nobody knows."""

    @property
    def exhausted(self) -> bool:
        """Whether no item will come any more."""


class Dispatcher:
    """The items of one job between their source and their records."""

    def __init__(self, policy: Policy, chunks: ChunkPolicy, supply: Supply, chance: random.Random) -> None:
        self._policy = policy
        self._supply = supply
        self._chance = chance
        self._numbers = itertools.count(1)
        self._again: deque[Chunk] = deque()
        self._delayed: list[tuple[float, int, Chunk]] = []
        self._kills: dict[int, int] = {}
        self._stopped = False
        self._overtaken = 0
        self.chunks = chunks
        self.outstanding: dict[int, Chunk] = {}
        self.completed = 0
        self.failures = 0

    @property
    def finished(self) -> bool:
        """Whether every item has had its last word."""
        waiting = self._again or self._delayed or self.outstanding
        return not waiting and (self._stopped or self._supply.exhausted)

    @property
    def due(self) -> float | None:
        """When the next delayed item may go (the session's clock), None where none is delayed."""
        return self._delayed[0][0] if self._delayed else None

    @property
    def waiting(self) -> int:
        """Items that were read and are not with an engine."""
        return sum(map(len, self._again)) + sum(len(work) for *_, work in self._delayed)

    def depth(self, engines: int) -> int:
        """Chunks that one of ``engines`` may have outstanding now."""
        depth = self.chunks.depth(self._left(), engines)
        # What waits at an engine runs even if the job halts meanwhile.
        return depth if self._policy.halt == "never" else min(depth, 2)

    def next(self, slot: int | None, idle: bool, engines: int, now: float) -> Chunk | None:
        """The next chunk for the engine in ``slot``; ``idle``: it has nothing else to do."""
        while self._delayed and self._delayed[0][0] <= now:
            self._again.append(heapq.heappop(self._delayed)[2])
        work = self._waiting_for(slot, idle)
        if work is None and not idle and self._waiting_for(slot, True, peek=True) is not None:
            self._overtaken += 1
            if self._overtaken > OVERTAKEN:
                return None  # else it waits for ever, where each engine always has something
        if work is None and not self._stopped:
            work = self._supply.take(self.chunks.size(self._left(), engines))
            if work is not None and not _fits(work, slot, idle):
                self._again.append(work)
                work = None
        if work is not None:
            work.chunk = next(self._numbers)
            work.done = 0
            self.outstanding[work.chunk] = work
        return work

    def _waiting_for(self, slot: int | None, idle: bool, *, peek: bool = False) -> Chunk | None:
        for position, work in enumerate(self._again):
            if _fits(work, slot, idle):
                if not peek:
                    del self._again[position]
                    self._overtaken = 0 if work.alone else self._overtaken
                return work
        return None

    def _left(self) -> int | None:
        left = self._supply.left
        return None if left is None else left + self.waiting

    def progressed(
        self, work: Chunk, done: int, again: Sequence[tuple[int, str]], failed: int, now: float
    ) -> list[ClientRecord]:
        """The first ``done`` items of a chunk are accounted for; ``again`` are to be tried again.

        ``failed`` of the records that came with this are of items that are not ok. Returns verdicts
        where there is no more trying, because the job was stopped.
        """
        self.completed += done - work.done - len(again)
        self.failures += failed
        work.done = done
        if self._stopped:
            self.completed += len(again)
            return [
                verdict
                for position, reason in again
                for verdict in verdicts(work, [position], Status.CANCELLED, f"not tried again: {reason}")
            ]
        positions = [position for position, _ in again]
        size = self.chunks.size(self._left(), 1)
        for at in range(0, len(positions), size):
            piece = positions[at : at + size]
            self._delay(work.part(piece, attempt=work.attempt + 1, alone=False), now)
        return []

    def returned(self, work: Chunk, seconds: float, size: int) -> None:
        """A chunk is back whole; it took ``seconds`` on its engine and ``size`` bytes."""
        del self.outstanding[work.chunk]
        self.chunks.learn(len(work), seconds, size)

    def divide(self, work: Chunk) -> None:
        """Send a chunk's items again, each alone: only then can be told which one is at fault."""
        del self.outstanding[work.chunk]
        self._requeue(work, [[position] for position in range(work.done, len(work))], alone=False)

    def lost(
        self,
        work: Chunk,
        culprit: int | None,
        started: bool,
        reason: str,
        *,
        fate: str = "its engine died",
    ) -> list[ClientRecord]:
        """A chunk's engine is gone. ``culprit`` is the position of the item that ran, if known.

        ``started`` is False where the chunk only waited behind another one; ``fate`` is what became
        of the engine. Returns the verdict on an item that has cost its engine too often; everything
        else is sent again, or cancelled after a stop.
        """
        del self.outstanding[work.chunk]
        said = self._sort_out(work, culprit, started, f"{fate} {{times}}: {reason}")
        return said + self._left_over(reason)

    def _sort_out(self, work: Chunk, culprit: int | None, started: bool, reason: str) -> list[ClientRecord]:
        left = range(work.done, len(work))
        if not started:
            self._requeue(work, [left], alone=work.alone)
            return []
        if culprit is None and len(left) == 1:
            culprit = left[0]
        if culprit is None or culprit not in left:
            size = max(1, -(-len(left) // PIECES))
            pieces = [left[at : at + size] for at in range(0, len(left), size)]
            self._requeue(work, pieces, alone=True)
            return []
        self._requeue(work, [left[: culprit - work.done]], alone=False)
        self._requeue(work, [left[culprit - work.done + 1 :]], alone=False)
        return self._blame(work, culprit, reason)

    def _blame(self, work: Chunk, culprit: int, reason: str) -> list[ClientRecord]:
        index = work.indices[culprit]
        kills = self._kills.get(index, 0) + 1
        self._kills[index] = kills
        if kills < max(MIN_KILLS, self._policy.retries + 1):
            self._requeue(work, [[culprit]], alone=True)
            return []
        del self._kills[index]
        self._count_failure()
        return verdicts(work, [culprit], Status.LOST, reason.replace("{times}", f"{kills} times", 1))

    def timed_out(self, work: Chunk, culprit: int, reason: str, now: float) -> list[ClientRecord]:
        """The engine was ended because an item did not heed its time limit."""
        del self.outstanding[work.chunk]
        left = range(work.done, len(work))
        self._requeue(work, [left[: culprit - work.done]], alone=False)
        self._requeue(work, [left[culprit - work.done + 1 :]], alone=False)
        if work.attempt <= self._policy.retries:
            self._delay(work.part([culprit], attempt=work.attempt + 1, alone=False), now)
            return self._left_over(reason)
        self._count_failure()
        return verdicts(work, [culprit], Status.TIMEOUT, reason) + self._left_over(reason)

    def _left_over(self, reason: str) -> list[ClientRecord]:
        """What would be sent again, were it not for a stop."""
        return self._cancel(f"not sent again: {reason}") if self._stopped else []

    def _count_failure(self) -> None:
        self.completed += 1
        self.failures += 1

    def _requeue(self, work: Chunk, pieces: Sequence[Sequence[int]], *, alone: bool) -> None:
        for piece in reversed(pieces):
            if piece:
                # What was under way goes first: order is waiting for it.
                self._again.appendleft(work.part(piece, attempt=work.attempt, alone=alone))

    def _delay(self, work: Chunk, now: float) -> None:
        """Send again later: exponential backoff with jitter, so that retries do not march in step.

        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        delay = min(MAX_DELAY, self._policy.retry_delay * 2 ** (work.attempt - 2))
        delay *= self._chance.uniform(0.5, 1.0)
        heapq.heappush(self._delayed, (now + delay, work.indices[0], work))

    @property
    def should_halt(self) -> bool:
        """Whether as many items have failed as ``halt`` and ``max_failures`` allow for."""
        limit = self._policy.max_failures
        if self._policy.halt == "never" or not self.failures:
            return False
        if limit.percent is not None:
            judged = self.completed >= JUDGED_FROM
            return judged and self.failures * 100 >= limit.percent * self.completed
        return self.failures >= max(1, limit.count or 0)

    def stop(self, reason: str, status: Status = Status.CANCELLED) -> list[ClientRecord]:
        """Send nothing any more: the verdicts on all that was read and is not with an engine."""
        self._stopped = True
        return self._cancel(reason, status)

    def strand(self, slot: int, reason: str) -> list[ClientRecord]:
        """The verdicts on what only the engine in ``slot`` could have run: there will be none."""
        works = [work for work in self._again if work.pinned == slot]
        late = [entry for entry in self._delayed if entry[2].pinned == slot]
        if not works and not late:
            return []
        self._again = deque(work for work in self._again if work.pinned != slot)
        self._delayed = [entry for entry in self._delayed if entry not in late]
        heapq.heapify(self._delayed)
        stranded = [*works, *(work for *_, work in late)]
        for work in stranded:
            self.completed += len(work)
            self.failures += len(work)
        return [v for work in stranded for v in verdicts(work, range(len(work)), Status.LOST, reason)]

    def cancel_outstanding(self, reason: str, status: Status = Status.CANCELLED) -> list[ClientRecord]:
        """Give up what is with engines, too: its verdicts. Deferred replies will find no work."""
        ended: list[ClientRecord] = []
        for work in self.outstanding.values():
            ended += verdicts(work, range(work.done, len(work)), status, reason)
        self.outstanding.clear()
        return ended

    def _cancel(self, reason: str, status: Status = Status.CANCELLED) -> list[ClientRecord]:
        works = [*self._again, *(work for *_, work in self._delayed)]
        self._again.clear()
        self._delayed.clear()
        return [v for work in works for v in verdicts(work, range(len(work)), status, reason)]

    @property
    def stopped(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopped

    def late(self, work: Chunk) -> bool:
        """Whether a reply is for work that nobody waits for any more."""
        current: Any = self.outstanding.get(work.chunk)
        return current is not work


def _fits(work: Chunk, slot: int | None, idle: bool) -> bool:
    return (work.pinned is None or work.pinned == slot) and (idle or not work.alone)
