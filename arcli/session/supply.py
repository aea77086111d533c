"""Items with their numbers, from a source that is read ahead, without what a past run kept.

With ``view: direct`` and ``targets`` they are dealt out to engines before anything runs.
"""

from __future__ import annotations

import pickle
import tempfile
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby
from typing import Any, Protocol

from arcli.errors import ArcliError
from arcli.plan.job import Occurrences
from arcli.session.core.chunk import Chunk, fingerprints_of, is_opaque, key_of

GLANCE = 5000
"""Items that one call looks at, at most: the session has other things to do."""


class Reader(Protocol):
    """A source that is read in a thread of its own."""

    def take(self, n: int) -> list[Any]:
        """Up to ``n`` items that are there now."""

    @property
    def left(self) -> int | None:
        """How many items are still to be taken, None while it may have more than are known of."""

    @property
    def error(self) -> ArcliError | None:
        """What stopped the reading, once the good items before it are taken."""


class SourceSupply:
    """A Supply (see interfaces) for a map: numbers the items, and counts equal ones.

    ``length`` is the source's, None where unknown. ``kept`` gives the line of an item's record that
    an earlier run has, by its key and its number now, or None; such items go to
    ``replay(index, line)`` at once.
    """

    dealt = False

    def __init__(
        self,
        reader: Reader,
        *,
        length: int | None,
        distinct: bool,
        hasher: Any,
        kept: Callable[[str, int], bytes | None] | None,
        replay: Callable[[int, bytes], None],
    ) -> None:
        self._reader = reader
        self._length = length
        self._occurrences = None if distinct else Occurrences()
        self._hasher = hasher
        self._kept = kept
        self._replay = replay
        self.count = 0

    @property
    def exhausted(self) -> bool:
        """See Supply."""
        return self._reader.left == 0

    @property
    def error(self) -> ArcliError | None:
        """What stopped the source, if anything did."""
        return self._reader.error

    @property
    def left(self) -> int | None:
        """See Supply. Near its end it is known of any source, which is when chunks get smaller."""
        if self._length is None:
            return self._reader.left
        return max(0, self._length - self.count)

    @property
    def unread(self) -> int | None:
        """Items that were never numbered, None where nobody knows."""
        return 0 if self.exhausted else self.left

    def give_up(self, slot: int | None) -> list[Chunk]:
        """See Supply. Nothing is held."""
        return []

    def take(self, count: int, slot: int | None = None) -> Chunk | None:
        """See Supply."""
        looked = 0
        while looked < GLANCE:
            items = self._reader.take(count)
            if not items:
                return None
            first = self.count
            self.count += len(items)
            looked += len(items)
            # How many equal items came before each; the first of its kind has 0.
            numbers: list[int] = []
            flat = self._occurrences is not None
            if self._occurrences is not None:
                for prints, together in fingerprints_of(items):
                    numbers += self._occurrences.numbers(prints)
                    flat = flat and together
            chunk = Chunk(
                indices=range(first, self.count),
                inputs=items,
                occurrences=numbers if any(numbers) else None,
                flat=flat,
            )
            # Without an earlier run nothing has to be looked up, and no key computed here.
            fresh = chunk if self._kept is None else self._without_kept(chunk, self._kept)
            if fresh is not None:
                return fresh
        return None

    def _without_kept(self, chunk: Chunk, kept: Callable[[str, int], bytes | None]) -> Chunk | None:
        """Return a chunk's items that no earlier run has, None where all are kept; replay the others."""
        fresh: list[int] = []
        # By content and occurrence, not by number: the input may have changed since.
        for position, (index, item) in enumerate(zip(chunk.indices, chunk.inputs, strict=True)):
            key = key_of(self._hasher, item, chunk.occurrences[position] if chunk.occurrences else 0)
            line = kept(key, index)
            if line is None:
                fresh.append(position)
            else:
                self._replay(index, line)
        return chunk.part(fresh) if fresh else None


class ApplySupply:
    """A Supply for an apply: one call for each slot, or one for any engine."""

    dealt = True

    def __init__(
        self,
        slots: list[int] | None,
        *,
        hasher: Any,
        kept: Callable[[str, int], bytes | None] | None,
        replay: Callable[[int, bytes], None],
    ) -> None:
        self._targets: list[int | None] = [None] if slots is None else [*slots]
        self._hasher = hasher
        self._kept = kept
        self._replay = replay
        self.count = 0
        self.error: ArcliError | None = None

    @property
    def exhausted(self) -> bool:
        """See Supply."""
        return self.count == len(self._targets)

    @property
    def left(self) -> int:
        """See Supply."""
        return len(self._targets) - self.count

    unread = left

    def give_up(self, slot: int | None) -> list[Chunk]:
        """See Supply. Nothing is held."""
        return []

    def take(self, count: int, slot: int | None = None) -> Chunk | None:
        """See Supply. Each call is a chunk of its own, whatever ``count`` is."""
        while not self.exhausted:
            # One call a slot, in the order of the slots, as ipyparallel's apply has it.
            index = self.count
            self.count += 1
            # An apply has no input: its engine's number stands for it.
            slot = self._targets[index]
            number = 0 if slot is None else slot
            key = key_of(self._hasher, None, number)
            line = self._kept(key, index) if self._kept is not None else None
            if line is None:
                return Chunk(indices=[index], inputs=[None], occurrences=[number], pinned=slot)
            self._replay(index, line)
        return None


IN_MEMORY = 10_000
"""Items that are held in memory for one engine."""


