"""Going on where a run ended: by content, never by number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runs import each_once, finish, running

SOMETIMES = """
setup:
  run: |
    import os
    def work(x, factor):
        if x % 5 == 0 and not os.path.exists("mended"):
            raise ValueError(x)
        return x * factor
map: work
over: {over}
kwargs: {{factor: {factor}}}
"""


def spec(over: str = "{range: 20}", factor: int = 2) -> str:
    return SOMETIMES.format(over=over, factor=factor)


def replayed(records: list[dict[str, Any]]) -> set[Any]:
    return {r["input"] for r in records if r.get("replayed")}


def test_failed_runs_what_failed_again_and_keeps_the_rest(tmp_path: Path) -> None:
    code, _ = finish(tmp_path, spec())
    assert code == 1
    (tmp_path / "mended").touch()
    code, records = finish(tmp_path, spec(), "--failed")
    assert code == 0
    assert each_once(records, 20)
    assert [r["value"] for r in records] == [x * 2 for x in range(20)]
    assert replayed(records) == {x for x in range(20) if x % 5}


def test_resume_keeps_errors(tmp_path: Path) -> None:
    finish(tmp_path, spec())
    (tmp_path / "mended").touch()
    code, records = finish(tmp_path, spec(), "--resume")
    assert code == 1
    assert len(replayed(records)) == 20


def test_a_changed_constant_reuses_nothing(tmp_path: Path) -> None:
    finish(tmp_path, spec())
    _, records = finish(tmp_path, spec(factor=3), "--resume")
    assert replayed(records) == set()
    assert [r["value"] for r in records if r["status"] == "ok"] == [x * 3 for x in range(20) if x % 5]


def test_a_run_that_failed_is_forgotten_once_a_later_one_did_the_same(tmp_path: Path) -> None:
    job = spec("{lines: in.txt}").replace("x % 5", "int(x) % 5")
    (tmp_path / "in.txt").write_text("0\n1\n")
    assert finish(tmp_path, job)[0] == 1
    (tmp_path / "mended").touch()
    assert finish(tmp_path, job)[0] == 0
    (tmp_path / "in.txt").write_text("0\n1\n2\n")
    code, records = finish(tmp_path, job, "--resume")
    assert code == 0
    assert replayed(records) == {"0", "1"}


def test_an_edited_list_mixes_nothing_up(tmp_path: Path) -> None:
    finish(tmp_path, spec("[1, 2, 3, 3, 4, 5]"))
    _, records = finish(tmp_path, spec("[9, 3, 1, 3, 3]"), "--resume")
    assert each_once(records, 5)
    assert [r["value"] for r in records] == [18, 6, 2, 6, 6]
    assert [bool(r.get("replayed")) for r in records] == [False, True, True, True, False]


def test_a_torn_journal_is_cut(tmp_path: Path) -> None:
    finish(tmp_path, spec())
    (journal,) = (tmp_path / ".arcli" / "runs").glob("*/journal.jsonl")
    raw = journal.read_bytes()
    journal.write_bytes(raw[:-40])
    code, records = finish(tmp_path, spec(), "--resume")
    assert code == 1
    assert each_once(records, 20)
    assert len(replayed(records)) == 19


def test_a_changed_function_is_noticed_where_that_is_asked_for(tmp_path: Path) -> None:
    job = 'map: "work.py:f"\nover: [1, 0]\n'
    (tmp_path / "work.py").write_text("def f(x): return 10 // x\n")
    finish(tmp_path, job, "--rerun-changed")
    (tmp_path / "work.py").write_text("def f(x): return 10 // (x + 1)\n")
    _, records = finish(tmp_path, job, "--failed", "--rerun-changed")
    assert replayed(records) == set()
    assert [r["value"] for r in records] == [5, 10]


TWO = """\
jobs:
- {name: a, map: "a.py:f", over: {lines: in.txt}}
- {name: b, map: "b.py:f", over: [1]}
"""


def test_only_a_function_that_changed_runs_again(tmp_path: Path) -> None:
    """The flag used to be a part of all keys: everything ran again the first time that it was given."""
    for name in "ab":
        (tmp_path / f"{name}.py").write_text("def f(x): return [x]\n")
    (tmp_path / "in.txt").write_text("1\n")
    finish(tmp_path, TWO)
    _, records = finish(tmp_path, TWO, "--resume", "--run", "latest", "--rerun-changed")
    assert len(replayed(records)) == 2
    (tmp_path / "a.py").write_text("def f(x): return [x, x]\n")
    _, records = finish(tmp_path, TWO, "--resume", "--run", "latest", "--rerun-changed")
    assert [r["value"] for r in records] == [["1", "1"], [1]]
    assert [bool(r.get("replayed")) for r in records] == [False, True]
    _, records = finish(tmp_path, TWO, "--resume", "--run", "latest")
    assert len(replayed(records)) == 2


def test_what_a_run_kept_of_an_older_function_is_known_as_that(tmp_path: Path) -> None:
    job = "map: a.py:f\nover: {lines: in.txt}\n"
    (tmp_path / "a.py").write_text("def f(x): return [x]\n")
    (tmp_path / "in.txt").write_text("1\n")
    finish(tmp_path, job)
    (tmp_path / "a.py").write_text("def f(x): return [x, x]\n")
    (tmp_path / "in.txt").write_text("1\n2\n")
    _, records = finish(tmp_path, job, "--resume")
    assert [r["value"] for r in records] == [["1"], ["2", "2"]]
    _, records = finish(tmp_path, job, "--resume", "--run", "latest", "--rerun-changed")
    assert [r["value"] for r in records] == [["1", "1"], ["2", "2"]]


def test_a_resumed_reduce_equals_an_undisturbed_one(tmp_path: Path) -> None:
    import json

    reduce = spec() + 'reduce: "operator:add"\n'
    finish(tmp_path, reduce)
    (tmp_path / "mended").touch()
    finish(tmp_path, reduce, "--failed", "-o", "resumed.json")
    document = json.loads((tmp_path / "resumed.json").read_text())
    assert document["jobs"][0]["value"] == sum(x * 2 for x in range(20))
    assert document["jobs"][0]["counts"]["replayed"] == 16


def test_quiet_says_nothing_of_a_run_that_ends_well(tmp_path: Path) -> None:
    finish(tmp_path, spec())
    (tmp_path / "mended").touch()
    with running(tmp_path, spec(), "--failed", "-q") as run:
        assert run.wait() == 0
        assert run.said() == ""


def test_a_value_that_json_lacks_is_computed_again_where_it_is_handed_on(tmp_path: Path) -> None:
    pipeline = """\
