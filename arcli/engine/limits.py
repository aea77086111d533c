"""What ends an item before its end: its time limit, and a chunk that nobody wants any more."""

from __future__ import annotations

import asyncio
import faulthandler
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .threads import EngineThread

GRACE = 2.0
"""Seconds between the exception in an item and the end of the engine that does not heed it."""
REARM = 0.5
"""The watchdog is wound up again at most this often: it costs a thread each time."""


class TimeLimit(BaseException):
    """Raised in an item whose time is up; no ``except Exception`` of the item's catches it."""


UNKNOWN = math.inf
"""Seconds of a limit that is told while items run already."""
ASK = 0.25
"""Seconds between two looks at whether it has been told."""


class Timer:
    """Interrupts items after ``seconds``; with None it does nothing and costs nothing.

    With UNKNOWN ``told`` is asked, now and then, for the seconds that hold from then on.

    The watchdog behind it is faulthandler's, a C thread that needs no interpreter lock: it ends the
    process when an item ignores the exception
    (https://docs.python.org/3/library/faulthandler.html#faulthandler.dump_traceback_later).
    """

    def __init__(
        self, seconds: float | None, *, watchdog: bool = True, told: Callable[[], float] = lambda: UNKNOWN
    ) -> None:
        self.seconds = seconds
        self.fired = False
        self._watchdog = watchdog
        self._wound = 0.0
        self._told = told
        self._began = 0.0
        self._within = False

    @contextmanager
    def limit(self) -> Iterator[None]:
        """Around one item: raises TimeLimit inside it when the time is up."""
        if self.seconds is None:
            yield
            return
        # The alarm is a signal, so it reaches code that sleeps or waits; the watchdog is for code that
        # never comes back to the interpreter.
        self.fired = False
        self._began = time.monotonic()
        self._within = True
        previous = signal.signal(signal.SIGALRM, self._fire)
        try:
            try:
                self._arm()
                yield
            finally:
                # An alarm that comes from here on is nobody's: raised, it would leave the next one set.
                self._within = False
        finally:
            # Just before that one may have come.
            self._within = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)

    @contextmanager
    def beside(self) -> Iterator[asyncio.Timeout]:
        """Around one of several items that run side by side: gives what cancels it when its time is up."""
        loop = asyncio.get_running_loop()
        began, limit = loop.time(), asyncio.timeout(self.seconds)
        handle: asyncio.Handle | None = None

        def ask() -> None:
            nonlocal handle
            if (seconds := self._known()) == UNKNOWN:
                handle = loop.call_later(ASK, ask)
            else:
                limit.reschedule(began + seconds)

        if self.seconds == UNKNOWN:
            handle = loop.call_soon(ask)
        try:
            yield limit
        finally:
            if handle is not None:
                handle.cancel()

    def _known(self) -> float:
        if self.seconds == UNKNOWN:
            self.seconds = self._told()
        return UNKNOWN if self.seconds is None else self.seconds

    def _arm(self) -> None:
        seconds = self._known()
        if seconds == UNKNOWN:
            signal.setitimer(signal.ITIMER_REAL, ASK)
            return
        self._wind()
        # A second alarm follows, for code that swallowed the first.
        left = seconds - (time.monotonic() - self._began)
        signal.setitimer(signal.ITIMER_REAL, max(left, 1e-6), GRACE / 4)

    def _fire(self, signum: int, frame: Any) -> None:
        if not self._within:
            return
        if self.seconds == UNKNOWN:
            self._arm()
            return
        self.fired = True
        raise TimeLimit

    def _wind(self) -> None:
        now = time.monotonic()
        if self._watchdog and self.seconds is not None and now - self._wound > REARM:
            self._wound = now
            # A descriptor: what stands for sys.stderr may have none.
            faulthandler.dump_traceback_later(self.seconds + GRACE + REARM, exit=True, file=2)

    def rest(self) -> None:
        """No item runs: the watchdog must not end an idle engine."""
        if self._wound:
            faulthandler.cancel_dump_traceback_later()
            self._wound = 0.0


@contextmanager
def held() -> Iterator[Callable[[], None]]:
    """Hold alarms back until what is given is called: what is being started would be lost to them."""
    previous = signal.getsignal(signal.SIGALRM)
    if not callable(previous) or threading.current_thread() is not threading.main_thread():
        yield lambda: None  # no timer runs, or alarms come elsewhere
        return
    came: list[int] = []

    def release() -> None:
        signal.signal(signal.SIGALRM, previous)
        if came:
            signal.raise_signal(came.pop())

    signal.signal(signal.SIGALRM, lambda number, frame: came.append(number))
    try:
        yield release
    finally:
        signal.signal(signal.SIGALRM, previous)


LOOK = 0.25
"""Seconds between two looks at whether a chunk that runs is still wanted."""


class Abort:
    """Ends the chunk that is under way when it is not wanted any more: ``came`` tells.

    On a shared engine nobody may send a signal from outside, for it could meet somebody else's
    task. So the chunk itself asks, and interrupts its own item as Ctrl-C would.
    """

    def __init__(self, unwanted: Callable[[], bool]) -> None:
        self.came = False
        self._unwanted = unwanted
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = EngineThread(self._look, "arcli-abort", ours=False)

    def __enter__(self) -> Abort:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._over.set()

    def _look(self) -> None:
        main = threading.main_thread().ident
        while not self._over.wait(LOOK):
            if not self._unwanted():
                continue
            with self._lock:
                if not self._over.is_set() and main is not None:
                    self.came = True
                    signal.pthread_kill(main, signal.SIGINT)
            return
