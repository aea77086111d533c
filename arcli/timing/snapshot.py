"""How things stand: what a progress display and somebody in another shell are shown."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from arcli.timing.words import plural


class RunningItem(Struct, frozen=True, kw_only=True):
    """What an engine is at: the item, None where it cannot be seen, and the ``seconds`` so far.

    ``chunk`` is the number of items that were sent with it. Of several side by side it is the last one that
    was begun, ``running`` of them in all.
    """

    engine_id: int
    slot: int
    host: str
    index: int | None
    seconds: float
    chunk: int
    running: int

    @property
    def name(self) -> str:
        """``item 12``, ``item 12 and 3 more``, or ``25 items``."""
        if self.index is None:
            return plural(self.chunk, "item")
        return f"item {self.index}" + (f" and {self.running - 1} more" if self.running > 1 else "")


class Snapshot(Struct, frozen=True, kw_only=True):
    """How a session stands. ``job`` is None between two jobs; ``total`` where nobody knows it.

    ``engines`` can take items, ``starting`` are on their way. ``running`` items are being run, ``done``
    items have ended, ``counts`` by status.
    ``rate`` is in items a second; ``seconds_left`` is an estimate, None where there is none.
    ``items``, the longest first, is only filled in while somebody looks.
    """

    engines: int = 0
    starting: int = 0
    running: int = 0
    job: str | None = None
    total: int | None = None
    done: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    rate: float | None = None
    seconds_left: float | None = None
    items: tuple[RunningItem, ...] = ()
