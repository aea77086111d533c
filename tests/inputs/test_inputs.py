"""Where items come from: right, lazy, and with the place of what is wrong."""

from __future__ import annotations

import io
import itertools
import math
import os
import tempfile
import threading
import zlib
from collections import Counter, OrderedDict
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import wait_until
from sources import source

from arcli.engine.keys import salted
from arcli.errors import InputError
from arcli.inputs import files
from arcli.inputs import stdin as standard_input
from arcli.inputs.pickled import PickledInput
from arcli.inputs.registry import BUILT_IN, usual_unpack
from arcli.inputs.values import Even
from arcli.plan.job import Occurrences
from arcli.plan.readahead import AHEAD, BLOCK, LOOK, ReadAhead
from arcli.session.supply import SourceSupply


def test_range_is_pythons() -> None:
    assert list(source({"range": 4})) == [0, 1, 2, 3]
    assert list(source({"range": [5, 1, -2]})) == [5, 3]
    with pytest.raises(InputError, match="range"):
        source({"range": [1, 2, 0]})


def test_linspace_is_numpys_to_the_last_bit() -> None:
    values = list(source({"linspace": [0, 100, 50]}))
    # Not sum(), which compensates for rounding from Python 3.12 on.
    total = reduce(add, (v * v for v in values))
    assert math.sqrt(total / 50) == 58.028845747399714
    # numpy.linspace(0.1, 0.7, 7) and numpy.linspace(3, -1, 4), as float.hex.
    assert [v.hex() for v in Even(0.1, 0.7, 7)] == [
        "0x1.999999999999ap-4", "0x1.999999999999ap-3", "0x1.3333333333333p-2",
        "0x1.999999999999ap-2", "0x1.0000000000000p-1", "0x1.3333333333333p-1",
        "0x1.6666666666666p-1",
    ]  # fmt: skip
    assert list(Even(3, -1, 4)) == [3.0, 1.6666666666666667, 0.3333333333333335, -1.0]
    assert (list(Even(1, 2, 0)), list(Even(1, 2, 1))) == ([], [1.0])


def test_lines_keep_what_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfone\r\n\ntwo\xff\nlast")
    assert list(source({"lines": "f"}, tmp_path)) == ["one", "", "two\udcff", "last"]


def test_jsonl_names_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"a": 1}\n\n[1,]\n')
    with pytest.raises(InputError, match=r"f:3:4: not JSON|f:3:3: not JSON"):
        list(source({"jsonl": "f"}, tmp_path))


def test_stdin_in_three_forms(tmp_path: Path) -> None:
    def stdin(raw: bytes) -> Any:
        (tmp_path / "in").write_bytes(raw)
        return (tmp_path / "in").open("rb")

    with stdin(b"a\nb\n") as stream:
        assert list(source({"stdin": "lines"}, stdin=stream)) == ["a", "b"]
    with stdin(b"a\nb\0c\0") as stream:
        assert list(source({"stdin": "nul"}, stdin=stream)) == ["a\nb", "c"]
    with stdin(b"1\n{") as stream, pytest.raises(InputError, match=r"stdin:2:2"):
        list(source({"stdin": "jsonl"}, stdin=stream))
    with pytest.raises(InputError, match="closed"):
        source({"stdin": "lines"})


@given(st.lists(st.binary(max_size=5).map(lambda raw: raw.replace(b"\0", b""))), st.integers(1, 4))
def test_nul_is_found_wherever_blocks_end(parts: list[bytes], size: int) -> None:
    with tempfile.TemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        file.write(b"".join(part + b"\0" for part in parts))
        file.seek(0)
        patch.setattr(standard_input, "BLOCK", size)
        assert list(source({"stdin": "nul"}, stdin=file)) == [os.fsdecode(part) for part in parts]


def test_missing_files_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(source({"lines": "none"}, tmp_path))


pieces = st.sampled_from(
    [b"a", b"\n", b"\r", b"\r\n", b"\x00", b"\xef\xbb\xbf", b"\xe2\x82", b"\xac", b"\xff"]
)


