"""Signals and the run's deadline: a soft stop first, an end at once where that is not heeded."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from arcli.errors import ArcliError, DeadlineError, Interrupted
from arcli.session.actor import Stop
from arcli.session.session import Session

GRACE = 5.0
"""Seconds that running items have after the first signal."""
PATIENCE = 3.0
"""Seconds after a stop until a main thread that is blocked (in a write) is shaken loose."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHAKE = signal.SIGUSR1


class Interrupts:
    """Handles SIGINT, SIGTERM and SIGHUP, and a deadline in seconds, for as long as it is entered.

    While a session is watched, the first signal stops it softly and the second at once; without one
    a signal raises Interrupted. Signals that were ignored stay ignored. Afterwards ``number`` is
    the signal that came, and ``deadline_passed`` tells about the deadline.
    """

    def __init__(self, notice: Callable[[str], None], deadline: float | None = None) -> None:
        self._notice = notice
        self._deadline = deadline
        self._session: Session | None = None
        self._before: dict[int, Any] = {}
        self._timers: list[threading.Timer] = []
        self._main = threading.main_thread().ident
        self._count = 0
        self.number: int | None = None
        self.deadline_passed = False

    def __enter__(self) -> Self:
        for number in (*SIGNALS, _SHAKE):
            if signal.getsignal(number) is not signal.SIG_IGN:
                handler = self._shaken if number == _SHAKE else self._signalled
                self._before[number] = signal.signal(number, handler)
        if self._deadline is not None:
            self._after(self._deadline, self._too_late)
        return self

    def __exit__(self, *exc: object) -> None:
        for timer in self._timers:
            timer.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def stopping(self) -> bool:
        """Whether no further job should begin."""
        return self.number is not None or self.deadline_passed

    @contextmanager
    def watch(self, session: Session) -> Iterator[None]:
        """Stops go to this session, as long as the block lasts."""
        self._session = session
        try:
            yield
        finally:
            self._session = None

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        self.number = self.number or number
        if self._session is None or self._count > 2:
            raise Interrupted(self.number)
        grace = GRACE if self._count == 1 else 0.0
        name = signal.Signals(number).name
        self._session.stop(
            Stop(reason=f"stopped by {name}", ended="interrupted", grace=grace, final=True)
        )
        if self._count == 1:
            self._notice(
                f"{name}: nothing new is started, what runs has {GRACE:.0f} s; "
                "once more to end at once"
            )
        self._after(grace + PATIENCE, self._shake)

    def _too_late(self) -> None:
        """On a timer's thread: the deadline of the run has passed."""
        self.deadline_passed = True
        session = self._session
        if session is None:
            self._shake()
            return
        session.stop(
            Stop(reason="the run's deadline passed", ended="deadline", grace=0.0, final=True)
        )
        self._after(PATIENCE, self._shake)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def _shake(self) -> None:
        """Interrupt whatever the main thread is blocked in."""
        if self._main is not None:
            signal.pthread_kill(self._main, _SHAKE)

    def _shaken(self, number: int, frame: FrameType | None) -> None:
        raise self.error()

    def error(self) -> ArcliError:
        """What ended the run, as an error."""
        if self.number is not None:
            return Interrupted(self.number)
        return DeadlineError("the run's deadline passed")
