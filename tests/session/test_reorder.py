"""The order of records: nothing early, nothing twice, nothing held back without need."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from arcli.engine.tally import Tally
from arcli.record import RecordBatch
from arcli.session.recorder import Reorder


def piece(first: int, count: int) -> RecordBatch:
    return RecordBatch(job="j", first=first, count=count, lines=b"", tally=Tally())


def indices(pieces: Sequence[RecordBatch]) -> list[int]:
    return [index for part in pieces for index in range(part.first, part.first + part.count)]


@st.composite
def shuffled_pieces(draw: st.DrawFn) -> list[RecordBatch]:
    """Consecutive pieces of some items, in the order in which their chunks ended."""
    counts = draw(st.lists(st.integers(1, 5), max_size=30))
    firsts = itertools.accumulate(counts, initial=0)
    pieces = [piece(first, count) for first, count in zip(firsts, counts, strict=False)]
    return draw(st.permutations(pieces))


@given(shuffled_pieces())
def test_ordered_gives_each_index_once_in_order_as_soon_as_possible(
    pieces: list[RecordBatch],
) -> None:
    reorder = Reorder(ordered=True)
    out: list[RecordBatch] = []
    seen: set[int] = set()
    for part in pieces:
        seen |= set(indices([part]))
        out += reorder.push(part)
        possible = next(n for n in itertools.count() if n not in seen)
        assert indices(out) == list(range(possible))
    assert reorder.waiting == 0
    assert sorted(map(id, out)) == sorted(map(id, pieces))


@given(shuffled_pieces())
def test_unordered_holds_nothing(pieces: list[RecordBatch]) -> None:
    reorder = Reorder(ordered=False)
    for part in pieces:
        assert reorder.push(part) == [part]
        assert reorder.waiting == 0


def test_a_missing_first_piece_holds_all_the_others() -> None:
    reorder = Reorder(ordered=True)
    assert reorder.push(piece(4, 2)) == []
    assert reorder.push(piece(2, 2)) == []
    assert reorder.waiting == 2
    assert indices(reorder.push(piece(0, 2))) == [0, 1, 2, 3, 4, 5]
