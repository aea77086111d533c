"""Where an engine is seen to be, for the chunk that somebody asks about."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.engine.position_file import BEHIND, Position, PositionFile, create, read
from arcli.session.core.chunk import Chunk
from arcli.session.core.health import Sighting


@pytest.mark.parametrize(
    ("position", "place", "item", "begun"),
    [
        (None, None, None, []),
        (Position(6, 3, 0.0), None, None, []),
        (Position(7, -1, 0.0), -1, None, []),
        (Position(7, 0, 0.0), 0, 0, []),
        (Position(7, 1, 0.0), 1, 1, [1]),
        (Position(7, 3, 0.0), 3, 3, [1, 2, 3]),
        (Position(7, 4, 0.0), 4, None, [1, 2, 3]),
        (Position(7, 9, 0.0), 9, None, [1, 2, 3]),
        (Position(7, BEHIND, 0.0), BEHIND, None, [1, 2, 3]),
    ],
    ids=[
        "idle",
        "elsewhere",
        "before the first",
        "done",
        "second",
        "last",
        "taken back",
        "far behind",
        "through",
    ],
)
def test_an_engine_is_somewhere_in_a_chunk_or_not(
    position: Position | None, place: int | None, item: int | None, begun: list[int]
) -> None:
    """Of a chunk of four items, the first of which is done."""
    chunk = Chunk(number=7, done=1, indices=range(20, 24), inputs=[None] * 4)
    sighting = Sighting(position, since=0.0, looked=0.0)
    assert sighting.place_in(chunk) == place
    assert sighting.item_of(chunk) == item
    assert [*sighting.begun_of(chunk)] == begun


def test_the_file_of_an_engine_tells_which_chunk_it_is_through_with(tmp_path: Path) -> None:
    create(tmp_path / "0")
    file = PositionFile(str(tmp_path / "0"))
    assert read(tmp_path / "0") is None
    file.begin(7, 1_500_000_000)
    assert read(tmp_path / "0") == Position(7, -1, 1.5)
    file.end(7)
    assert read(tmp_path / "0") == Position(7, BEHIND, 0.0)


@given(data=st.data(), size=st.integers(1, 12))
def test_items_are_in_the_order_in_which_they_end(data: st.DataObject, size: int) -> None:
    """Whatever replies tell of it, once, again, or in parts; what was not begun stays in its place."""
    begun = data.draw(st.integers(1, size))
    order = data.draw(st.permutations(range(begun)))[: data.draw(st.integers(0, begun))]
    chunk = Chunk(indices=range(20, 20 + size), inputs=[*range(size)], occurrences=[*range(size)])
    for _ in range(data.draw(st.integers(1, 4))):
        first = data.draw(st.integers(0, chunk.done))
        done = data.draw(st.integers(chunk.done, len(order)))
        chunk.arrange(first, order[first:done])
        chunk.done = done
    ended = order[: chunk.done]
    others = [position for position in range(size) if position not in ended]
    assert chunk.inputs == chunk.occurrences == [*ended, *others]
    assert chunk.indices == [20 + position for position in chunk.inputs]
    assert chunk.inputs[begun:] == [*range(begun, size)]


@pytest.mark.parametrize("order", [[9], [2, 2], [-1, 0], [0, 1, 2, 3, 4]])
def test_an_order_that_cannot_be_loses_no_item(order: list[int]) -> None:
    """Engines may say anything."""
    chunk = Chunk(indices=range(4), inputs=[*range(4)], done=1)
    chunk.arrange(1, order)
    assert sorted(chunk.indices) == [*range(4)]
    assert chunk.indices[0] == 0