class HeldItems:
    """Items of one slot that nobody has taken yet, in their order; beyond some, on disk."""

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._blocks: deque[Chunk | tuple[int, int]] = deque()
        self._file: Any = None
        self._count = 0
        self._in_memory = 0

    def __len__(self) -> int:
        return self._count

    def add(self, chunk: Chunk, positions: list[int]) -> None:
        """Hold the items at these positions of a chunk."""
        part = chunk.part(positions)
        part.pinned = self._slot
        self._count += len(part)
        pickled: bytes | None = None
        # Inputs that must stay objects, and the first ones, are not worth a file.
        if self._in_memory >= IN_MEMORY and not any(map(is_opaque, part.inputs)):
            with suppress(Exception):  # __reduce__ of the user's may raise anything
                pickled = pickle.dumps(part, protocol=pickle.HIGHEST_PROTOCOL)
        # One file for all parts, without a name: it is gone with the process. Without a buffer, so that
        # a full disk refuses this part, which is then held as the first ones are, and not one before it.
        if pickled is not None:
            with suppress(OSError):
                self._file = self._file or tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed when it is read
                place = self._file.seek(0, 2)
                if self._file.write(pickled) == len(pickled):
                    self._blocks.append((place, len(pickled)))
                    return
        self._in_memory += len(part)
        self._blocks.append(part)

    def take(self, count: int) -> Chunk | None:
        """Take up to ``count`` items, None where there is none."""
        if not self._blocks:
            return None
        taken = self._first()
        # Blocks are as the source gave them, chunks as the engine can use them.
        while len(taken) < count and self._blocks:
            taken = _joined(taken, self._first())
        if len(taken) > count:
            rest = taken.part(range(count, len(taken)))
            self._blocks.appendleft(rest)
            self._in_memory += len(rest)
            taken.cut(count)
        self._count -= len(taken)
        return taken

    def _first(self) -> Chunk:
        block = self._blocks.popleft()
        if isinstance(block, Chunk):
            self._in_memory -= len(block)
            return block
        self._file.seek(block[0])
        chunk: Chunk = pickle.loads(self._file.read(block[1]))  # noqa: S301 - written above
        if not self._blocks:
            self._file.close()
            self._file = None
        return chunk


def _joined(first: Chunk, second: Chunk) -> Chunk:
    """Make one chunk of two that are not sent."""
    numbers: list[int] | None = None
    if first.occurrences is not None or second.occurrences is not None:
        numbers = [*(first.occurrences or [0] * len(first)), *(second.occurrences or [0] * len(second))]
    return Chunk(
        indices=[*first.indices, *second.indices],
        inputs=[*first.inputs, *second.inputs],
        occurrences=numbers,
        pinned=first.pinned,
    )


class Parts:
    """So many items in even, contiguous parts, one a slot; the first ones are one longer where need be."""

    def __init__(self, slots: list[int], total: int) -> None:
        # Ends are what dealing looks up: the first part whose end is beyond a number has it.
        size, longer = divmod(total, len(slots))
        self._slots = slots
        self._ends = [(part + 1) * size + min(part + 1, longer) for part in range(len(slots))]

    def slot_of(self, index: int) -> int:
        """Return the slot that an item goes to, by its number; the last one also has what is beyond."""
        return self._slots[min(len(self._slots) - 1, bisect_right(self._ends, index))]


class PartedSupply:
    """A Supply for ``view: direct``: the items in as many even parts as there are slots.

    As in ipyparallel's DirectView, parts are contiguous, and the first ones are one longer where it
    does not come out even. Each engine can begin with its own part at once: what is read on the way
    there is held, on disk where it is much.
    """

    dealt = True

    def __init__(self, inner: SourceSupply, slots: list[int], total: int) -> None:
        self._inner = inner
        self._parts = Parts(slots, total)
        self._held = {slot: HeldItems(slot) for slot in slots}

    @property
    def exhausted(self) -> bool:
        """See Supply."""
        return self._inner.exhausted and not any(map(len, self._held.values()))

    @property
    def left(self) -> int | None:
        """See Supply."""
        left = self._inner.left
        return None if left is None else left + sum(map(len, self._held.values()))

    @property
    def unread(self) -> int | None:
        """See SourceSupply."""
        return self._inner.unread

    @property
    def error(self) -> ArcliError | None:
        """See SourceSupply."""
        return self._inner.error

    @property
    def count(self) -> int:
        """See Supply."""
        return self._inner.count

    def take(self, count: int, slot: int | None = None) -> Chunk | None:
        """See Supply. Items are dealt by their numbers, whichever of them an earlier run has."""
        held = self._held.get(-1 if slot is None else slot)
        if held is None:
            return None
        self._read(held, count)
        return held.take(count)

    def _read(self, held: HeldItems, count: int) -> None:
        """Read on until so many items are held, or as many as one call may look at."""
        looked = 0
        while len(held) < count and looked < GLANCE:
            chunk = self._inner.take(count)
            if chunk is None:
                return
            looked += len(chunk)
            # Each item goes to the slot whose part its number is in.
            owners = [*map(self._parts.slot_of, chunk.indices)]
            for owner, positions in groupby(range(len(chunk)), key=owners.__getitem__):
                self._held[owner].add(chunk, [*positions])

    def give_up(self, slot: int | None) -> list[Chunk]:
        """See Supply."""
        if slot is not None and slot not in self._held:
            return []
        if slot is not None:
            # Nobody else reads on, where nobody else has a part.
            self._read(self._held[slot], GLANCE)
        slots = self._held if slot is None else [slot]
        chunks: list[Chunk] = []
        for each in slots:
            while (chunk := self._held[each].take(GLANCE)) is not None:
                chunks.append(chunk)
        return chunks
