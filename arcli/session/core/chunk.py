"""Items on their way: how many travel in one chunk, and how it falls apart when an engine dies.

The sizes are a pure function of what has been measured. A chunk costs some milliseconds wherever it
goes, so chunks grow until that is a few percent. All engines together share one path for messages,
the client's and the controller's: with many of them chunks grow further, so that the path has room,
and none is so small that a round of them would fill it. Towards the end chunks shrink again, so that
no engine waits for another one's straggler. Guided self-scheduling (Polychronopoulos and Kuck, 1987,
https://doi.org/10.1109/TC.1987.5009495) and factoring (Hummel, Schonberg and Flynn, 1992,
https://doi.org/10.1145/135226.135232) are where the shrinking comes from.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from arcli.engine.errors import safe_repr
from arcli.engine.keys import fingerprint, fingerprints, item_key, key_from
from arcli.engine.tally import Status
from arcli.errors import InputError
from arcli.inputs.pickled import PickledInput
from arcli.record import ItemError


class Chunk(Struct, kw_only=True, eq=False):
    """Items that travel together.

    ``attempt`` counts from 1 and is the same for all of them. ``pinned`` is the slot that must run
    them. ``alone`` says that they may have killed an engine, so nothing else waits beside them.
    ``number`` counts chunks that were sent, from 1; ``done`` is how many of its first items are
    accounted for by early records, ``size`` the bytes of its request; ``deaths`` how many engines
    have died of it, or of what it was a part of, without a trace of which item did it. ``unfit`` are
    slots where what its function depends on is not there. ``sent`` are the positions at which the items
    were sent, None where they still have those. ``limit`` are the seconds that its items have, None:
    nobody knows yet, or for ever; ``told`` is when its engine was told of it, if it was sent before.
    ``overlap``: its engine answers before its last items have ended, for another chunk follows it.
    ``flat`` is as in a RunChunk.
    """

    indices: Sequence[int]
    inputs: list[Any]
    occurrences: list[int] | None = None
    attempt: int = 1
    pinned: int | None = None
    alone: bool = False
    number: int = 0
    done: int = 0
    deaths: int = 0
    size: int = 0
    unfit: frozenset[int] = frozenset()
    sent: list[int] | None = None
    limit: float | None = None
    told: float = -math.inf
    overlap: bool = False
    flat: bool = False

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def rest(self) -> range:
        """The positions of the items that are not accounted for."""
        return range(self.done, len(self))

    def cut(self, count: int) -> None:
        """Keep the first so many items only."""
        self.indices, self.inputs = self.indices[:count], self.inputs[:count]
        self.occurrences = None if self.occurrences is None else self.occurrences[:count]
        self.sent = None if self.sent is None else self.sent[:count]

    def arrange(self, first: int, order: Sequence[int]) -> None:
        """Put the items into the order in which they end: from ``first`` on those sent at ``order``.

        Only items that were begun have ended. So those that were not begun, which are behind them, stay
        where they are, and what is known of where the engine is holds for either order.
        """
        sent = self.sent or [*range(len(self))]
        ended = dict.fromkeys(order)
        places = {position: place for place, position in enumerate(sent)}
        self.sent = [
            *sent[:first],
            *(position for position in ended if places.get(position, -1) >= first),
            *(position for position in sent[first:] if position not in ended),
        ]
        now = [places[position] for position in self.sent]
        self.indices = [self.indices[place] for place in now]
        self.inputs = [self.inputs[place] for place in now]
        self.occurrences = self.occurrences and [self.occurrences[place] for place in now]

    def part(self, positions: Sequence[int], *, attempt: int | None = None, alone: bool = False) -> Chunk:
        """Make a chunk of the items at these positions, which is not yet sent; of another ``attempt``."""
        # Deaths and unfit slots go with every part.
        occurrences = self.occurrences
        return Chunk(
            indices=[self.indices[position] for position in positions],
            inputs=[self.inputs[position] for position in positions],
            occurrences=None if occurrences is None else [occurrences[position] for position in positions],
            attempt=self.attempt if attempt is None else attempt,
            pinned=self.pinned,
            alone=alone,
            deaths=self.deaths,
            unfit=self.unfit,
            flat=self.flat,
        )


def packed(items: list[Any]) -> tuple[bytes, dict[int, bytes], dict[int, tuple[str, str]]]:
    """Pickle inputs for their journey: a list, single ones by their positions, and what cannot go.

    All of a chunk travel in one pickle, so that what they share does. Only where that fails, each
    is looked at: one that cannot be pickled must not cost the others.
    """
    # Values of earlier jobs that only engines can open stay closed: nested pickles need no class here.
    opaque: dict[int, bytes] = {}
    inputs = items
    if PickledInput in set(map(type, items)):
        opaque = {at: item.pickled for at, item in enumerate(items) if isinstance(item, PickledInput)}
        inputs = [None if position in opaque else item for position, item in enumerate(items)]
    try:
        return pickled(inputs), opaque, {}
    except Exception:  # noqa: BLE001 - __reduce__ and the like are the user's
        unsent: dict[int, tuple[str, str]] = {}
    for position, item in enumerate(inputs):
        try:
            pickled([item])
        except InputError as error:  # it could not be read, and says where and why
            unsent[position] = safe_repr(item), error.message
        except Exception as error:  # noqa: BLE001 - as above
            kind = f"{type(item).__module__}.{type(item).__qualname__}"
            reason = f"the input cannot be sent: {kind}: {error}"
            unsent[position] = safe_repr(item), reason.partition("\n")[0]
    inputs = [None if position in unsent else item for position, item in enumerate(inputs)]
    return pickled(inputs), opaque, unsent


def pickled(inputs: list[Any]) -> bytes:
    """Pickle inputs; by value where their classes cannot be imported elsewhere."""
    try:
        return pickle.dumps(inputs, protocol=4)
    except (pickle.PicklingError, AttributeError, TypeError):
        import cloudpickle

        travelling: bytes = cloudpickle.dumps(inputs, protocol=4)
        return travelling


class ClientRecord(Struct, frozen=True, kw_only=True):
    """The end of an item that no engine could write a record for."""

    index: int
    input: Any
    occurrence: int
    attempt: int
    status: Status
    reason: str
    error: ItemError | None = None


def client_records(
    chunk: Chunk, positions: Sequence[int], status: Status, reason: str, error: ItemError | None = None
) -> list[ClientRecord]:
    """End the items at these positions in the same way."""
    return [
        ClientRecord(
            index=chunk.indices[position],
            input=chunk.inputs[position],
            occurrence=chunk.occurrences[position] if chunk.occurrences is not None else 0,
            attempt=chunk.attempt,
            status=status,
            reason=reason,
            error=error,
        )
        for position in positions
    ]


TOGETHER = 256
"""Items whose fingerprints are made, and held, together."""


def fingerprints_of(items: Sequence[Any]) -> Iterator[tuple[list[bytes], bool]]:
    """Yield the ``fingerprint`` of each item, block by block, and whether a block's items ``are_flat``.

    Some items may be opaque to arcli itself.
    """
    for start in range(0, len(items), TOGETHER):
        block = items[start : start + TOGETHER]
        if (together := fingerprints(block)) is not None:
            yield together, True
            continue
        each = [item.pickled if isinstance(item, PickledInput) else fingerprint(item) for item in block]
        yield each, False


def key_of(hasher: Any, item: Any, occurrence: int) -> str:
    """Give the ``item_key`` of an item; one that is opaque is known by its pickle."""
    if isinstance(item, PickledInput):
        return key_from(hasher, item.pickled, occurrence)
    return item_key(hasher, item, occurrence)


def is_opaque(item: Any) -> bool:
    """Tell whether an item is, or has, a value of an earlier job that only engines can open."""
    kind = type(item)
    parts = item.values() if kind is dict else item if kind is list else ()
    return kind is PickledInput or any(map(is_opaque, parts))


TARGET_SECONDS = 0.2
"""A chunk's work in the middle of a run: a message of 5 ms is then 2.5 % of it."""
WORTH_SECONDS = 0.01
"""Below this a chunk is not worth its message, even at the end."""
GROWTH = 8
"""A chunk is at most this many times as large as the largest that has come back."""
SHARE = 2
"""Near the end a chunk is at most this fraction (1/SHARE) of an engine's fair part."""
MAX_BYTES = 2_000_000
"""About so many bytes of inputs and records are in one message, where an item does not have more."""
MAX_ITEMS = 50_000
MEMORY = 0.5
"""How much of what was known stays with each chunk that comes back: work may change as it goes."""
RISE = 1.1
"""How much more an item may cost beside its own code than was known when the last chunk came back."""
MESSAGE_SECONDS = 0.002
"""What a chunk takes of the processors beside its items, as long as nothing else is known: 128 engines had
2,400 chunks fewer for it, and 3.5 s of processor time."""
RECENT = 0.05
"""The weight of each chunk that comes back in what is known of the message path."""
IDLE = 0.1
"""The share of time that engines wait for their next chunk, beyond which the path is what they wait
for, so that the rate at which chunks come back is the rate that it can take."""
ROUNDS = 2.0
"""A chunk is at least this many times as long as one for each engine takes on the message path: so
the path has room, however many engines there are."""
RAGGED = 16
"""Rounds of items side by side that a chunk has at least, in the middle of a run."""
STRAGGLE = 3
"""A chunk of items side by side is at least this many times as long as places wait for its last ones."""
MAX_DEPTH = 8
COVER_SECONDS = 0.03
"""The work that should wait at an engine, to cover a message's round trip."""


