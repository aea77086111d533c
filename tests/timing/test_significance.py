"""The test for noise: the pairs counted one by one, its laws, and how often it is wrong."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.engine.tally import Tally
from arcli.timing.distributions import FEWEST_ITEMS, LEVEL, difference

histograms = st.dictionaries(st.integers(-5, 5), st.integers(1, 9), min_size=1, max_size=8)


def items(histogram: dict[int, int]) -> list[int]:
    return [bucket for bucket, count in histogram.items() for _ in range(count)]


@given(histograms, histograms)
def test_pairs_are_counted_right(a: dict[int, int], b: dict[int, int]) -> None:
    pairs = [(x > y) + 0.5 * (x == y) for x in items(b) for y in items(a)]
    assert difference(a, b).slower == pytest.approx(sum(pairs) / len(pairs))


@given(histograms, histograms)
def test_it_is_the_same_seen_from_the_other_side(a: dict[int, int], b: dict[int, int]) -> None:
    there, back = difference(a, b), difference(b, a)
    assert there.p == pytest.approx(back.p)
    assert there.slower == pytest.approx(1 - back.slower)
    assert 0 <= there.p <= 1


@given(histograms)
def test_a_run_does_not_differ_from_itself(a: dict[int, int]) -> None:
    same = difference(a, a)
    assert same.slower == 0.5
    assert same.p == 1.0
    assert same.verdict == ("noise" if sum(a.values()) >= FEWEST_ITEMS else "too few items")


def test_a_known_value() -> None:
    """Twins of a textbook example with ties, computed by hand from the formulas."""
    a, b = {1: 3, 2: 4, 3: 3}, {2: 2, 3: 4, 4: 4}
    found = difference(a, b)
    # Two in bucket 2 beat 3 and tie with 4, four in 3 beat 7 and tie with 3, four in 4 beat 10.
    u = 2 * (3 + 2) + 4 * (7 + 1.5) + 4 * 10
    ties = (3**3 - 3) + (6**3 - 6) + (7**3 - 7) + (4**3 - 4)
    spread = math.sqrt(100 / 12 * (21 - ties / (20 * 19)))
    assert found.slower == u / 100
    assert found.p == pytest.approx(math.erfc((u - 50 - 0.5) / spread / math.sqrt(2)))


def sample(source: random.Random, count: int, factor: float = 1.0) -> dict[int, int]:
    tally = Tally()
    for _ in range(count):
        tally.add("ok", factor * source.lognormvariate(-3, 0.5))
    return tally.buckets


def test_chance_is_seldom_taken_for_a_difference() -> None:
    source = random.Random(1)
    found = [difference(sample(source, 40), sample(source, 40)) for _ in range(400)]
    wrong = sum(each.p < 0.05 for each in found)
    assert 6 <= wrong <= 40  # 5 % of 400 are 20
    assert sum(each.p < LEVEL for each in found) <= 12


def test_a_true_difference_is_seldom_taken_for_chance() -> None:
    source = random.Random(2)
    slower = [difference(sample(source, 100), sample(source, 100, 1.5)) for _ in range(50)]
    faster = [difference(sample(source, 100), sample(source, 100, 0.6)) for _ in range(50)]
    assert sum(each.verdict == "slower" for each in slower) >= 45
    assert sum(each.verdict == "faster" for each in faster) >= 45


def test_a_difference_that_nobody_notices_is_noise_however_certain() -> None:
    source = random.Random(3)
    found = difference(sample(source, 20_000), sample(source, 20_000, 1.05))
    assert found.p < LEVEL
    assert found.verdict == "noise"


def test_words() -> None:
    assert difference({}, {1: 9}).words() == "fewer than 8 items to compare"
    assert difference({1: 50}, {9: 50}).words() == ("slower in 100 % of pairs, more than noise (p < 0.001)")
    assert difference({9: 50}, {1: 50}).words() == ("faster in 100 % of pairs, more than noise (p < 0.001)")
    same = difference({1: 50}, {1: 50})
    assert same.words() == "noise (slower in 50 % of pairs, p = 1.000)"
