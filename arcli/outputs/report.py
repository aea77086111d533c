"""The end of a run for people: what failed and why, then the tables."""

from __future__ import annotations

from rich.text import Text

from arcli.outputs.failures import Failure, Failures
from arcli.outputs.stream import Stream
from arcli.timing.summary import RunSummary
from arcli.timing.tables import run_report

SHOWN = 5
"""Kinds of failures that are shown; tracebacks are shown of the first ``TRACEBACKS``."""
TRACEBACKS = 2
TRACEBACK_LINES = 12


def write_report(page: Stream, summary: RunSummary, failures: Failures) -> None:
    """Write failures, values that could not be made, and the tables. Raises what the page does."""
    page.write("\n")
    several = len(summary.jobs) > 1
    kinds = failures.kinds()
    for place, failure in enumerate(kinds[:SHOWN]):
        page.write(_words(page, failure, several=several))
        if place < TRACEBACKS:
            page.write(_traceback(page, failure))
    rest = sum(failure.count for failure in kinds[SHOWN:]) + failures.others
    if rest:
        page.write(f"{rest:,} more {'item is' if rest == 1 else 'items are'} not ok, otherwise\n")
    for job in summary.jobs:
        if job.value_error is not None:
            page.show(Text(f"{job.name} has no value: {job.value_error}", style="red"))
    if kinds:
        page.write("\n")
    page.show(run_report(summary, width=page.table_width))


def _words(page: Stream, failure: Failure, *, several: bool) -> str:
    where = f"{failure.job}, " if several else ""
    count = "1 item" if failure.count == 1 else f"{failure.count:,} items"
    first = f"item {failure.first}" if failure.count == 1 else f"first at item {failure.first}"
    return f"{page.style(count, 'red')}: {failure.what} ({where}{first})\n"


def _traceback(page: Stream, failure: Failure) -> str:
    lines = failure.traceback.splitlines()
    shown = lines[-TRACEBACK_LINES:]
    if len(lines) > len(shown):
        shown.insert(0, "…")
    return "".join(page.style(f"    {line}", "dim") + "\n" for line in shown)
