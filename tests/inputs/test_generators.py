"""Generators of the user's as sources: one item at a time, and nothing that they do is fatal."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from runs import wait_until
from sources import generated

from arcli.errors import ArcliError, InputError
from arcli.plan.readahead import ReadAhead

CODE = """\
import asyncio, itertools, sys, threading
import numpy as np
go = threading.Event()
def inf(): yield from itertools.count()
def slow():
    yield 1
    go.wait(60)
    yield 2
def quits(): yield 1; sys.exit(3)
def leaves(): yield 1; raise KeyboardInterrupt
def boom():
    yield 1
    raise ValueError("bad row")
def prints(): print("NOISE"); yield 1
def number(): return 5
def listed(n, k=1): return [n * k]
async def agen():
    for n in range(3):
        await asyncio.sleep(0)
        yield n
async def alist(): return [7]
def fills():
    row, deep, pair, array, itself = {"n": 0}, {"a": [{"n": 0}]}, ([0], 1), np.zeros(2), []
    itself.append(itself)
    for n in range(3):
        row["n"] = deep["a"][0]["n"] = pair[0][0] = array[0] = n
        yield from (row, deep, pair, array, itself)
class Source:
    def __iter__(self): return iter("ab")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the generators are, on a path of its own."""
    (tmp_path / "generators_of_a_test.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "generators_of_a_test", raising=False)
    return tmp_path


def read(folder: Path, name: str, **more: Any) -> Any:
    return generated({"python": {"call": f"generators_of_a_test:{name}", **more}}, folder)


def drained(reader: ReadAhead, ended: threading.Event) -> tuple[list[Any], ArcliError | None]:
    """All items of a reader, and what stopped it."""
    items: list[Any] = []
    while reader.left != 0:
        ended.wait(1)
        items += reader.take(100)
    return items, reader.error


def test_all_kinds_of_what_gives_items(folder: Path) -> None:
    assert list(read(folder, "listed", args=[3], kwargs={"k": 2})) == [6]
    assert list(read(folder, "agen")) == [0, 1, 2]
    assert list(read(folder, "alist")) == [7]
    assert list(read(folder, "Source")) == ["a", "b"]
    assert list(generated({"python": "generators_of_a_test.py:alist"}, folder)) == [7]


def test_an_item_stays_what_it_was_when_its_generator_goes_on(folder: Path) -> None:
    items = list(read(folder, "fills"))
    assert [row["n"] for row in items[0::5]] == [0, 1, 2]
    assert items[1::5] == [{"a": [{"n": n}]} for n in range(3)]
    assert items[2::5] == [([n], 1) for n in range(3)]
    assert [list(array) for array in items[3::5]] == [[0, 0], [1, 0], [2, 0]]
    assert all(item[0] is item for item in items[4::5])


def test_an_endless_generator_is_read_as_far_as_it_is_wanted(folder: Path) -> None:
    items = iter(read(folder, "inf"))
    assert [next(items) for _ in range(3)] == [0, 1, 2]


def test_an_item_is_there_before_the_next_one(folder: Path) -> None:
    came = threading.Event()
    reader = ReadAhead(read(folder, "slow"), notify=came.set)
    assert wait_until(lambda: reader.take(5)) == [1]
    assert reader.left is None
    sys.modules["generators_of_a_test"].go.set()
    assert drained(reader, came)[1] is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("quits", "quits failed: SystemExit: 3"),
        ("leaves", "leaves failed: KeyboardInterrupt"),
        ("boom", "boom failed: ValueError: bad row"),
    ],
)
def test_whatever_a_generator_raises_ends_it_and_the_items_before_are_good(
    folder: Path, name: str, said: str
) -> None:
    ended = threading.Event()
    items, error = drained(ReadAhead(read(folder, name), notify=ended.set), ended)
    assert items == [1]
    assert isinstance(error, InputError)
    assert error.message == f"python: generators_of_a_test:{said}"
    assert f"in {name}" in (error.details or "")
    assert "arcli/" not in (error.details or "")


def test_a_source_of_arclis_own_that_raises_anything_ends(folder: Path) -> None:
    def items() -> Any:
        yield 1
        raise SystemExit

    ended = threading.Event()
    got, error = drained(ReadAhead(items(), notify=ended.set), ended)
    assert got == [1]
    assert error is not None
    assert error.message.startswith("an input cannot be read: SystemExit")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nope", "python: 'generators_of_a_test' has no 'nope'"),
        ("number", "generators_of_a_test:number failed: TypeError: 'int' object is not iterable"),
    ],
)
def test_what_is_no_generator_is_said_to_be_none(folder: Path, name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        list(read(folder, name))
    assert said in caught.value.message
    assert not caught.value.details


def test_a_module_that_only_the_engines_have(folder: Path) -> None:
    over = {"python": "onlythere:gen"}
    with pytest.raises(InputError) as caught:
        list(generated(over, folder, python="venv/bin/python"))
    message = caught.value.message
    assert "No module named 'onlythere'" in message
    assert f"arcli's own Python, {sys.executable}, and not by cluster.python, venv/bin/python" in (message)


def test_what_a_generator_prints_is_no_result(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    ended = threading.Event()
    assert drained(ReadAhead(read(folder, "prints"), notify=ended.set), ended)[0] == [1]
    print("result")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("result\n", "NOISE\n")


def test_pythons_own_modules_stay_what_they_are(folder: Path) -> None:
    (folder / "colorsys.py").write_text("raise RuntimeError('taken for a module of Python')")
    (folder / "pytest_mock.py").write_text("def items(): return [1]")
    list(read(folder, "listed", args=[3]))
    sys.modules.pop("colorsys", None)
    import colorsys

    assert "/tmp" not in str(colorsys.__file__)
    assert list(generated({"python": "pytest_mock:items"}, folder)) == [1]
