"""Going on where a run ended, with items whose values depend on what else is on the engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runs import Run, finish

SHARES = """\
jobs:
- {name: load, map: float, over: {lines: data.txt}, reduce: operator:add, push_as: total}
- {name: share, over: {lines: data.txt}, HOW}
"""
USES = [
    'map: "lambda line, total: float(line) / total", args: ["${ref.total}"]',
    'map: "lambda line: float(line) / total"',
    """command: "echo {} ${ref.total} | awk '{{print $1 / $2}}'", parse: float""",
    'command: "awk {}", command_stdin: "{} ${ref.total}\\n"'.replace(
        "awk {}", """awk '{{print $1 / $2}}' # {}"""
    )
    + ", parse: float",
]


def of_job(records: list[dict[str, Any]], name: str) -> list[Any]:
    return [record["value"] for record in records if record["job"] == name]


@pytest.mark.parametrize("how", USES, ids=["constant", "name", "command", "stdin"])
def test_what_uses_a_pushed_value_is_kept_as_long_as_that_is_the_same(tmp_path: Path, how: str) -> None:
    spec = SHARES.replace("HOW", how)
    (tmp_path / "data.txt").write_text("1\n3\n")
    finish(tmp_path, spec)
    code, records = finish(tmp_path, spec, "--resume", "--run", "latest")
    assert code == 0
    assert all(record.get("replayed") for record in records)
    with (tmp_path / "data.txt").open("a") as file:
        file.write("4\n")
    code, records = finish(tmp_path, spec, "--resume", "--run", "latest")
    assert code == 0
    assert of_job(records, "share") == [0.125, 0.375, 0.5]
    assert [record.get("replayed", False) for record in records] == [True, True, *[False] * 4]


def test_explaining_does_not_guess_at_what_a_pushed_value_will_be(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SHARES.replace("HOW", USES[1]))
    (tmp_path / "data.txt").write_text("1\n3\n")
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 0
    words = ["run", "spec.yaml", "--inline", "--resume", "--run", "latest", "--explain"]
    dry = Run(tmp_path, [*words, "--dry-run"])
    assert dry.wait() == 0, dry.said()
    assert "share: the value of job 'load' is known in the run only" in dry.out.read_text()
    (tmp_path / "data.txt").write_text("1\n3\n4\n")
    run = Run(tmp_path, words)
    assert run.wait() == 0, run.said()
    assert "share: 0 items kept, 3 to run: the pushed values changed" in run.said()


UNLIKE = """\
setup: {scatter: {part: {range: 6}}}
jobs:
- {name: total, apply: "lambda: sum(part)", finish: sum}
- {name: fails, map: "lambda x: 1 / x", over: [0]}
"""


def test_parts_of_another_number_of_engines_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(UNLIKE)
    assert Run(tmp_path, ["run", "spec.yaml", "-q", "-n", "2"]).wait() == 1
    words = ["run", "spec.yaml", "-n", "3", "--failed", "--explain", "--format", "json"]
    run = Run(tmp_path, words)
    assert run.wait() == 1
    assert json.loads(run.out.read_text())["jobs"][0]["value"] == 15
    assert "total: 0 items kept, 3 to run: the number of engines changed" in run.said()


def test_calls_on_engines_are_kept_whatever_number_of_these_there_is(tmp_path: Path) -> None:
    """Without parts on the engines, a call on one of them is the same among more of them."""
    (tmp_path / "spec.yaml").write_text("apply: 'lambda: 1'\n")
    assert Run(tmp_path, ["run", "spec.yaml", "-q", "-n", "2"]).wait() == 0
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "3", "--resume", "--run", "latest", "--format", "jsonl"])
    assert run.wait() == 0
    assert [line.get("replayed", False) for line in run.lines() if "index" in line] == [True, True, False]


def test_a_call_on_another_engine_is_another_item(tmp_path: Path) -> None:
    """The place in ``targets:`` used to stand for the engine."""
    text = "setup: {scatter: {part: [1, 2, 3, 4]}}\napply: 'lambda: sum(part)'\ntargets: TARGETS\n"
    finish(tmp_path, text.replace("TARGETS", "[0]"))
    code, records = finish(tmp_path, text.replace("TARGETS", "[1, 0]"), "--resume", "--run", "latest")
    assert code == 0
    assert [record["value"] for record in records] == [7, 3]
    assert [record.get("replayed", False) for record in records] == [False, True]


