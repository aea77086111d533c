"""Tell people on stderr: problems with their place, and sentences that nothing waits for."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING

import click

from arcli.errors import Problem
from arcli.escape import plain

if TYPE_CHECKING:
    from arcli.outputs.stream import Stream

WIDEST = 100
"""Characters of a source line that are shown, around the place."""
TAB = "→"
"""A tab as one column, that can be seen."""


def render(problem: Problem, *, color: bool = False, width: int = WIDEST) -> str:
    """Say in a few lines what is wrong and where; safe to print whatever is in the file.

    ``width`` is the columns that there are: a line that wraps would leave its caret behind.
    """
    place, caret = f"{plain(problem.place)}:", "^"
    if color:
        place, caret = click.style(place, bold=True), click.style(caret, fg="red", bold=True)
    lines = [f"{place} {plain(problem.message)}"]
    if problem.source is not None and problem.source.strip() and problem.line is not None:
        # A long line is shown around the place, a tab as one column, so that the caret is under it.
        number = str(problem.line)
        room = min(WIDEST, max(16, width - len(f"  {number} | ……")))
        source, column = _window(problem.source.replace("\t", TAB), problem.column, room)
        lines.append(f"  {number} | {plain(source).rstrip()}")
        if column is not None:
            lines.append(f"  {' ' * len(number)} | {' ' * (column - 1)}{caret}")
    if problem.hint:
        lines.append(f"  hint: {plain(problem.hint)}")
    return "\n".join(lines)


def _window(source: str, column: int | None, room: int) -> tuple[str, int | None]:
    """Return ``room`` columns of a line around a column, and the column within it, counted from 1."""
    if len(source) <= room:
        return source, column
    start = max(0, (column or 1) - room // 2)
    part = source[start : start + room]
    before, after = "…" if start else "", "…" if start + room < len(source) else ""
    inside = None if column is None else column - start + len(before)
    return f"{before}{part}{after}", inside


_NAME = "arcli: "
LAST_WORDS = 5.0
"""Seconds that the last sentences have: more than a busy machine needs; a stderr may take none at all."""


class Notices:
    """``say`` never blocks, and may be called from any thread and from a signal handler.

    ``above`` writes above what is drawn on the terminal, if anything is; ``stderr`` says how wide that is.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        as_json: bool = False,
        above: Callable[[bytes], None] | None = None,
        stderr: Stream | None = None,
    ) -> None:
        self._above = above
        self._stderr = stderr
        self._quiet = quiet
        self._as_json = as_json
        self._sentences: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stream = _own_stderr()

    def say(self, sentence: str) -> None:
        """Tell people, unless it is to be quiet: then only failures count, in the report."""
        if not self._quiet:
            self.warn(sentence)

    def warn(self, sentence: str) -> None:
        """Tell people what they must know, quiet or not: something is not as they asked for it."""
        self._sentences.put(sentence)
        # Most runs have nothing to tell, and need no thread for it.
        if self._thread is None:
            self._thread = threading.Thread(target=self._tell, name="arcli-notices", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait until all is told, for a moment."""
        self._sentences.put(None)
        if self._thread is not None:
            self._thread.join(LAST_WORDS)
        if self._stream is not None and (self._thread is None or not self._thread.is_alive()):
            self._stream.close()

    def _tell(self) -> None:
        """Print what is said, on a thread of its own, until there is nothing more."""
        import json

        while (sentence := self._sentences.get()) is not None:
            with suppress(OSError, ValueError):  # a stderr that is full or closed tells nobody
                text = json.dumps({"notice": sentence}) if self._as_json else f"{_NAME}{sentence}"
                if self._stderr is not None and not self._as_json:
                    text = "\n".join(self._stderr.sized().wrapped(text, " " * len(_NAME)))
                if self._above is not None:
                    self._above(f"{text}\n".encode(errors="backslashreplace"))
                else:
                    click.echo(text, file=self._stream, err=True)


def _own_stderr() -> IO[str] | None:
    """Return a stream to stderr that stays where it is while an item of this process has its own captured.

    None where stderr is closed, or no file.
    """
    try:
        return os.fdopen(
            os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding, errors="backslashreplace"
        )
    except (AttributeError, OSError, ValueError):
        return None
