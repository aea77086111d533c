"""An engine that is somebody else's: what a run needs there, and how it leaves."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from os import sep

LOOK = 0.25
"""Seconds between two looks at whether a chunk that runs is still wanted."""


class Visit:
    """What a run does to an engine's interpreter: entries of ``sys.path``, imported modules."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._modules = set(sys.modules)

    def add_path(self, folders: list[str]) -> None:
        """Put folders in front of ``sys.path``, those aside that are on it."""
        added = [folder for folder in folders if folder not in sys.path]
        sys.path[:0] = added
        self._path += added

    def leave(self) -> None:
        """Take it back: the next run imports the spec's own modules as they are then."""
        for folder in self._path:
            if folder in sys.path:
                sys.path.remove(folder)
        for name in set(sys.modules) - self._modules:
            if self._is_the_specs(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]

    def _is_the_specs(self, file: str | None) -> bool:
        if file is None or not file.endswith(".py") or "-packages" + sep in file:
            return False  # extension modules cannot be imported twice
        return any(file.startswith(folder + sep) for folder in self._path)


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
        self._thread = threading.Thread(target=self._look, name="arcli-abort", daemon=True)

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
