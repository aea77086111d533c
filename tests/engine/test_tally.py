"""Tallies: merging is adding, the journey through JSON changes nothing, quantiles are near."""

from __future__ import annotations

import json
import math
import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.engine.tally import STATUSES, Status, Tally

seconds = st.floats(1e-6, 1e5)
items = st.lists(st.tuples(st.sampled_from(STATUSES), st.none() | seconds, st.integers(1, 3)))


def tallied(entries: list[tuple[str, float | None, int]]) -> Tally:
    tally = Tally()
    for status, took, attempt in entries:
        tally.add(status, took, attempt)
    return tally


@given(items, items)
def test_merging_is_the_same_as_adding_everything_to_one(
    left: list[tuple[str, float | None, int]], right: list[tuple[str, float | None, int]]
) -> None:
    merged, whole = tallied(left), tallied(left + right)
    merged.merge(tallied(right))
    assert merged.counts == whole.counts
    assert merged.buckets == whole.buckets
    assert merged.durations == whole.durations
    assert (merged.shortest, merged.longest) == (whole.shortest, whole.longest)
    assert merged.retried == whole.retried
    assert merged.seconds == pytest.approx(whole.seconds)
    assert merged.squares == pytest.approx(whole.squares)


@given(items)
def test_the_way_through_json_and_back_changes_nothing(
    entries: list[tuple[str, float | None, int]],
) -> None:
    tally = tallied(entries)
    again = Tally.from_list(json.loads(json.dumps(tally.to_list())))
    assert again.to_list() == tally.to_list()
    assert again.total == len(entries)
    whole = {Status.OK, Status.ERROR, Status.TIMEOUT}
    assert again.ran == sum(took is not None and status in whole for status, took, _ in entries)


shares = st.fractions(0, 1, max_denominator=1000)


def by_rank(durations: list[float], q: Fraction) -> float:
    """The item of the rank, or the mean of the two that the share falls between."""
    n = len(durations)
    lower, upper = max(1, math.ceil(q * n)), min(n, math.floor(q * n) + 1)
    return (sorted(durations)[lower - 1] + sorted(durations)[upper - 1]) / 2


@given(st.lists(seconds, min_size=1), shares)
def test_a_quantile_is_exact_while_there_are_few_items_and_then_within_one_percent(
    durations: list[float], q: Fraction
) -> None:
    tally, few = tallied([("ok", took, 1) for took in durations]), Tally(exact=0)
    few.merge(tally)
    assert tally.quantile(float(q)) == by_rank(durations, q)
    assert few.quantile(float(q)) == pytest.approx(by_rank(durations, q), rel=0.0101)
    assert min(durations) <= few.quantile(float(q)) <= max(durations)


def test_one_outlier_does_not_move_the_median() -> None:
    """Eleven naps that share a bucket with a longer one have the median of the eleven."""
    naps: list[tuple[str, float | None, int]] = [("ok", 0.50015, 1)] * 11
    tally = tallied([*naps, ("ok", 0.505, 1)])
    assert (tally.quantile(0.5), tally.quantile(0.95)) == (0.50015, 0.505)


def test_ten_thousand_items_are_exact() -> None:
    tally = tallied([("ok", 1 + n / 1e5, 1) for n in range(10_000)])
    assert tally.quantile(0.5) == (1.04999 + 1.05) / 2
    tally.add("ok", 1.0)
    assert tally.durations is None
    assert tally.quantile(0.5) == pytest.approx(1.05, rel=0.01)


@given(st.lists(seconds, min_size=1, max_size=19))
def test_the_extremes_are_exact(durations: list[float]) -> None:
    """Of fewer than twenty items the longest one is the 95th percentile, too."""
    tally = tallied([("ok", took, 1) for took in durations])
    assert tally.quantile(0) == min(durations)
    assert tally.quantile(0.95) == tally.quantile(0.99) == tally.quantile(1) == max(durations)


@given(seconds, seconds)
def test_the_median_of_two_is_their_mean(first: float, second: float) -> None:
    tally = tallied([("ok", first, 1), ("ok", second, 1)])
    assert tally.quantile(0.5) == (first + second) / 2


@given(st.lists(seconds, min_size=1), shares, shares)
def test_a_larger_share_takes_no_less(durations: list[float], p: Fraction, q: Fraction) -> None:
    tally = tallied([("ok", took, 1) for took in durations])
    low, high = (tally.quantile(float(share)) for share in sorted((p, q)))
    assert tally.shortest <= low <= high <= tally.longest


def test_the_quantiles_of_four_naps() -> None:
    tally = tallied([("ok", float(took), 1) for took in range(4)])
    assert tally.quantile(0.5) == pytest.approx(1.5, rel=0.01)
    assert tally.quantile(0.95) == 3.0


@given(st.lists(st.floats(1e-3, 1e3), min_size=2))
def test_mean_and_deviation_are_those_of_statistics(durations: list[float]) -> None:
    tally = tallied([("ok", took, 1) for took in durations])
    assert tally.mean == pytest.approx(statistics.fmean(durations))
    # A sum of squares is exact to about 1e-8 of the largest value, not of a tiny deviation.
    assert tally.deviation == pytest.approx(
        statistics.stdev(durations), rel=1e-6, abs=1e-6 * max(durations)
    )


def test_an_empty_tally_has_zeros() -> None:
    tally = Tally()
    assert (tally.total, tally.ran, tally.mean, tally.deviation, tally.quantile(0.5)) == (0,) * 5


def test_memory_does_not_grow_with_the_number_of_items() -> None:
    tally = tallied([("ok", 1e-4 * (1 + n % 1000) ** 2, 1) for n in range(20_000)])
    assert tally.total == 20_000
    assert len(tally.buckets) < 800
    assert tally.durations is None
