"""Items that are dealt out before anything runs: each to its own engine, whoever asks first."""

from __future__ import annotations

import errno
import io
import os
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.engine.keys import salted
from arcli.inputs.pickled import PickledInput
from arcli.session import supply as supply_module
from arcli.session.core.chunk import Chunk
from arcli.session.supply import HeldItems, PartedSupply, SourceSupply


class Reader:
    """A source that gives at most ``burst`` items at a time."""

    error = None

    def __init__(self, items: list[Any], burst: int) -> None:
        self._items = deque(items)
        self._burst = burst

    def take(self, n: int) -> list[Any]:
        n = min(n, self._burst, len(self._items))
        return [self._items.popleft() for _ in range(n)]

    @property
    def left(self) -> int | None:
        return len(self._items)


def make(
    items: list[Any], slots: list[int], *, burst: int = 1000, kept: frozenset[int] = frozenset()
) -> tuple[PartedSupply, list[int]]:
    """A supply, and where the numbers of items go that an earlier run has."""
    replayed: list[int] = []
    source = SourceSupply(
        Reader(items, burst),
        length=len(items),
        distinct=False,
        hasher=salted(""),
        kept=lambda key, index: b"line" if index in kept else None,
        replay=lambda index, line: replayed.append(index),
    )
    return PartedSupply(source, slots, len(items)), replayed


@pytest.mark.parametrize(
    ("items", "flat"),
    [
        ([{"a": 1}, {"b": "x", "c": None}] * 300, True),
        (["line"] * 300 + [2], True),
        ([{"a": 1}] * 300 + [{"a": [1]}], False),
        ([PickledInput(pickled=b"", text="1")] + ["line"] * 300, False),
        (["line"] * 300 + ["\udc80"], False),
    ],
)
def test_plain_inputs_are_known_to_be_so_by_whoever_gets_them(items: list[Any], flat: bool) -> None:
    """What counts equal ones has looked at them already."""
    counted, told = (
        SourceSupply(
            Reader(items, 1000),
            length=len(items),
            distinct=distinct,
            hasher=salted(""),
            kept=None,
            replay=lambda *_: None,
        ).take(len(items))
        for distinct in (False, True)
    )
    assert counted is not None
    assert told is not None
    assert (counted.flat, counted.part([0]).flat, told.flat) == (flat, flat, False)


def even_parts(total: int, slots: list[int]) -> dict[int, list[int]]:
    """What each slot must get, as ipyparallel's DirectView deals it."""
    size, longer = divmod(total, len(slots))
    parts: dict[int, list[int]] = {slot: [] for slot in slots}
    first = 0
    for place, slot in enumerate(slots):
        end = first + size + (place < longer)
        parts[slot] += range(first, end)
        first = end
    return parts


@given(
    total=st.integers(0, 60),
    slots=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    burst=st.integers(1, 20),
    kept=st.frozensets(st.integers(0, 59)),
    asks=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=40),
)
def test_each_engine_gets_its_own_part_whatever_an_earlier_run_has_of_it(
    total: int, slots: list[int], burst: int, kept: frozenset[int], asks: list[tuple[int, int]]
) -> None:
    supply, replayed = make([*range(total)], slots, burst=burst, kept=kept)
    taken: dict[int, list[int]] = {slot: [] for slot in range(6)}
    rest = [(slot, 7) for _ in range(total + 1) for slot in sorted(set(slots))]
    for slot, count in [*asks, *rest]:
        chunk = supply.take(count, slot)
        if chunk is not None:
            assert chunk.pinned == slot
            assert len(chunk) <= count
            assert chunk.inputs == list(chunk.indices)
            taken[slot] += chunk.indices
    assert supply.exhausted
    assert supply.left == 0
    assert supply.count == total
    parts = even_parts(total, slots)
    for slot, indices in taken.items():
        assert indices == [index for index in parts.get(slot, []) if index not in kept]
    assert sorted(replayed) == sorted(set(range(total)) & kept)


def test_the_last_engine_begins_before_the_first_has_done_its_part() -> None:
    supply, _ = make([*range(1000)], [0, 1])
    last = supply.take(1, 1)
    first = supply.take(1, 0)
    assert last is not None
    assert first is not None
    assert (list(last.indices), list(first.indices)) == ([500], [0])


def test_what_is_held_can_be_given_up_for_one_slot_and_for_all() -> None:
    supply, _ = make([*range(30)], [0, 1, 2])
    assert [i for chunk in supply.give_up(1) for i in chunk.indices] == list(range(10, 20))
    assert supply.give_up(7) == []
    rest = [i for chunk in supply.give_up(None) for i in chunk.indices]
    assert rest == [*range(10), *range(20, 30)]
    assert supply.exhausted


@pytest.mark.parametrize("travels", [True, False])
def test_much_that_is_held_is_on_disk_if_it_can_be(travels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply_module, "IN_MEMORY", 4)
    held = HeldItems(3)
    items = [number if travels else (lambda: 1, number) for number in range(40)]
    for first in range(0, 40, 5):
        part = items[first : first + 5]
        held.add(Chunk(indices=range(first, first + 5), inputs=part, occurrences=[1] * 5), [*range(5)])
    assert sum(isinstance(block, Chunk) for block in held._blocks) == (1 if travels else 8)
    taken: list[tuple[int, Any]] = []
    while (chunk := held.take(7)) is not None:
        assert chunk.occurrences == [1] * len(chunk)
        taken += zip(chunk.indices, chunk.inputs, strict=True)
    assert taken == list(enumerate(items))


OPAQUE = PickledInput(pickled=b"not for us", text="null")


@pytest.mark.parametrize("item", [OPAQUE, {"x": OPAQUE}, [1, OPAQUE]], ids=["whole", "entry", "element"])
def test_what_only_engines_open_is_not_opened_here(monkeypatch: pytest.MonkeyPatch, item: Any) -> None:
    monkeypatch.setattr(supply_module, "IN_MEMORY", 0)
    held = HeldItems(0)
    held.add(Chunk(indices=[0], inputs=[item]), [0])
    chunk = held.take(1)
    assert chunk is not None
    assert chunk.inputs[0] is item


@pytest.mark.parametrize("room", [0, 1, 700, 1500])
def test_what_a_full_disk_refuses_is_held_in_memory(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    class Disk(io.BytesIO):
        """A file on a disk that has room for so many bytes."""

        def write(self, data: Any) -> int:
            fits = min(len(data), room - self.tell())
            if fits <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data[:fits])

    monkeypatch.setattr(supply_module, "IN_MEMORY", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **options: Disk())
    held = HeldItems(0)
    for first in range(0, 40, 10):
        held.add(Chunk(indices=range(first, first + 10), inputs=["x" * 50] * 10), [*range(10)])
    assert len(held) == 40
    taken: list[int] = []
    while (chunk := held.take(7)) is not None:
        taken += chunk.indices
    assert taken == [*range(40)]
