"""A comparison for a terminal, and as Markdown for the summary of a CI job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from arcli.escape import one_line
from arcli.outputs.markdown import escape, table
from arcli.reports.comparison import Comparison, Row, missing_words
from arcli.reports.runlist import friendly_time
from arcli.timing.tables import figures_table, fitted
from arcli.timing.thresholds import Measured
from arcli.units import parse_time

_COLORS = {None: "", True: "red", False: "green"}


NAME = 10
FIGURE = 9
"""Columns that names and figures have at least, so that the tables of all jobs are in line."""


def text(comparison: Comparison, *, width: int) -> RenderableType:
    """Return the tables, and what they mean, in ``width`` columns."""
    runs = Table.grid(padding=(0, 2))
    for side, run in (("A", comparison.a), ("B", comparison.b)):
        runs.add_row(Text(side, style="bold"), Text(run_words(run)))
    parts: list[RenderableType] = [runs, Text(), _table("run", comparison.rows, width)]
    for job in comparison.jobs:
        sentence = Text.assemble(("items: ", "dim"), job.items.words())
        parts += [Text(), _table(job.name, job.rows, width), sentence]
    if sentences := missing_words(comparison):
        parts += [Text(), *(Text(one_line(sentence)) for sentence in sentences)]
    # The verdict stands last on a terminal, where the end is what is seen.
    if comparison.findings:
        parts.append(Text())
    for finding in comparison.findings:
        mark = ("FAIL  ", "bold red") if finding.holds else ("ok    ", "green")
        parts.append(Text.assemble(mark, finding.words()))
    return Group(*parts)


def render_markdown(comparison: Comparison) -> str:
    """Return the same as Markdown, with a newline at its end."""
    return "\n".join(_lines(comparison)) + "\n"


def run_words(run: Measured) -> str:
    """Say which run it is: its id or file, its name, and when it was."""
    started = parse_time(run.started)
    when = f", {friendly_time(started)}" if started is not None else ""
    return f"{one_line(run.label)}, {one_line(run.name)}{when}"


def _table(name: str, rows: Sequence[Row], width: int) -> Table:
    # Tables of several jobs stand in line.
    table = figures_table(name, "A", "B", "change")
    for column, least in zip(table.columns, (NAME, FIGURE, FIGURE, FIGURE), strict=True):
        column.min_width = least
    for row in rows:
        *figures, grown = row.cells()
        table.add_row(*figures, Text(grown, style=_COLORS[row.worse]))
    return fitted(table, width)


def _lines(comparison: Comparison) -> Iterator[str]:
    yield f"### {escape(comparison.b.name)}: B against A"
    yield ""
    for side, run in (("A", comparison.a), ("B", comparison.b)):
        yield f"- {side}: {escape(run_words(run))}"
    yield ""
    # What decides the exit code stands first, before the tables that explain it.
    for finding in comparison.findings:
        yield f"- {'**FAIL**' if finding.holds else 'ok'}: {escape(finding.words())}"
    if comparison.findings:
        yield ""
    yield from table(("run", "A", "B", "change"), [r.cells() for r in comparison.rows])
    for job in comparison.jobs:
        head = (job.name, "A", "B", "change")
        yield from table(head, [row.cells() for row in job.rows])
        yield f"Items: {escape(job.items.words())}."
        yield ""
    for sentence in missing_words(comparison):
        yield escape(sentence)
        yield ""
