"""A report as Markdown that GitHub renders, such as in the summary of a CI job.

https://github.github.com/gfm/#tables-extension-
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from arcli.escape import one_line
from arcli.reports.collect import Report
from arcli.reports.text import damage_words, ending
from arcli.timing.failures import item_words
from arcli.timing.grouptables import (
    GROUP_COLUMNS,
    SLOW_COLUMNS,
    group_cells,
    slow_cells,
    slow_name,
)
from arcli.timing.summary import JobSummary, RunSummary
from arcli.timing.tables import overhead_words, percent, plural, remarks, time_words
from arcli.units import format_seconds

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$])")
_LONGEST = 200
_JOBS = ("items", "ok", "failed", "wall", "serial", "speed-up", "efficiency")
_TIMES = GROUP_COLUMNS[3:]
_FAILURES = 20


def render(report: Report) -> str:
    """The report, with a newline at its end."""
    return "\n".join(_lines(report)) + "\n"


def escape(text: str) -> str:
    """Text as one line that means nothing to Markdown, nor to HTML; cut where it is long."""
    line = one_line(text)
    line = line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
    return _SPECIAL.sub(r"\\\1", line)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> Iterator[str]:
    """A table whose first ``texts`` columns are text and the others figures; cells are escaped."""
    marks = [":---" if place < texts else "---:" for place in range(len(head))]
    for row in (head, marks, *rows):
        cells = row if row is marks else [escape(cell) for cell in row]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _lines(report: Report) -> Iterator[str]:
    summary = report.summary
    yield f"### {escape(report.manifest.name or report.manifest.id)}: {escape(ending(report))}"
    yield ""
    rows = [[job.name, *_figures(job)] for job in summary.jobs]
    yield from table(("job", *_JOBS, *_TIMES), rows)
    yield f"Run `{report.manifest.id}`, {escape(time_words(summary))}."
    for job in summary.jobs:
        words = "; ".join(filter(None, (overhead_words(job), remarks(job))))
        yield f"{escape(job.name)}: {escape(words)}."
    yield ""
    yield from failures_table(summary)
    yield from _details(report)
    if report.damaged:
        yield escape(damage_words(report)) + "."


def _figures(job: JobSummary) -> list[str]:
    counts, timing = job.counts, job.timing
    mean = f"{format_seconds(timing.mean)} ± {format_seconds(timing.stddev)}"
    span = f"{format_seconds(timing.min)} … {format_seconds(timing.max)}"
    return [
        *(f"{number:,}" for number in (counts.planned, counts.ok, counts.failed)),
        *(format_seconds(seconds) for seconds in (timing.wall, timing.serial)),
        f"{timing.speedup:.2f}",
        percent(timing.efficiency),
        mean,
        *(format_seconds(seconds) for seconds in (timing.median, timing.p95)),
        span,
    ]


def failures_table(summary: RunSummary) -> Iterator[str]:
    """The groups of failures, the largest first; nothing where there is none."""
    groups = [(job.name, group) for job in summary.jobs for group in job.failures]
    groups.sort(key=lambda pair: -pair[1].count)
    rows = [(f"{g.count:,}", g.title, job, g.place or "", item_words(g)) for job, g in groups]
    if rows:
        yield from table(("items", "failure", "job", "place", "first"), rows[:_FAILURES], texts=5)
    if rest := sum(group.count for _, group in groups[_FAILURES:]):
        yield f"{rest:,} more in {plural(len(groups) - _FAILURES, 'other group')}."
        yield ""


def _details(report: Report) -> Iterator[str]:
    several = len(report.summary.jobs) > 1
    groups = report.groups
    for job in groups.jobs if groups is not None else ():
        assert groups is not None
        label = f"{job}, {groups.key}" if several else groups.key
        # One table a job, since groups of different jobs have nothing in common.
        rows = [[group.label, *group_cells(group).values()] for group in groups.of(job)]
        yield from table((label, *GROUP_COLUMNS), rows)
    if report.slowest:
        slowest = [
            [slow_name(slow, several=several), slow.given, *list(slow_cells(slow).values())[:3]]
            for slow in report.slowest
        ]
        yield from table(("slowest", "input", *SLOW_COLUMNS[:3]), slowest, texts=2)
