"""One item never costs another: inputs that do not travel, values that do not load, odd numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runs import Run

USERS_FILE = """
import socket, sqlite3, threading


class ServiceError(Exception):  # pickles, and does not load
    def __init__(self, code, detail):
        super().__init__(f"{code}: {detail}")


class Silent:
    def __repr__(self): raise RuntimeError("no words")
    def __reduce__(self): raise TypeError("stays")


def look(x):
    return ServiceError(404, "not there") if x == 3 else x


def inputs():
    yield 1
    yield ServiceError(404, "not there")
    yield threading.Lock()
    yield Silent()
    yield {"deep": [socket.socket()]}
    yield 2


def rows():
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    yield from database.execute("select 1 as a, 'x' as b union select 2, 'y'")


def numbers(x):
    return [2**x, -(2**x), {"deep": 2**x}]


def fine(x):
    return x


def same(x, model):
    return x
"""
SPEC: dict[str, Any] = {
    "setup": {"push": {"config": {}}},
    "jobs": [
        {"name": "values", "map": "f.py:look", "over": {"range": 40}},
        {"name": "texts", "map": "lambda v: str(v)", "over": {"from": "values"}},
        {"name": "inputs", "map": "f.py:fine", "over": {"python": "f.py:inputs"}},
        {"name": "rows", "map": "f.py:fine", "over": {"python": "f.py:rows"}},
        {"name": "numbers", "map": "f.py:numbers", "over": [10, 1023, 1024, 5000]},
        {"name": "bad", "map": "f.py:look", "over": [3], "collect": "list"},
        {"name": "constant", "map": "f.py:same", "over": [1, 2], "args": ["${jobs.bad.value}"]},
        {"name": "reference", "map": "f.py:same", "over": [1], "args": ["${ref.config.missing}"]},
        {"name": "last", "map": "f.py:fine", "over": [1, 2]},
    ],
}


def run(folder: Path, *words: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code, and each job's records."""
    (folder / "f.py").write_text(USERS_FILE)
    (folder / "spec.json").write_text(json.dumps(SPEC))
    done = Run(folder, ["run", "spec.json", "--format", "jsonl", *words])
    code = done.wait()
    records: dict[str, list[dict[str, Any]]] = {}
    for record in done.lines():
        records.setdefault(record["job"], []).append(record)
    return code, records


@pytest.mark.parametrize("words", [["-n", "2"], ["--inline"]], ids=["embedded", "inline"])
def test_one_item_never_costs_another(words: list[str], tmp_path: Path) -> None:
    code, jobs = run(tmp_path, *words)
    assert code == 1
    failed = {name: [r["index"] for r in jobs[name] if r["status"] != "ok"] for name in jobs}
    assert failed == {
        "values": [],
        "texts": [3],
        "inputs": [1, 2, 3, 4],
        "rows": [],
        "numbers": [],
        "bad": [],
        "constant": [0, 1],
        "reference": [0],
        "last": [],
    }
    assert all(record["status"] in {"ok", "error"} for records in jobs.values() for record in records)
    (text,) = [record for record in jobs["texts"] if record["status"] != "ok"]
    assert text["error"]["type"] == "BadInput"
    assert "does not load: TypeError: ServiceError.__init__()" in text["error"]["message"]
    assert "_thread.lock" in jobs["inputs"][2]["error"]["message"]
    assert [row["value"] for row in jobs["rows"]] == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert jobs["numbers"][0]["value"] == [1024, -1024, {"deep": 1024}]
    assert jobs["numbers"][3]["value"][0] == {"$int": str(2**5000)}
    assert "AttributeError" in jobs["reference"][0]["error"]["type"]


def test_every_reader_reads_every_record(tmp_path: Path) -> None:
    run(tmp_path, "-n", "2")
    for words in (["report"], ["report", "--format", "json"], ["report", "--format", "html"]):
        report = Run(tmp_path, words)
        assert report.wait() == 0
        assert "damaged" not in report.said()
    resumed = Run(tmp_path, ["run", "spec.json", "--failed", "-n", "2", "--format", "jsonl", "-o", "x.csv"])
    assert resumed.wait() == 1
    numbers = [record for record in resumed.lines() if record["job"] == "numbers"]
    assert [record.get("replayed") for record in numbers] == [True] * 4
