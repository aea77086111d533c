"""Standard output is for results: what a source or a library prints goes elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

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
    """Provide what this thread prints, as far as Python prints it, goes to standard error."""
    if not isinstance(sys.stdout, _Aside):
        sys.stdout = _Aside(sys.stdout)  # it stays: another thread may read, too
    _here.inside = True
    try:
        yield
    finally:
        _here.inside = False


@contextmanager
def logged(log: Path) -> Iterator[None]:
    """Provide what threads other than the main one print goes to a file: ipyparallel's client has some.

    It prints of results that it does not know any more (``Client._handle_apply_reply``,
    https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/client/client.py).
    """
    before = sys.stdout
    sys.stdout = _Aside(before, _Log(log))
    try:
        yield
    finally:
        sys.stdout = before
