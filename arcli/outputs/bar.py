"""The progress bar: one live line below everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from arcli.outputs.progress import Count, State
from arcli.outputs.target import Target
from arcli.record import RecordBatch
from arcli.timing.summary import RunSummary
from arcli.units import format_seconds


class BarProgress:
    """A bar where the number of items is known, else a pulse; gone when the run is over.

    ``stream`` is the terminal that it is shown on, ``jobs`` how many there are.
    """

    def __init__(self, stream: TextIO, *, color: bool, jobs: int = 1) -> None:
        self._jobs = jobs
        self._place = 0
        self._console = Console(
            file=stream, no_color=not color, force_terminal=True, highlight=False, markup=False
        )
        self._read: Callable[[], State] | None = None
        self._count: Count | None = None
        self._task: TaskID | None = None
        # Redirected streams would be rich's; messages clear the line by themselves.
        self._live = RichProgress(
            SpinnerColumn("line"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            _Figures(self),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            refresh_per_second=5,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def expect(self, job: str, total: int | None) -> None:
        """See Progress."""
        self._begin(job, total)

    def watch(self, read: Callable[[], State]) -> None:
        """See Progress."""
        self._read = read

    def writing(self) -> None:
        """See Progress."""
        self._count = self._read = None
        if self._task is not None:
            self._live.reset(self._task, total=None, description="writing outputs")

    def above(self, target: Target) -> Target:
        """See Progress."""
        return _Above(self._console, self._live, target)

    def start(self) -> None:
        """See Output."""
        self._task = self._live.add_task("starting engines", total=None)
        self._live.start()

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        if self._count is None or self._count.job != batch.job:
            self._begin(batch.job, None)
        assert self._count is not None
        self._count.add(batch)

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        self._live.stop()

    def abort(self) -> None:
        """See Output."""
        self._live.stop()

    def figures(self) -> str:
        """Return what stands beside the bar, and bring the bar to where the session is."""
        state = self._read() if self._read is not None else None
        count = self._count
        if count is None:
            return f"{state.engines} engines" if state is not None else ""
        # Items that have ended wait behind a slow one until they are shown: the session counts them.
        if state is not None:
            count.update(state)
        if self._task is not None:
            self._live.update(self._task, completed=count.done, total=count.total)
        now = self._live.get_time()
        parts = [f"{count.done:,}/{count.total:,}" if count.total is not None else f"{count.done:,} items"]
        if count.failed:
            parts.append(f"{count.failed:,} not ok")
        if count.straggler:
            parts.append(count.straggler)
        if count.done:
            parts.append(f"{count.rate(now):,.3g}/s")
        if remaining := count.left(now):
            parts.append(f"{format_seconds(remaining)} left")
        if state is not None:
            parts.append(f"{state.engines} engines, {state.running:,} running")
        return " · ".join(parts)

    def _begin(self, job: str, total: int | None) -> None:
        self._place += 1
        self._count = Count(job, total, self._live.get_time(), place=self._place, jobs=self._jobs)
        if self._task is not None:
            self._live.reset(self._task, total=total, description=self._count.name)


class _Figures(ProgressColumn):
    """Asks anew at each refresh, so that it moves while no record comes."""

    def __init__(self, progress: BarProgress) -> None:
        super().__init__()
        self._progress = progress

    def render(self, task: Task) -> Text:
        return Text(self._progress.figures(), style="dim", no_wrap=True, overflow="ellipsis")


class _Above:
    """Results written to the terminal above the bar; straight to their target without a bar."""

    def __init__(self, console: Console, live: RichProgress, target: Target) -> None:
        self._console = console
        self._live = live
        self._target = target

    def open(self) -> None:
        self._target.open()

    def write(self, data: bytes) -> None:
        if not self._live.live.is_started:
            self._target.write(data)
            return
        text = Text.from_ansi(data.decode(errors="replace").removesuffix("\n"))
        self._console.print(text, soft_wrap=True)

    def commit(self) -> None:
        self._target.commit()

    def discard(self) -> None:
        self._target.discard()
