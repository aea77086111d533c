"""Chunks that wait to be sent again, found in a time that does not grow with how many there are."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator

from arcli.session.core.chunk import Chunk

Kind = tuple[bool, frozenset[int]]
"""Whether a chunk needs an engine to itself, and the slots that it is unfit for."""


class Waiting:
    """A queue of chunks, each for any slot or for the one that it is pinned to; some wait for a time.

    ``version`` changes with whatever is added, so that who found nothing need not look before.
    """

    def __init__(self) -> None:
        self._groups: dict[int | None, dict[Kind, deque[tuple[int, Chunk]]]] = {}
        self._delayed: list[tuple[float, int, Chunk]] = []
        self._pinned: Counter[int | None] = Counter()
        """How many of the delayed chunks each slot has."""
        self._first = self._last = 0
        self._order = itertools.count()
        self.version = 0
        self.suspects = 0
        """Chunks that wait for an engine to themselves."""
        self.items = 0
        """Items in all chunks, delayed ones included."""

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks that may go now, in their order."""
        groups = (group for kinds in self._groups.values() for group in kinds.values())
        return (chunk for _, chunk in heapq.merge(*groups, key=lambda entry: entry[0]))

    def __bool__(self) -> bool:
        return bool(self._groups)

    @property
    def due(self) -> float | None:
        """When the next delayed chunk may go, None where none is delayed."""
        return self._delayed[0][0] if self._delayed else None

    def append(self, chunk: Chunk) -> None:
        """Add a chunk behind all others."""
        self._last += 1
        self._group(chunk).append((self._last, chunk))
        self._added(chunk)

    def push(self, chunk: Chunk) -> None:
        """Add a chunk before all others."""
        self._first -= 1
        self._group(chunk).appendleft((self._first, chunk))
        self._added(chunk)

    def delay(self, due: float, chunk: Chunk) -> None:
        """Add a chunk that may go from a time on."""
        heapq.heappush(self._delayed, (due, next(self._order), chunk))
        self._pinned[chunk.pinned] += 1
        self.items += len(chunk)

    def ripen(self, now: float) -> None:
        """Put delayed chunks behind all others whose time has come."""
        while self._delayed and self._delayed[0][0] <= now:
            chunk = heapq.heappop(self._delayed)[2]
            self._pinned[chunk.pinned] -= 1
            self.items -= len(chunk)
            self.append(chunk)

    def _group(self, chunk: Chunk) -> deque[tuple[int, Chunk]]:
        kinds = self._groups.setdefault(chunk.pinned, {})
        return kinds.setdefault((chunk.alone, chunk.unfit), deque())

    def _added(self, chunk: Chunk) -> None:
        self.version += 1
        self.items += len(chunk)
        self.suspects += chunk.alone

    def look(self, slot: int | None, idle: bool) -> Chunk | None:
        """Return the first chunk that fits an engine; ``idle``: it has nothing else to do."""
        found = self._find(slot, idle)
        return None if found is None else self._groups[found[0]][found[1]][0][1]

    def take(self, slot: int | None, idle: bool) -> Chunk | None:
        """Take the first chunk that fits an engine."""
        found = self._find(slot, idle)
        if found is None:
            return None
        pinned, kind = found
        kinds = self._groups[pinned]
        _, chunk = kinds[kind].popleft()
        # Groups that are empty go, so that there are only as many as there are kinds of what waits.
        if not kinds[kind]:
            del kinds[kind]
        if not kinds:
            del self._groups[pinned]
        self._gone(chunk)
        return chunk

    def _find(self, slot: int | None, idle: bool) -> tuple[int | None, Kind] | None:
        """Find the group whose first chunk is the first that fits."""
        fitting = [
            (group[0][0], pinned, kind)
            for pinned in ({None, slot} & self._groups.keys())
            for kind, group in self._groups[pinned].items()
            if (idle or not kind[0]) and slot not in kind[1]
        ]
        if not fitting:
            return None
        _, pinned, kind = min(fitting, key=lambda entry: entry[0])
        return pinned, kind

    def _gone(self, chunk: Chunk) -> None:
        self.items -= len(chunk)
        self.suspects -= chunk.alone

    def hopeless(self, slots: set[int]) -> list[Chunk]:
        """Take the chunks that none of these slots, which are all there are, is fit for."""
        return self._remove(lambda pinned, unfit: bool(unfit) and (slots <= unfit or pinned in unfit))

    def stranded(self, slot: int) -> list[Chunk]:
        """Take the chunks, delayed ones included, that only this slot could run."""
        return self._remove(lambda pinned, _: pinned == slot) + self._remove_delayed(slot)

    def clear(self) -> list[Chunk]:
        """Take all chunks, delayed ones last."""
        chunks = [*self, *(chunk for *_, chunk in sorted(self._delayed))]
        self._groups.clear()
        self._delayed.clear()
        self._pinned.clear()
        self.items = self.suspects = 0
        return chunks

    def _remove(self, wanted: Callable[[int | None, frozenset[int]], bool]) -> list[Chunk]:
        """Take whole groups, which are asked for often and found seldom: no other chunk is looked at."""
        found = [
            (pinned, kind)
            for pinned, kinds in self._groups.items()
            for kind in kinds
            if wanted(pinned, kind[1])
        ]
        groups = [self._groups[pinned].pop(kind) for pinned, kind in found]
        for pinned in {pinned for pinned, _ in found}:
            if not self._groups[pinned]:
                del self._groups[pinned]
        chunks = [chunk for _, chunk in heapq.merge(*groups, key=lambda entry: entry[0])]
        for chunk in chunks:
            self._gone(chunk)
        return chunks

    def _remove_delayed(self, slot: int) -> list[Chunk]:
        """Take the delayed chunks that are pinned to a slot."""
        if not self._pinned.pop(slot, 0):
            return []
        removed = [chunk for *_, chunk in self._delayed if chunk.pinned == slot]
        self._delayed = [entry for entry in self._delayed if entry[2].pinned != slot]
        heapq.heapify(self._delayed)
        self.items -= sum(map(len, removed))
        return removed

    def replace(self, change: Callable[[Chunk], Chunk | None], *, delayed: bool = True) -> None:
        """Put another chunk, or none, in each one's place. Takes a look at all of them."""
        chunks, late = [*self], self._delayed
        self._groups.clear()
        self.items = self.suspects = 0
        for chunk in filter(None, map(change, chunks)):
            self.append(chunk)
        self._delayed = []
        self._pinned.clear()
        for due, _, chunk in late:
            changed = change(chunk) if delayed else chunk
            if changed is not None:
                self.delay(due, changed)
