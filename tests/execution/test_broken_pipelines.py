"""Pipelines in which something is missing: input that breaks, values that JSON lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runs import Run

DOCUMENT = dict[str, Any]


def run(folder: Path, spec: str, *words: str, engines: int = 2) -> tuple[int, DOCUMENT, str]:
    """The exit code, the JSON document's jobs by their names, and stderr."""
    (folder / "spec.yaml").write_text(spec)
    run = Run(folder, ["run", "spec.yaml", "-n", str(engines), "--format", "json", *words])
    code = run.wait()
    document = json.loads(run.out.read_text())
    return code, {job["name"]: job for job in document.get("jobs", [])}, run.said()


def values(job: DOCUMENT) -> list[Any]:
    return [item["value"] for item in job["items"]]


BROKEN = """\
jobs:
- {name: a, map: "lambda **k: k", over: {csv: ragged.csv}, collect: list}
- {name: b, map: "lambda x, v: v", over: [7], args: ["${jobs.a.value}"]}
- {name: c, map: "lambda x: x", over: [7], needs: [a]}
- {name: d, map: "lambda x: x", over: {from: a}}
- {name: e, map: "lambda x: x", over: [7]}
"""


def test_a_job_whose_input_breaks_has_failed_and_nothing_is_built_on_it(tmp_path: Path) -> None:
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    code, jobs, said = run(tmp_path, BROKEN)
    assert code == 2
    assert (jobs["a"]["status"], jobs["a"]["ended"]) == ("failed", "input error")
    assert "ragged.csv" in jobs["a"]["input_error"]
    assert jobs["a"]["value"] is None
    assert jobs["a"]["counts"]["unread"] is None
    for name in "bcd":
        assert (jobs[name]["status"], jobs[name]["ended"]) == ("cancelled", "needs a")
        assert jobs[name]["items"] == []
    assert jobs["e"]["status"] == "ok"
    assert "ragged.csv:3: 1 cells" in said
    assert "cancelled, needs a" in said


def test_an_input_that_no_source_can_be_made_of_names_its_job_and_place(tmp_path: Path) -> None:
    spec = """\
jobs:
- {name: a, apply: "lambda: {'x': 1}", targets: any, collect: dict}
- {name: b, map: "lambda x: x", over: "${jobs.a.value}"}
- {name: c, map: "lambda x: x", over: [1], needs: [b]}
"""
    code, jobs, said = run(tmp_path, spec)
    assert code == 2
    assert jobs["b"]["ended"] == "input error"
    assert "spec.yaml:3:" in said
    assert "job 'b'" in said
    assert jobs["c"]["ended"] == "needs b"


CLASSES = """\
setup:
  imports: [signal]
  run: |
    class P:
        def __init__(self, x): self.x = x
        def __eq__(self, other): return type(other) is P and self.x == other.x
        def __hash__(self): return hash(self.x)
jobs:
- {name: objects, map: "P", over: [1, 2], collect: list}
- {name: one, map: "P", over: [1, 2], reduce: "lambda a, b: P(a.x + b.x)"}
- {name: by_key, map: "lambda x: {x}", over: [1, 2], collect: dict}
- {name: a_set, map: "lambda x: {x}", over: [1, 2], reduce: "lambda a, b: a | b"}
- {name: number, map: "lambda x: x", over: [1, 2], reduce: operator:add,
   finish: "lambda t, n: signal.SIGINT"}
- {name: pushed, apply: "lambda: P(5)", targets: any, push_as: fives}
- {name: use_objects, map: "lambda x, v: [type(p).__name__ for p in v] + [v[0] == P(1)]", over: [1],
   args: ["${jobs.objects.value}"]}
- {name: use_one, map: "lambda x, v: v['k'][0].x", over: [1],
   kwargs: {v: {k: ["${jobs.one.value}"]}}}
- {name: use_by_key, map: "lambda x, v: v == {1: {1}, 2: {2}}", over: [1],
   args: ["${jobs.by_key.value}"]}
- {name: use_set, map: "lambda x, v: v == {1, 2}", over: [1], args: ["${jobs.a_set.value}"]}
- {name: in_text, map: "lambda x, v: v", over: [1], args: ["<${jobs.a_set.value}>"]}
- {name: over_objects, map: "lambda p: p.x", over: "${jobs.objects.value}"}
- {name: in_product, map: "lambda p, y: [p.x, y]",
   over: {product: {p: "${jobs.objects.value}", y: [1]}}}
- {name: in_zip, map: "lambda p, y: [p.x, y]", over: {zip: {p: {from: objects}, y: [1, 2]}}}
- {name: over_number, map: "lambda x: x", over: {range: "${jobs.number.value}"}}
- {name: use_pushed, apply: "lambda: fives == [P(5)]", targets: any}
- {name: over_set, map: "lambda x: x", over: "${jobs.a_set.value}"}
"""


