"""Where an engine is seen to be, for the chunk that somebody asks about."""

from __future__ import annotations

import pytest

from arcli.engine.position_file import Position
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
    ],
    ids=["idle", "elsewhere", "before the first", "done", "second", "last", "taken back", "far behind"],
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
