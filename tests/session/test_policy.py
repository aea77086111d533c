"""Chunk sizes that choose themselves, on simulated engines: no clock, no chance, no processes."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, reduce
from operator import add

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcli.session.core.chunk import (
    GROWTH,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_ITEMS,
    TARGET_SECONDS,
    ChunkPolicy,
)
from arcli.session.core.feeding import BURST

MESSAGE = 0.004
"""Seconds that a chunk costs its engine beside the work in it."""
ENGINES = [1, 2, 16, 256]


@dataclass
class Outcome:
    """What became of a simulated job."""

    makespan: float = 0.0
    sizes: list[int] = field(default_factory=list)
    first_result: float = 0.0
    deepest: int = 0


def simulate(
    durations: list[float],
    engines: int,
    *,
    fixed: int | None = None,
    message: float = MESSAGE,
    item_bytes: Callable[[int], float] = lambda index: 300.0,
    known: bool = True,
) -> Outcome:
    """Engines that take the chunks of a ``ChunkPolicy`` as the session hands them out.

    Each engine has a queue of its own; whoever has the least outstanding is served first.
    """
    policy, outcome = ChunkPolicy(fixed), Outcome()
    ends: list[tuple[float, int, int, float, float]] = []  # when, engine, items, seconds, bytes
    free = [0.0] * engines
    queued = [0] * engines
    at, now = 0, 0.0
    while True:
        left = len(durations) - at
        depth = policy.depth(left if known else None, engines)
        room = [(queued[engine], engine) for engine in range(engines) if queued[engine] < depth]
        heapq.heapify(room)
        while room and at < len(durations):
            level, engine = heapq.heappop(room)
            if level + 1 < depth:
                heapq.heappush(room, (level + 1, engine))
            size = policy.size(len(durations) - at if known else None, engines)
            chunk = durations[at : at + size]
            weight = sum(item_bytes(index) for index in range(at, at + len(chunk)))
            at += len(chunk)
            queued[engine] += 1
            seconds = added(chunk)
            free[engine] = max(free[engine], now) + message + seconds
            heapq.heappush(ends, (free[engine], engine, len(chunk), seconds, weight))
            outcome.sizes.append(len(chunk))
            outcome.deepest = max(outcome.deepest, queued[engine])
        if not ends:
            return outcome
        now, engine, items, seconds, weight = heapq.heappop(ends)
        queued[engine] -= 1
        outcome.makespan = now
        outcome.first_result = outcome.first_result or now
        policy.learn(items, seconds, int(weight))


def added(durations: list[float]) -> float:
    """Their sum, with the same rounding on every Python: sum() has another from 3.12 on."""
    return reduce(add, durations, 0.0)


Shape = Callable[[int, float], list[float]]


def uniform(count: int, mean: float) -> list[float]:
    return [mean] * count


def heavy(count: int, mean: float) -> list[float]:
    """1 % of the items take 100 times as long."""
    chance = random.Random(1)
    each = mean / 1.99
    return [each * (100 if chance.random() < 0.01 else 1) for _ in range(count)]


def bimodal(count: int, mean: float) -> list[float]:
    chance = random.Random(2)
    return [mean * chance.choice([0.2, 1.8]) for _ in range(count)]


def increasing(count: int, mean: float) -> list[float]:
    return [2 * mean * (index + 0.5) / count for index in range(count)]


def decreasing(count: int, mean: float) -> list[float]:
    return increasing(count, mean)[::-1]


SHAPES = [uniform, heavy, bimodal, increasing, decreasing]


engines = pytest.mark.parametrize("engines", ENGINES)
shape = pytest.mark.parametrize("shape", SHAPES)
means = pytest.mark.parametrize("mean", [0.00001, 0.001, 0.05])


@cache
def ten_seconds_each(shape: Shape, engines: int, mean: float) -> list[float]:
    """Ten seconds of work for each engine, as far as that is a reasonable number of items."""
    return shape(min(50_000, int(10 * engines / mean)), mean)


@cache
def simulated(shape: Shape, engines: int, mean: float, *, known: bool = True) -> Outcome:
    return simulate(ten_seconds_each(shape, engines, mean), engines, known=known)


@engines
@shape
@means
def test_the_makespan_is_close_to_the_ideal(shape: Shape, engines: int, mean: float) -> None:
    durations = ten_seconds_each(shape, engines, mean)
    got = simulated(shape, engines, mean)
    assert sum(got.sizes) == len(durations)
    # Long items may meet in a chunk, and begin last; and chunks need a moment to grow.
    excuse = 3 * max(durations) + 0.15
    assert got.makespan <= 1.05 * sum(durations) / engines + excuse


@engines
@shape
@means
def test_without_a_known_end_only_the_last_chunks_are_waited_for(
    shape: Shape, engines: int, mean: float
) -> None:
    durations = ten_seconds_each(shape, engines, mean)
    got = simulated(shape, engines, mean, known=False)
    excuse = 3 * max(durations) + 0.15 + 4 * TARGET_SECONDS
    assert got.makespan <= 1.05 * sum(durations) / engines + excuse


@shape
@pytest.mark.parametrize(("engines", "ratio"), [(1, 1.05), (2, 1.05), (4, 1.1), (16, 1.1)])
def test_no_fixed_chunksize_is_much_better(shape: Shape, engines: int, ratio: float) -> None:
    durations = shape(3000, 0.01)
    best = min(simulate(durations, engines, fixed=fixed).makespan for fixed in [1, 2, 4, 8, 16, 64, 256])
    assert simulate(durations, engines).makespan <= ratio * best


@engines
@shape
@means
def test_messages_cost_a_few_percent(shape: Shape, engines: int, mean: float) -> None:
    durations = ten_seconds_each(shape, engines, mean)
    got = simulated(shape, engines, mean)
    # Some small chunks at both ends of a run are what first results and a common end cost.
    assert MESSAGE * len(got.sizes) <= 0.03 * sum(durations) + MESSAGE * 45 * engines


@engines
@means
def test_the_first_results_come_at_once(engines: int, mean: float) -> None:
    got = simulate([mean] * 10_000, engines)
    assert got.sizes[:engines] == [1] * engines
    assert got.first_result == pytest.approx(MESSAGE + mean)


@engines
def test_items_that_take_long_travel_alone_and_nothing_waits_behind_them(engines: int) -> None:
    durations = [2 * TARGET_SECONDS] * (10 * engines)
    got = simulate(durations, engines)
    assert set(got.sizes) == {1}
    assert got.deepest == 1
    assert got.makespan == pytest.approx(10 * (2 * TARGET_SECONDS + MESSAGE))


def test_small_chunks_wait_at_an_engine_so_that_it_never_idles() -> None:
    got = simulate([0.001] * 1000, 2, fixed=1)
    assert 2 <= got.deepest <= MAX_DEPTH


def test_at_the_end_chunks_shrink() -> None:
    sizes = simulate([0.001] * 20_000, 4).sizes
    assert max(sizes) >= 100
    assert max(sizes[-8:]) <= 20


def test_engines_that_are_slow_at_their_first_chunk_do_not_make_chunks_small() -> None:
    """On a busy machine a new engine's first chunk takes 20 ms, whatever is in it."""
    policy = ChunkPolicy()
    policy.learn(1, 0.02, 300, own=1e-6)
    for _ in range(4):
        policy.learn(500, 500 * 10e-6, 150_000, own=500e-6)
    before = policy.size(20_000, 256)
    for _ in range(20):  # others come, of which each has a few items
        policy.learn(10, 0.02, 3000, own=10e-6)
        policy.learn(500, 500 * 10e-6, 150_000, own=500e-6)
    assert policy.size(20_000, 256) > before / 2
    for _ in range(100):  # and where items do cost that much, that is learnt
        policy.learn(10, 0.02, 3000, own=10e-6)
    assert policy.size(None, 1) <= TARGET_SECONDS / 0.001


