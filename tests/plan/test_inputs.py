"""Where items come from: right, lazy, and with the place of what is wrong."""

from __future__ import annotations

import io
import itertools
import math
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.errors import InputError
from arcli.plan.numbering import Occurrences
from arcli.plan.readahead import ReadAhead
from arcli.plan.sources import SourceContext, build_source
from arcli.plan.sources.combine import Shuffle
from arcli.plan.sources.numbers import Linspace
from arcli.spec.model import Over

small = st.lists(st.integers(), max_size=5)


def source(over: Any, folder: Path = Path(), **more: Any) -> Any:
    model = Over.model_validate({"list": over} if isinstance(over, list) else over)
    return build_source(model, SourceContext(folder=folder, **more))


def test_range_is_pythons() -> None:
    assert list(source({"range": 4})) == [0, 1, 2, 3]
    assert list(source({"range": [5, 1, -2]})) == [5, 3]
    with pytest.raises(InputError, match="range"):
        source({"range": [1, 2, 0]})


def test_linspace_is_numpys_to_the_last_bit() -> None:
    values = list(source({"linspace": [0, 100, 50]}))
    assert math.sqrt(sum(v * v for v in values) / 50) == 58.028845747399714
    # numpy.linspace(0.1, 0.7, 7) and numpy.linspace(3, -1, 4), as float.hex.
    assert [v.hex() for v in Linspace(0.1, 0.7, 7)] == [
        "0x1.999999999999ap-4", "0x1.999999999999ap-3", "0x1.3333333333333p-2",
        "0x1.999999999999ap-2", "0x1.0000000000000p-1", "0x1.3333333333333p-1",
        "0x1.6666666666666p-1",
    ]  # fmt: skip
    assert list(Linspace(3, -1, 4)) == [3.0, 1.6666666666666667, 0.3333333333333335, -1.0]
    assert (list(Linspace(1, 2, 0)), list(Linspace(1, 2, 1))) == ([], [1.0])


@given(small, small, small)
def test_product_is_itertools(a: list[int], b: list[int], c: list[int]) -> None:
    cells = source({"product": {"a": a, "b": b, "c": c}})
    expected = [dict(zip("abc", row, strict=True)) for row in itertools.product(a, b, c)]
    assert list(cells) == expected
    assert cells.length == len(expected)
    assert cells.unpack == "kwargs"


def test_a_product_reads_its_first_factor_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("x\ny\n")
    cells = source({"product": {"name": {"lines": "names"}, "n": {"range": 2}}}, tmp_path)
    assert cells.length is None
    assert [(c["name"], c["n"]) for c in cells] == [("x", 0), ("x", 1), ("y", 0), ("y", 1)]


def test_a_product_of_a_million_cells_is_not_held() -> None:
    import tracemalloc

    tracemalloc.start()
    cells = source({"product": {n: {"range": 100} for n in "abc"}})
    assert cells.length == 10**6
    assert cells.items[10**6 - 1] == {"a": 99, "b": 99, "c": 99}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@given(small)
def test_zip_puts_side_by_side(a: list[int]) -> None:
    pairs = source({"zip": {"a": a, "b": [-x for x in a]}})
    assert list(pairs) == [{"a": x, "b": -x} for x in a]


