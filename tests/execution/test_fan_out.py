"""A value of one job is what the items of another are made of, whatever sequence it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runs import Run

USERS_FILE = """
import numpy


class Thing:
    def __init__(self, n): self.n = n


def pairs(folder): return [(folder, number) for number in range(2)]
def array(x): return numpy.arange(3.0) + x
def table(x): return numpy.arange(4).reshape(2, 2)
def things(x): return (Thing(n) for n in range(x))
def mixed(x): return {3: "set"} if x else None
def show(item): return type(item).__name__, repr(item) if not isinstance(item, Thing) else item.n
"""


def run(folder: Path, source: dict[str, Any], over: Any, *words: str) -> tuple[int, list[Any], str]:
    """The exit code of a run of two jobs, the values of the second, and what is on stderr."""
    (folder / "f.py").write_text(USERS_FILE)
    jobs = [{"name": "a", **source}, {"name": "b", "map": "f.py:show", "over": over}]
    (folder / "spec.json").write_text(json.dumps({"jobs": jobs}))
    done = Run(folder, ["run", "spec.json", "--format", "jsonl", *(words or ["-n", "1"])])
    code = done.wait()
    return code, [record["value"] for record in done.lines() if record["job"] == "b"], done.said()


def test_a_list_of_tuples_becomes_items_that_are_tuples(tmp_path: Path) -> None:
    source = {"map": "f.py:pairs", "over": ["x", "y"], "reduce": "operator:add"}
    code, values, _ = run(tmp_path, source, "${jobs.a.value}")
    assert code == 0
    assert values == [["tuple", repr((folder, n))] for folder in "xy" for n in range(2)]


def test_an_array_becomes_numbers(tmp_path: Path) -> None:
    source = {"map": "f.py:array", "over": [1, 2], "reduce": "operator:add"}
    code, values, _ = run(tmp_path, source, "${jobs.a.value}")
    assert code == 0
    assert values == [["float", "3.0"], ["float", "5.0"], ["float", "7.0"]]


@pytest.mark.parametrize("over", [{"from": "a"}, "${jobs.a.value}"], ids=["from", "value"])
def test_text_that_is_no_unicode_stays_text(over: Any, tmp_path: Path) -> None:
    """A file name that is not UTF-8, which a record can only show as bytes."""
    source = {"map": "lambda x: 'd' + chr(0xDCFF)", "over": [1], "collect": "list"}
    code, values, _ = run(tmp_path, source, over)
    assert code == 0
    assert values == [["str", repr("d\udcff")]]


@pytest.mark.parametrize("words", [["-n", "1"], ["--inline"]], ids=lambda words: words[0])
def test_each_value_is_divided_item_by_item(words: list[str], tmp_path: Path) -> None:
    source = {"map": "f.py:things", "over": [1, 2]}
    code, values, _ = run(tmp_path, source, {"from": {"job": "a", "each": True}}, *words)
    assert code == 0
    assert values == [["Thing", 0], ["Thing", 0], ["Thing", 1]]


def test_what_has_no_elements_is_said(tmp_path: Path) -> None:
    code, values, said = run(
        tmp_path, {"map": "f.py:mixed", "over": [1]}, {"from": {"job": "a", "each": True}}
    )
    assert code == 2
    assert values == []
    assert "a value of type dict has no elements to be items" in said
