"""The dispatcher under every order of events: one last word an item, and culprits are found."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcli.engine.tally import Status
from arcli.errors import ArcliError
from arcli.session.core.chunk import Chunk, ChunkPolicy, ClientRecord
from arcli.session.core.dispatch import MAX_DELAY, MIN_KILLS, OVERTAKEN, PIECES, Dispatcher
from arcli.session.core.waiting import Waiting
from arcli.specfile.model import Policy

DEPTH = 2


class Items:
    """A supply of numbered items; those from ``pin_from`` on belong to slots."""

    unread = 0
    error: ArcliError | None = None
    dealt = False

    def __init__(self, count: int, *, slots: int = 0, length_known: bool = True) -> None:
        self._count = count
        self._slots = slots
        self._known = length_known
        self.taken = 0

    def give_up(self, slot: int | None) -> list[Chunk]:
        return []

    def take(self, count: int, slot: int | None = None) -> Chunk | None:
        if self.exhausted:
            return None
        first = self.taken
        if self._slots:  # one call for each slot
            self.taken += 1
            pinned = first % self._slots
        else:
            self.taken = min(self._count, first + count)
            pinned = None
        indices = range(first, self.taken)
        return Chunk(indices=indices, inputs=[f"item {i}" for i in indices], pinned=pinned)

    @property
    def count(self) -> int:
        return self.taken

    @property
    def left(self) -> int | None:
        return self._count - self.taken if self._known else None

    @property
    def exhausted(self) -> bool:
        return self.taken == self._count


@dataclass
class World:
    """Engines that do what the test says, and everything that was ever concluded."""

    dispatcher: Dispatcher
    items: Items
    retries: int
    queues: dict[int, list[Chunk]]
    now: float = 0.0
    final: Counter[int] = field(default_factory=Counter)
    statuses: dict[int, str] = field(default_factory=dict)
    replies: list[Chunk] = field(default_factory=list)
    executed: Counter[int] = field(default_factory=Counter)

    def conclude(self, verdicts: Sequence[ClientRecord]) -> None:
        for verdict in verdicts:
            assert verdict.input == f"item {verdict.index}"
            self._settle(verdict.index, verdict.status)

    def _settle(self, index: int, status: str) -> None:
        self.final[index] += 1
        self.statuses[index] = status

    def feed(self, slot: int) -> bool:
        """Send an engine what it may have, as the session does."""
        queue = self.queues[slot]
        if len(queue) >= DEPTH or any(work.alone for work in queue):
            return False
        work = self.dispatcher.next(slot, not queue, len(self.queues), self.now)
        if work is None:
            return False
        assert len(work) > 0
        assert work.pinned in {None, slot}
        assert not (work.alone and queue), "nothing waits beside a suspect"
        assert work.attempt <= self.retries + 1
        queue.append(work)
        return True

    def progress(self, slot: int, done: int, bad: set[int]) -> None:
        """The engine has got so far with the chunk at its front; ``bad`` items raise."""
        work = self.queues[slot][0]
        done = min(done, len(work))
        if done <= work.done:
            return
        again, failed = [], 0
        for position in range(work.done, done):
            index = work.indices[position]
            self.executed[index] += 1
            if index not in bad:
                self._settle(index, "ok")
            elif work.attempt <= self.retries:
                again.append((position, "it raised"))
            else:
                failed += 1
                self._settle(index, "error")
        self.conclude(self.dispatcher.progressed(work, done, again, failed, self.now))

    def answer(self, slot: int, bad: set[int]) -> None:
        """The chunk at an engine's front comes back whole."""
        work = self.queues[slot][0]
        if not self.dispatcher.late(work):
            self.progress(slot, len(work), bad)
            self.dispatcher.returned(work)
            self.dispatcher.chunks.learn(len(work), 0.01 * len(work), 100 * len(work))
        self.queues[slot].pop(0)
        assert self.dispatcher.late(work)
        self.replies.append(work)

    def die(self, slot: int, culprit: int | None) -> None:
        """The engine dies; it is known which item ran (a position in its first chunk), or not."""
        queue, self.queues[slot] = self.queues[slot], []
        for place, work in enumerate(queue):
            if self.dispatcher.late(work):
                continue
            where = None
            if place == 0 and culprit is not None:
                where = min(max(culprit, work.done), len(work) - 1)
            if where is not None and where < work.done:
                where = None
            self.conclude(self.dispatcher.lost(work, where, place == 0, "killed").records)

    def time_out(self, slot: int, position: int) -> None:
        """An item overstays, and its engine is ended for it."""
        queue, self.queues[slot] = self.queues[slot], []
        first, *others = queue
        if not self.dispatcher.late(first) and first.done < len(first):
            culprit = min(max(position, first.done), len(first) - 1)
            self.conclude(self.dispatcher.timed_out(first, culprit, "too long", self.now))
        elif not self.dispatcher.late(first):
            self.conclude(self.dispatcher.lost(first, None, True, "killed").records)
        for work in others:
            if not self.dispatcher.late(work):
                self.conclude(self.dispatcher.lost(work, None, False, "killed").records)

    def drain(self, bad: set[int]) -> None:
        """Nothing goes wrong any more: run to the end."""
        for _ in range(100_000):
            if self.dispatcher.finished:
                return
            if self.dispatcher.again.due is not None:
                self.now = max(self.now, self.dispatcher.again.due)
            moved = [self.feed(slot) for slot in self.queues]
            for slot, queue in self.queues.items():
                if queue:
                    self.answer(slot, bad)
                    moved.append(True)
            assert any(moved), "items wait, and nobody gets them"
        raise AssertionError("it never ends")