def test_an_item_that_is_dealt_to_another_part_runs_again(tmp_path: Path) -> None:
    text = """\
setup: {scatter: {part: [1, 2, 3, 4]}}
map: "lambda x: [x, sum(part)]"
over: OVER
view: direct
"""
    finish(tmp_path, text.replace("OVER", "[a, b, c, d]"))
    moved = text.replace("OVER", "[e, a, b, d]")
    (tmp_path / "spec.yaml").write_text(moved)
    words = ["run", "spec.yaml", "-n", "2", "--resume", "--run", "latest", "--explain"]
    said = "2 items kept, 2 to run: 1 with a new input, 1 that another engine's part decides now"
    dry = Run(tmp_path, [*words, "--dry-run"])
    assert dry.wait() == 0
    assert said in dry.out.read_text()
    run = Run(tmp_path, [*words, "--format", "jsonl"])
    assert run.wait() == 0
    assert said in run.said()
    records = [line for line in run.lines() if "index" in line]
    assert [record["value"] for record in records] == [["e", 3], ["a", 3], ["b", 7], ["d", 7]]


GATHERED = """\
setup:
  scatter: {part: {over: {range: 4}, flatten: false}}
  run: "def reverse(): part.reverse()"
jobs:
- {name: free, map: "lambda x: x", over: [1, 2]}
- {name: change, apply: reverse}
- {name: use, apply: "lambda: None", gather: part}
- {name: fails, map: "lambda x: 1 / x", over: [0]}
"""


def test_what_items_left_on_engines_is_there_again_where_it_is_gathered(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(GATHERED)
    assert Run(tmp_path, ["run", "spec.yaml", "-q", "-n", "2"]).wait() == 1
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "2", "--failed", "--explain", "--format", "json"])
    assert run.wait() == 1
    jobs = {job["name"]: job for job in json.loads(run.out.read_text())["jobs"]}
    assert jobs["use"]["value"] == [1, 0, 3, 2]
    assert jobs["free"]["counts"]["replayed"] == 2
    assert "change: 0 items kept, 2 to run: 2 whose effect on an engine is gathered" in run.said()


LOST = """\
setup: {imports: [os, time], run: "seen = []\\ndef add(x): seen.append(x)"}
jobs:
- {name: add, map: add, over: {range: 4}, view: direct}
- name: die
  apply: "lambda: os.path.exists('died') or os._exit(open('died', 'w').write('x'))"
  targets: [1]
- {name: use, apply: "lambda: None", gather: seen}
"""


def test_it_is_said_what_a_gathered_value_lacks(tmp_path: Path) -> None:
    """A replacement of an engine has none of what that had collected."""
    (tmp_path / "spec.yaml").write_text(LOST)
    run = Run(tmp_path, ["run", "spec.yaml", "-q", "-n", "2", "-o", "run.json"])
    assert run.wait() == 0, run.said()
    job = json.loads((tmp_path / "run.json").read_text())["jobs"][-1]
    assert job["value"] == [0, 1]
    assert job["value_note"] == "lacks what 2 items did on engines that were lost"
    assert "job 'use': its value lacks what 2 items did on engines that were lost" in run.said()


TUPLES = """\
setup: {imports: [os]}
jobs:
- {name: a, map: "lambda x: (x, x)", over: [1, 2, 1], collect: list}
- {name: b, map: "lambda x: sum(x)", over: {from: a}}
- {name: c, map: "lambda t, k: [*t, k]", over: {product: {t: {from: a}, k: [5]}}, unpack: kwargs}
- {name: d, map: "lambda x: x[0]", over: "${jobs.a.value}"}
"""


def test_items_that_only_engines_can_open_are_kept(tmp_path: Path) -> None:
    """Their values are computed again, since JSON does not hold them, and are the same."""
    finish(tmp_path, TUPLES)
    code, records = finish(tmp_path, TUPLES, "--resume", "--run", "latest")
    assert code == 0
    assert of_job(records, "b") == [2, 4, 2]
    assert of_job(records, "c") == [[1, 1, 5], [2, 2, 5], [1, 1, 5]]
    assert of_job(records, "d") == [1, 2, 1]
    assert {record["job"] for record in records if not record.get("replayed")} == {"a"}
    changed = TUPLES.replace("(x, x)", "(x, x + (x > 1))")
    code, records = finish(tmp_path, changed, "--resume", "--run", "latest")
    assert of_job(records, "b") == [2, 5, 2]
    assert [record["index"] for record in records if record.get("replayed")] == [0, 2] * 3
