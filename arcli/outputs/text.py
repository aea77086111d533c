"""Results for people: a calm line an item as it comes, then values, the verdict and what failed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from arcli.engine.tally import Status
from arcli.escape import one_line, plain
from arcli.outputs.base import OutputContext, TargetOutput
from arcli.outputs.run_end import write_end
from arcli.outputs.target import STDOUT
from arcli.record import RecordBatch, decode, dump, is_tagged
from arcli.timing.failures import describe, input_label, word
from arcli.timing.summary import RunSummary
from arcli.units import format_seconds

_COLORS = {Status.CANCELLED: "yellow"}
_PROGRAM = {"exit", "stdout", "stderr"}
"""The keys of a command's value, whose texts are shown as they were printed."""


class _Columns(Struct, frozen=True, kw_only=True):
    """Which columns a line has before the result, and how wide the input is; by the room there is."""

    input: int
    engine: bool
    took: bool

    @classmethod
    def of(cls, width: int | None) -> _Columns:
        if width is None:
            return cls(input=20, engine=True, took=True)
        wide = width >= 100
        return cls(input=min(40 if wide else 24, 3 * width // 10), engine=wide, took=width >= 60)

    def line(self, item: str, engine: str, at: str, took: str, given: str) -> tuple[str, str, str]:
        """Return the parts before the result: the item, the times, the input."""
        times = f"  {engine:>6}  {at:>8}" if self.engine else ""
        times += f"  {took:>8}" if self.took else ""
        return f"{item:>5}", times, f"  {_fit(given, self.input)}  "

    @property
    def used(self) -> int:
        """Terminal columns before the result."""
        return 5 + 18 * self.engine + 10 * self.took + self.input + 4


class TextOutput(TargetOutput):
    """Lines and values to the context's ``results``, the end of the run to its ``report``.

    Nothing that a user's task said reaches a terminal raw.
    """

    def __init__(self, context: OutputContext) -> None:
        super().__init__(context)
        self._context = context
        self._results = context.results
        self._columns = _Columns.of(context.results.width)
        self._current: str | None = None
        self._zero: datetime | None = None

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        lines: list[str] = []
        if (results := self._results.sized()) is not self._results:
            self._results, self._columns = results, _Columns.of(results.width)
        # Times begin anew with each job; the head of the columns stands once.
        if batch.job != self._current:
            first, self._current, self._zero = self._current is None, batch.job, None
            if len(self._context.kinds) > 1:
                lines.append(("" if first else "\n") + self._results.style(batch.job, "bold"))
            if first:
                head = "".join(self._columns.line("item", "engine", "at", "took", "input"))
                lines.append(self._results.style(head + "result", "dim"))
        for line in batch.lines.splitlines():
            lines += self._item(decode(line))
        self._results.write("".join(f"{line}\n" for line in lines))

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        counts = {job.name: job.counts for job in summary.jobs}
        self._results = self._results.sized()
        for job, value in values.items():
            if value is not None and self._job in {None, job}:
                head, tail, count = f"{job} = ", "", counts.get(job)
                # A value that lacks the items that are not ok says so.
                if count is not None and count.ok != count.planned:
                    tail = f" (from {count.ok:,} of {count.planned:,} items)"
                shown = self._shown(value, len(head) + len(tail))
                self._results.write(f"{head}{shown}{tail}\n")
        context = self._context
        if context.report is context.results and summary.began:
            context.report.write("\n")
        # What people see beside the results is the end of the run, also where those are of one job.
        if self._job is not None and context.name != STDOUT:
            jobs = tuple(job for job in summary.jobs if job.name == self._job)
            summary = replace(summary, jobs=jobs)
        write_end(context.report, summary, context.origin, full=context.full)
        super().finish(summary, values)

    def _item(self, record: dict[str, Any]) -> Iterator[str]:
        stream, engine = self._results, record.get("engine_id")
        seconds, given = record.get("seconds"), record.get("input")
        label = word(None) if given is None else input_label(given, record["index"])
        # An apply has no input: what tells its items apart is the engine.
        if self._context.kinds.get(record["job"]) == "apply":
            label = "-" if engine is None else f"engine {engine}"
        number, times, label = self._columns.line(
            str(record["index"]),
            "-" if engine is None else str(engine),
            self._at(record),
            "-" if seconds is None else format_seconds(seconds),
            label,
        )
        result, printed = self._result(record)
        yield f"{number}{stream.style(times, 'dim')}{label}{result}"
        for tag, text in self._notes(record, printed=printed):
            head = f"{number}  {tag:>4} | "
            for line in text.split("\n"):
                yield stream.style(head, "dim") + line

    def _at(self, record: dict[str, Any]) -> str:
        """Tell when the item was done, in seconds since its job's first submission."""
        if record.get("replayed"):
            return "kept"
        submitted, completed = record.get("submitted"), record.get("completed")
        if not submitted or not completed:
            return "-"
        # From the first submission on, by the records alone: the same when an old run is shown.
        if self._zero is None:
            self._zero = datetime.fromisoformat(submitted)
        passed = datetime.fromisoformat(completed) - self._zero
        return f"{max(0.0, passed.total_seconds()):.2f} s"

    def _result(self, record: dict[str, Any]) -> tuple[str, bool]:
        """Return what an item came to, and whether that already has what it printed."""
        attempt = record.get("attempt") or 1
        head = f"(attempt {attempt}) " if attempt > 1 else ""
        used = self._columns.used + len(head)
        status, value = record["status"], record.get("value")
        if status != Status.OK:
            mark = "error: " if status == Status.ERROR else ""
            words = self._results.clip(mark + describe(record), used)
            return head + self._results.style(words, _COLORS.get(status, "red")), False
        # A command is shown by what it printed, since its value is a map that hides it.
        command = command_words(value)
        if command is None:
            return head + self._shown(value, used), False
        words, is_output = command
        return head + self._results.clip(plain(words), used), is_output

    def _shown(self, value: Any, used: int) -> str:
        if isinstance(value, dict) and is_tagged(value):
            return self._results.clip(plain(word(value)), used)
        text = dump(value)
        if self._results.width is not None:
            # A terminal shows the beginning only; four bytes are the most that a column takes.
            text = text[: 4 * self._results.width]
        return self._results.clip(plain(text.decode(errors="ignore")), used)

    def _notes(self, record: dict[str, Any], *, printed: bool) -> Iterator[tuple[str, str]]:
        """Yield what stands below an item's line: what it printed, and how it travelled."""
        if self._context.verbose:
            yield "msg", f"{record.get('msg_id')} chunk {record.get('chunk')}"
        for tag, key in (("out", "stdout"), ("err", "stderr")):
            text = record.get(key)
            if text and not (printed and key == "stdout"):
                yield tag, plain(_last_state(text.rstrip("\n")))
        if record.get("truncated"):
            yield "note", "it printed more than arcli keeps"


def command_words(value: Any) -> tuple[str, bool] | None:
    """Say what a command came to, and whether that is all that it printed; None for other values.

    That is its output, where it is one line and nothing went wrong, else the exit status.
    """
    if not isinstance(value, dict) or value.keys() != _PROGRAM:
        return None
    printed = str(value["stdout"]).rstrip("\n")
    if value["exit"] == 0 and printed and "\n" not in printed and not value["stderr"]:
        return _last_state(printed), True
    return f"exit {value['exit']}", False


def _last_state(text: str) -> str:
    """Printed text as a terminal would show it in the end: a carriage return starts a line anew."""
    if "\r" not in text:
        return text
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def _fit(text: str, width: int) -> str:
    """Return text padded to ``width`` columns; longer text is cut, with an ellipsis."""
    text = one_line(text)
    if text.isascii() and len(text) <= width:
        return text.ljust(width)
    from rich.cells import cell_len, set_cell_size

    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
