"""Figures -> two tables, on the terminal and as Markdown."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rows import Bar, Row

PACKAGES = (
    "arcli-batch",
    "hyperqueue",
    "ipyparallel",
    "joblib",
    "mpire",
    "distributed",
    "click",
    "pyzmq",
    "orjson",
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The figures of a row, one a round, and why somebody did not take part."""

    row: Row
    figures: dict[str, list[float]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def median(self, name: str) -> float | None:
        values = self.figures.get(name)
        return statistics.median(values) if values else None


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table as text."""

    title: str
    heads: Sequence[str]
    lines: Sequence[Sequence[str]]

    def show(self, console: Console) -> None:
        table = Table(title=self.title, title_justify="left")
        for number, head in enumerate(self.heads):
            table.add_column(head, justify="left" if number < 2 else "right")
        for line in self.lines:
            table.add_row(*line)
        console.print(table)

    def markdown(self) -> str:
        rows = [self.heads, ["---"] * len(self.heads), *self.lines]
        return f"### {self.title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def bars(measured: Sequence[Measured]) -> Sheet:
    """One line a bar: what is to be at most what, and whether it is."""
    lines = [_bar(one, bar) for one in measured for bar in one.row.bars]
    heads = ("work", "against", "figure", "theirs", "ratio", "bar", "reached")
    return Sheet(title="Bars", heads=heads, lines=lines)


def figures(measured: Sequence[Measured]) -> Sheet:
    """One line for everybody who was measured, or why they were not."""
    lines: list[Sequence[str]] = []
    for one in measured:
        ours = one.median("arcli")
        for name, values in one.figures.items():
            middle = statistics.median(values)
            ratio = f"{middle / ours:.2f}" if ours else ""
            spread = f"{number(min(values))} to {number(max(values))}"
            lines.append((one.row.title, name, number(middle), spread, ratio))
        lines += [(one.row.title, name, "skipped", why, "") for name, why in one.absent.items()]
    heads = ("work", "who", "median", "range", "÷ arcli")
    return Sheet(title="Figures (seconds, where nothing else is said)", heads=heads, lines=lines)


def _bar(one: Measured, bar: Bar) -> Sequence[str]:
    ours = one.median(bar.figure)
    known = {name: m for name in bar.against if (m := one.median(name)) is not None}
    title, name = one.row.title, "" if bar.figure == "arcli" else bar.figure
    if ours is None or (bar.against and not known):
        blamed = (*bar.against, *(one.row.steps if ours is None else ()))
        why = "; ".join(dict.fromkeys(one.absent[who] for who in blamed if who in one.absent))
        return title, ", ".join(bar.against) or name, "", "", "", _limit(bar), f"skipped: {why}"
    if not bar.against:
        reached = "yes" if ours <= bar.limit else "no"
        return title, name, number(ours), "", "", _limit(bar), reached
    best = min(known, key=known.__getitem__)
    ratio = ours / known[best]
    reached = "yes" if ratio <= bar.limit else "no"
    return title, best, number(ours), number(known[best]), f"{ratio:.2f}", _limit(bar), reached


def _limit(bar: Bar) -> str:
    return f"≤ {bar.limit:g}"


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def conditions(rounds: int, scale: float) -> str:
    """The machine, the versions and how it was run, as a sentence or two."""
    versions = [f"{name} {found}" for name in PACKAGES if (found := _version(name))]
    whole = "" if scale == 1 else f", at {scale:g} of the items"
    return (
        f"{_processor()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}; {', '.join(versions)}. "
        f"Medians of {rounds} {'round' if rounds == 1 else 'rounds'}{whole}."
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.machine()


def save(page: Path, parts: Mapping[str, str]) -> None:
    """Put each text between ``<!-- NAME -->`` and ``<!-- /NAME -->`` of the page."""
    text = page.read_text()
    for name, part in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{page} has no {start} … {end}")
        text = f"{before}{start}\n\n{part}\n\n{end}{after}"
    page.write_text(text)
