"""The end of a run for people: one verdict, what failed and why, and what to do next."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from arcli.escape import one_line, plain, shell_line
from arcli.outputs.base import Output, RunOrigin
from arcli.outputs.stream import Stream
from arcli.timing.failures import COMMAND_FAILED, FailureGroup
from arcli.timing.ledger import End
from arcli.timing.summary import Counts, JobStatus, JobSummary, RunSummary
from arcli.timing.words import plural, remarks
from arcli.units import format_seconds

GROUPS = 5
"""Groups of failures that are shown; of the others only how many there are."""
QUIET_GROUPS = 3
TRACEBACKS = 2
"""Groups whose first traceback or stderr is shown."""
DETAIL_LINES = 12
SPEEDUP_FROM = 0.5
"""Seconds of work below which nobody wants to know how much faster it was side by side."""
TABLES_BESIDE = 54
"""Columns from which on a run's id and the way to its tables are one line."""
INDENT = 5
_LONGEST_COMMAND = 300
_DESCRIPTOR = re.compile(r"\A(--[\w-]+=|-a)?/(?:dev|proc/self)/fd/\d+\Z")
"""A file that only that call had open, such as that of a shell's ``<(…)``."""
_NOT_AGAIN = {"--resume", "--failed", "--run", "-q", "--quiet", "--estimate"}
"""Flags that say which run is gone on with, that hide what people ask for now, or that make it a pilot."""


def write_end(
    stream: Stream, summary: RunSummary, origin: RunOrigin, *, full: bool = False, quiet: bool = False
) -> None:
    """Write how a run ended. Raises what the stream does.

    ``full`` adds the tables of timing, ``quiet`` says which run it is and keeps to one screen.
    Nothing is written of a run that ended before a job began: what stopped it says all that there is.
    """
    # No job began: the run has told its error, and a table of zeros says nothing.
    if not summary.began and summary.error is not None and summary.exit_code is not None:
        return
    stream = stream.sized()
    stream.begin_line()
    lines = [verdict(stream, summary)]
    # A mail from cron has to say by itself what it is about.
    if quiet:
        where = f" on {origin.host}" if origin.host else ""
        lines.append(f"  {plain(origin.spec) or summary.name}{where}, run {summary.run}")
    lines += _jobs(stream, summary)
    lines += failure_lines(stream, summary, quiet=quiet)
    lines += _advice(stream, summary, origin, tables_hint=not full and not quiet)
    stream.write("".join(f"{line}\n" for line in lines))
    if full:
        from arcli.timing.tables import run_report

        stream.write("\n")
        stream.show(run_report(summary, width=stream.table_width))


def verdict(stream: Stream, summary: RunSummary) -> str:
    """Say in one line, wrapped where it is narrow, how a run ended and how long it took."""
    mark, color = _mark(stream, summary)
    sentence = f"{one_line(summary.name)}  {count_words(summary.jobs)} in {format_seconds(summary.wall)}"
    # How many engines there were, and how much they helped where there was work to share.
    if summary.engines:
        wall, serial = summary.work
        helped = summary.engines > 1 and serial >= SPEEDUP_FROM and serial > wall > 0
        faster = f", {serial / wall:.1f} × as fast as one after another" if helped else ""  # noqa: RUF001
        sentence += f"  ({plural(summary.engines, 'engine')}{faster})"
    first, *rest = stream.wrapped(f"{mark} {sentence}", "    ")
    return "\n".join([stream.style(mark, color) + first[len(mark) :], *rest])


def count_words(jobs: Sequence[JobSummary]) -> str:
    """``50 of 50 items ok``, or ``1 ok, 2 failed of 3 items``; with what was never read."""
    counts = Counts.of(jobs)
    others = ((counts.failed, "failed"), (counts.cancelled, "cancelled"))
    parts = [f"{number:,} {word}" for number, word in others if number]
    sentence = f"{counts.ok:,} ok, {', '.join(parts)} of {plural(counts.planned, 'item')}"
    # Without failures one number says it all.
    if not parts:
        sentence = f"{counts.ok:,} of {plural(counts.planned, 'item')} ok" if counts.planned else "no items"
    if counts.unread is None:
        return f"{sentence}, others never read"
    return f"{sentence}, {counts.unread:,} never read" if counts.unread else sentence