def test_values_are_handed_on_as_they_are(tmp_path: Path) -> None:
    code, jobs, said = run(tmp_path, CLASSES)
    assert values(jobs["use_objects"]) == [["P", "P", True]]
    assert values(jobs["use_one"]) == [3]
    assert values(jobs["use_set"]) == [True]
    assert values(jobs["in_text"]) == ["<{1, 2}>"]
    assert values(jobs["over_objects"]) == [1, 2]
    assert values(jobs["in_product"]) == [[1, 1], [2, 1]]
    assert values(jobs["in_zip"]) == [[1, 1], [2, 2]]
    assert values(jobs["over_number"]) == [0, 1]
    assert values(jobs["use_pushed"]) == [True]
    assert sorted(values(jobs["over_set"])) == [1, 2]
    assert code == 0, said


TEXTS = """\
jobs:
- {name: a, map: "lambda x: 2 * x", over: ["it's", "$(touch pwned)"], collect: list}
- {name: n, map: "lambda x: x", over: [1, 2], reduce: operator:add}
- {name: shell, command: "printf '%s|' ${jobs.n.value} x${jobs.a.value} {}", over: [z]}
- {name: argv, command: [printf, "%s|", "${jobs.a.value}", 5, 1.5, "n=${jobs.n.value}"], over: [1]}
- {name: rest, command: "cat; echo $N $M", command_stdin: "${jobs.a.value}\\n", over: [q],
   env: {N: 5, M: "{}-${jobs.n.value}-{{}}"}}
"""


def test_commands_take_values_as_text(tmp_path: Path) -> None:
    code, jobs, _ = run(tmp_path, TEXTS)
    assert code == 0
    doubled = json.dumps(["it'sit's", "$(touch pwned)$(touch pwned)"])
    assert values(jobs["shell"])[0]["stdout"] == f"3|x{doubled}|z|"
    assert values(jobs["argv"])[0]["stdout"] == f"{doubled}|5|1.5|n=3|"
    assert values(jobs["rest"])[0]["stdout"] == f"{doubled}\n5 q-3-{{}}\n"
    assert not (tmp_path / "pwned").exists()


GATHER = """\
setup:
  scatter: {z: [[1, 2], [3, 4]], w: {values: [[1], [2]], flatten: false}}
  run: |
    class P: pass
    own = [1, 2]
    mine = [P()]
jobs:
- {name: z, apply: "lambda: 0", gather: z, push_as: again}
- {name: w, apply: "lambda: 0", gather: w}
- {name: own, apply: "lambda: 0", gather: own}
- {name: mine, apply: "lambda: 0", gather: mine}
- {name: use, map: "lambda x, v: (len(v), type(v[0]).__name__, again)", over: [1],
   args: ["${jobs.mine.value}"]}
"""


@pytest.mark.parametrize("engines", [1, 2])
def test_what_was_scattered_comes_together_again(tmp_path: Path, engines: int) -> None:
    code, jobs, _ = run(tmp_path, GATHER, engines=engines)
    assert code == 0
    assert jobs["z"]["value"] == [[1, 2], [3, 4]]
    assert jobs["w"]["value"] == [[1], [2]]
    assert jobs["own"]["value"] == [1, 2] * engines
    assert values(jobs["use"]) == [[engines, "P", [[1, 2], [3, 4]]]]


