"""What is drawn of many items is small, and true of them."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from past_runs import ZERO, item

from arcli.reports.plots import CELLS, MOST_KEYS, MOST_POINTS, Plots, Point, Points
from arcli.units import isoformat


def test_of_very_many_points_a_part_is_kept_evenly() -> None:
    points = Points()
    for number in range(10 * MOST_POINTS):
        points.add(Point(number, 1.0, number, "ok"))
    kept = [point.number for point in points.points]
    assert MOST_POINTS / 2 <= len(kept) <= MOST_POINTS
    assert len({after - before for before, after in pairwise(kept)}) == 1
    assert points.seen == 10 * MOST_POINTS


def test_only_numbers_are_drawn_and_not_too_many_of_them() -> None:
    plots = Plots(ZERO)
    given = {"name": "a", "flag": True, "size": 3, "far": float("inf")}
    plots.add(item(0, input={**given, **{f"k{number}": number for number in range(50)}}))
    plots.add(item(1, input=7))
    plots.add(item(2, seconds=None))
    plots.add(item(3, replayed=True))
    names = {name for _, name in plots.series}
    assert {"order", "size", "k0"} <= names
    assert not names & {"name", "flag", "far", "k49"}
    assert len(names) <= MOST_KEYS + 1
    assert plots.series["squares", "order"].seen == 2


@pytest.mark.parametrize("seconds", [0.001, 1.0, 3600.0])
def test_items_a_second_are_what_they_were_however_long_it_took(seconds: float) -> None:
    plots = Plots(ZERO)
    for number in range(1000):
        plots.add(item(number, completed=isoformat(ZERO + number * seconds)))
    drawing = "".join(plots.throughput())
    rates = [float(rate) for rate in re.findall(r": ([\d.e+-]+) items a second", drawing)]
    assert 0 < len(rates) <= CELLS
    middle = sorted(rates)[len(rates) // 2]
    assert middle == pytest.approx(1 / seconds, rel=0.2)


def test_a_drawing_names_each_item_and_shows_which_failed() -> None:
    plots = Plots(ZERO)
    for number in range(3):
        plots.add(item(number, input={"n": number}, status="error" if number == 1 else "ok"))
    drawing = "".join(plots.scatter("squares", "n"))
    assert drawing.count("<circle") == 3
    assert 'class="bad dot"' in drawing
    assert "item 1: n 1, 200 ms, error" in drawing
    assert "".join(Plots(ZERO).throughput()) == ""


def test_what_is_always_the_same_is_not_drawn() -> None:
    plots = Plots(ZERO)
    for number in range(3):
        plots.add(item(number, input=5))
    assert "".join(plots.scatter("squares", "input")) == ""
    assert "".join(plots.scatter("squares", "order")) != ""
