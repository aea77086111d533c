"""Signals and the run's deadline: a soft stop first, an end at once where that is not heeded."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, Self

from arcli.errors import ArcliError, DeadlineError, Interrupted
from arcli.session.core.messages import Stop
from arcli.session.interfaces import SHAKE
from arcli.session.session import Session
from arcli.timing.ledger import End

GRACE = 5.0
"""Seconds that running items have after the first signal."""
PATIENCE = 3.0
"""Seconds that a write to a stream may be blocked once the run is to stop."""
LOOK = 0.5
"""Seconds between two looks at whether one is."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ASK = signal.SIGUSR1
"""Has a run say on stderr how it stands."""


class Interrupts:
    """Handles SIGINT, SIGTERM and SIGHUP, and a deadline in seconds, for as long as it is entered.

    While a session is watched, the first signal stops it softly and the second at once. Otherwise, while
    it is ``heeded``, and the third time in any case, the main thread gets an Interrupted: then it has been
    ``thrown``. Where it is not, the first is only noted. Signals that were ignored stay ignored.
    Afterwards ``number`` is the signal that came, and ``deadline_passed`` tells about the deadline.

    ``stuck`` tells for how many seconds a write that somebody reads has been blocked; ``notice``
    takes sentences for people, ``answer`` what ``describe`` says where SIGUSR1 asks for it; neither
    may block.
    """

    def __init__(
        self,
        notice: Callable[[str], None],
        answer: Callable[[str], None],
        deadline: float | None = None,
        stuck: Callable[[], float] = lambda: 0.0,
    ) -> None:
        # Signals come at any time, in a run that has no session yet and in one that is being summed up:
        # all that they look at is there from the beginning.
        self._notice = notice
        self._answer = answer
        self._deadline = deadline
        self._stuck = stuck
        self._session: Session | None = None
        self._heeded = False
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None
        self._ended = threading.Event()
        self._shaker: threading.Thread | None = None
        self._main = threading.main_thread().ident
        self._count = 0
        self._cancelled = False
        self._reason: str | None = None
        self.describe: Callable[[], str] = lambda: "starting"
        self.number: int | None = None
        self.deadline_passed = False
        self.thrown = False

    def __enter__(self) -> Self:
        # What was ignored stays so: nohup and a shell's `&` mean it.
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._signalled)

        def shaken(number: int, frame: FrameType | None) -> None:
            if self._cancelled:
                self._cancelled = False
                self._signalled(signal.SIGTERM, frame)
            elif self.stopping:  # else it was sent by somebody who meant something else
                self._throw()

        self._before[SHAKE] = signal.signal(SHAKE, shaken)
        self._before[ASK] = signal.signal(ASK, lambda number, frame: self._answer(self.describe()))
        if self._deadline is not None:
            self._timer = threading.Timer(self._deadline, self._too_late)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self._before.items():
            # Python cannot put back a handler that it did not install.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @property
    def stopping(self) -> bool:
        """Whether no further job should begin."""
        return self.number is not None or self.deadline_passed

    @contextmanager
    def watch(self, session: Session) -> Iterator[None]:
        """Send stops to this session, as long as the block lasts."""
        self._session = session
        try:
            yield
        finally:
            self._session = None

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Leave this block at a signal, also at one that came before; raises Interrupted, DeadlineError.

        Outside of it the run is put together, or over but for what it writes. What a signal throws there
        would cost that, or come out of foreign code as another exception: a thread that starts makes it a
        KeyError (https://github.com/python/cpython/blob/v3.13.0/Lib/threading.py, ``Thread.start``).
        """
        self._heeded = True
        try:
            if self.stopping:
                self._throw()
            yield
        finally:
            self._heeded = False

    def cancel(self, reason: str, *, drain: bool) -> None:
        """Stop the run, on behalf of somebody elsewhere: as SIGTERM does, or, with ``drain``, when what
        runs has ended. Safe to call from any thread.
        """
        self._reason = self._reason or reason
        if drain and self._session is not None:
            self.number = self.number or signal.SIGTERM
            self._notice(f"{reason}: nothing new is started, what runs may end")
            self._session.stop(Stop(reason=reason, ended=End.INTERRUPTED, grace=None, error=self.error()))
        elif self._main is not None:
            # Not by SIGTERM itself, which whoever has started this may have had ignored.
            self._cancelled = True
            signal.pthread_kill(self._main, SHAKE)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        self.number = self.number or number
        # The second signal ends what runs at once, the third one ends arcli.
        if self._count > 2 or (self._count == 2 and not self._heeded):
            self._throw()
        self._watch_streams()
        if self._session is not None:
            name = self._reason or signal.Signals(self.number).name
            grace = GRACE if self._count == 1 else 0.0
            self._stop(self._reason or f"stopped by {name}", End.INTERRUPTED, grace)
            if self._count == 1:
                self._notice(
                    f"{name}: nothing new is started, what runs has {GRACE:.0f} s; once more to end at once"
                )
        # Nothing runs yet: there is nobody to be given time.
        elif self._heeded:
            self._throw()

    def _throw(self) -> NoReturn:
        """Have the main thread leave whatever it is in."""
        self.thrown = True
        raise self.error()

    def _too_late(self) -> None:
        """Stop the run on a timer's thread: its deadline has passed."""
        self.deadline_passed = True
        self._watch_streams()
        if self._session is not None:
            self._stop("the run's deadline passed", End.DEADLINE, 0.0)
        elif self._heeded:
            self._shake()

    def _stop(self, reason: str, ended: End, grace: float) -> None:
        assert self._session is not None
        self._session.stop(Stop(reason=reason, ended=ended, grace=grace, error=self.error()))

    def _watch_streams(self) -> None:
        """From now on nothing may wait for ever for whoever reads the streams."""
        if self._shaker is None:

            def keep_shaking() -> None:
                while not self._ended.wait(LOOK):
                    if self._stuck() > PATIENCE:
                        self._shake()

            self._shaker = threading.Thread(target=keep_shaking, daemon=True)
            self._shaker.start()

    def _shake(self) -> None:
        """Interrupt whatever the main thread is in."""
        if self._main is not None:
            signal.pthread_kill(self._main, SHAKE)

    def error(self) -> ArcliError:
        """Return what ended the run, as an error."""
        if self.number is not None:
            return Interrupted(self.number, at_once=self._count > 1, reason=self._reason)
        return DeadlineError("the run's deadline passed")
