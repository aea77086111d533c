"""List past runs, as a table and as JSON; say moments of the past as people do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import asdict
from rich.table import Table
from rich.text import Text

from arcli.escape import one_line
from arcli.record import dump
from arcli.store.past import Brief
from arcli.timing.tables import NARROW, bare_table, fitted
from arcli.units import format_seconds, isoformat

WIDE = 100
"""From this many columns on there is room for the run that each one went on with."""

_FLEXIBLE = {"spec", "reason"}
"""Columns that are cut where there is no room."""


def table(runs: Sequence[Brief], *, width: int) -> Table:
    """Return a row a run: id, name, when, how long, items ok and failed, exit code."""
    # Columns that say least go first where there is little room.
    names = ["run", "spec", "when", "took", "ok", "failed", "exit"]
    rows = [_cells(run) for run in runs]
    if width < NARROW:
        names.remove("when")  # the id tells, too
    if width >= WIDE and any(run.resumes for run in runs):
        names.append("resumes")
    if width >= WIDE and any(run.reason for run in runs):
        names.append("reason")
    made = bare_table()
    for name in names:
        right = name in {"took", "ok", "failed"}
        overflow: Any = "ellipsis" if name in _FLEXIBLE else "fold"
        justify: Any = "right" if right else "left"
        made.add_column(name, justify=justify, no_wrap=True, overflow=overflow)
    for row in rows:
        made.add_row(*(row[name] for name in names))
    return fitted(made, width)


def _cells(run: Brief) -> dict[str, Text]:
    end = str(run.exit_code) if run.state == "ended" else run.state
    good = run.exit_code == 0 or run.state == "running"
    return {
        "run": Text(run.id),
        "spec": Text(one_line(run.name) or "-", style="bold"),
        "when": Text(friendly_time(run.started)),
        "took": Text(format_seconds(run.seconds)),
        "ok": Text(f"{run.ok:,}"),
        "failed": Text(f"{run.failed:,}", style="red" if run.failed else ""),
        "exit": Text(end, style="" if good else "red"),
        "resumes": Text(one_line(run.resumes or "-")),
        "reason": Text(one_line(run.reason or "")),
    }


def render_json(runs: Sequence[Brief]) -> bytes:
    """Return ``{"runs": [{"id", "name", "spec_file", "state", "exit_code", "started", …}]}``."""
    trees = [{**asdict(run), "started": isoformat(run.started), "folder": str(run.folder)} for run in runs]
    return dump({"runs": trees}) + b"\n"


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def friendly(moment: datetime, now: datetime) -> str:
    """Say ``today 14:05``, ``yesterday 14:05``, ``Tue 14:05``, ``3 Mar 14:05``, ``2025-03-03``.

    Both are in the time zone of the reader. English whatever the locale, as all of arcli's words.
    """
    # Beyond a week nobody counts days, and beyond ten months a day without its year misleads.
    clock = moment.strftime("%H:%M")
    days = now.date() - moment.date()
    if days == timedelta(0):
        return f"today {clock}"
    if days == timedelta(days=1):
        return f"yesterday {clock}"
    if timedelta(0) < days < timedelta(days=7):
        return f"{_DAYS[moment.weekday()]} {clock}"
    if timedelta(0) < days < timedelta(days=300):
        return f"{moment.day} {_MONTHS[moment.month - 1]} {clock}"
    return moment.strftime("%Y-%m-%d")


def friendly_time(seconds: float) -> str:
    """Return a moment, in seconds since the epoch, seen from now."""
    return friendly(datetime.fromtimestamp(seconds), datetime.now())