def make_world(
    count: int,
    *,
    engines: int = 2,
    chunksize: int | None = None,
    slots: int = 0,
    known: bool | None = None,
    **policy: Any,
) -> World:
    items = Items(count, slots=slots, length_known=count % 2 == 0 if known is None else known)
    rules = Policy(**policy)
    dispatcher = Dispatcher(rules, ChunkPolicy(chunksize), items, random.Random(0))
    return World(dispatcher, items, rules.retries, {slot: [] for slot in range(engines)})


events = st.lists(
    st.tuples(
        st.sampled_from(["feed", "feed", "feed", "progress", "answer", "die", "time_out", "wait"]),
        st.integers(0, 3),
        st.none() | st.integers(0, 12),
    ),
    max_size=80,
)


def play(world: World, steps: list[tuple[str, int, int | None]], bad: set[int]) -> None:
    for what, engine, number in steps:
        slot = engine % len(world.queues)
        if what == "feed":
            world.feed(slot)
        elif what == "wait":
            world.now += 0.5 * (number or 0)
        elif not world.queues[slot]:
            continue
        elif what == "progress":
            if not world.dispatcher.late(world.queues[slot][0]):
                world.progress(slot, number or 0, bad)
        elif what == "answer":
            world.answer(slot, bad)
        elif what == "die":
            world.die(slot, number)
        else:
            world.time_out(slot, number or 0)
        assert max(world.final.values(), default=0) <= 1


worlds = {
    "count": st.integers(0, 40),
    "engines": st.integers(1, 4),
    "chunksize": st.none() | st.integers(1, 12),
    "retries": st.integers(0, 2),
    "retry_delay": st.sampled_from([0.0, 1.0]),
}


@settings(deadline=None, max_examples=300)
@given(
    world=st.builds(make_world, **worlds),
    steps=events,
    bad=st.sets(st.integers(0, 40), max_size=5),
)
def test_each_item_has_exactly_one_last_word(
    world: World, steps: list[tuple[str, int, int | None]], bad: set[int]
) -> None:
    play(world, steps, bad)
    world.drain(bad)
    assert world.items.exhausted
    assert world.final == Counter(range(world.items.taken))
    failed = sum(status != "ok" for status in world.statuses.values())
    assert world.dispatcher.completed == world.items.taken
    assert world.dispatcher.failures == failed
    assert world.dispatcher.waiting == 0
    assert all(
        status in {"error", "lost", "timeout"} for index, status in world.statuses.items() if index in bad
    )


