"""A report for a terminal: what run it was, what failed and why, the tables."""

from __future__ import annotations

from rich.text import Text

from arcli.errors import ExitCode
from arcli.escape import one_line
from arcli.outputs.run_end import RunOrigin, write_end
from arcli.outputs.stream import Stream
from arcli.reports.collect import Report
from arcli.reports.when import friendly_time
from arcli.timing.grouptables import groups_table, slowest_table

_ENDS = {
    ExitCode.OK: "every item ok",
    ExitCode.ITEMS_FAILED: "some items are not ok",
    ExitCode.EXPECTATION: "an expectation failed",
}


def write(page: Stream, report: Report) -> None:
    """Write a report to ``page``. Raises what the page does."""
    page.show(Text(title(report), style="bold"))
    about = report.manifest
    origin = RunOrigin(spec=about.spec_file or "", host=about.host or "", argv=about.argv)
    write_end(page, report.summary, origin, full=True)
    # With one job its name says nothing new.
    several = len(report.summary.jobs) > 1
    if report.groups is not None:
        for job in report.groups.jobs:
            label = f"{job}, {report.groups.key}" if several else report.groups.key
            page.write("\n")
            page.show(groups_table(label, report.groups.of(job), width=page.table_width))
    if report.slowest:
        page.write("\n")
        page.show(slowest_table(report.slowest, several=several))
    if report.damaged:
        page.write("\n" + page.style(damage_words(report), "yellow") + "\n")


def title(report: Report) -> str:
    """Tell which run this is, when it was, and how it ended."""
    name = one_line(report.manifest.name) or "a run"
    return f"{name}, run {report.manifest.id}, {friendly_time(report.began)}: {ending(report)}"


def ending(report: Report) -> str:
    """Tell how a run ended, in words."""
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
