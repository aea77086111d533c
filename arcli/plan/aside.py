"""Standard output is for results: what a source prints while it is read goes to standard error."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_here = threading.local()


class _Aside:
    """``sys.stdout`` as it was, and ``sys.stderr`` for threads that are inside of ``aside``."""

    def __init__(self, stdout: TextIO | None) -> None:
        self._stdout = stdout

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr if getattr(_here, "inside", False) else self._stdout, name)


@contextmanager
def aside() -> Iterator[None]:
    """What this thread prints, as far as Python prints it, goes to standard error."""
    if not isinstance(sys.stdout, _Aside):
        sys.stdout = _Aside(sys.stdout)  # it stays: another thread may read, too
    _here.inside = True
    try:
        yield
    finally:
        _here.inside = False
