"""Draw an item's seconds against its input and its number, and items a second over time, for pages.

What is kept for it is as small for millions of items as for thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from arcli.engine.tally import Status
from arcli.reports.page import text
from arcli.reports.svg import ACROSS, LABELS, TALL, TOP, bar, begin_drawing, level, tick
from arcli.timing.distributions import ticks
from arcli.units import format_seconds, parse_time

MOST_POINTS = 2000
"""Points of a drawing: more would be seen as one cloud, and make the page heavy."""
MOST_KEYS = 8
"""Numeric keys of a job's inputs that are drawn."""
CELLS = 120
"""Parts of the time whose items are counted, at most; at least half as many."""
FIRST_CELL = 0.01
"""Seconds that a cell has at first."""


class Point(NamedTuple):
    """An item: ``x`` is its input or its number."""

    x: float
    seconds: float
    number: int
    status: str


class Points:
    """Points of which each counts as much: of too many every second one is let go, again and again."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.seen = 0
        self._stride = 1

    def add(self, point: Point) -> None:
        """Take a point, or let it go."""
        if self.seen % self._stride == 0:
            self.points.append(point)
        self.seen += 1
        if len(self.points) > MOST_POINTS:
            del self.points[1::2]
            self._stride *= 2


class Plots:
    """Collects what is drawn of a run that ``began`` then, in seconds since the epoch."""

    def __init__(self, began: float) -> None:
        self.series: dict[tuple[str, str], Points] = {}
        self._began = began
        self._cell = FIRST_CELL
        self._counts: list[int] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a record; one that did not run in this run is none of it."""
        seconds, completed = record.get("seconds"), parse_time(record.get("completed"))
        if seconds is None or completed is None or record.get("replayed"):
            return
        item = record.get("input")
        numbers = {"order": record["index"], **({"input": item} if not isinstance(item, dict) else item)}
        for name, x in numbers.items():
            # True is a number for Python, and none for whoever looks at the drawing.
            if isinstance(x, bool) or not isinstance(x, int | float) or not abs(x) < 1e300:
                continue
            key = (record["job"], name)
            if key not in self.series and sum(job == key[0] for job, _ in self.series) > MOST_KEYS:
                continue
            point = Point(float(x), seconds, record["index"], record["status"])
            self.series.setdefault(key, Points()).add(point)
        # As the run goes on, cells become wider: two are one from then on.
        place = int(max(0.0, completed - self._began) / self._cell)
        while place >= CELLS:
            pairs = zip(self._counts[::2], [*self._counts[1::2], 0], strict=False)
            self._counts, self._cell, place = [a + b for a, b in pairs], 2 * self._cell, place // 2
        self._counts.extend([0] * (place + 1 - len(self._counts)))
        self._counts[place] += 1

    def scatter(self, job: str, name: str) -> Iterator[str]:
        """Yield a drawing of seconds against what ``name`` is; empty where that is always the same."""
        points = self.series[job, name].points
        low, high = min(point.x for point in points), max(point.x for point in points)
        slowest = max(point.seconds for point in points)
        if low == high or slowest <= 0:
            return
        yield begin_drawing(TOP + TALL + 26, f"Seconds of {job} against {name}")
        yield from _heights(slowest, format_seconds)
        for place in range(5):
            x, value = LABELS + ACROSS * place / 4, low + (high - low) * place / 4
            yield tick(x, f"{value:.4g}")
        for point in points:
            x = LABELS + ACROSS * (point.x - low) / (high - low)
            y = TOP + TALL * (1 - point.seconds / slowest)
            kind = "j0" if point.status == Status.OK else "bad"
            about = (
                f"item {point.number}: {name} {point.x:g}, {format_seconds(point.seconds)}, {point.status}"
            )
            yield f'<circle class="{kind} dot" cx="{x:.1f}" cy="{y:.1f}" r="3">'
            yield f"<title>{text(about)}</title></circle>"
        yield "</svg>"

    def throughput(self) -> Iterator[str]:
        """Yield a drawing of how many items a second have ended, over time; empty where none has."""
        rates = [count / self._cell for count in self._counts]
        if not any(rates):
            return
        end = len(rates) * self._cell
        yield begin_drawing(TOP + TALL + 26, "Items a second over time")
        most = max(rates)
        yield from _heights(most, lambda rate: f"{rate:.3g}/s")
        for moment in ticks(end, 10):
            yield tick(LABELS + ACROSS * moment / end, format_seconds(moment))
        for place, rate in enumerate(rates):
            if rate:
                span = f"{format_seconds(place * self._cell)}: {rate:.3g} items a second"
                x = LABELS + ACROSS * place / len(rates)
                yield bar(x, ACROSS / len(rates), rate / most, span)
        yield "</svg>"


def _heights(most: float, label: Callable[[float], str]) -> Iterator[str]:
    """Yield the lines that heights are read by, from 0 to ``most``."""
    for value in ticks(most, 5):
        yield level(value / most, label(value) if value else "0")
