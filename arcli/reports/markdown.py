"""A report as Markdown that GitHub renders, such as in the summary of a CI job."""

from __future__ import annotations

from collections.abc import Iterator

from arcli.outputs.markdown import escape, failures_table, jobs_part, table
from arcli.reports.collect import Report
from arcli.reports.text import damage_words, ending
from arcli.timing.grouptables import (
    GROUP_COLUMNS,
    SLOW_COLUMNS,
    group_cells,
    slow_cells,
    slow_name,
)


def render(report: Report) -> str:
    """Write the report, with a newline at its end."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"### {escape(report.manifest.name or report.manifest.id)}: {escape(ending(report))}"
    yield ""
    yield from jobs_part(report.summary)
    yield from failures_table(report.summary)
    yield from _details(report)
    if report.damaged:
        yield escape(damage_words(report)) + "."


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