@settings(deadline=None, max_examples=200)
@given(
    world=st.builds(make_world, **worlds),
    before=events,
    after=events,
    bad=st.sets(st.integers(0, 40), max_size=5),
    give_up=st.booleans(),
)
def test_a_stop_leaves_nothing_without_a_last_word(
    world: World,
    before: list[tuple[str, int, int | None]],
    after: list[tuple[str, int, int | None]],
    bad: set[int],
    give_up: bool,
) -> None:
    play(world, before, bad)
    taken = world.items.taken
    world.conclude(world.dispatcher.stop("enough"))
    if give_up:
        world.conclude(world.dispatcher.cancel_outstanding("enough"))
        assert world.dispatcher.finished
        assert world.final == Counter(range(taken))
    assert not any(world.feed(slot) for slot in world.queues), "nothing is sent after a stop"
    play(world, after, bad)
    assert not any(world.feed(slot) for slot in world.queues), "not even what was lost"
    world.drain(bad)
    assert world.items.taken == taken, "nothing is read after a stop"
    assert world.final == Counter(range(taken))


def test_what_an_engine_takes_down_with_it_after_a_stop_is_cancelled() -> None:
    world = make_world(6, engines=1, chunksize=3)
    world.feed(0)
    world.feed(0)
    world.conclude(world.dispatcher.stop("enough"))
    world.die(0, 1)
    assert world.dispatcher.finished
    assert world.statuses == dict.fromkeys(range(6), "cancelled")


def run_with_killers(world: World, killers: set[int], *, traced: bool, publishes: bool) -> int:
    """Run to the end where some items kill whoever runs them; returns the number of deaths."""
    deaths = 0
    for _ in range(100_000):
        if world.dispatcher.finished:
            return deaths
        for slot, queue in world.queues.items():
            while world.feed(slot):
                pass
            if not queue:
                continue
            fatal = [p for p, index in enumerate(queue[0].indices) if index in killers]
            if not fatal:
                world.answer(slot, set())
                continue
            deaths += 1
            if publishes:
                world.progress(slot, fatal[0], set())
            world.die(slot, fatal[0] if traced else None)
    raise AssertionError("it never ends")


@settings(deadline=None, max_examples=200)
@given(
    world=st.builds(make_world, **worlds),
    killers=st.sets(st.integers(0, 40), max_size=4),
    traced=st.booleans(),
    publishes=st.booleans(),
)
def test_items_that_kill_engines_are_found_and_nobody_else_is_blamed(
    world: World, killers: set[int], traced: bool, publishes: bool
) -> None:
    deaths = run_with_killers(world, killers, traced=traced, publishes=publishes)
    taken = world.items.taken
    guilty = killers & set(range(taken))
    assert world.final == Counter(range(taken))
    assert {i for i, status in world.statuses.items() if status == "lost"} == guilty
    assert all(world.statuses[index] == "ok" for index in set(range(taken)) - guilty)
    kills = max(MIN_KILLS, world.retries + 1)
    if traced:
        assert deaths == kills * len(guilty)
    else:  # a chunk of at most 12 falls apart twice before its items are alone
        assert deaths <= (kills + 2) * len(guilty)


def test_a_lost_chunk_without_a_trace_falls_into_pieces_that_travel_alone() -> None:
    world = make_world(100, chunksize=100)
    world.feed(0)
    world.die(0, None)
    pieces = []
    while (work := world.dispatcher.next(0, True, 2, 0.0)) is not None:
        assert work.alone
        pieces.append(list(work.indices))
    assert len(pieces) == PIECES
    assert [index for piece in pieces for index in piece] == list(range(100))


