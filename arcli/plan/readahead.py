"""A source that is read in a thread of its own, so that whoever takes its items never blocks."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from arcli.errors import ArcliError, InputError
from arcli.plan.aside import aside

AHEAD = 4096
"""Items that are read ahead, unless more are asked for at once."""
BLOCK = 256
"""Items that are handed over together, while they come without a wait."""
HEAVY = 1 << 16
"""Bytes of an item from which on only few are read ahead."""


class ReadAhead:
    """Reads ``source`` ahead. ``limit`` ends it after so many items.

    ``notify`` is called, on the reading thread, when something has come after a ``take`` that did
    not get all that it asked for: items, the end, or an error.
    """

    def __init__(
        self,
        source: Iterable[Any],
        *,
        notify: Callable[[], None] = lambda: None,
        limit: int | None = None,
    ) -> None:
        self._source = source
        self._notify = notify
        self._limit = limit
        self._items: deque[Any] = deque()
        self._wanted = AHEAD
        self._hungry = False
        self._ended = False
        self._closed = False
        self._failure: ArcliError | None = None
        self._room = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="arcli-input", daemon=True)
        self._thread.start()

    def take(self, n: int) -> list[Any]:
        """Up to ``n`` items that are there now, maybe none. Never blocks."""
        items = self._items
        with self._room:
            self._wanted = max(AHEAD, 2 * n)
            self._hungry = True  # before the count: what comes in between must be told
            count = min(n, len(items))
            taken = [items.popleft() for _ in range(count)]
            self._hungry = count < n
            self._room.notify()
        return taken

    @property
    def exhausted(self) -> bool:
        """Whether all items there are have been taken."""
        return self._ended and not self._items

    @property
    def error(self) -> ArcliError | None:
        """What stopped the reading, once the items before it are taken."""
        return self._failure if self.exhausted else None

    def close(self) -> None:
        """Read no more. A read that blocks is left alone: its thread does not keep the process."""
        with self._room:
            self._closed = True
            self._room.notify()

    def _read(self) -> None:
        try:
            with aside():
                source = iter(islice(self._source, self._limit))
                while self._make_room() and self._hand_over(source):
                    pass
        # Whoever waits for items gets the reason in place of the next one.
        except ArcliError as error:
            self._failure = error
        except BaseException as error:  # noqa: BLE001 - a source must not end without a word
            self._failure = InputError(f"an input cannot be read: {type(error).__name__}: {error}")
        finally:
            self._ended = True
            self._notify()

    def _make_room(self) -> bool:
        """Wait until items are wanted; False where none will be any more."""
        with self._room:
            self._room.wait_for(lambda: self._closed or len(self._items) < self._wanted)
            return not self._closed

    def _hand_over(self, source: Any) -> bool:
        """Read a block of items, each of which is there as soon as it is read; False at the end."""
        for _ in range(BLOCK):
            item = next(source, _END)
            if item is _END:
                return False
            self._items.append(item)
            if self._hungry:
                self._hungry = False
                self._notify()
            # Large items are held one by one: memory goes by bytes, not by items.
            if type(item) not in _LIGHT and _size(item) > HEAVY:
                self._wanted = min(self._wanted, 16)
                return True
        return True


_END = object()
_LIGHT = frozenset([int, float, bool, dict, list, tuple, type(None)])
"""Types of items whose own size says nothing, or little."""


def _size(item: Any) -> int:
    """Return the bytes of a text, an array, or an earlier job's value that only engines can open."""
    raw = getattr(item, "pickled", item)
    return sys.getsizeof(raw) if isinstance(raw, str | bytes) else int(getattr(raw, "nbytes", 0))
