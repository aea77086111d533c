"""A summary as tables and sentences for people, to be read at 60 columns and without colour."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from arcli.timing.summary import EngineSummary, JobSummary, RunSummary
from arcli.timing.words import (
    chunk_words,
    item_times,
    job_cells,
    overhead_words,
    percent,
    remarks,
    time_words,
)
from arcli.units import format_seconds, wrap

NARROW = 78
"""Below this many columns the table of jobs does without its least telling ones."""
LEAST = 8
"""Columns that text which gives way keeps in any case."""
HEADER = 24
"""Columns that its header keeps at most: it may be a job's name."""
MOST = 18
"""Columns that what a sentence is about takes at most."""
GAP = 2
MANY_ENGINES = 16
"""Above this many engines only the least and the most busy ones are shown."""


def run_report(summary: RunSummary, *, width: int) -> RenderableType:
    """The tables that end a run: jobs, engines, and where the time went."""
    parts: list[RenderableType] = []
    if summary.jobs:
        parts = [jobs_table(summary.jobs, width=width), Text()]
    engines = engine_totals(summary.jobs)
    if engines:
        parts += [engines_table(engines, width=width), Text()]
    parts.append(_sentences(summary, width=width))
    return Group(*parts)


def jobs_table(jobs: tuple[JobSummary, ...], *, width: int) -> Table:
    """A row a job, of at least one: items, ok, failed, wall, serial, speed-up, efficiency."""
    hidden = set() if width >= NARROW else {"ok", "serial"}
    rows = [{name: cell for name, cell in job_cells(job).items() if name not in hidden} for job in jobs]
    table = figures_table("job", *rows[0])
    for job, row in zip(jobs, rows, strict=True):
        styles = {"failed": "red"} if job.counts.failed else {}
        cells = [Text(cell, style=styles.get(name, "")) for name, cell in row.items()]
        table.add_row(Text(job.name, style="bold"), *cells)
    return fitted(table, width)


def engines_table(engines: tuple[EngineSummary, ...], *, width: int) -> Table:
    """A row an engine: items, chunks, busy, idle; of very many only the extremes."""
    shown = engines
    # The busiest and the idlest few say what there is to say about many.
    if len(engines) > MANY_ENGINES:
        by_share = sorted(engines, key=lambda engine: engine.busy_share)
        shown = (*by_share[:3], *by_share[-3:])
    table = figures_table("engine", "items", "chunks", "busy", "", "idle", "")
    for place, engine in enumerate(shown):
        if place == 3 and shown is not engines:
            table.add_row(f"… {len(engines) - 6:,} more")
        table.add_row(
            str(engine.engine_id),
            f"{engine.items:,}",
            f"{engine.chunks:,}",
            format_seconds(engine.busy),
            percent(engine.busy_share),
            format_seconds(engine.idle),
            percent(engine.idle / engine.present if engine.present > 0 else 0.0),
        )
    if _overrun(table, width) <= 0:
        return table
    # Where it is narrow, without what is least telling.
    table = figures_table("engine", "items", "busy", "idle")
    for engine in shown:
        shares = (percent(engine.busy_share), percent(1 - engine.busy_share))
        table.add_row(str(engine.engine_id), f"{engine.items:,}", *shares)
    return fitted(table, width)


def engine_totals(jobs: tuple[JobSummary, ...]) -> tuple[EngineSummary, ...]:
    """What each engine did in all jobs together, by engine id."""
    totals: dict[int, EngineSummary] = {}
    for engine in (engine for job in jobs for engine in job.engines):
        earlier = totals.get(engine.engine_id)
        totals[engine.engine_id] = engine if earlier is None else _sum(earlier, engine)
    return tuple(totals[number] for number in sorted(totals))