def test_a_suspect_waits_for_an_engine_that_has_nothing_else() -> None:
    world = make_world(3, chunksize=1)
    world.feed(0)
    world.die(0, 0)
    following = world.dispatcher.next(0, False, 2, 0.0)
    assert following is not None
    assert list(following.indices) == [1]
    suspect = world.dispatcher.next(0, True, 2, 0.0)
    assert suspect is not None
    assert (list(suspect.indices), suspect.alone) == ([0], True)


def test_a_suspect_does_not_wait_for_ever_where_no_engine_ever_has_nothing_else() -> None:
    world = make_world(100, chunksize=1)
    world.feed(0)
    world.die(0, 0)
    sent = [world.dispatcher.next(0, False, 1, 0.0) for _ in range(20)]
    assert [work is None for work in sent] == [*[False] * OVERTAKEN, *[True] * (20 - OVERTAKEN)]
    suspect = world.dispatcher.next(0, True, 1, 0.0)
    assert suspect is not None
    assert suspect.alone
    assert world.dispatcher.next(0, False, 1, 0.0) is not None


def test_what_belongs_to_a_slot_that_has_gone_is_lost_and_nothing_else() -> None:
    world = make_world(12, engines=3, slots=3)
    while world.dispatcher.next(1, True, 3, 0.0) is not None:
        pass  # what belongs to the others is read on the way
    stranded = world.dispatcher.strand(0, "gone")
    assert {verdict.status for verdict in stranded} == {"lost"}
    assert all(work.pinned != 0 for work in world.dispatcher.again)
    assert world.dispatcher.strand(0, "gone") == []


def test_what_is_taken_out_leaves_all_else_as_it_was() -> None:
    """Who found nothing in it need not look again, and it is asked for each turn."""
    waiting = Waiting()
    chunks = [
        Chunk(indices=[n], inputs=[n], pinned=n % 3 or None, alone=n > 9, unfit=frozenset({n % 2}))
        for n in range(12)
    ]
    for chunk in chunks[3:]:
        waiting.append(chunk)
    for chunk in chunks[:3]:
        waiting.delay(1.0, chunk)
    version = waiting.version
    taken = [chunk.indices[0] for chunk in waiting.stranded(1)]
    assert taken == [4, 7, 10, 1]
    assert waiting.stranded(1) == []
    assert [chunk.indices[0] for chunk in waiting.hopeless({0, 2})] == []
    assert [chunk.indices[0] for chunk in waiting.hopeless({0})] == [6, 8]
    assert [chunk.indices[0] for chunk in waiting] == [3, 5, 9, 11]
    assert (waiting.items, waiting.suspects, waiting.version) == (6, 1, version)
    assert [chunk.indices[0] for chunk in waiting.clear()] == [3, 5, 9, 11, 0, 2]
    assert (waiting.items, waiting.suspects, waiting.due) == (0, 0, None)


def test_what_only_waited_behind_a_killer_is_no_suspect() -> None:
    world = make_world(2, chunksize=1)
    world.feed(0)
    world.feed(0)
    world.die(0, 0)
    chunks = [world.dispatcher.next(0, True, 2, 0.0) for _ in range(2)]
    alone = {work.indices[0]: work.alone for work in chunks if work is not None}
    assert alone == {0: True, 1: False}


@given(slots=st.integers(1, 4), steps=events)
def test_what_belongs_to_a_slot_never_leaves_it(
    slots: int, steps: list[tuple[str, int, int | None]]
) -> None:
    world = make_world(12, engines=slots, slots=slots)
    play(world, steps, set())  # feed() looks at the slot of everything that it sends
    world.drain(set())
    assert world.final == Counter(range(12))


def test_retries_wait_longer_each_time_with_jitter() -> None:
    world = make_world(1, chunksize=1, retries=4, retry_delay=1.0)
    for attempt in range(1, 5):
        assert world.feed(0)
        assert world.queues[0][0].attempt == attempt
        world.answer(0, {0})
        due = world.dispatcher.again.due
        assert due is not None
        base = 2.0 ** (attempt - 1)
        assert world.now + base <= due <= world.now + 1.5 * base
        assert not world.feed(0), "not before it is due"
        world.now = due
    assert world.feed(0)
    world.answer(0, {0})
    assert world.statuses == {0: "error"}
    assert world.dispatcher.finished