FOLDS = """\
jobs:
- {name: ten, map: "lambda x: x", over: {range: 12000}, reduce: operator:add,
   combine: operator:add, initial: 10}
- {name: zero, map: "lambda x: x", over: {range: 12000}, reduce: operator:add,
   combine: operator:add, initial: 0}
- {name: words, map: "lambda x: x % 3", over: {range: 12000},
   reduce: "lambda t, w: {**t, w: t.get(w, 0) + 1}", initial: {},
   combine: "lambda a, b: {k: a.get(k, 0) + b.get(k, 0) for k in {*a, *b}}"}
- {name: nothing, map: "lambda x: x", over: [], reduce: operator:add,
   combine: operator:add, initial: 7}
- {name: fails, map: "lambda x: x", over: {range: 12000}, reduce: operator:add,
   combine: "lambda a, b: a.no"}
"""


def test_what_a_fold_begins_with_counts_once(tmp_path: Path) -> None:
    code, jobs, said = run(tmp_path, FOLDS)
    assert jobs["ten"]["value"] == sum(range(12000)) + 10
    assert jobs["zero"]["value"] == sum(range(12000))
    assert jobs["words"]["value"] == {"0": 4000, "1": 4000, "2": 4000}
    assert jobs["nothing"]["value"] == 7
    assert code == 1
    error = jobs["fails"]["value_error"]
    assert error.startswith("combine failed at the part of items 5000 to 9999")
    assert "combine failed" in said


PREFLIGHT = """\
setup: {imports: [math, types], run: "box = types.SimpleNamespace()"}
jobs:
- {name: one, map: "lambda x: x", over: [1, 2, 3], push_as: table}
- {name: uses, map: "table.__getitem__", over: [0]}
- {name: makes, apply: "lambda: setattr(box, 'add', lambda x: x + 1)"}
- {name: made, map: "box.add", over: [0]}
- {name: two, map: "MISSING", over: [1]}
"""


@pytest.mark.parametrize("missing", ["nomod_y:f", "math:nothing", "math.nothing", "no.py:f"])
def test_all_functions_are_found_before_the_first_item(tmp_path: Path, missing: str) -> None:
    code, jobs, said = run(tmp_path, PREFLIGHT.replace("MISSING", missing))
    assert code == (2 if missing == "no.py:f" else 6)
    assert all(job["items"] == [] for job in jobs.values())
    assert "job 'two'" in said or "there is no file no.py" in said
    assert "Unresolved" not in said


def test_a_function_that_needs_what_an_earlier_job_makes_waits_for_it(tmp_path: Path) -> None:
    code, jobs, _ = run(tmp_path, PREFLIGHT.replace("MISSING", "math:sqrt"))
    assert code == 0
    assert values(jobs["uses"]) == [1]
    assert values(jobs["made"]) == [1]


def test_values_nested_too_deeply_for_json_are_pickles(tmp_path: Path) -> None:
    spec = """\
setup:
  run: |
    def deep(n):
        found = []
        for _ in range(n):
            found = [found]
        return found
    def depth(x):
        n = 0
        while x:
            x, n = x[0], n + 1
        return n
jobs:
- {name: a, map: deep, over: [100, 240, 300, 400], collect: list}
- {name: b, map: depth, over: {from: a}}
- {name: c, apply: "lambda v: [depth(x) for x in v]", targets: any, args: ["${jobs.a.value}"]}
"""
    code, jobs, _ = run(tmp_path, spec)
    assert code == 0
    assert values(jobs["b"]) == [100, 240, 300, 400]
    assert values(jobs["c"]) == [[100, 240, 300, 400]]


def test_a_source_is_scattered_as_a_list_is(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,x\n2,y\n3,z\n")
    spec = """
cluster: {engines: 2}
setup:
  scatter: {rows: {csv: rows.csv}, part: {over: {range: 4}, flatten: false}}
  run: |
    def look():
        return [sum(row["a"] for row in (rows if isinstance(rows, list) else [rows])), list(part)]
jobs:
  - {name: look, apply: look}
  - {name: joined, apply: "lambda: None", gather: rows}
"""
    code, jobs, _ = run(tmp_path, spec)
    assert code == 0
    assert values(jobs["look"]) == [[3, [0, 1]], [3, [2, 3]]]