def failure_lines(stream: Stream, summary: RunSummary, *, quiet: bool = False) -> Iterator[str]:
    """Tell of each group of failures: how many, what, where, which inputs, the first traceback."""
    # The most common failure first, and details only of the first few.
    groups = summary.failures()
    several = len(summary.jobs) > 1
    shown = QUIET_GROUPS if quiet else GROUPS
    for place, (name, group) in enumerate(groups[:shown]):
        head = f"{name}: {group.title}" if several else group.title
        where = f"  {_short_place(group.place)}" if group.place else ""
        number = f"{group.count:>{INDENT - 2},}"
        first, *rest = stream.wrapped(f"{number}  {head}{where}", " " * INDENT)
        yield stream.style(number, "red") + first[len(number) :]
        yield from rest
        yield from _items(stream, group)
        if place < (1 if quiet else TRACEBACKS):
            yield from _details(stream, group)
    if rest_groups := groups[shown:]:
        others = sum(group.count for _, group in rest_groups)
        yield f"{others:>{INDENT - 2},}  in {plural(len(rest_groups), 'other group')}: arcli report"
    for job in summary.jobs:
        if job.value_error is not None:
            sentence = f"  {job.name} has no value: {plain(job.value_error)}"
            yield from (stream.style(line, "red") for line in stream.wrapped(sentence, " " * INDENT))


def again(argv: Sequence[str], *flags: str, stdin: bool = False) -> str | None:
    """Write the command line that goes on with a run; None where it cannot be called again as it is.

    ``stdin``: it reads items from standard input, which has to be given once more.
    """
    if len(argv) < 2:
        return None
    arguments: list[str] = []
    drop_next = False
    # The same command line, without what said how to go on before.
    for argument in argv[2:]:
        if not drop_next and argument not in _NOT_AGAIN and not argument.startswith("--run="):
            arguments.append(_DESCRIPTOR.sub(r"\1FILE", argument))
        drop_next = argument == "--run"
    if "-" in arguments:  # a spec or items from standard input, which is gone
        return None
    verb = argv[1]
    line = shell_line(
        ["arcli", verb, *arguments, *flags] if verb == "run" else ["arcli", verb, *flags, *arguments]
    )
    if len(line) > _LONGEST_COMMAND:
        return None
    return f"{line} < FILE" if stdin else line


def _mark(stream: Stream, summary: RunSummary) -> tuple[str, str]:
    """Return the sign of success or failure, in letters where the encoding has no such sign."""
    # What is still going on, and what somebody stopped, is neither success nor failure.
    ends = {job.ended for job in summary.jobs}
    if End.RUNNING in ends:
        return ("▸" if stream.is_unicode else "running:"), "bold"
    if End.INTERRUPTED in ends:
        return ("■" if stream.is_unicode else "stopped:"), "yellow"
    if summary.exit_code == 0:
        return ("✓" if stream.is_unicode else "ok:"), "green"
    return ("✗" if stream.is_unicode else "failed:"), "red"


def _jobs(stream: Stream, summary: RunSummary) -> Iterator[str]:
    """Yield a line a job where there are several; what else is worth knowing of each."""
    several = len(summary.jobs) > 1
    width = min(24, max((len(job.name) for job in summary.jobs), default=0))
    for job in summary.jobs:
        note = remarks(job, brief=True)
        if several:
            # A job that did not begin has nothing to count.
            began = job.counts.planned or job.ended is End.DONE
            took = f" in {format_seconds(job.timing.wall)}" if job.timing.wall else ""
            counts = f"{count_words([job])}{took}" if began else ""
            text = f"  {job.name:<{width}}  {'; '.join(filter(None, (counts, note)))}"
            style = {JobStatus.FAILED: "red", JobStatus.CANCELLED: "yellow"}.get(job.status)
            first, *rest = stream.wrapped(text, " " * (width + 4))
            yield stream.style(first, style) if style else first
            yield from rest
        elif note:
            yield from stream.wrapped(f"  {note}", "    ")