jobs:
- {name: a, map: "lambda x: {x}", over: [1, 2], collect: list}
- {name: b, map: "lambda x, v: 1 / (v == [{1}, {2}])", over: [7], args: ["${jobs.a.value}"]}
- {name: c, map: "lambda x: open('mended').name", over: [7]}
"""
    assert finish(tmp_path, pipeline)[0] == 1
    (tmp_path / "mended").touch()
    code, records = finish(tmp_path, pipeline, "--failed")
    assert code == 0
    assert [r["value"] for r in records if r["job"] == "b"] == [1.0]


def test_items_that_are_dealt_out_go_to_the_same_engines_again(tmp_path: Path) -> None:
    """With parts of a sequence on the engines, a value is right only on its own engine."""
    text = """
setup:
  scatter: {{part: [1, 2, 3, 4, 5, 6, 7, 8]}}
  imports: [os, signal]
map: "lambda x: sum(part) {poison}"
over: {{range: 8}}
view: direct
chunksize: 1
"""
    code, _ = finish(tmp_path, text.format(poison="if x != 1 or os.path.exists('mended') else 1 / 0"))
    assert code == 1
    (tmp_path / "mended").touch()
    code, records = finish(
        tmp_path, text.format(poison="if x != 1 or os.path.exists('mended') else 1 / 0"), "--failed"
    )
    assert code == 0
    assert [record["value"] for record in records] == [10] * 4 + [26] * 4
    assert [record["slot"] for record in records if not record.get("replayed")] == [0]
