"""Stretches of files are written and read whole, whatever the system takes or gives at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.stretches import PIECE, read_at, write_all


@given(st.binary(max_size=50), st.lists(st.integers(1, 7), min_size=1))
def test_all_is_written_once_in_order_however_little_is_taken(data: bytes, takes: list[int]) -> None:
    taken: list[bytes] = []

    def write(rest: memoryview) -> int:
        taken.append(bytes(rest[: takes[len(taken) % len(takes)]]))
        return len(taken[-1])

    write_all(write, data)
    assert b"".join(taken) == data


def test_no_piece_is_larger_than_the_system_is_given_at_a_time() -> None:
    sizes: list[int] = []

    def write(rest: memoryview) -> int:
        sizes.append(len(rest))
        return len(rest)

    write_all(write, bytes(2 * PIECE + 1))
    assert sizes == [PIECE, PIECE, 1]


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
