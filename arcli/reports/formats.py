"""Write a report for a terminal, as Markdown that GitHub renders, and as one JSON document.

The document has the form of ``arcli run --format json`` without the items. Each job has ``histogram``
beside its ``timing``: ``[upper bound in seconds, items]`` pairs, with which two reports can be compared.
``groups`` and ``slowest`` are there where they were asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import to_builtins
from rich.text import Text

from arcli.engine.tally import GROWTH, Tally
from arcli.errors import ExitCode
from arcli.escape import one_line
from arcli.outputs.markdown import escape, failures_table, jobs_part, table
from arcli.outputs.run_end import write_end
from arcli.outputs.stream import Stream
from arcli.record import dump
from arcli.reports.collect import Report
from arcli.reports.runlist import friendly_time
from arcli.timing.groups import (
    GROUP_COLUMNS,
    SLOW_COLUMNS,
    Group,
    group_cells,
    groups_table,
    slow_cells,
    slow_name,
    slowest_table,
)

_ENDS = {
    ExitCode.OK: "every item ok",
    ExitCode.ITEMS_FAILED: "some items are not ok",
    ExitCode.EXPECTATION: "an expectation failed",
}


def write_text(page: Stream, report: Report) -> None:
    """Write a report to ``page``. Raises what the page does."""
    page.show(Text(title(report), style="bold"))
    write_end(page, report.summary, report.origin, full=True)
    for job in report.groups.jobs:
        page.write("\n")
        page.show(groups_table(report.group_name(job), report.groups.of(job), width=page.table_width))
    if report.slowest:
        several = len(report.summary.jobs) > 1
        page.write("\n")
        page.show(slowest_table(report.slowest, several=several, width=page.table_width))
    if report.damaged:
        page.write("\n" + page.style(damage_words(report), "yellow") + "\n")


def title(report: Report) -> str:
    """Tell which run this is, when it was, and how it ended."""
    name = one_line(report.manifest.name) or "a run"
    return f"{name}, run {report.manifest.id}, {friendly_time(report.began)}: {ending(report)}"


def ending(report: Report) -> str:
    """Tell how a run ended, in words."""
    # A run that was killed has said no exit code, whatever its records look like.
    if report.state != "ended":
        return "still running" if report.state == "running" else "killed before its end"
    code = report.exit_code or 0
    if report.summary.error is not None and code not in _ENDS:
        return f"exit {code}, {one_line(report.summary.error)}"
    return f"exit {code}" + (f", {_ENDS[ExitCode(code)]}" if code in _ENDS else "")


def damage_words(report: Report) -> str:
    """Return what is missing from a report because the journal is damaged."""
    one = report.damaged == 1
    parts = "1 part" if one else f"{report.damaged:,} parts"
    return f"{parts} of the journal could not be read and {'is' if one else 'are'} not counted"


def render_markdown(report: Report) -> str:
    """Write the report, with a newline at its end."""
    title = report.manifest.name or report.manifest.id
    lines = [f"### {escape(title)}: {escape(ending(report))}", ""]
    lines += [*jobs_part(report.summary), *failures_table(report.summary), *_details(report)]
    if report.damaged:
        lines.append(escape(damage_words(report)) + ".")
    return "\n".join(lines) + "\n"


def _details(report: Report) -> Iterator[str]:
    # One table a job, since groups of different jobs have nothing in common.
    for job in report.groups.jobs:
        yield from table((report.group_name(job), *GROUP_COLUMNS), group_rows(report.groups.of(job)))
    if report.slowest:
        yield from table(("slowest", "input", *SLOW_COLUMNS), slowest_rows(report), texts=2)


def group_rows(groups: Iterable[Group]) -> list[list[str]]:
    """Return a row a group: its label, and the cells of ``GROUP_COLUMNS``."""
    return [[group.label, *group_cells(group).values()] for group in groups]


def slowest_rows(report: Report) -> list[list[str]]:
    """Return a row for each of the slowest items: which one, its input, and ``SLOW_COLUMNS``."""
    several = len(report.summary.jobs) > 1
    return [[slow_name(slow, several=several), slow.given, *slow_cells(slow)] for slow in report.slowest]


def render_json(report: Report) -> bytes:
    """Return the document, with a newline at its end."""
    return dump(to_tree(report)) + b"\n"


def to_tree(report: Report) -> dict[str, Any]:
    """Return the document as plain data."""
    jobs = []
    for job in report.summary.jobs:
        tree = {**job.to_dict(), "histogram": histogram(report.tallies.get(job.name, Tally()))}
        if report.groups.keys:
            by = [
                {
                    "value": group.value,
                    "items": group.tally.total,
                    "ok": group.ok,
                    "failed": group.failed,
                    "mean": group.tally.mean,
                    "stddev": group.tally.deviation,
                    "min": group.tally.shortest if group.tally.ran else 0.0,
                    "median": group.tally.quantile(0.5),
                    "p95": group.tally.quantile(0.95),
                    "max": group.tally.longest,
                }
                for group in report.groups.of(job.name)
            ]
            tree["groups"] = {"by": report.groups.key, "groups": by}
        jobs.append(tree)
    tree = {"run": report.summary.to_dict(), "jobs": jobs, "damaged": report.damaged}
    if report.slowest:
        tree["slowest"] = [to_builtins(slow) for slow in report.slowest]
    return tree


def histogram(tally: Tally) -> list[list[float]]:
    """Return how many items took up to how many seconds, in steps of 2 %."""
    return [[GROWTH**bucket, count] for bucket, count in sorted(tally.buckets.items())]
