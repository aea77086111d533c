"""Results for people: a calm line an item as it comes, then failures, values and tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from arcli.engine.tally import Status
from arcli.escape import plain
from arcli.outputs.base import OutputContext
from arcli.outputs.failures import Failures, describe
from arcli.outputs.stream import Stream
from arcli.record import RecordBatch, decode, dump
from arcli.timing.summary import Counts, RunSummary
from arcli.units import format_seconds

HEADER = " item  engine       at      took  result"
_PREFIX = len(HEADER) - len("result")
_COLORS = {Status.CANCELLED: "yellow"}
_SPECIAL = ("$float", "$int", "$pickle")


def _part(counts: Counts | None) -> str:
    """The mark of a value that lacks the items that are not ok."""
    if counts is None or counts.ok == counts.planned:
        return ""
    return f" (from {counts.ok:,} of {counts.planned:,} items)"


def text_output(context: OutputContext) -> TextOutput:
    """Make the output for people that a context asks for."""
    return TextOutput(
        context.results, context.report, headings=context.several_jobs, verbose=context.verbose
    )


class TextOutput:
    """Lines and values to ``results``, tables and failures to ``report``.

    ``headings`` names each job before its items. Nothing that a user's task said reaches a page
    raw.
    """

    def __init__(
        self, results: Stream, report: Stream, *, headings: bool = False, verbose: bool = False
    ) -> None:
        self._results = results
        self._report = report
        self._headings = headings
        self._verbose = verbose
        self._failures = Failures()
        self._job: str | None = None
        self._zero: datetime | None = None

    def start(self) -> None:
        """See Output."""
        self._results.target.open()

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        lines = list(self._heading(batch.job))
        for line in batch.lines.splitlines():
            lines += self._item(decode(line))
        self._results.write("".join(f"{line}\n" for line in lines))

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        counts = {job.name: job.counts for job in summary.jobs}
        for job, value in values.items():
            if value is not None:
                head, tail = f"{job} = ", _part(counts.get(job))
                shown = self._shown(value, len(head) + len(tail))
                self._results.write(f"{head}{shown}{tail}\n")
        from arcli.outputs.report import write_report

        write_report(self._report, summary, self._failures)
        self._results.target.commit()

    def abort(self) -> None:
        """See Output."""
        self._results.target.discard()

    def _heading(self, job: str) -> Iterator[str]:
        if job == self._job:
            return
        first, self._job, self._zero = self._job is None, job, None
        if self._headings:
            yield ("" if first else "\n") + self._results.style(job, "bold")
        if first:
            yield self._results.style(HEADER, "dim")

    def _item(self, record: dict[str, Any]) -> Iterator[str]:
        page, index = self._results, record["index"]
        engine = "-" if record.get("engine_id") is None else record["engine_id"]
        seconds = record.get("seconds")
        took = "-" if seconds is None else format_seconds(seconds)
        times = page.style(f"{self._at(record):>8}  {took:>8}", "dim")
        yield f"{index:>5}  {engine:>6} {times}  {self._result(record)}"
        for tag, text in self._printed(record):
            head = f"{index:>5}  {tag:>6} | "
            for line in text.split("\n"):
                yield page.style(head, "dim") + line

    def _at(self, record: dict[str, Any]) -> str:
        """When the item was done, in seconds since its job's first submission."""
        if record.get("replayed"):
            return "kept"
        submitted, completed = record.get("submitted"), record.get("completed")
        if not submitted or not completed:
            return "-"
        if self._zero is None:
            self._zero = datetime.fromisoformat(submitted)
        passed = datetime.fromisoformat(completed) - self._zero
        return f"{max(0.0, passed.total_seconds()):.2f} s"

    def _result(self, record: dict[str, Any]) -> str:
        attempt = record.get("attempt") or 1
        head = f"(attempt {attempt}) " if attempt > 1 else ""
        used = _PREFIX + len(head)
        status = record["status"]
        if status == Status.OK:
            return head + self._shown(record.get("value"), used)
        self._failures.add(record)
        mark = "error: " if status == Status.ERROR else ""
        words = self._results.clip(mark + describe(record), used)
        return head + self._results.style(words, _COLORS.get(status, "red"))

    def _shown(self, value: Any, used: int) -> str:
        if isinstance(value, dict) and "$array" in value:
            about = value["$array"]
            shape = " x ".join(map(str, about["shape"]))
            value = f"array of {shape} {about['dtype']}: {about.get('path', '')}".removesuffix(": ")
            return self._results.clip(plain(value), used)
        if isinstance(value, dict) and len(value) <= 2:
            for tag in _SPECIAL:
                if tag in value:
                    value = value.get("repr", value[tag])
                    return self._results.clip(plain(str(value)), used)
        text = dump(value)
        if self._results.width is not None:
            # A terminal shows the beginning only; four bytes are the most that a column takes.
            text = text[: 4 * self._results.width]
        return self._results.clip(plain(text.decode(errors="ignore")), used)

    def _printed(self, record: dict[str, Any]) -> Iterator[tuple[str, str]]:
        if self._verbose:
            yield "msg", f"{record.get('msg_id')} chunk {record.get('chunk')}"
        for tag, key in (("out", "stdout"), ("err", "stderr")):
            if text := record.get(key):
                yield tag, plain(text.rstrip("\n"))
        if record.get("truncated"):
            yield "note", "it printed more than arcli keeps"