@given(st.lists(pieces | st.binary(max_size=3)).map(b"".join), st.integers(1, 5))
def test_lines_are_read_alike_wherever_blocks_end(raw: bytes, size: int) -> None:
    expected = [
        (line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line)
        .removesuffix(b"\n")
        .removesuffix(b"\r")
        .decode("utf-8", "surrogateescape")
        for number, line in enumerate(io.BytesIO(raw))
    ]
    with tempfile.TemporaryFile(buffering=0) as file, pytest.MonkeyPatch.context() as patch:
        file.write(raw)
        file.seek(0)
        patch.setattr(files, "BLOCK", size)
        assert list(files.lines_of(io.BytesIO(raw), "in")) == expected
        assert list(files.lines_of(cast("BinaryIO", file), "in")) == expected


def test_a_line_is_there_as_soon_as_it_has_arrived() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as stream, open(writing, "wb", buffering=0) as sender:  # noqa: PTH123
        lines = files.lines_of(stream, "in")
        sender.write(b"one\ntw")
        assert next(lines) == "one"
        sender.write(b"o\nthree")
        assert next(lines) == "two"
        sender.close()
        assert list(lines) == ["three"]


@given(st.lists(st.sampled_from([b"", b"a", b"line 1"]) | st.binary(max_size=8)), st.integers(1, 600))
def test_numbers_are_those_of_a_table_and_a_sketch(prints: list[bytes], times: int) -> None:
    """As wide as a number may be: a resumed run looks for the keys of an earlier one."""
    taken: set[int] = set()
    rows: list[Counter[int]] = [Counter() for _ in range(4)]
    expected: list[int] = []
    prints = [*prints, *[b"often"] * times, *prints]
    for each in prints:
        place = zlib.crc32(each) % (1 << 22)
        if place not in taken:
            taken.add(place)
            expected.append(0)
            continue
        step = (zlib.adler32(each, len(each)) | 1) % (1 << 18)
        places = [(zlib.crc32(each) + row * step) % (1 << 18) for row in range(4)]
        least = min(row[place] for row, place in zip(rows, places, strict=True))
        for row, place in zip(rows, places, strict=True):
            row[place] = max(row[place], least + 1)
        expected.append(least + 1)
    occurrences = Occurrences()
    half = len(prints) // 2
    assert occurrences.numbers(prints[:half]) + occurrences.numbers(prints[half:]) == expected


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b""])))
def test_equal_items_get_different_numbers(prints: list[bytes]) -> None:
    counted, again = Occurrences(), Occurrences()
    numbers = counted.numbers(prints)
    assert numbers == [again.numbers([p])[0] for p in prints]
    for p in set(prints):
        own = [n for n, q in zip(numbers, prints, strict=True) if q == p]
        assert own == sorted(set(own))
        assert own[0] == 0 or len(set(prints)) > 1


def test_of_a_hundred_thousand_different_items_hardly_any_is_taken_for_one_that_was_there() -> None:
    numbers = Occurrences().numbers([b"%d" % number for number in range(100_000)])
    assert sum(map(bool, numbers)) < 3000


def test_reading_ahead_gives_all_and_then_the_error() -> None:
    def items() -> Any:
        yield from range(10_000)
        raise InputError("line 10,001")

    woken = threading.Event()
    reader = ReadAhead(items(), notify=woken.set)
    got: list[int] = []
    while reader.left != 0:
        got += reader.take(700)
    assert got == list(range(10_000))
    assert str(reader.error) == "line 10,001"


def test_reading_ahead_is_bounded_and_never_blocks() -> None:
    pulled = itertools.count()
    reader = ReadAhead(pulled)
    assert reader.take(1) in ([], [0])
    first = next(pulled)
    while (now := next(pulled)) > first + 2:
        first = now
    assert now < 20_000
    reader.close()


def test_a_reader_is_not_woken_for_single_items() -> None:
    read: list[int] = []
    reader = ReadAhead(read.append(number) or number for number in itertools.count())  # type: ignore[func-returns-value]
    wait_until(lambda: len(read) == AHEAD)
    assert [reader.take(1) for _ in range(BLOCK - 1)] == [[number] for number in range(BLOCK - 1)]
    assert len(read) == AHEAD
    assert reader.take(1) == [BLOCK - 1]
    wait_until(lambda: len(read) == AHEAD + BLOCK)
    reader.close()


