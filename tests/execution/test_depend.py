"""``require`` and ``depend`` of ipyparallel's hold: a function runs where they do, and only there."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ipyparallel import depend
from runs import Run

from arcli.engine.functions import Lacking, meet

USERS_FILE = """
import os

import ipyparallel as ipp


@ipp.require("a_module_that_nobody_has")
def needs_module(x):
    return x


@ipp.require("colorsys", "os.path")
def has_module(x):
    return colorsys.rgb_to_hsv(0, 0, x)[2]


def never():
    return False


def first_slot():
    return os.environ["ARCLI_SLOT"] == "0"


def breaks():
    raise ValueError("cannot tell")


@ipp.depend(never)
def needs_place(x):
    return x


@ipp.depend(first_slot)
def only_there(x):
    return os.environ["ARCLI_SLOT"]


@ipp.depend(breaks)
def broken(x):
    return x
"""
SPEC = {
    "jobs": [
        {"name": name, "map": f"f.py:{name}", "over": [1, 2]}
        for name in ("needs_module", "has_module", "needs_place", "broken")
    ]
}


def run(folder: Path, spec: object, *words: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    (folder / "f.py").write_text(USERS_FILE)
    (folder / "spec.json").write_text(json.dumps(spec))
    done = Run(folder, ["run", "spec.json", "--format", "jsonl", *words])
    code = done.wait()
    jobs: dict[str, list[dict[str, Any]]] = {}
    for record in done.lines():
        jobs.setdefault(record["job"], []).append(record)
    return code, jobs


@pytest.mark.parametrize("words", [["-n", "2"], ["--inline"]], ids=lambda words: words[0])
def test_what_no_engine_has_is_an_error_that_says_so(words: list[str], tmp_path: Path) -> None:
    code, jobs = run(tmp_path, SPEC, *words)
    assert code == 1
    assert [record["value"] for record in jobs["has_module"]] == [1, 2]
    for name, text in [
        ("needs_module", "No module named 'a_module_that_nobody_has'"),
        ("needs_place", "never() is false"),
    ]:
        for record in jobs[name]:
            assert record["error"]["type"] == "UnmetDependency"
            assert record["reason"] == f"no engine has what the function depends on: {text}"
    assert [record["error"]["type"] for record in jobs["broken"]] == ["ValueError"] * 2


def test_items_go_where_their_dependency_holds(tmp_path: Path) -> None:
    spec = {"map": "f.py:only_there", "over": {"range": 20}, "chunksize": 1}
    code, jobs = run(tmp_path, spec, "-n", "2")
    assert code == 0
    assert {record["value"] for record in jobs["spec"]} == {"0"}
    assert {record["attempt"] for record in jobs["spec"]} == {1}


class Answers:
    """What is asked has no name, as a partial function has none."""

    def __init__(self, answer: bool) -> None:
        self._answer = answer

    def __call__(self) -> bool:
        return self._answer


def test_what_is_asked_need_not_have_a_name() -> None:
    meet(depend(Answers(True))(abs))
    meet(depend(partial(bool, 1))(abs))
    with pytest.raises(Lacking, match=r"Answers\(\) is false"):
        meet(depend(Answers(False))(abs))
