"""A source that is read in a thread of its own, so that whoever takes its items never blocks."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from arcli.errors import ArcliError, InputError

AHEAD = 4096
"""Items that are read ahead, unless more are asked for at once."""
BLOCK = 256
"""Items that are handed over together, while they come without a wait."""
HEAVY = 1 << 16
"""Bytes of an item from which on only few are read ahead."""
LOOK = 7
"""Of so many maps and lists one is looked into. It is no divisor of a block, so that in items that come in
turns each has its turn.
"""
SHORT = 1000
"""Characters of a text up to which it is small, whatever they are."""
PART = 50
"""Bytes that a place in a list or a map takes, with the number or the head of the text that is there."""


class ReadAhead:
    """Reads ``source`` ahead. ``limit`` ends it after so many items.

    ``notify`` is called, on the reading thread, when something has come after a ``take`` that did
    not get all that it asked for: items, the end, or an error.
    """

    def __init__(
        self, source: Iterable[Any], *, notify: Callable[[], None] = lambda: None, limit: int | None = None
    ) -> None:
        # The thread alone touches the source; all else is shared under one condition.
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
        # The reader appends without the lock. So hunger is announced before the count: an item that
        # comes in between is told of once too often, which costs a look, and never not at all.
        with self._room:
            self._wanted = max(AHEAD, 2 * n)
            self._hungry = True
            count = min(n, len(items))
            taken = [items.popleft() for _ in range(count)]
            self._hungry = count < n
            # The reader is woken for a whole block: for each item, both threads would wait for one another.
            if len(items) <= max(0, self._wanted - BLOCK):
                self._room.notify()
        return taken

    @property
    def left(self) -> int | None:
        """How many items are still to be taken, None as long as the source may have more than were read."""
        return len(self._items) if self._ended else None

    @property
    def error(self) -> ArcliError | None:
        """What stopped the reading, once the items before it are taken."""
        return self._failure if self.left == 0 else None

    def close(self) -> None:
        """Read no more. A read that blocks is left alone: its thread does not keep the process."""
        with self._room:
            self._closed = True
            self._room.notify()

    def _read(self) -> None:
        try:
            # A generator of the user's may print: standard output is for results.
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
        # A block between two looks at the lock: taking it for each item would halve the rate at
        # which a plain source is read.
        taken = 0
        for item in islice(source, BLOCK):
            self._items.append(item)
            taken += 1
            if self._hungry:
                self._hungry = False
                self._notify()
            # Large items are held one by one: memory goes by bytes, not by items. To look into each map
            # would cost a share of reading it: only some are, since those of one source are much alike.
            kind = type(item)
            if kind in _LIGHT or (kind in _PARTED and taken % LOOK != 1):
                continue
            if (kind is not str or len(item) > SHORT) and _size(item) > HEAVY:
                self._wanted = min(self._wanted, 16)
                return True
        return taken == BLOCK


_LIGHT = frozenset([int, float, bool, type(None)])
"""Types whose values are all small: what holds them counts ``PART`` bytes for each."""
_PARTED = (dict, list, tuple, set, frozenset)
"""Types whose values are made of others."""


def _size(item: Any) -> int:
    """Return about how many bytes an item takes with all that it is made of; counting ends beyond HEAVY."""
    size, parts = 0, [item]
    # What a part is made of comes behind it, however deep that goes.
    for part in parts:
        kind = type(part)
        if kind is str and len(part) <= SHORT:
            size += len(part)
        elif kind in _LIGHT:
            pass
        elif isinstance(part, _PARTED):
            size += PART * (1 + len(part))
            if size > HEAVY:
                break
            parts += part.values() if isinstance(part, dict) else part
        else:
            # An array may only be a view of what it shows. Of an earlier job's value that only engines can
            # open, the pickle counts.
            raw = getattr(part, "pickled", part)
            shown = getattr(raw, "nbytes", 0)
            size += max(sys.getsizeof(raw), shown if isinstance(shown, int) else 0)
    return size


# -- standard output is for results: what a source or a library prints goes elsewhere --------------


_here = threading.local()


class _Log:
    """A text file that is made when the first text is written to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: str) -> int:
        """Append a text."""
        with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            return file.write(text)

    def flush(self) -> None:
        """It is written already."""


class _Aside:
    """``sys.stdout``, for each thread another one.

    That of threads inside of ``aside`` is ``sys.stderr``; that of threads other than the main one
    is ``log``, where there is one.
    """

    def __init__(self, stdout: TextIO | None, log: _Log | None = None) -> None:
        self._stdout = stdout
        self._log = log

    def __getattr__(self, name: str) -> Any:
        if getattr(_here, "inside", False):
            return getattr(sys.stderr, name)
        if self._log is not None and threading.current_thread() is not threading.main_thread():
            return getattr(self._log, name)
        return getattr(self._stdout, name)


@contextmanager
def aside() -> Iterator[None]:
    """Send what this thread prints, as far as Python prints it, to standard error."""
    if not isinstance(sys.stdout, _Aside):
        sys.stdout = _Aside(sys.stdout)  # it stays: another thread may read, too
    _here.inside = True
    try:
        yield
    finally:
        _here.inside = False


def results_apart() -> None:
    """Have what programs and libraries write to the descriptor of standard output go to standard error.

    ``sys.stdout`` becomes another descriptor of the same file, which nothing that is started inherits.
    """
    if sys.stdout is None or sys.stderr is None:
        return
    try:
        out, err = sys.stdout.fileno(), sys.stderr.fileno()
    except OSError:  # streams of somebody else's making
        return
    sys.stdout.flush()
    own = os.dup(out)
    os.dup2(err, out)
    sys.stdout = os.fdopen(own, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)


@contextmanager
def logged(log: Path) -> Iterator[None]:
    """Send what threads other than the main one print to a file: ipyparallel's client has some.

    It prints of results that it does not know any more (``Client._handle_apply_reply``,
    https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/client/client.py).
    """
    before = sys.stdout
    sys.stdout = _Aside(before, _Log(log))
    try:
        yield
    finally:
        sys.stdout = before
