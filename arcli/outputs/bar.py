"""The progress bar, and a line for each engine: live lines below everything else."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any, TextIO, cast

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TimeElapsedColumn,
)
from rich.progress import Progress as RichProgress
from rich.segment import Segment, SegmentLines, Segments
from rich.table import Column
from rich.text import Text

from arcli.errors import OutputError, ReaderGone
from arcli.escape import one_line
from arcli.outputs.progress import LONG, Count
from arcli.outputs.target import Target
from arcli.record import RecordBatch
from arcli.timing.snapshot import Snapshot
from arcli.timing.summary import RunSummary
from arcli.timing.words import plural
from arcli.units import format_seconds

AROUND = 3
"""Rows of a terminal that engines' lines leave: the bar's, and some of what was there before."""
BESIDE = 15
"""Columns of the spinner, of the time and of the blanks between the parts, beside the bar's own."""
BAR = 24
SHORT_BAR = 10
"""Columns of the bar, and of that on a terminal of less than 80."""
NAME = 8
"""Columns that a job's name keeps beside figures that can be done without."""
MARGIN = 3
"""Columns that they leave."""
SHOW_CURSOR = b"\x1b[?25h"
WIDE = 60
"""From so many columns on an engine's number is called one."""


class BarProgress:
    """A bar where the number of items is known, else a pulse; gone when the run is over.

    ``stream`` is the terminal that it is shown on, ``jobs`` how many there are. ``full``: below it a
    line for each engine that is at an item; None: where items take long.
    """

    def __init__(self, stream: TextIO, *, color: bool, jobs: int = 1, full: bool | None = False) -> None:
        self._jobs = jobs
        self._full = full
        self._last_lines: dict[int, str] = {}
        self._place = 0
        self._terminal = _Terminal(stream)
        self._console = Console(
            file=cast("TextIO", self._terminal),
            no_color=not color,
            force_terminal=True,
            highlight=False,
            markup=False,
        )
        self._read: Callable[[], Snapshot] | None = None
        self._count: Count | None = None
        self._task: TaskID | None = None
        self._bar = BarColumn(bar_width=BAR)
        # Redirected streams would be rich's; messages clear the line by themselves.
        self._live = _Live(
            self,
            self._console,
            SpinnerColumn("line"),
            _Name(),
            self._bar,
            _Figures(self),
            TimeElapsedColumn(),
            transient=True,
            refresh_per_second=5,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def expect(self, job: str, total: int | None) -> None:
        """See Progress."""
        self._begin(job, total)

    def watch(self, read: Callable[[], Snapshot]) -> None:
        """See Progress."""
        self._read = read

    def writing(self) -> None:
        """See Progress."""
        self._count = self._read = None
        if self._task is not None:
            self._live.reset(self._task, total=None, description="writing outputs")

    def hears(self) -> bool:
        """See Progress."""
        # Before any item has ended nobody knows how long they take, and what a first long one prints
        # should not be missed.
        if self._full is not None or self._count is None:
            return self._full is not False
        return self._count.are_long is not False

    def hear(self, index: int, line: str) -> None:
        """See Progress."""
        # Of a bar that a program draws with carriage returns, what is seen last.
        self._last_lines[index] = one_line(line.rstrip("\r").rpartition("\r")[2])

    def above(self, target: Target) -> Target:
        """See Progress."""
        return _Above(self._console, self._live, self._terminal, target)

    def start(self) -> None:
        """See Output."""
        self._task = self._live.add_task("starting engines", total=None)
        self._terminal.mind_quit()
        self._live.start()

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        if self._count is None or self._count.job != batch.job:
            self._begin(batch.job, None)
        assert self._count is not None
        self._count.add(batch)

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        self.abort()

    def abort(self) -> None:
        """See Output."""
        self._live.stop()
        self._terminal.forget_quit()

    def figures(self) -> str:
        """Return what stands beside the bar, and bring the bar to where the session is."""
        state = self._read() if self._read is not None else None
        count = self._count
        if count is None:
            return plural(state.engines, "engine") if state is not None else ""
        # Items that have ended wait behind a slow one until they are shown: the session counts them.
        if state is not None:
            count.update(state)
        if self._task is not None:
            self._live.update(self._task, completed=count.done, total=count.total)
        now = self._live.get_time()
        of = f"/{count.total:,}" if count.total is not None else " items"
        parts = {"done": f"{count.done:,}{of}"}
        if count.failed:
            parts["failed"] = f"{count.failed:,} not ok"
        if count.straggler:
            parts["straggler"] = count.straggler
        if count.done:
            parts["rate"] = f"{count.rate(now):,.3g}/s"
        if (remaining := count.left(now)) and not count.straggler:
            parts["left"] = f"{format_seconds(remaining)} left"
        # With a line for each engine nobody has to be told how many there are.
        if state is not None and not self._shows_engines(state):
            parts["engines"] = f"{plural(state.engines, 'engine')}, {state.running:,} running"
        # The name gives way first, then what is needed least.
        self._bar.bar_width = BAR if self._console.width >= 80 else SHORT_BAR
        room = self._console.width - BESIDE - self._bar.bar_width - min(NAME, len(count.name))
        for name in ("rate", "engines", "straggler", "left"):
            if len(" · ".join(parts.values())) > room:
                parts.pop(name, None)
        return " · ".join(parts.values())

    def engine_lines(self) -> Iterator[Text]:
        """Yield what each engine is at, the longest first, as many as fit below the bar."""
        count, state = self._count, self._read() if self._read is not None else None
        if state is None or count is None or not self._shows_engines(state):
            return
        items = state.items
        # Only what runs is looked at again; this is also where lines of items that ended are let go.
        self._last_lines = {
            item.index: self._last_lines[item.index]
            for item in items
            if item.index is not None and item.index in self._last_lines
        }
        width, height = self._console.size
        room = max(1, height - AROUND)
        shown = items if len(items) <= room else items[: room - 1]
        label = len("engine ") * (width >= WIDE) + max(
            (len(str(item.engine_id)) for item in shown), default=0
        )
        names = [item.name for item in shown]
        for item, name in zip(shown, names, strict=True):
            printed = "" if item.index is None else self._last_lines.get(item.index, "")
            engine = f"engine {item.engine_id}" if width >= WIDE else str(item.engine_id)
            head = f"{engine:<{label}}  {name:<{max(map(len, names))}}"
            yield _cut(f"  {head}  {format_seconds(item.seconds):>7}  {printed}", width)
        if len(shown) < len(items):
            yield _cut(f"  … and {len(items) - len(shown)} more", width)

    def _shows_engines(self, state: Snapshot) -> bool:
        if self._full is not None or self._count is None or not state.items:
            return bool(self._full and state.items)
        are_long = self._count.are_long
        return state.items[0].seconds >= LONG if are_long is None else are_long

    def _begin(self, job: str, total: int | None) -> None:
        self._place += 1
        self._count = Count(job, total, self._live.get_time(), place=self._place, jobs=self._jobs)
        if self._task is not None:
            self._live.reset(self._task, total=total, description=self._count.name)


def _cut(line: str, width: int) -> Text:
    """Make a line of the display that leaves room for the ^C of a terminal that echoes it."""
    text = Text(line.rstrip(), style="dim", no_wrap=True)
    text.truncate(max(1, width - MARGIN), overflow="ellipsis")
    return text


class _Live(RichProgress):
    """The bar with the engines' lines, at the right place also when the terminal becomes narrower."""

    def __init__(
        self, progress: BarProgress, console: Console, *columns: ProgressColumn, **options: Any
    ) -> None:
        self._progress = progress
        self._own = console
        self._drawn: tuple[int, list[int]] | None = None
        super().__init__(*columns, console=console, **options)

    def get_renderables(self) -> Iterable[RenderableType]:
        """See RichProgress. Called once for each refresh, before what was drawn is erased."""
        width = self._own.width
        # Terminals wrap the lines that have become too long, so that what was drawn takes more rows
        # than rich knows of and goes up.
        if self._drawn is not None and width < self._drawn[0]:
            rows = sum(max(1, -(-length // width)) for length in self._drawn[1])
            self.live._live_render._shape = (width, rows)  # noqa: SLF001 - there is no other way
        bar = self.make_tasks_table(self.tasks)
        lines = list(self._progress.engine_lines())
        drawn = self._own.render_lines(bar, pad=False)
        lengths = [sum(cell_len(part.text) for part in line) for line in drawn]
        self._drawn = width, [*lengths, *(line.cell_len for line in lines)]
        # As it is drawn: what is written above has rich draw it again, which takes longer from a table.
        yield SegmentLines(drawn, new_lines=True)
        yield from lines


class _Name(ProgressColumn):
    """Has what the other columns leave: the only one that rich may shrink."""

    def __init__(self) -> None:
        super().__init__(Column())

    def render(self, task: Task) -> Text:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class _Figures(ProgressColumn):
    """Asks anew at each refresh, so that it moves while no record comes."""

    def __init__(self, progress: BarProgress) -> None:
        super().__init__()
        self._progress = progress

    def render(self, task: Task) -> Text:
        return Text(self._progress.figures(), style="dim", no_wrap=True, overflow="ellipsis")


class _Terminal:
    """The stream that the display is on; ``gone`` once it has failed, and nothing is drawn any more.

    A display is what people may do without: a terminal that was closed must not end its run.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.gone = False
        self._minds_quit = False

    def mind_quit(self) -> None:
        """Have SIGQUIT, which ends this process where it is, show the cursor first: it will be hidden."""
        ends = signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL
        if ends and self._stream.isatty() and threading.current_thread() is threading.main_thread():
            self._minds_quit = True
            signal.signal(signal.SIGQUIT, self._quit)

    def forget_quit(self) -> None:
        """Have SIGQUIT be what it was."""
        if self._minds_quit:
            self._minds_quit = False
            signal.signal(signal.SIGQUIT, signal.SIG_DFL)

    def _quit(self, number: int, frame: FrameType | None) -> None:
        # Not by the stream, which may be in the middle of a write.
        with suppress(OSError):
            os.write(self._stream.fileno(), SHOW_CURSOR)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def write(self, text: str) -> int:
        """See TextIO."""
        try:
            if not self.gone:
                buffer = getattr(self._stream, "buffer", None)
                if buffer is None:  # a stream that is text alone
                    return self._stream.write(text)
                self._stream.flush()
                buffer.write(_encoded(text, self._stream.encoding))
        except OSError:
            self.gone = True
        return len(text)

    def flush(self) -> None:
        """See TextIO."""
        try:
            if not self.gone:
                self._stream.flush()
        except OSError:
            self.gone = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _encoded(text: str, encoding: str) -> bytes:
    """Encode what is drawn, and what was decoded with ``surrogateescape`` as the bytes that it was."""
    try:
        return text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:  # a sign that the encoding lacks
        errors = {True: "surrogateescape", False: "backslashreplace"}
        return b"".join(char.encode(encoding, errors["\udc80" <= char <= "\udcff"]) for char in text)


class _Above(Target):
    """Results written to the terminal above the bar; straight to their target without a bar.

    They arrive as they are, in whole lines while there is a bar, which begins a line itself.
    """

    def __init__(self, console: Console, live: RichProgress, terminal: _Terminal, target: Target) -> None:
        self._console = console
        self._live = live
        self._terminal = terminal
        self._target = target
        self._rest = bytearray()

    def open(self) -> None:
        self._target.open()

    def write(self, data: bytes) -> None:
        if self._live.live.is_started:
            end = data.rfind(b"\n") + 1
            if not end:
                self._rest += data
                return
            lines = self._taken() + data[:end]
            self._rest += data[end:]
            # As it is: it has what colours it is to have, and rich would take it apart and lay it out anew.
            text = lines.decode(self._terminal.encoding or "utf-8", "surrogateescape")
            self._console.print(Segments([Segment(text)]), soft_wrap=True)
            if not self._terminal.gone:
                return
            data = lines + self._taken()
        # Where the terminal has gone, the target knows whether that matters.
        self._target.write(self._taken() + data)

    def commit(self) -> None:
        if self._rest:
            self._target.write(self._taken())
        self._target.commit()

    def discard(self) -> None:
        with suppress(OutputError, ReaderGone):
            if self._rest:
                self._target.write(self._taken())
        self._target.discard()

    def _taken(self) -> bytes:
        """Return what waits for the end of its line, and forget it."""
        rest, self._rest = bytes(self._rest), bytearray()
        return rest