ring: list[Any] = []
ring.append(ring)


@pytest.mark.parametrize(
    "item",
    [
        "x" * 70_000, "€" * 40_000, b"x" * 70_000, ["x" * 9000] * 10, ("x" * 900,) * 100,
        {"a": [{"b": b"x" * 70_000}]}, [0] * 5000, {str(n): n for n in range(2000)},
        OrderedDict(a="x" * 70_000), {"a": memoryview(bytes(70_000))}, ring,
        [PickledInput(pickled=b"x" * 70_000, text="x")],
    ],
    ids=lambda item: type(item).__name__,
)  # fmt: skip
def test_few_large_items_are_read_ahead_whatever_they_are_made_of(item: Any) -> None:
    read: list[int] = []
    reader = ReadAhead(read.append(number) or item for number in range(2000))  # type: ignore[func-returns-value]
    for _ in range(40):
        wait_until(lambda: reader.take(1))
    assert len(read) < 40 + 16 + LOOK + 1
    reader.close()


@pytest.mark.parametrize("item", [{"a": "x" * 900, "b": 1.5, "c": [None] * 100}, ["a line"] * 10])
def test_small_maps_and_lists_are_read_ahead_by_their_number(item: Any) -> None:
    read: list[int] = []
    reader = ReadAhead(read.append(number) or item for number in itertools.count())  # type: ignore[func-returns-value]
    wait_until(lambda: len(read) == AHEAD)
    reader.close()


def test_a_line_on_a_slow_pipe_is_there_at_once() -> None:
    read, write = os.pipe()
    came = threading.Event()
    with os.fdopen(read, "rb", buffering=0) as raw:
        stream = io.BufferedReader(raw)
        reader = ReadAhead(source({"stdin": "lines"}, stdin=stream), notify=came.set)
        assert reader.take(5) == []
        os.write(write, b"first\n")
        assert came.wait(30)
        assert reader.take(5) == ["first"]
        assert reader.left is None
        os.close(write)


def test_how_many_are_left_is_known_once_the_end_was_read() -> None:
    """Then the last chunks can be small ones, also where a source does not know its length."""
    end, told = threading.Event(), threading.Event()

    def items() -> Any:
        yield from range(5)
        end.wait()

    reader = ReadAhead(items(), notify=told.set)
    supply = SourceSupply(
        reader, length=None, distinct=True, hasher=salted(""), kept=None, replay=lambda *_: None
    )
    wait_until(lambda: supply.take(1))
    assert [reader.left, supply.left] == [None, None]
    end.set()
    wait_until(lambda: reader.left == 4)
    assert [supply.left, supply.exhausted] == [4, False]
    assert len(supply.take(9) or ()) == 4
    assert [supply.left, supply.exhausted, supply.unread] == [0, True, 0]


def test_a_limit_ends_it() -> None:
    reader = ReadAhead(itertools.count(), limit=3)
    got: list[int] = []
    while reader.left != 0:
        got += reader.take(2)
    assert got == [0, 1, 2]


def test_how_items_are_unpacked_is_known_of_inputs_that_are_not_open(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("a\n1\n")
    sides = {"a": {"list": [1]}, "b": {"list": [2]}}
    inputs: dict[str, Any] = {
        "list": [1], "range": 1, "linspace": [0, 1, 2], "logspace": [0, 1, 2], "lines": "t.csv",
        "csv": "t.csv", "jsonl": "t.csv", "parquet": "t.parquet", "glob": "*", "stdin": "csv",
        "blocks": {"of": "t.csv", "bytes": 1}, "python": "m:f", "from": "job",
        "product": sides, "zip": sides, "cases": [{"a": 1}],
    }  # fmt: skip
    assert inputs.keys() == BUILT_IN.keys()
    for over in [*({key: value} for key, value in inputs.items()), {"stdin": "lines"}]:
        opened = source(over, tmp_path, stdin=io.BytesIO(), jobs={"job": iter})
        assert opened.unpack == usual_unpack(over), over
