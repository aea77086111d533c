"""Stretches of files are written and read whole, whatever the system takes or gives at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.stretches import read_at, write_all


@given(st.binary(max_size=50), st.lists(st.integers(1, 7), min_size=1))
def test_all_is_written_once_in_order_however_little_is_taken(data: bytes, takes: list[int]) -> None:
    taken: list[bytes] = []

    def write(rest: memoryview) -> int:
        taken.append(bytes(rest[: takes[len(taken) % len(takes)]]))
        return len(taken[-1])

    write_all(write, data)
    assert b"".join(taken) == data


@given(st.lists(st.integers(0, 12), max_size=20), st.booleans())
def test_a_piece_is_as_many_whole_lines_as_fit_in_or_a_longer_one(lengths: list[int], ends: bool) -> None:
    """Another run may append to the same file between two of them."""
    lines = [b"x" * length + b"\n" for length in lengths]
    data = b"".join(lines) + (b"" if ends else b"the rest")
    pieces: list[bytes] = []

    def write(piece: memoryview) -> int:
        pieces.append(bytes(piece))
        return len(piece)

    with patch("arcli.stretches.PIECE", 8):
        write_all(write, data)
    assert b"".join(pieces) == data
    for piece, after in pairwise(pieces):
        assert piece.endswith(b"\n")
        assert len(piece) <= 8 or piece.count(b"\n") == 1
        assert len(piece) + len(after.splitlines(keepends=True)[0]) > 8


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        yield file.fileno()


@pytest.mark.parametrize("most", [1, 3, 100])
def test_a_stretch_is_read_whole_however_little_is_given(
    descriptor: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, at: pread(file, min(size, most), at))
    assert read_at(descriptor, 2, 7) == b"2345678"
    assert read_at(descriptor, 2, 0) == b""
    with pytest.raises(EOFError, match="2 of 7 bytes"):
        read_at(descriptor, 5, 7)