class ChunkPolicy:
    """Sizes for the chunks of one job. ``fixed`` is the size that the spec gives, None for auto.

    ``beside`` is how many items an engine runs side by side. What is learnt of an item's seconds is
    then an engine's time divided by its items, so that a chunk lasts as long as any other does. With
    ``overlap`` the next chunk begins while the last items of this one run, so no place waits for them.
    """

    def __init__(self, fixed: int | None = None, beside: int = 1, *, overlap: bool = False) -> None:
        self._fixed = fixed
        self.beside = beside
        self.overlap = overlap
        self._seconds: float | None = None
        self._bytes = 0.0
        self._largest = 0
        self._overhead = math.inf
        self._last: float | None = None
        self._interval = self._gap = self._busy = 0.0
        self._cost = MESSAGE_SECONDS
        self._weight = 1.0
        self._straggle = 0.0

    def learn(
        self,
        items: int,
        seconds: float,
        size: int,
        *,
        own: float | None = None,
        gap: float = 0.0,
        now: float = 0.0,
    ) -> None:
        """Take in that a chunk of ``items`` came back: after ``seconds`` on its engine, ``size`` bytes.

        ``own`` are those of its items' own code, one after the other, None where that is not known.
        ``gap`` are the seconds that it was under way beside that, ``now`` is a monotonic time.
        """
        # An empty chunk, all of which was recalled, still says what its message cost.
        self._learn_cost(seconds, gap, now)
        if items < 1:
            return
        # What a chunk takes beside its items is a little for each of them, and now and then much for
        # no reason of theirs, on a busy machine or as an engine's first one: so the least of it counts.
        keep = 0.0 if self._seconds is None else MEMORY ** min(4.0, items / max(1, self._largest))
        if own is not None:
            # What ends during an overlapping chunk may have begun before it, and so be longer than that.
            filled = own / self.beside if self.overlap else min(seconds, own / min(self.beside, items))
            self._overhead = min(max(0.0, seconds - filled) / items, RISE * self._overhead)
            # Side by side, most of it is what the other places wait for the last items.
            if self.beside > 1 and not self.overlap:
                self._overhead = min(self._overhead, filled / items)
                straggle = seconds - filled - self._overhead * items
                self._straggle = keep * self._straggle + (1 - keep) * straggle
            seconds = filled + self._overhead * items
        # A large chunk says more about an item than a small one.
        self._seconds = keep * (self._seconds or 0.0) + (1 - keep) * seconds / items
        self._bytes = max(size / items, keep * self._bytes + (1 - keep) * size / items)
        self._largest = max(self._largest, items)

    def _learn_cost(self, seconds: float, gap: float, now: float) -> None:
        """Learn how often all engines together can have a message: seconds between two.

        While engines wait for chunks, that is how often they come back. While they do not, the path
        can take at least as many as come back now.
        """
        # Smoothed over many chunks, for single ones come in bursts; the first ones over what there is.
        if self._last is not None:
            elapsed = now - self._last
            self._interval += self._weight * (elapsed - self._interval) if self._interval else elapsed
        self._last = now
        self._gap += self._weight * (gap - self._gap)
        self._busy += self._weight * (seconds - self._busy)
        self._weight = max(RECENT, 1 / (1 + 1 / self._weight))
        if self._gap > IDLE * (self._gap + self._busy):
            self._cost += RECENT * (self._interval - self._cost)
        elif self._weight == RECENT:  # a first few that came together say nothing of how often they can
            self._cost = min(self._cost, self._interval)

    def _round(self, engines: int) -> float:
        """Seconds that it takes to send each engine a chunk, and to have it back."""
        # Long items travel alone, as long as nobody knows that messages are scarce.
        if self._cost == MESSAGE_SECONDS and (self._seconds or 0.0) >= TARGET_SECONDS:
            return 0.0
        return engines * self._cost

    def size(self, left: int | None, engines: int) -> int:
        """Return items for the next chunk, at least 1, with ``left`` items to go (None: unknown)."""
        if self._fixed is not None:
            return self._fixed
        # Nothing is known yet: one item tells how long they are, and is the first
        # result. Places side by side are filled, here and at the end, for all of them are to be used
        # at a time.
        if self._seconds is None:
            return self.beside if left is None else max(1, min(self.beside, left))
        each = max(self._seconds, 1e-9)
        # As much work as makes a message cheap, growing step by step, and never an
        # unbounded message.
        round_ = self._round(engines)
        target = max(TARGET_SECONDS, ROUNDS * round_)
        size = target / each
        # Where items run side by side, the last ones of a chunk leave their neighbours' places empty:
        # so many rounds make that little, and where some take much longer, so much more work.
        straggle = STRAGGLE * self._straggle
        if self.beside > 1 and not self.overlap:
            size = max(size, RAGGED * self.beside, straggle / each)
        size = min(size, self._largest * GROWTH, MAX_ITEMS)
        if self._bytes:
            size = min(size, round(MAX_BYTES / self._bytes))
        # Near the end every engine should have something: chunks shrink with what
        # is left.
        if left is not None:
            fair = left / max(1, engines)
            costly = min(max(round_, straggle) / each, fair)
            worth = max(WORTH_SECONDS / each, costly, 0 if self.overlap else min(self.beside, left))
            size = min(size, max(fair / SHARE, worth))
        # Whole rounds: in one that is not, places side by side have nothing to do.
        if size > self.beside > 1 and not self.overlap:
            size -= size % self.beside
        return max(1, math.ceil(size - 1e-9))

    def depth(self, left: int | None, engines: int) -> int:
        """Chunks that one engine may have outstanding, the running one included."""
        if self._seconds is None:
            return 1
        chunk = self._seconds * self.size(left, engines)
        if chunk >= max(TARGET_SECONDS, self._round(engines)):
            # What waits behind a long chunk cannot be had back; the gap costs a few milliseconds.
            return 1 if self._fixed is not None or self._seconds * self.beside > TARGET_SECONDS / 2 else 2
        return min(MAX_DEPTH, max(2, math.ceil(COVER_SECONDS / max(chunk, 1e-9))))