def test_zip_refuses_unequal_lengths_and_names_both(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'a' has 1 items, 'b' has 2"):
        source({"zip": {"a": [1], "b": [1, 2]}})
    (tmp_path / "names").write_text("x\n")
    late = source({"zip": {"a": [1, 2], "b": {"lines": "names"}}}, tmp_path)
    with pytest.raises(InputError, match="'b' ends after 1 items, 'a' has more"):
        list(late)


def test_cases_exclude_and_nesting() -> None:
    over = {
        "product": {"a": {"zip": {"x": [1, 2], "y": [3, 4]}}, "b": [0, 1]},
        "exclude": [{"b": 1}],
    }
    assert list(source(over)) == [{"a": {"x": 1, "y": 3}, "b": 0}, {"a": {"x": 2, "y": 4}, "b": 0}]
    assert list(source({"list": [1, 2, 3], "exclude": [2]})) == [1, 3]
    assert list(source({"cases": [{"a": 1}]})) == [{"a": 1}]


@given(st.integers(0, 300), st.integers())
def test_a_shuffle_is_a_permutation_that_its_seed_decides(n: int, seed: int) -> None:
    assert sorted(Shuffle(n, seed)) == list(range(n))
    assert list(Shuffle(n, seed)) == list(Shuffle(n, seed))


def test_a_shuffle_mixes() -> None:
    order = list(source({"range": 1000, "shuffle": 3}))
    moved = sum(abs(place - item) for place, item in enumerate(order)) / 1000
    assert moved > 200
    assert order != list(source({"range": 1000, "shuffle": 4}))


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


def test_lines_keep_what_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfone\r\n\ntwo\xff\nlast")
    assert list(source({"lines": "f"}, tmp_path)) == ["one", "", "two\udcff", "last"]


def test_csv_types_columns_and_names_the_bad_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('n,x,name,code\n1,0.5,"a, b",007\n2,,c,010\n')
    rows = list(source({"csv": "t.csv"}, tmp_path))
    assert rows[0] == {"n": 1, "x": 0.5, "name": "a, b", "code": "007"}
    assert rows[1]["x"] is None
    picked = source({"csv": {"path": "t.csv", "where": "n > 1", "types": {"n": "str"}}}, tmp_path)
    with pytest.raises(InputError, match=r"t.csv:2: where: 'n > 1' fails: TypeError"):
        list(picked)
    assert len(list(source({"csv": {"path": "t.csv", "where": {"n": [2, 3]}}}, tmp_path))) == 1
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(InputError, match=r"t.csv:3: 1 cells, but 2 columns"):
        list(source({"csv": "t.csv"}, tmp_path))
    (tmp_path / "t.csv").write_text("a\n" + "1\n" * 1000 + "x\n")
    with pytest.raises(InputError, match=r"t.csv:1002: 'x' in the column 'a' is not int"):
        list(source({"csv": "t.csv"}, tmp_path))


def test_jsonl_names_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"a": 1}\n\n[1,]\n')
    with pytest.raises(InputError, match=r"f:3:4: not JSON|f:3:3: not JSON"):
        list(source({"jsonl": "f"}, tmp_path))


def test_glob_is_sorted_and_works_from_here(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("b.txt", "a.txt", "deep/c.txt", "deep/no.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert list(source({"glob": "**/*.txt"}, tmp_path)) == ["a.txt", "b.txt", "deep/c.txt"]
    over = {"glob": {"patterns": ["**/*"], "exclude": ["deep/*", "deep"]}}
    assert list(source(over, tmp_path)) == ["a.txt", "b.txt"]
    monkeypatch.chdir(tmp_path / "deep")
    assert all(Path(p).is_absolute() for p in source({"glob": "*.txt"}, tmp_path))


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


def test_a_generators_error_is_the_inputs(tmp_path: Path) -> None:
    def load(text: str) -> Any:
        def generate(n: int) -> Any:
            yield from range(n)
            raise ValueError("enough")

        return generate

    items = source({"python": {"call": "m:g", "args": [2]}}, load_callable=load)
    got = []
    with pytest.raises(InputError, match="m:g failed: ValueError: enough") as caught:
        got.extend(items)
    assert caught.value.hint is not None
    assert "sources" not in caught.value.hint


def test_missing_files_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(source({"lines": "none"}, tmp_path))


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b""])))
def test_equal_items_get_different_numbers(prints: list[bytes]) -> None:
    counted, again = Occurrences(), Occurrences()
    numbers = [counted.number(p) for p in prints]
    assert numbers == [again.number(p) for p in prints]
    for p in set(prints):
        own = [n for n, q in zip(numbers, prints, strict=True) if q == p]
        assert own == sorted(set(own))
        assert own[0] == 0 or len(set(prints)) > 1


def test_reading_ahead_gives_all_and_then_the_error() -> None:
    def items() -> Any:
        yield from range(10_000)
        raise InputError("line 10,001")

    woken = threading.Event()
    reader = ReadAhead(items(), notify=woken.set)
    got: list[int] = []
    while not reader.exhausted:
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
        assert not reader.exhausted
        os.close(write)


def test_a_limit_ends_it() -> None:
    reader = ReadAhead(itertools.count(), limit=3)
    got: list[int] = []
    while not reader.exhausted:
        got += reader.take(2)
    assert got == [0, 1, 2]
