"""Items with their numbers, from a source that is read ahead, without what a past run kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from arcli.errors import ArcliError
from arcli.plan.numbering import Occurrences
from arcli.session.core.chunk import Chunk, fingerprint_of, key_of

GLANCE = 5000
"""Items that one call looks at, at most: the session has other things to do."""


class Reader(Protocol):
    """A source that is read in a thread of its own."""

    def take(self, n: int) -> list[Any]:
        """Up to ``n`` items that are there now."""

    @property
    def exhausted(self) -> bool:
        """Whether all items have been taken."""

    @property
    def error(self) -> ArcliError | None:
        """What stopped the reading, once the good items before it are taken."""


class SourceSupply:
    """A Supply (see dispatch) for a map: numbers the items, and counts equal ones.

    ``length`` is the source's, None where unknown. ``kept`` gives the line of an item's record that
    an earlier run has, by its key and its number now, or None; such items go to
    ``replay(index, line)`` at once.
    """

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
        return self._reader.exhausted

    @property
    def error(self) -> ArcliError | None:
        """What stopped the source, if anything did."""
        return self._reader.error

    @property
    def left(self) -> int | None:
        """See Supply."""
        return None if self._length is None else max(0, self._length - self.count)

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
            numbers = self._number(items)
            # Without an earlier run nothing has to be looked up, and no key
            # computed here.
            if self._kept is None:
                return Chunk(indices=range(first, self.count), inputs=items, occurrences=_sparse(numbers))
            work = self._without_kept(first, items, numbers)
            if len(work):
                return work
        return None

    def _number(self, items: list[Any]) -> list[int]:
        """Return how many equal items came before each; the first of its kind has 0."""
        if self._occurrences is None:
            return []
        number = self._occurrences.number
        return [number(fingerprint_of(item)) for item in items]

    def _without_kept(self, first: int, items: list[Any], numbers: list[int]) -> Chunk:
        assert self._kept is not None
        fresh: list[int] = []
        # By content and occurrence, not by number: the input may have changed
        # since.
        for position, item in enumerate(items):
            key = key_of(self._hasher, item, numbers[position] if numbers else 0)
            line = self._kept(key, first + position)
            if line is None:
                fresh.append(position)
            else:
                self._replay(first + position, line)
        return Chunk(
            indices=[first + position for position in fresh],
            inputs=[items[position] for position in fresh],
            occurrences=_sparse([numbers[position] for position in fresh] if numbers else []),
        )


class ApplySupply:
    """A Supply for an apply: one call for each slot, or one for any engine."""

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
            index = self.count
            self.count += 1
            # An apply has no input: its engine's number stands for it.
            key = key_of(self._hasher, None, index)
            line = self._kept(key, index) if self._kept is not None else None
            if line is None:
                return Chunk(
                    indices=[index],
                    inputs=[None],
                    occurrences=[index],
                    pinned=self._targets[index],
                )
            self._replay(index, line)
        return None


def _sparse(numbers: list[int]) -> list[int] | None:
    return numbers if any(numbers) else None
