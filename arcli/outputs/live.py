"""What running items print, shown as it comes: on stderr, and for listeners in other shells."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from msgspec import to_builtins
from msgspec.structs import replace

from arcli.engine.live import Allowance
from arcli.engine.protocol import Printed
from arcli.escape import plain
from arcli.outputs.progress import Progress
from arcli.outputs.stream import Stream, Streams
from arcli.outputs.target import BestEffort, StreamTarget, Target
from arcli.record import PrintedLines, decode, dump

BACKLOG = 2000
"""Lines that wait for a slow terminal; more are left out."""
LOOK = 0.5
"""Seconds between two looks at whether somebody else listens."""
LAST = 5.0
"""Seconds that the last lines have until the run ends without them: more than a busy machine needs."""
_SILENT = b'"stdout":"","stderr":""'
_UNANSWERED = b'"msg_id":null'
"""In the record of an item that no engine tells the end of: what it printed is not in there."""


class Elsewhere(Protocol):
    """Listeners in other shells."""

    def listening(self) -> bool:
        """Tell whether there is one now."""

    def write(self, lines: list[PrintedLines]) -> None:
        """Have them get lines."""


class LiveOutput:
    """Hears from the session what items print (see its Listener), and never blocks it.

    ``tails`` says by job which streams go to ``stream``: ``out``, ``err``, ``both`` or none.
    A ``progress`` that asks for them gets the last lines. ``as_json``: ``stream`` is for a program.
    """

    def __init__(
        self,
        stream: Stream,
        tails: Mapping[str, str],
        elsewhere: Elsewhere,
        progress: Progress | None = None,
        *,
        as_json: bool = False,
    ) -> None:
        self._as_json = as_json
        self._stream = stream
        self._tails = tails
        self._listeners = elsewhere
        self._progress = progress
        self._several = len(tails) > 1
        self._elsewhere = False
        self._told: dict[tuple[str, int, str], tuple[int, int]] = {}  # an attempt, and how many lines of it
        self._allowances: dict[int, Allowance] = {}
        self._waiting: deque[PrintedLines] = deque()
        self._left_out = 0
        self._come = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._show, name="arcli-live", daemon=True)

    def __enter__(self) -> LiveOutput:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """See Listener. May be called more than once."""
        if self._closing:
            return
        with self._come:
            self._closing = True
            self._come.notify()
        self._thread.join(LAST)  # a terminal that takes nothing must not keep the process

    # -- on the session's thread ----------------------------------------------------------------

    def streams(self, job: str) -> str:
        """Tell which streams of a job's items somebody listens to, now."""
        display = self._progress is not None and self._progress.hears()
        return "both" if self._elsewhere or display else self._tails.get(job, "")

    def printed(self, message: Printed) -> None:
        """Take lines of a running item."""
        place = message.job, message.item, message.stream
        self._told[place] = message.attempt, self._lines_told(place, message.attempt) + message.total
        left_out = message.total - len(message.lines)
        if self._progress is not None and message.lines:
            self._progress.hear(message.item, message.lines[-1])
            # Where nobody else listens the lines themselves go nowhere.
            if not (self._elsewhere or self._tails.get(message.job)):
                return
        self._put(PrintedLines(message.job, message.item, message.stream, message.lines, left_out))

    def _lines_told(self, place: tuple[str, int, str], attempt: int) -> int:
        last, count = self._told.get(place, (attempt, 0))
        return count if last == attempt else 0

    def recorded(self, job: str, lines: bytes) -> None:
        """Take records: of what their items printed, the rest that was not told while they ran."""
        # A display of running items has no use for what one printed that has ended: of that only the
        # counts are let go.
        listened = bool(self._elsewhere or self._tails.get(job))
        if not (listened or self._told):
            return
        for line in lines.splitlines():
            if _SILENT not in line or (self._told and _UNANSWERED in line):
                self._rest(job, decode(line), listened=listened)

    def _rest(self, job: str, record: Mapping[str, object], *, listened: bool) -> None:
        index, attempt, slot = record["index"], record["attempt"], record["slot"]
        assert isinstance(index, int)
        assert isinstance(attempt, int)
        allowance = self._allowances.setdefault(slot if isinstance(slot, int) else -1, Allowance())
        for stream in ("out", "err"):
            printed = str(record[f"std{stream}"]).removesuffix("\n").split("\n")
            told = self._lines_told((job, index, stream), attempt)
            self._told.pop((job, index, stream), None)
            if listened and (rest := printed[told:]) and printed != [""]:
                taken = allowance.take(rest)
                self._put(PrintedLines(job, index, stream, taken, len(rest) - len(taken)))

    def _put(self, lines: PrintedLines) -> None:
        with self._come:
            if len(self._waiting) >= BACKLOG:
                self._left_out += len(lines.lines) + lines.left_out
                return
            self._waiting.append(lines)
            self._come.notify()

    # -- on its own thread ----------------------------------------------------------------------

    def _show(self) -> None:
        # All that waits is taken at once, so that a slow terminal is asked for as few writes as possible.
        while not self._closing or self._waiting:
            with self._come:
                self._come.wait_for(lambda: self._closing or self._waiting, LOOK)
                batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
                left_out, self._left_out = self._left_out, 0
            self._elsewhere = self._listeners.listening()
            if batch and self._elsewhere:
                self._listeners.write(batch)
            # Listeners elsewhere get every stream; here is shown what this run was asked to show.
            shown = [lines for lines in batch if self._tails.get(lines.job, "") in {lines.stream, "both"}]
            text = self._text(shown, left_out)
            if text:
                self._stream.write(text)

    def _text(self, shown: list[PrintedLines], left_out: int) -> str:
        """Return what is shown of lines, where ``left_out`` more came too fast."""
        if self._as_json:
            printed = [to_builtins(lines) for lines in shown]
            printed += [{"left_out": left_out}] if left_out else []
            return "".join(dump({"printed": each}).decode() + "\n" for each in printed)
        text = "".join(tagged(lines, self._stream, several=self._several) for lines in shown)
        if left_out:
            text += f"arcli: {left_out:,} lines are left out: they come faster than they are shown\n"
        return text


def tagged(lines: PrintedLines, stream: Stream, *, several: bool) -> str:
    """Return lines as they are shown, each with its item's tag; ``several``: and with its job's."""
    tag = stream.style(f"{lines.job} {lines.index}: " if several else f"{lines.index}: ", "dim")
    rows = [f"{tag}{plain(line)}\n" for line in lines.lines]
    if lines.left_out:
        rows.append(f"{tag}… {lines.left_out:,} lines left out\n")
    return "".join(rows)


def live_stream(streams: Streams, progress: Progress | None, *, inline: bool) -> Stream:
    """Tell where lines are shown: stderr, above the progress if there is any.

    ``inline``: items that run in this process have its descriptors; this one is kept out of their way.
    """
    target: Target = progress.above(streams.stderr.target) if progress else streams.stderr.target
    if inline and sys.stderr is not None:
        with suppress(OSError, ValueError):  # a stderr without a descriptor
            copy = os.fdopen(os.dup(sys.stderr.fileno()), "wb")
            target = BestEffort(StreamTarget(copy, "standard error"))
    return replace(streams.stderr, target=target)
