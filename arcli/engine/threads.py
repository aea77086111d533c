"""Threads of an engine, which may have no memory left for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

BEGIN = 10.0
"""Seconds that a thread may take to begin."""
WHY = "no memory or no threads are left under the engine's limits (ulimit -v and -u, RLIMIT_AS)"


class EngineThread(threading.Thread):
    """A daemon thread whose beginning is not waited for without limit.

    Python's own waits for ever for one that has run out of memory before it could tell that it has begun
    (``Thread.start``, https://github.com/python/cpython/blob/v3.11.7/Lib/threading.py). The process ends
    then where it is ``ours``: nothing that needs memory will work there.
    """

    def __init__(self, target: Callable[[], None], name: str, *, ours: bool) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._started = _Beginning(ours)

    def start(self) -> None:
        """Start it. Raises RuntimeError where the system has no room for it, with what to look at."""
        try:
            super().start()
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {WHY}") from None


class _Beginning(threading.Event):
    """Set when a thread has begun; whoever waits does so for ``BEGIN`` seconds at most."""

    def __init__(self, ours: bool) -> None:
        super().__init__()
        self._ours = ours

    def wait(self, timeout: float | None = None) -> bool:
        """See threading.Event. Raises RuntimeError, or ends the process, where the thread has not begun."""
        if super().wait(BEGIN if timeout is None else timeout):
            return True
        if self._ours:
            with suppress(OSError):
                os.write(2, f"a thread has not begun: {WHY}\n".encode())
            os._exit(os.EX_OSERR)
        raise RuntimeError("a thread has not begun")