def fitted(table: Table, width: int) -> Table:
    """Have a table fit: columns of text that may be cut give way, figures never do.

    Where that is not enough, each row stands upright, its cells one below the other.
    """
    columns, wide = table.columns, _widths(table)
    over = _overrun(table, width)
    gives = {
        place: max(LEAST, column.min_width or 0, min(HEADER, cell_len(str(column.header))))
        for place, column in enumerate(columns)
        if column.overflow == "ellipsis"
    }
    # The widest gives way first, so that all of them keep what they can.
    while over > 0:
        may = [place for place, least in gives.items() if wide[place] > least]
        if not may:
            return _upright(table, width)
        wide[max(may, key=lambda place: wide[place])] -= 1
        over -= 1
    for place in gives:
        columns[place].max_width = wide[place]
    return table


def _widths(table: Table) -> list[int]:
    """Return how wide each column is where nothing is cut."""
    return [
        max(column.min_width or 0, *(cell_len(str(cell)) for cell in (column.header, *column.cells)))
        for column in table.columns
    ]


def _overrun(table: Table, width: int) -> int:
    """Tell how many columns too wide a table is, in which nothing is cut."""
    return sum(_widths(table)) + GAP * (len(table.columns) - 1) - width


def _upright(table: Table, width: int) -> Table:
    """Put what the rows are on a line, then each row's name on one and its other cells below it."""
    first, *others = table.columns
    names = max((cell_len(str(column.header)) for column in others), default=0) + GAP
    names = min(names, width - GAP - LEAST)
    figures = max((cell_len(str(cell)) for column in others for cell in column.cells), default=0)
    figures = min(figures, width - GAP - names)
    lines = Table.grid(Column(overflow="fold"))
    lines.add_row(Text(str(first.header), style="dim"))
    for title, *cells in zip(*(column.cells for column in table.columns), strict=True):
        lines.add_row(Text(str(title), style="bold"))
        name = Column(style="dim", width=names, overflow="fold")
        below = Table.grid(name, Column(width=figures, overflow="fold"), padding=(0, GAP, 0, 0))
        for column, cell in zip(others, cells, strict=True):
            text = cell.copy() if isinstance(cell, Text) else Text(str(cell))
            text.justify = column.justify
            below.add_row(Text(f"  {column.header}"), text)
        lines.add_row(below)
    return lines


def _sentences(summary: RunSummary, *, width: int) -> Table:
    """One job's stand beside what they are about, several jobs' beside the job's name."""
    rows = [("time", time_words(summary))]
    several = len(summary.jobs) > 1
    for job in summary.jobs:
        label = job.name
        for about, words in _job_sentences(job):
            rows.append((label if several else about, f"{about}: {words}" if several else words))
            label = ""
    beside = min(MOST, max(cell_len(label) for label, _ in rows))
    name = Column(no_wrap=True, overflow="ellipsis", max_width=MOST, style="dim")
    grid = Table.grid(name, Column(overflow="fold"), padding=(0, GAP))
    for label, words in rows:
        # Rich would have a number at the end of a line, and its unit at the beginning of the next.
        grid.add_row(label, Text("\n".join(wrap(words, width - beside - GAP))))
    return grid


def _job_sentences(job: JobSummary) -> Iterator[tuple[str, str]]:
    if job.overhead.present > 0:
        yield "engines", overhead_words(job)
    if job.timing.measured:
        yield "items", item_times(job)
    if job.chunks.count:
        yield "chunks", chunk_words(job)
    if note := remarks(job):
        yield "note", note


def figures_table(first: str, *others: str) -> Table:
    """An empty table: a column of names, which gives way where it is narrow, and one a figure."""
    columns = [Column(first, overflow="ellipsis", no_wrap=True)]
    columns += [Column(header, justify="right", no_wrap=True, overflow="fold") for header in others]
    return bare_table(*columns)


def bare_table(*columns: Column) -> Table:
    """Make an empty table as all of arcli's are: without lines, its columns' names dim."""
    return Table(*columns, box=None, header_style="dim", pad_edge=False, padding=(0, GAP, 0, 0))


def _sum(a: EngineSummary, b: EngineSummary) -> EngineSummary:
    """Add up what an engine did in two jobs; who it is stays, as the later one has it."""
    identity = {"engine_id", "slot", "host", "pid"}
    sums = {name: getattr(a, name) + getattr(b, name) for name in {*a.__struct_fields__} - identity}
    return replace(a, host=a.host or b.host, pid=b.pid, **sums)
