"""Product, zip, cases, exclude, sample and shuffle, beside what itertools makes of them."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections import Counter, OrderedDict
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources import source

from arcli.errors import InputError
from arcli.inputs import Source, arrange
from arcli.inputs.arrange import batched
from arcli.inputs.base import Fixed, Stream
from arcli.inputs.grid import HELD, feistel, permutation
from arcli.inputs.patterns import Patterns, matches

small = st.lists(st.integers(0, 3), max_size=4)
parts = st.fixed_dictionaries({}, optional={name: st.integers(0, 3) for name in "abc"})


def rows(a: list[int], b: list[int], c: list[int]) -> list[dict[str, int]]:
    return [dict(zip("abc", row, strict=True)) for row in itertools.product(a, b, c)]


def left(cells: list[Any], patterns: list[Any]) -> list[Any]:
    """What is not excluded."""
    return [
        cell
        for cell in cells
        if not any(all(cell[name] == value for name, value in p.items()) for p in patterns)
    ]


@given(small, small, small, st.lists(parts, max_size=3))
def test_product_is_itertools(
    a: list[int], b: list[int], c: list[int], patterns: list[dict[str, int]]
) -> None:
    cells = source({"product": {"a": a, "b": b, "c": c}, "exclude": patterns})
    expected = left(rows(a, b, c), patterns)
    assert list(cells) == expected
    assert cells.length == len(expected)
    assert [cells.items[place] for place in range(cells.length)] == expected
    assert cells.items[-1:] == expected[-1:]
    assert cells.unpack == "kwargs"


@given(small, small, small, st.lists(parts, max_size=3), st.integers(0, 2))
def test_it_is_the_same_with_factors_that_are_streams(
    a: list[int], b: list[int], c: list[int], patterns: list[dict[str, int]], streams: int
) -> None:
    factors: dict[str, Any] = {"a": a, "b": b, "c": c}
    factors["abc"[streams]] = {"python": {"call": "m:f", "args": factors["abc"[streams]]}}
    cells = source({"product": factors, "exclude": patterns}, load_callable=lambda _: lambda *items: items)
    assert list(cells) == left(rows(a, b, c), patterns)


@given(small, small, st.lists(parts, max_size=2))
def test_a_pair_in_a_product_gives_flat_items(
    a: list[int], b: list[int], patterns: list[dict[str, int]]
) -> None:
    pairs = {"zip": {"b": b, "c": [x + 1 for x in b]}}
    cells = source({"product": {"a": a, "pair": pairs}, "exclude": patterns})
    flat = [{"a": x, "b": y, "c": y + 1} for x in a for y in b]
    assert list(cells) == left(flat, patterns)
    assert cells.names == ("a", "b", "c")


@given(small)
def test_zip_puts_side_by_side(a: list[int]) -> None:
    pairs = source({"zip": {"a": a, "b": [-x for x in a]}})
    expected = [{"a": x, "b": -x} for x in a]
    assert list(pairs) == expected
    assert [pairs.items[place] for place in range(pairs.length)] == expected


def test_what_nests_merges_or_says_that_it_cannot() -> None:
    grid = {"product": {"x": [1, 2], "y": [3]}}
    zipped = source({"zip": {"n": [0, 1], "grid": grid, "case": {"cases": [{"z": 5}, {"w": 6}]}}})
    assert list(zipped) == [{"n": 0, "x": 1, "y": 3, "z": 5}, {"n": 1, "x": 2, "y": 3, "w": 6}]
    assert zipped.names == ("n", "x", "y", "z", "w")
    for kind in ("product", "zip"):
        with pytest.raises(InputError, match="'x' comes from 'x', and from 'grid' again") as caught:
            source({kind: {"x": [1, 2], "grid": grid}})
        assert caught.value.path == (kind, "grid")


def test_mappings_of_a_list_stay_whole() -> None:
    assert list(source({"product": {"a": [{"x": 1}], "b": [0]}})) == [{"a": {"x": 1}, "b": 0}]


@given(small, small, st.integers(0, 2))
def test_a_zip_that_recycles_ends_with_its_longest_input(a: list[int], b: list[int], streams: int) -> None:
    longest = max(len(a), len(b)) if a and b else 0
    expected = [{"a": a[n % len(a)], "b": b[n % len(b)]} for n in range(longest)]
    inputs: dict[str, Any] = {"a": a, "b": b}
    for name in "ab"[:streams]:
        inputs[name] = {"python": {"call": "m:f", "args": inputs[name]}}
    pairs = source({"zip": {**inputs, "recycle": True}}, load_callable=lambda _: lambda *items: iter(items))
    assert list(pairs) == expected
    assert pairs.length == (None if streams else longest)


@given(small, small)
def test_items_are_distinct_only_where_none_comes_again(a: list[int], b: list[int]) -> None:
    for first in ({"range": len(a)}, {"linspace": [1, 1 + 4e-16, len(a)]}, {"linspace": [0, 1, len(a)]}):
        combined = [{"zip": {"a": first, "b": b, "recycle": True}}, {"product": {"a": first, "b": b}}]
        for items in map(source, (first, *combined)):
            assert not items.distinct or len({*map(repr, items)}) == len(list(items))
    assert source({"zip": {"a": {"range": 9}, "b": b or [0], "recycle": True}}).distinct


def test_zip_refuses_unequal_lengths_and_names_both(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'a' has 1 items, 'b' has 2"):
        source({"zip": {"a": [1], "b": [1, 2]}})
    (tmp_path / "names").write_text("x\n")
    late = source({"zip": {"a": [1, 2], "b": {"lines": "names"}}}, tmp_path)
    assert late.length == 2
    with pytest.raises(InputError, match="'b' ends after 1 items, 'a' has more"):
        list(late)


@pytest.mark.parametrize("place", ["a", "b", "c"])
def test_a_stream_is_read_by_the_run_once_wherever_it_stands(place: str) -> None:
    reads = []

    def load(text: str) -> Callable[[], Any]:
        reads.append(text)
        return lambda: iter([1, 2])

    factors: dict[str, Any] = {"a": [1], "b": [1], "c": [1]}
    cells = source({"product": {**factors, place: {"python": "m:f"}}}, load_callable=load)
    assert (cells.length, reads) == (None, [])
    assert [cell[place] for cell in cells] == [1, 2]
    assert reads == ["m:f"]


def test_the_first_factor_is_read_as_the_grid_goes() -> None:
    cells = source(
        {"product": {"n": {"python": "m:f"}, "k": [0, 1]}},
        load_callable=lambda _: itertools.count,
    )
    assert [c["n"] for c in itertools.islice(cells, 4)] == [0, 0, 1, 1]
    nothing = source(
        {"product": {"n": {"python": "m:f"}, "k": []}}, load_callable=lambda _: itertools.count
    )
    assert list(nothing) == []


@pytest.mark.parametrize("exclude", [[], [{"a": 3}], [{"a": 3, "b": 5}, {"c": 99}]])
def test_a_product_of_a_million_cells_is_not_held(exclude: list[Any]) -> None:
    tracemalloc.start()
    over = {"product": {n: {"range": 100} for n in "abc"}, "exclude": exclude, "shuffle": 1}
    cells = source(over)
    seen = [cells.items[place] for place in (0, cells.length // 2, -1)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    gone = {0: 0, 1: 10_000, 2: 100 + 10_000 - 1}[len(exclude)]
    assert cells.length == 10**6 - gone
    assert len({tuple(cell.items()) for cell in seen}) == 3
    assert peak < 1_000_000


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9), max_size=3))
def test_items_are_excluded_wherever_they_come_from(items: list[int], gone: list[int]) -> None:
    kept = [item for item in items if item not in gone]
    whole = source({"list": items, "exclude": gone})
    assert (list(whole), whole.length) == (kept, len(kept))
    streamed = source({"python": "m:f", "exclude": gone}, load_callable=lambda _: lambda: iter(items))
    assert (list(streamed), streamed.length) == (kept, None)
    counted = source({"range": len(items), "exclude": gone})
    assert list(counted) == [n for n in range(len(items)) if n not in gone]


@pytest.mark.parametrize(
    ("over", "first", "length"),
    [
        ({"range": 10**12, "exclude": [0.5, "x", 0, 3.0]}, 1, 10**12 - 2),
        ({"linspace": [0, 1, 10**9], "exclude": [0]}, 1 / (10**9 - 1), None),
        ({"product": {"a": {"range": 10**9}, "b": [1]}, "exclude": [{"b": 2}]}, {"a": 0, "b": 1}, 10**9),
        ({"product": {"a": {"range": 10**9}, "b": [1, 2]}, "exclude": [{"b": 1}]}, {"a": 0, "b": 2}, 10**9),
        ({"range": 10**9, "exclude": [*range(100_000)], "sample": {"n": 0}}, None, 0),
    ],
)
def test_nothing_is_walked_that_is_large_before_it_is_read(over: Any, first: Any, length: Any) -> None:
    cells = source(over)
    assert (next(iter(cells), None), cells.length) == (first, length)


@given(small, small, st.lists(parts, max_size=3), st.integers(0, 5))
def test_what_is_left_out_is_the_same_by_number_and_as_it_is_read(
    a: list[int], b: list[int], patterns: list[dict[str, int]], seed: int
) -> None:
    patterns = [{name: value for name, value in each.items() if name != "c"} for each in patterns]
    over = {"product": {"a": a, "b": b}, "exclude": patterns}
    by_number = list(source(over))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrange, "MOST_LOOKED_AT", 0)
        assert list(source(over)) == by_number
        mixed = list(source({**over, "shuffle": seed}))
    assert sorted(mixed, key=repr) == sorted(by_number, key=repr)


pieces = st.sampled_from(
    [0, 1, True, 1.0, -0.0, 2**53, float(2**53), "1", "", None, math.nan, Fraction(1), Decimal(1), (1,)]
)
parts_of_items = st.recursive(
    pieces,
    lambda part: st.lists(part, max_size=2) | st.dictionaries(st.sampled_from("ab"), part),
    max_leaves=4,
)


@given(st.lists(parts_of_items, max_size=4), st.lists(parts_of_items, max_size=4))
def test_one_look_up_tells_what_comparing_with_each_pattern_does(
    items: list[Any], patterns: list[Any]
) -> None:
    wanted = Patterns(patterns)
    for item in [*items, *patterns, OrderedDict(a=1)]:
        assert wanted.match(item) == any(matches(item, pattern) for pattern in patterns)


@pytest.mark.parametrize("stream", [False, True])
def test_many_patterns_are_compared_with_no_item_one_by_one(stream: bool) -> None:
    a: Any = {"python": {"call": "m:f", "args": [*range(100)]}} if stream else [*range(100)]
    over = {"product": {"a": a, "b": {"range": 100}}}
    pairs = [{"b": number // 100, "a": number % 100} for number in range(3000)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arcli.inputs.patterns.matches", None)
        cells = source({**over, "exclude": [*pairs, {"b": 99}]}, load_callable=lambda _: lambda *each: each)
        assert (len(list(cells)), cells.length) == (6900, None if stream else 6900)
        numbers = source({"list": [*range(6000)], "exclude": [*range(3000)]})
        assert (next(iter(numbers)), numbers.length) == (3000, 3000)


@pytest.mark.parametrize("streamed", ["", "a", "b"])
@pytest.mark.parametrize("combination", ["product", "zip"])
def test_a_map_in_a_pattern_matches_on_its_keys_wherever_the_item_comes_from(
    combination: str, streamed: str
) -> None:
    factors: dict[str, Any] = {"a": [{"x": 1, "y": 2}, {"x": 2, "y": 2}], "b": [{"z": 0}, {"z": 1}]}
    if streamed:
        factors[streamed] = {"python": {"call": "m:f", "args": factors[streamed]}}
    over = {combination: factors, "exclude": [{"a": {"x": 1}}, {"a": {"x": 2, "w": 0}}]}
    kept = list(source(over, load_callable=lambda _: lambda *items: items))
    assert {(row["a"]["x"], row["b"]["z"]) for row in kept} == (
        {(2, 0), (2, 1)} if combination == "product" else {(2, 1)}
    )


def test_an_exclusion_that_no_item_can_match_is_an_error() -> None:
    with pytest.raises(InputError, match="items have no 'bb'; they have a, b") as caught:
        source({"product": {"a": [1], "b": [2]}, "exclude": [{"a": 1}, {"bb": 1}]})
    assert caught.value.path == ("exclude", 1, "bb")
    with pytest.raises(InputError, match="3 is no item"):
        source({"cases": [{"a": 1}], "exclude": [3]})
    assert list(source({"list": [{"a": 1}, 3], "exclude": [{"b": 1}, 3]})) == [{"a": 1}]


@given(st.integers(0, 300), st.integers())
def test_a_shuffle_is_a_permutation_that_its_seed_decides(n: int, seed: int) -> None:
    for make in (permutation, feistel):
        assert sorted(make(n, seed)) == list(range(n))
        assert list(make(n, seed)) == list(make(n, seed))


@pytest.mark.parametrize("n", [4, 5])
def test_every_order_is_as_likely(n: int) -> None:
    orders = Counter(tuple(permutation(n, seed)) for seed in range(6000))
    expected = 6000 / len(list(itertools.permutations(range(n))))
    deviation = sum((count - expected) ** 2 / expected for count in orders.values())
    # Chi-squared: its mean is the number of orders, less one, its variance twice that.
    freedom = 6000 / expected - 1
    assert deviation < freedom + 6 * (2 * freedom) ** 0.5


def test_every_place_is_as_likely_in_a_long_shuffle() -> None:
    n = HELD + 1
    firsts = [feistel(n, seed)[7] * 10 // n for seed in range(2000)]
    assert all(130 < count < 270 for count in Counter(firsts).values())
    order = permutation(n, 3)
    moved = sum(abs(place - item) for place, item in enumerate(order)) / n**2
    assert 0.32 < moved < 0.35
    assert order[:9] != permutation(n, 4)[:9]


@given(st.integers(0, 50), st.integers(0, 60))
def test_a_sample_is_an_ordered_part(n: int, count: int) -> None:
    for over in ({"range": n}, {"python": "any:thing"}):
        picked = list(
            source(
                {**over, "sample": {"n": count, "seed": 1}},
                load_callable=lambda text: lambda: iter(range(n)),
            )
        )
        assert len(picked) == min(n, count)
        assert picked == sorted(set(picked))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5, 7])
def test_batches_have_every_item_once_and_in_order(size: int, stream: bool) -> None:
    items = range(5)
    source: Source = Stream(lambda: items, 5) if stream else Fixed(items, distinct=True)
    batches = batched(source, size)
    assert batches.length == len(list(batches)) == -(-5 // size)
    assert [item for batch in batches for item in batch] == list(items)
    assert all(len(batch) == size for batch in list(batches)[:-1])