def test_chunks_are_worth_their_messages_though_some_engines_get_none() -> None:
    policy = ChunkPolicy()
    for _ in range(4):
        policy.learn(1000, 0.01, 300_000)
    assert policy.size(20_000, 256) >= 1000


def test_a_chunksize_that_is_given_is_kept() -> None:
    sizes = simulate([0.001] * 100, 2, fixed=7).sizes
    assert sizes == [7] * 14 + [2]


@engines
@pytest.mark.parametrize("each", [10_000, 400_000, MAX_BYTES // 2 + 500, MAX_BYTES * 2 // 3, 3 * MAX_BYTES])
def test_messages_are_about_as_large_as_the_cap_unless_one_item_is_larger(engines: int, each: int) -> None:
    got = simulate([0.0001] * 5000, engines, item_bytes=lambda index: each)
    assert max(got.sizes) * each <= max(each, MAX_BYTES * 4 / 3)
    if engines == 1:  # enough items for chunks to grow as far as they may
        assert max(got.sizes) == max(1, round(MAX_BYTES / each))


def test_items_that_grow_stay_near_the_cap() -> None:
    def weight(index: int) -> float:
        return 100.0 * (index + 1)

    sizes = simulate([0.00001] * 30_000, 2, item_bytes=weight).sizes
    ends = list(itertools.accumulate(sizes))
    largest = max(size * weight(end) for size, end in zip(sizes, ends, strict=True))
    assert largest <= GROWTH * MAX_BYTES


chunks = st.tuples(st.integers(0, 10**6), st.floats(0, 1e6), st.integers(0, 10**9))


@settings(deadline=None)
@given(st.lists(chunks, max_size=20), st.none() | st.integers(0, 10**9), st.integers(1, 256))
def test_whatever_was_measured_there_is_a_size_and_a_depth(
    measured: list[tuple[int, float, int]], left: int | None, engines: int
) -> None:
    policy = ChunkPolicy()
    for chunk in measured:
        policy.learn(*chunk)
    largest = max((items for items, *_ in measured), default=0)
    assert 1 <= policy.size(left, engines) <= max(1, min(MAX_ITEMS, GROWTH * largest))
    assert 1 <= policy.depth(left, engines) <= MAX_DEPTH


# -- many engines, one path for messages ---------------------------------------------------------------


PATH = 0.0036
"""Seconds that a chunk takes on the path that all engines share: 280 of them a second."""


def simulate_path(durations: list[float], engines: int, cost: float = PATH) -> Outcome:
    """Engines whose chunks all pass one path, half of its cost on the way out, half on the way back."""
    policy, outcome = ChunkPolicy(), Outcome()
    sums = [0.0, *itertools.accumulate(durations)]
    at, now = 0, 0.0
    free, answered, queued = [0.0] * engines, [0.0] * engines, [0] * engines
    replies: list[tuple[float, int, int, float, float]] = []
    room = [(0, 0.0, engine) for engine in range(engines)]
    while True:
        depth = policy.depth(len(durations) - at, engines)
        for _ in range(BURST):
            while room and room[0][0] != queued[room[0][2]]:
                heapq.heappop(room)
            if not room or room[0][0] >= depth or at >= len(durations):
                break
            engine = heapq.heappop(room)[2]
            size = min(len(durations) - at, policy.size(len(durations) - at, engines))
            seconds = sums[at + size] - sums[at]
            at += size
            now += cost / 2
            free[engine] = max(free[engine], now) + seconds
            heapq.heappush(replies, (free[engine], engine, size, seconds, now))
            queued[engine] += 1
            heapq.heappush(room, (queued[engine], answered[engine], engine))
            outcome.sizes.append(size)
        if not replies:
            return outcome
        if at < len(durations) and room and room[0][0] < depth and replies[0][0] > now:
            continue
        when, engine, size, seconds, sent = heapq.heappop(replies)
        now = max(now, when) + cost / 2
        gap = max(0.0, now - max(sent, answered[engine]) - seconds)
        answered[engine] = now
        queued[engine] -= 1
        heapq.heappush(room, (queued[engine], now, engine))
        policy.learn(size, seconds, 300 * size, gap=gap, now=now)
        outcome.makespan = now
        outcome.first_result = outcome.first_result or now


@pytest.mark.parametrize(
    ("engines", "each", "efficiency"),
    [(64, 100, 0.92), (128, 100, 0.8), (128, 400, 0.93), (256, 100, 0.62), (256, 400, 0.86)],
)
def test_many_engines_do_not_drown_in_messages(engines: int, each: int, efficiency: float) -> None:
    got = simulate_path([0.05] * (engines * each), engines)
    assert each * 0.05 / got.makespan >= efficiency


@pytest.mark.parametrize("engines", [1, 4, 60, 250, 1000, 5000])
@pytest.mark.parametrize("mean", [0.001, 0.1, 10.0])
@pytest.mark.parametrize("shape", [uniform, heavy])
def test_what_many_engines_lose_is_a_few_rounds_of_messages(
    engines: int, mean: float, shape: Shape
) -> None:
    """Work for each engine for so long that there is something to win: fifty rounds at least."""
    seconds = max(50 * engines * PATH, 60 * mean, 5.0)
    durations = shape(min(300_000, int(engines * seconds / mean)), mean)
    ideal = sum(durations) / engines
    got = simulate_path(durations, engines)
    rounds = 9 * engines * PATH + 3 * max(durations) + 0.3
    assert got.makespan <= 1.08 * max(ideal, len(durations) * PATH / MAX_ITEMS) + rounds


@pytest.mark.parametrize(("engines", "size"), [(2, 4), (64, 6), (128, 11), (256, 21)])
def test_a_message_costs_something_before_it_is_known_what(engines: int, size: int) -> None:
    """While engines come they take the processors' time, and so does each chunk."""
    policy = ChunkPolicy()
    policy.learn(8, 0.4, 1000, gap=0.005, now=1.0)
    assert policy.size(100_000, engines) == size


def test_the_first_chunks_do_not_make_messages_look_cheap() -> None:
    """What is learnt of the path begins with the first chunk, and not with nothing."""
    policy, now = ChunkPolicy(), 0.0
    for _ in range(8):
        now += 2.0 / 128
        policy.learn(4, 0.2, 1000, gap=1.8, now=now)
    assert policy.size(100_000, 128) > 1.5 * TARGET_SECONDS / 0.05


def test_chunks_become_small_again_when_the_path_has_room_again() -> None:
    policy = ChunkPolicy()
    now = 0.0
    for _ in range(400):  # engines wait: a chunk of 0.2 s takes 2 s to come round
        now += 2.0 / 128
        policy.learn(4, 0.2, 1000, gap=1.8, now=now)
    crowded = policy.size(100_000, 128)
    for _ in range(400):
        now += 0.2 / 128
        policy.learn(crowded, 0.05 * crowded, 1000, gap=0.005, now=now)
    assert crowded >= 1.0 / 0.05
    assert TARGET_SECONDS / 0.05 <= policy.size(100_000, 128) <= crowded / 3


def test_ten_million_items_on_a_thousand_engines_take_a_few_chunks_each() -> None:
    policy, left, chunks, now = ChunkPolicy(), 10_000_000, 0, 0.0
    while left:
        size = min(left, policy.size(left, 1000))
        left -= size
        chunks += 1
        now += PATH
        policy.learn(size, 0.001 * size, 300 * size, gap=0.5, now=now)
    assert chunks <= 12 * 1000


@given(
    st.integers(2, 64),
    st.lists(st.tuples(st.integers(1, 500), st.floats(0.001, 2.0)), min_size=1, max_size=8),
    st.one_of(st.none(), st.integers(1, 10_000)),
)
def test_items_side_by_side_travel_in_whole_rounds(
    beside: int, chunks: list[tuple[int, float]], left: int | None
) -> None:
    policy = ChunkPolicy(beside=beside)
    for number, (items, each) in enumerate(chunks):
        seconds = each * -(-items // beside)
        policy.learn(items, seconds, 300 * items, own=each * items, gap=0.004, now=1.0 + number)
    size = policy.size(left, 4)
    assert size <= beside or size % beside == 0


def test_the_longer_places_side_by_side_wait_for_the_last_items_the_larger_are_chunks() -> None:
    """Each chunk costs its engine that much: it is to be a small part of what it does."""

    def size(longest: float) -> int:
        policy = ChunkPolicy(beside=16)
        for now in (1.0, 2.0, 3.0):
            own = 0.02 * 127 + longest
            policy.learn(128, 0.02 * 7 + longest, 1000, own=own, gap=0.004, now=now)
        return policy.size(10_000, 2)

    alike, uneven = size(0.02), size(1.0)
    assert alike == 16 * 16
    assert uneven >= 2 * alike
    # Nor is it divided near the end into parts that each wait for one of these.
    policy = ChunkPolicy(beside=16)
    policy.learn(128, 1.14, 1000, own=3.54, gap=0.004, now=1.0)
    assert policy.size(800, 2) == 400


@given(
    beside=st.integers(2, 64),
    each=st.floats(0.001, 60.0),
    left=st.one_of(st.none(), st.integers(1, 100_000)),
)
def test_where_chunks_overlap_they_need_not_be_longer_than_others(
    beside: int, each: float, left: int | None
) -> None:
    """No place waits for the last items of a chunk, so one is as long as where items run one by one."""
    overlapping = ChunkPolicy(beside=beside, overlap=True)
    assert overlapping.size(left, 2) == min(beside, left or beside)
    other = ChunkPolicy()
    for items in (beside, 4 * beside, 16 * beside):
        overlapping.learn(items, each * items / beside, 100 * items, own=each * items)
        other.learn(items, each * items / beside, 100 * items, own=each * items / beside)
    assert overlapping.size(left, 2) == other.size(left, 2)


def test_an_item_that_began_in_an_earlier_chunk_does_not_count_as_waste() -> None:
    policy = ChunkPolicy(beside=8, overlap=True)
    for _ in range(20):  # each time one item of a second ends, an eighth of a second after the one before
        policy.learn(1, 0.125, 100, own=1.0)
    assert policy.size(None, 2) == 2  # of 0.2 s