@pytest.mark.parametrize(("delay", "longest"), [(0.0, 0.0), (1.0, MAX_DELAY), (3600.0, 3600.0)])
def test_any_number_of_retries_wait_no_longer_than_is_given_or_some_minutes(
    delay: float, longest: float
) -> None:
    world = make_world(1, chunksize=1, retries=2000, retry_delay=delay)
    for attempt in range(2000):
        assert world.feed(0)
        world.answer(0, {0})
        due = world.dispatcher.again.due or world.now
        assert delay <= due - world.now + 1e-6
        assert due - world.now <= 1.5 * longest + 1e-6
        assert attempt < 100 or due - world.now >= longest - 1e-6
        world.now = due


def test_a_late_reply_finds_no_work() -> None:
    world = make_world(2, chunksize=2)
    world.feed(0)
    (work,) = world.queues[0]
    world.conclude(world.dispatcher.cancel_outstanding("gone", Status.LOST))
    assert world.dispatcher.late(work)
    assert world.statuses == {0: "lost", 1: "lost"}
    world.answer(0, set())
    assert world.final == Counter([0, 1])


def test_a_reply_of_an_earlier_try_is_late_although_the_items_are_out_again() -> None:
    world = make_world(2, chunksize=2)
    world.feed(0)
    (work,) = world.queues[0]
    world.die(0, None)
    assert world.feed(1)
    assert world.dispatcher.late(work)
    assert not world.dispatcher.late(world.queues[1][0])


@given(st.integers(1, 5), st.sampled_from(["soon", "now", "never"]))
def test_halt_counts_failures(limit: int, halt: str) -> None:
    world = make_world(10, chunksize=1, halt=halt, max_failures=limit)
    for failures in range(1, 7):
        world.feed(0)
        world.answer(0, set(range(10)))
        assert (world.dispatcher.halted is not None) == (halt != "never" and failures >= limit)


@pytest.mark.parametrize(
    ("count", "percent", "halts_at"), [(10, 20, 3), (200, 10, 20), (4, 50, 3), (50, 7, 4)]
)
def test_halt_by_percentage_is_of_the_items_that_are_known_to_be_there(
    count: int, percent: int, halts_at: int
) -> None:
    world = make_world(count, chunksize=1, halt="soon", max_failures=f"{percent}%", known=True)
    halted = []
    for _ in range(count):
        world.feed(0)
        world.answer(0, set(range(1, count)))
        halted.append(world.dispatcher.halted is not None)
    assert halted.index(True) == halts_at, "the first item is ok"
    assert all(halted[halts_at:])


def test_halt_by_percentage_of_items_of_which_nobody_knows_how_many_there_are() -> None:
    world = make_world(1000, chunksize=1, halt="soon", max_failures="50%", known=False)
    for done in range(1, 8):
        world.feed(0)
        world.answer(0, {1, 3, 5})
        assert (world.dispatcher.halted is not None) == (done == 6), "3 of 6 that were read"


def test_no_failure_never_halts_even_where_none_is_allowed() -> None:
    world = make_world(3, chunksize=1, halt="soon", max_failures=0)
    assert world.dispatcher.halted is None
    world.feed(0)
    world.answer(0, set())
    assert world.dispatcher.halted is None
    world.feed(0)
    world.answer(0, {1})
    assert world.dispatcher.halted is not None


def test_what_raises_after_a_stop_is_not_tried_again() -> None:
    world = make_world(2, chunksize=2, retries=3)
    world.feed(0)
    world.conclude(world.dispatcher.stop("enough"))
    world.answer(0, {0})
    assert world.dispatcher.finished
    assert world.statuses == {0: "cancelled", 1: "ok"}