def _items(stream: Stream, group: FailureGroup) -> Iterator[str]:
    """Yield the inputs of a group's first items: a line each where each has something to say."""
    more = group.count - len(group.items)
    more_line = f"and {more:,} more" if more else ""
    labels = [item.label for item in group.items]
    # Where the group's message says it all, names are enough, side by side.
    if all(item.detail in {"", group.message} for item in group.items):
        names = ", ".join([*labels, *([more_line] if more_line else [])])
        yield from stream.wrapped(" " * INDENT + names, " " * INDENT)
        return
    room = 40 if stream.width is None else max(8, stream.width // 3)
    width = min(room, max(map(len, labels)))
    for item in group.items:
        head = f"{' ' * INDENT}{item.label:<{width}}  "
        if len(item.label) > width:  # its own line, so that nothing is cut
            yield f"{' ' * INDENT}{item.label}"
            head = " " * (INDENT + 2)
        yield from stream.wrapped(head + item.detail, " " * (INDENT + 2))
    if more_line:
        yield " " * INDENT + more_line


def _details(stream: Stream, group: FailureGroup) -> Iterator[str]:
    """Yield the first item's traceback, or what a command said where that is more than a line."""
    text = group.stderr if group.type == COMMAND_FAILED else group.traceback
    lines = text.removeprefix("Traceback (most recent call last):\n").splitlines()
    if group.type == COMMAND_FAILED and len(lines) < 2:
        return
    # The end of a traceback says what happened, its beginning only how it came there.
    shown = lines[-DETAIL_LINES:]
    if len(lines) > len(shown):
        shown.insert(0, "…")
    for line in shown:
        yield stream.style(f"{' ' * INDENT}| {line}", "dim")


def _advice(stream: Stream, summary: RunSummary, origin: RunOrigin, *, tables_hint: bool) -> Iterator[str]:
    """Yield what to do next: look at the tables, run what failed again, go on with what was stopped."""
    # A job that has what was asked for is not gone on with.
    counts = Counts.of([job for job in summary.jobs if job.ended is not End.ENOUGH])
    failed = counts.error + counts.timeout
    # What an output did not get may be wanted all the same.
    unwritten = any(job.ended is End.OUTPUT_FAILED for job in summary.jobs)
    undone = unwritten or counts.lost + counts.cancelled or counts.unread != 0
    which = ("--run", summary.run) if origin.past else ()
    flags = ("--failed" if failed else "--resume", *which)
    line = again(origin.argv, *flags, stdin=origin.stdin) if failed or undone else None
    if tables_hint:
        run, tables = f"  {stream.style('run', 'dim')}    {summary.run}", stream.style("tables:", "dim")
        narrow = stream.width is not None and stream.width < TABLES_BESIDE
        yield from (run, f"  {tables} arcli report") if narrow else (f"{run}   {tables} arcli report",)
    if line is not None:
        yield f"  {stream.style('again', 'dim')}  {line}"


def _short_place(place: str) -> str:
    """Return a place relative to the working folder where it is below it."""
    path, _, line = place.rpartition(":")
    try:
        inside = Path(path).relative_to(os.getcwd())  # noqa: PTH109 - it may be gone, as below
    except (ValueError, OSError):
        return place
    return f"{inside}:{line}"


class QuietOutput(Output):
    """Silent until a run ends: ``quiet`` with another exit code than 0, else in any case."""

    def __init__(
        self, report: Stream, origin: RunOrigin, *, quiet: bool = True, full: bool = False
    ) -> None:
        self._report = report
        self._origin = origin
        self._quiet = quiet
        self._full = full

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        if not self._quiet or summary.exit_code != 0:
            write_end(self._report, summary, self._origin, full=self._full, quiet=self._quiet)
