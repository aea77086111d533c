"""Which items go where next, and what becomes of them: a state machine without threads or clocks.

The session tells it what happened (``returned``, ``lost``) and asks what to send (``next``).
Retries, the search for an item that kills engines, and the halt policy all live here, so that they
can be tested by simulation.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from arcli.engine.tally import Status
from arcli.fields import Share
from arcli.record import ItemError
from arcli.session.core.chunk import Chunk, ChunkPolicy, ClientRecord, client_records
from arcli.session.core.waiting import Waiting
from arcli.session.interfaces import Supply
from arcli.specfile.model import Policy
from arcli.timing.ledger import End

PIECES = 8
"""A chunk that was lost without a trace of which item did it falls into this many pieces."""
MIN_KILLS = 2
"""An engine may have died for a reason of its own; an item is to blame from the second time on."""
MIN_SHARE = 3
"""Below this many items a percentage says nothing; GNU parallel's ``--halt fail=20%`` has the same.

https://www.gnu.org/software/parallel/man.html (``--halt``)
"""
MAX_DELAY = 300.0
OVERTAKEN = 4
"""Chunks that may go before one that needs an engine to itself, until engines are let run dry."""


class Loss(NamedTuple):
    """What the loss of a chunk comes to: the items that it ends.

    ``blamed``: an item is to blame; ``overstayed``: by not heeding its time limit. ``found``: it has cost
    its engine too often; ``explained`` counts the earlier deaths that it has caused while it was looked
    for.
    """

    records: list[ClientRecord]
    blamed: bool = False
    found: bool = False
    explained: int = 0
    overstayed: bool = False


class Dispatcher:
    """The items of one job between their source and their records."""

    def __init__(self, policy: Policy, chunks: ChunkPolicy, supply: Supply, chance: random.Random) -> None:
        self._policy = policy
        self._halt = policy.halts
        self._supply = supply
        self._chance = chance
        self._numbers = itertools.count(1)
        self._unmet: str | None = None
        self._kills: dict[int, int] = {}
        self.stopped = False
        """Whether ``stop`` was called."""
        self._overtaken = 0
        self._cancelled: dict[int, str] = {}
        self._concluded: list[ClientRecord] = []
        self.again = Waiting()
        self.chunks = chunks
        self.beside = chunks.beside > 1
        self.outstanding: dict[int, Chunk] = {}
        self.completed = 0
        self.failures = 0
        self.succeeded = 0

    @property
    def finished(self) -> bool:
        """Whether every item has had its last word."""
        waiting = self.again.items or self.outstanding
        return not waiting and (self.stopped or self._supply.exhausted)

    @property
    def waiting(self) -> int:
        """Items that were read and are not with an engine."""
        return self.again.items

    @property
    def stalled(self) -> bool:
        """Whether items could go out, and none is with any engine."""
        return bool(self.again) and not self.outstanding

    @property
    def barren(self) -> bool:
        """Whether there is nothing for any engine now, where there was nothing for one."""
        return not self.again and (self.stopped or not self._supply.dealt)

    @property
    def choosy(self) -> bool:
        """Whether what the function depends on was missing on any engine."""
        return self._unmet is not None

    def depth(self, engines: int) -> int:
        """Chunks that one of ``engines`` may have outstanding now."""
        if self._policy.delay:
            return 1  # an item starts when it is sent
        depth = self.chunks.depth(self._left(), engines)
        # What waits at an engine of another host runs even if the job halts meanwhile: no word reaches it.
        return depth if self._halt is None else min(depth, 2)

    def next(self, slot: int | None, idle: bool, engines: int, now: float) -> Chunk | None:
        """Take the next chunk for the engine in ``slot``; ``idle``: it has nothing else to do."""
        while (taken := self._next(slot, idle, engines, now)) is not None:
            # Items that were cancelled before they were sent are taken out, whatever queue they come from.
            if (chunk := self._sifted(taken)) is not None:
                # Behind the last one, or one that has its engine to itself, nothing follows. Where items
                # are tried again, nobody knows yet which is the last.
                unread = not (self.stopped or self._supply.exhausted)
                more = unread or self.again.items > 0 or self._policy.retries > 0
                chunk.overlap = self.chunks.overlap and more and not chunk.alone
                return self._numbered(chunk)
        return None

    def empty(self) -> Chunk:
        """Make a chunk without items, for an engine to go on with those that are under way there."""
        return self._numbered(Chunk(indices=[], inputs=[]))

    def _numbered(self, chunk: Chunk) -> Chunk:
        chunk.number = next(self._numbers)
        chunk.done, chunk.sent = 0, None
        self.outstanding[chunk.number] = chunk
        return chunk

    def _next(self, slot: int | None, idle: bool, engines: int, now: float) -> Chunk | None:
        self.again.ripen(now)
        # What was sent before goes first: the order of the records waits for it.
        chunk = self.again.take(slot, idle)
        if chunk is not None:
            self._overtaken = 0 if chunk.alone else self._overtaken
            return chunk
        if not idle and self.again.look(slot, True) is not None:
            self._overtaken += 1
            if self._overtaken > OVERTAKEN:
                return None  # else it waits for ever, where each engine always has something
        # Calls that other slots must have wait for these, which need not look for them again.
        while not self.stopped:
            chunk = self._supply.take(self.chunks.size(self._left(), engines), slot)
            if chunk is None or chunk.pinned in {None, slot}:
                return chunk
            self.again.append(chunk)
        return None

    def _left(self) -> int | None:
        left = self._supply.left
        return None if left is None else left + self.waiting

    def progressed(
        self, chunk: Chunk, done: int, again: Sequence[tuple[int, str]], failed: int, now: float
    ) -> list[ClientRecord]:
        """Account for the first ``done`` items of a chunk; ``again`` are to be tried again.

        ``failed`` of the records that came with this are of items that are not ok. Returns the records
        of those that are not tried again after all, because the job was stopped.
        """
        # Only what is new since the last reply counts; what is tried again has not ended.
        self.completed += done - chunk.done - len(again)
        self.failures += failed
        self.succeeded += done - chunk.done - len(again) - failed
        chunk.done = done
        if self.stopped:
            self.completed += len(again)
            return [
                record
                for position, reason in again
                for record in client_records(
                    chunk, [position], Status.CANCELLED, f"not tried again: {reason}"
                )
            ]
        # Retries travel in chunks of the size that is right now, which may be much less than before.
        positions = [position for position, _ in again]
        size = self.chunks.size(self._left(), 1)
        for at in range(0, len(positions), size):
            piece = positions[at : at + size]
            self._delay(chunk.part(piece, attempt=chunk.attempt + 1), now)
        return []

    def returned(self, chunk: Chunk) -> None:
        """A chunk is back whole."""
        del self.outstanding[chunk.number]

    def take_back(self, chunk: Chunk, position: int, parts: int) -> None:
        """Have others run a chunk's items from ``position`` on, in so many parts.

        Its engine will not begin them. What is left of the chunk is still out.
        """
        # In as many parts as there are idle engines, so that each gets one.
        self._requeue(chunk, range(max(position, chunk.done), len(chunk)), parts=parts)
        if position:
            chunk.cut(position)
        else:
            del self.outstanding[chunk.number]

    def not_begun(self, chunk: Chunk, done: int) -> None:
        """Send again what its engine left out of a chunk, before it comes back."""
        self._requeue(chunk, range(done, len(chunk)))
        chunk.cut(done)

    def lost(
        self,
        chunk: Chunk,
        culprit: int | None,
        started: bool,
        reason: str,
        *,
        fate: str = "its engine died",
        sole: bool = True,
    ) -> Loss:
        """Send what was in a lost chunk again, and look for the item that is to blame.

        ``culprit`` is the position of the item that ran, if known; ``started`` is False where the
        chunk only waited behind another one, or was not begun; ``fate`` is what became of the
        engine; ``sole``: no item of another chunk ran beside it. An item that has cost its engine too
        often is ended; after a stop all others are cancelled.
        """
        del self.outstanding[chunk.number]
        rest = chunk.rest
        loss = Loss([])
        # An item that was alone with its engine is to blame without any other evidence.
        if culprit is None and started and sole and len(rest) == 1:
            culprit = rest[0]
        if not started:
            self._requeue(chunk, rest, alone=chunk.alone)
        elif culprit is None or culprit not in rest:
            # It may have been any of them: smaller and smaller parts, until the culprit is alone.
            chunk.deaths += 1
            self._requeue(chunk, rest, parts=PIECES, alone=True)
        else:
            self._spare_neighbours(chunk, culprit)
            loss = self._blame(chunk, culprit, f"{fate} {{times}}: {reason}")
        return loss._replace(records=loss.records + self._left_over(reason))

    def _blame(self, chunk: Chunk, culprit: int, reason: str) -> Loss:
        # Kills are counted by item, not by chunk: its neighbours change from one attempt to the next.
        index = chunk.indices[culprit]
        kills = self._kills.get(index, 0) + 1
        self._kills[index] = kills
        if kills < max(MIN_KILLS, self._policy.retries + 1):
            self._requeue(chunk, [culprit], alone=True)
            return Loss([], blamed=True)
        del self._kills[index]
        self._count_failures()
        text = reason.replace("{times}", f"{kills} times", 1)
        return Loss(client_records(chunk, [culprit], Status.LOST, text), True, True, chunk.deaths)

    def _spare_neighbours(self, chunk: Chunk, culprit: int) -> None:
        """Send again what was in a chunk beside the item that is to blame."""
        self._requeue(chunk, range(chunk.done, culprit))
        self._requeue(chunk, range(culprit + 1, len(chunk)))

    def refused(self, chunk: Chunk, reason: str, error: ItemError) -> list[ClientRecord]:
        """Divide a chunk that its engine could not unpack; an item that is alone ends by ``error``."""
        del self.outstanding[chunk.number]
        rest = chunk.rest
        if len(rest) == 1:
            self._count_failures()
            return client_records(chunk, rest, Status.ERROR, reason, error) + self._left_over(reason)
        # Nothing has run, so nobody is to blame yet: the parts that do load are worth finding quickly.
        self._requeue(chunk, rest, parts=PIECES)
        return self._left_over(reason)

    def unmet(self, chunk: Chunk, slot: int, reason: str) -> list[ClientRecord]:
        """Send a chunk to another engine: what its function depends on is not there in this slot."""
        del self.outstanding[chunk.number]
        chunk.unfit |= {slot}
        self._unmet = reason
        self._requeue(chunk, chunk.rest, alone=chunk.alone)
        return self._left_over(reason)

    def unfit(self, slots: set[int]) -> list[ClientRecord]:
        """End the items that none of these slots, which are all there are, is fit for."""
        if self._unmet is None:
            return []
        # Engines that are on their way count as slots, so an item waits for one that may be fit.
        hopeless = self.again.hopeless(slots)
        reason = f"no engine has what the function depends on: {self._unmet}"
        error = ItemError(type="UnmetDependency", message=reason, traceback="")
        self._count_failures(sum(map(len, hopeless)))
        return _all_records(hopeless, Status.ERROR, reason, error)

    def timed_out(self, chunk: Chunk, culprit: int, reason: str, now: float) -> list[ClientRecord]:
        """End the item, or try it again, whose engine was ended because it did not heed its time limit."""
        del self.outstanding[chunk.number]
        # A time limit that was not heeded is the item's own failure, so its retries count as for any other.
        self._spare_neighbours(chunk, culprit)
        if chunk.attempt <= self._policy.retries:
            self._delay(chunk.part([culprit], attempt=chunk.attempt + 1), now)
            return self._left_over(reason)
        self._count_failures()
        return client_records(chunk, [culprit], Status.TIMEOUT, reason) + self._left_over(reason)

    def _left_over(self, reason: str) -> list[ClientRecord]:
        """Return what would be sent again, were it not for a stop."""
        if not self.stopped:
            return []
        return _all_records(self.again.clear(), Status.CANCELLED, f"not sent again: {reason}")

    def _count_failures(self, count: int = 1) -> None:
        self.completed += count
        self.failures += count

    def _requeue(
        self, chunk: Chunk, positions: Sequence[int], *, parts: int = 1, alone: bool = False
    ) -> None:
        """Send the items at these positions again, in up to so many parts."""
        size = max(1, -(-len(positions) // parts))
        for at in reversed(range(0, len(positions), size)):
            # What was under way goes first: order is waiting for it.
            self.again.push(chunk.part(positions[at : at + size], alone=alone))

    def _delay(self, chunk: Chunk, now: float) -> None:
        """Send again later: exponential backoff with jitter, so that retries do not march in step.

        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        first = self._policy.retry_delay
        # Bounded before it is multiplied: no float holds what a thousand attempts would come to.
        delay = min(max(first, MAX_DELAY), first * 2 ** min(chunk.attempt - 2, 64))
        self.again.delay(now + delay * self._chance.uniform(1.0, 1.5), chunk)

    @property
    def halted(self) -> tuple[End, str] | None:
        """How the job is to end before its last item, and why; None where it goes on."""
        halt = self._halt
        if halt is None:
            return None
        # The failures first: whoever wants one success and allows for no failure asks for both.
        if self.failures and self._reached(halt.failed, self.failures):
            return End.HALT, f"halted after {self.failures} failed"
        if self.succeeded and self._reached(halt.ok, self.succeeded):
            return End.ENOUGH, f"{self.succeeded} ok, and that is enough"
        return None

    def _reached(self, limit: Share | None, number: int) -> bool:
        if limit is None:
            return False
        # Of all items, as far as their number is known: a share of what has ended would halt on the first
        # few failures.
        if limit.percent is not None:
            total = self._supply.count + (self._supply.left or 0)
            return number >= MIN_SHARE and number * 100 >= limit.percent * total
        return number >= max(1, limit.count or 0)

    def stop(self, reason: str, status: Status = Status.CANCELLED) -> list[ClientRecord]:
        """Send nothing any more; returns the records of all that was read and is not with an engine."""
        self.stopped = True
        for chunk in self._supply.give_up(None):
            self.again.append(chunk)
        return _all_records(self.again.clear(), status, reason)

    def strand(self, slot: int, reason: str) -> list[ClientRecord]:
        """End what only the engine in ``slot`` could have run: there will be none."""
        # Wherever they wait: to be sent again, to be tried later, or not yet dealt out.
        stranded = self.again.stranded(slot) + self._supply.give_up(slot)
        self._count_failures(sum(map(len, stranded)))
        return _all_records(stranded, Status.LOST, reason)

    def cancel_outstanding(self, reason: str, status: Status = Status.CANCELLED) -> list[ClientRecord]:
        """Give up what is with engines, too; returns its records. Late replies will find no chunk."""
        ended: list[ClientRecord] = []
        for chunk in self.outstanding.values():
            ended += client_records(chunk, chunk.rest, status, reason)
        self.outstanding.clear()
        return ended

    def cancel(self, indices: Iterable[int], reason: str) -> None:
        """End these items where they wait; those that are not read yet will end when they are.

        Those that are with engines go on: ``cancelled_in`` tells of them.
        """
        # The reasons stay: an item that is read or sent back later is met by its number then.
        self._cancelled |= dict.fromkeys(indices, reason)
        self.again.replace(self._sifted)

    def cancelled_in(self, chunk: Chunk) -> list[int]:
        """Give the positions of the cancelled items that a chunk still has."""
        if not self._cancelled:
            return []
        return [p for p in chunk.rest if chunk.indices[p] in self._cancelled]

    def concluded(self) -> list[ClientRecord]:
        """Give the cancelled items that have been met since the last call."""
        concluded, self._concluded = self._concluded, []
        return concluded

    def _sifted(self, chunk: Chunk) -> Chunk | None:
        """Leave cancelled items out of a chunk that is not sent; None where there are no others."""
        ended = set(self.cancelled_in(chunk))
        if not ended:
            return chunk
        for position in sorted(ended):
            reason = self._cancelled[chunk.indices[position]]
            self._concluded += client_records(chunk, [position], Status.CANCELLED, reason)
        self.completed += len(ended)
        rest = [position for position in range(len(chunk)) if position not in ended]
        return chunk.part(rest, alone=chunk.alone) if rest else None

    def late(self, chunk: Chunk) -> bool:
        """Tell whether a reply is for a chunk that nobody waits for any more."""
        return self.outstanding.get(chunk.number) is not chunk


def _all_records(
    chunks: Sequence[Chunk], status: Status, reason: str, error: ItemError | None = None
) -> list[ClientRecord]:
    return [
        record
        for chunk in chunks
        for record in client_records(chunk, range(len(chunk)), status, reason, error)
    ]
