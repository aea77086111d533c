"""Groups of items and the slowest items as rows of text, and as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from arcli.engine.tally import Status, Tally
from arcli.escape import one_line
from arcli.timing.groups import Group, Slow
from arcli.timing.tables import NARROW, figures_table
from arcli.units import format_seconds

GROUP_COLUMNS = ("items", "ok", "failed", "mean ± σ", "median", "p95", "min … max")  # noqa: RUF001
SLOW_COLUMNS = ("seconds", "engine", "status", "input")


def group_cells(group: Group) -> dict[str, str]:
    """Return a group's figures by column: counts and item times."""
    counts = (group.tally.total, group.ok, group.failed)
    return dict(zip(GROUP_COLUMNS, (*(f"{n:,}" for n in counts), *time_cells(group.tally)), strict=True))


def time_cells(tally: Tally) -> tuple[str, str, str, str]:
    """Mean ± standard deviation, median, p95 and range; dashes where nothing ran."""
    if not tally.ran:
        return ("-", "-", "-", "-")
    mean = format_seconds(tally.mean)
    if tally.ran > 1:
        mean += f" ± {format_seconds(tally.deviation)}"
    median, p95 = (format_seconds(tally.quantile(q)) for q in (0.5, 0.95))
    span = f"{format_seconds(tally.shortest)} … {format_seconds(tally.longest)}"
    return (mean, median, p95, span)


def slow_cells(slow: Slow) -> dict[str, str]:
    """Return a slow item's cells by column."""
    engine = "-" if slow.engine_id is None else str(slow.engine_id)
    cells = (format_seconds(slow.seconds), engine, slow.status, one_line(slow.given))
    return dict(zip(SLOW_COLUMNS, cells, strict=True))


def slow_name(slow: Slow, *, several: bool) -> str:
    """Tell which item: its number, with its job where there are several."""
    return f"{slow.job} {slow.index}" if several else str(slow.index)


def groups_table(key: str, groups: Sequence[Group], *, width: int) -> Table:
    """Return a row a group; what is least telling is left out where it is narrow (``width`` columns)."""
    hidden = {"ok", "min … max"} if width < NARROW else {"ok"} if width < 90 else set()
    rows = [group_cells(group) for group in groups]
    shown = [column for column in GROUP_COLUMNS if column not in hidden]
    table = figures_table(one_line(key), *shown)
    figures = sum(2 + max([len(name), *(len(row[name]) for row in rows)]) for name in shown)
    table.columns[0].max_width = max(8, width - figures)
    for group, row in zip(groups, rows, strict=True):
        style = "red" if group.failed else ""
        cells = [Text(row[name], style=style if name == "failed" else "") for name in shown]
        table.add_row(Text(one_line(group.label) or '""'), *cells)
    return table


def slowest_table(slowest: Sequence[Slow], *, several: bool) -> Table:
    """Return a row an item; the input has what is left of the line."""
    table = figures_table("slowest", "seconds", "engine")
    table.add_column("status", no_wrap=True)
    table.add_column("input", no_wrap=True, overflow="ellipsis")
    for slow in slowest:
        cells = slow_cells(slow)
        style = "" if slow.status == Status.OK else "red"
        table.add_row(
            Text(slow_name(slow, several=several)),
            cells["seconds"],
            cells["engine"],
            Text(cells["status"], style=style),
            Text(cells["input"]),
        )
    return table
