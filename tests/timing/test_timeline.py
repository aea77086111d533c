"""However long and however many: the time is accounted for, and the memory is small."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.engine.tally import Tally
from arcli.timing.account import Presence
from arcli.timing.distributions import FEWEST_BARS, bars, ticks
from arcli.timing.timeline import CELLS, MOST_SPANS, Timeline, lives
from arcli.units import isoformat

BEGAN = 1_700_000_000.0


def item(begin: float, seconds: float, **fields: Any) -> dict[str, Any]:
    return {
        "job": "squares", "index": 0, "status": "ok", "engine_id": 0,
        "started": isoformat(BEGAN + begin), "completed": isoformat(BEGAN + begin + seconds),
        **fields,
    }  # fmt: skip


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e4), st.integers(0, 2)), min_size=1))
def test_busy_seconds_are_those_of_the_items(entries: list[tuple[float, float, int]]) -> None:
    line = Timeline(BEGAN)
    busy: dict[int, float] = {}
    for begin, seconds, engine in entries:
        line.add(item(begin, seconds, engine_id=engine))
        busy[engine] = busy.get(engine, 0.0) + seconds
    assert line.engines == sorted(busy)
    for engine, seconds in busy.items():
        assert line.busy_seconds(engine) == pytest.approx(seconds, abs=1e-5 * len(entries))
    assert line.end == pytest.approx(max(b + s for b, s, _ in entries), abs=1e-5)


def test_few_items_are_kept_one_by_one_and_many_are_not() -> None:
    line = Timeline(BEGAN)
    for number in range(MOST_SPANS):
        line.add(item(number * 0.01, 0.01, index=number))
    assert [span.index for span in line.spans or ()] == list(range(MOST_SPANS))
    line.add(item(MOST_SPANS * 0.01, 0.01))
    assert line.spans is None
    whole, *rest = line.stretches(0)
    assert (whole.begin, whole.share, whole.failed) == (0.0, 1.0, 0)
    assert whole.end == pytest.approx(line.end, rel=2 / CELLS)
    assert len(rest) <= 1  # the cell in which it ends is not full


def test_stretches_tell_of_pauses_and_of_failures() -> None:
    line = Timeline(BEGAN)
    line.add(item(0.0, 0.1))
    line.add(item(0.2, 0.1, status="error"))
    found = list(line.stretches(0))
    assert found[0].begin == 0.0
    assert found[0].end == pytest.approx(0.1, abs=0.002)
    assert found[1].begin == pytest.approx(0.2, abs=0.002)
    assert [part.failed for part in found if part.failed] == [1]
    assert all(0 <= part.begin < part.end and 0 <= part.share <= 1 for part in found)


def test_what_did_not_run_here_is_not_drawn() -> None:
    line = Timeline(BEGAN)
    line.add(item(0, 1, replayed=True))
    line.add(item(0, 1, engine_id=None))
    line.add(item(0, 1, started=None))
    assert line.engines == []


def test_clocks_that_differ_do_not_go_back() -> None:
    line = Timeline(BEGAN)
    line.add(item(-5.0, 6.0))
    line.add(item(2.0, -1.0))
    assert line.spans is not None
    assert [(span.begin, span.end) for span in line.spans] == [(0.0, 1.0), (2.0, 2.0)]


def test_each_attempt_is_drawn_where_it_was() -> None:
    line = Timeline(BEGAN)
    first = {"engine_id": 1, "slot": 1, "status": "error", "reason": "no", "seconds": 1.0}
    times = item(0.0, 1.0)
    line.add(item(2.0, 1.0, earlier_attempts=[{**times, **first}]))
    assert line.spans is not None
    assert [(s.engine_id, s.begin, s.end, s.status, s.reason) for s in line.spans] == [
        (1, 0.0, 1.0, "error", "no"),
        (0, 2.0, 3.0, "ok", None),
    ]
    assert line.busy_seconds(1) == pytest.approx(1.0)


def presence(engine_id: int, slot: int | None, came: float, went: float, **more: Any) -> Presence:
    return Presence(
        engine_id=engine_id, slot=slot, host="here", pid=1, came=BEGAN + came, ready=BEGAN + came + 0.5,
        went=BEGAN + went, **more,
    )  # fmt: skip


def test_an_engine_that_takes_anothers_place_is_started_when_that_one_ends() -> None:
    there = [
        presence(2, 1, 5.0, 9.0),
        presence(0, 0, 1.0, 9.0),
        presence(1, 1, 1.5, 4.0, reason="killed"),
        presence(3, None, -math.inf, 9.0),
    ]
    told = lives(there, BEGAN)
    assert [(e.engine_id, e.launched, e.came, e.ready, e.went, e.replaces) for e in told] == [
        (0, 0.0, 1.0, 1.5, 9.0, None),
        (1, 0.0, 1.5, 2.0, 4.0, None),
        (2, 4.0, 5.0, 5.5, 9.0, 1),
    ]
    line = Timeline(BEGAN, there)
    assert line.engines == [0, 1, 2]
    assert line.end == 5.5, "what came last, an engine's end with the run aside"
    assert list(line.stretches(0)) == []


@given(st.lists(st.floats(1e-8, 1e5), min_size=1), st.integers(12, 60))
def test_every_item_is_in_one_bar(seconds: list[float], most: int) -> None:
    tally = Tally()
    for took in seconds:
        tally.add("ok", took)
    found = bars(tally, most)
    assert FEWEST_BARS <= len(found) <= most
    assert sum(bar.count for bar in found) == len(seconds)
    assert all(a.high == b.low for a, b in pairwise(found))
    for bar in found:
        inside = sum(bar.low * 1.0001 < took < bar.high * 0.9999 for took in seconds)
        assert bar.count >= inside


def test_nothing_has_no_bars() -> None:
    assert bars(Tally(), 20) == []


@given(st.floats(1e-6, 1e9), st.integers(3, 12))
def test_ticks_are_few_round_and_within(end: float, most: int) -> None:
    found = ticks(end, most)
    assert found[0] == 0.0
    assert 1 <= len(found) <= most
    assert found[-1] <= end * 1.000001
