"""Jobs that build on each other: values handed on, reduced, collected, pushed, gathered."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from runs import Run

DOCUMENT = dict[str, Any]


def run(folder: Path, spec: str, *words: str) -> tuple[int, DOCUMENT, str]:
    """The exit code, the JSON document with each job by its name, and stderr."""
    (folder / "spec.yaml").write_text(spec)
    run = Run(folder, ["run", "spec.yaml", "-n", "2", "--format", "json", *words])
    code = run.wait()
    document = json.loads(run.out.read_text())
    return code, {job["name"]: job for job in document.get("jobs", [])}, run.said()


def values(job: DOCUMENT) -> list[Any]:
    return [item["value"] for item in job["items"]]


MANY = """\
setup:
  imports: [functools, asyncio]
  path: [lib]
  push: {scale: 10}
  scatter:
    part: {values: [a, b, c, d, e], flatten: false}
    id: "${engines.slots}"
  files: [data/table.txt]
  run: |
    class Counter:
        def __init__(self, start): self.start = start
        def add(self, x, times=1): return self.start + x * times
    counter = Counter(100)
    def spelled(word):
        for letter in word:
            yield letter
    async def later(x):
        await asyncio.sleep(0)
        return -x
    bag = {}
jobs:
- {name: squares, map: "lambda x: x * x", over: {range: 10}, collect: list}
- {name: halves, map: "lambda x: x / 2", over: {from: squares}, collect: count}
- {name: total, map: "lambda x: x", over: {from: squares}, reduce: operator:add}
- {name: share, map: "lambda x, of: x / of", over: [1, 2], collect: dict,
   kwargs: {of: "${jobs.total.value}"}}
- {name: plus, apply: "lambda a, b: [a, b]", args: ["${jobs.total.value}", "n=${engines.count}"]}
- {name: some_fail, map: "lambda x: 6 // x", over: [1, 0, 2, 0, 3]}
- {name: of_the_ok, map: "lambda x: x", over: {from: {job: some_fail, where: ok}}, collect: list}
- {name: needs_them_all, needs: [some_fail], map: "lambda x: x", over: [1]}
- {name: not_in_vain, map: "lambda x: x", over: [1], collect: list}
- {name: words, map: "lambda w: {w: 1}", over: [a, b, a, c, b, a], chunksize: 2,
   reduce: "lambda t, c: {k: t.get(k, 0) + c.get(k, 0) for k in {**t, **c}}",
   finish: "lambda t, n: [n, sorted(t.items())]"}
- {name: as_they_come, map: "lambda x: x", over: {range: 200}, ordered: false, commutative: true,
   reduce: operator:add, combine: operator:add, initial: 0}
- {name: in_order, map: "str", over: {range: 12}, chunksize: 3, ordered: false,
   reduce: "lambda a, b: a + b"}
- {name: fails, map: "lambda x: x", over: [1, 2, a, 3], reduce: operator:add}
- {name: method, map: "counter.add", over: [1, 2], kwargs: {times: 3}}
- {name: partial, map: "functools.partial(counter.add, times=2)", over: [1, 2]}
- {name: generator, map: spelled, over: [ab, cd]}
- {name: coroutine, map: later, over: [1, 2]}
- {name: from_lib, map: "helper:triple", over: [1, 2]}
- {name: in_file, map: "tools/own.py:Box.of", over: [1, 2]}
- {name: pushed, map: "lambda x: x * scale", over: [1, 2]}
- {name: parts, apply: "lambda: (id, part)", targets: all, collect: list}
- {name: gathered, apply: "lambda: None", gather: part}
- {name: push_list, apply: "lambda: id * 2", targets: all, push_as: doubled}
- {name: pushed_list, apply: "lambda: doubled", targets: all, collect: dict}
- {name: push_total, map: "lambda x: x", over: [1, 2, 3], reduce: operator:add, push_as: six}
- {name: pushed_total, apply: "lambda: six", targets: [1], collect: dict}
- {name: anyone, apply: "lambda: 1", targets: any}
- {name: direct, map: "lambda x: (x, id)", over: {range: 6}, view: direct}
- {name: only_one, map: "lambda x: (x, id)", over: {range: 4}, targets: [1]}
- {name: refs, map: "lambda x, y, z: [x, y, z]", over: [1],
   kwargs: {y: "${ref.scale}", z: "<${ref.scale}>"}}
- {name: unpacked, map: "lambda a, b: a - b", over: [[5, 3], [1, 1]], unpack: args}
- {name: grid, map: "lambda lr, seed: f'{lr}/{seed}'",
   over: {product: {lr: [0.1, 0.2], seed: {range: 2}}, exclude: [{lr: 0.2, seed: 0}]}}
- {name: pairs, map: "lambda a, b: a + b", over: {zip: {a: [1, 2], b: {linspace: [0.5, 1.5, 2]}}}}
- {name: cases, map: "lambda **k: sorted(k)", over: {cases: [{a: 1}, {a: 2, b: 3}]}}
- {name: sampled, map: "lambda x: x", over: {range: 1000000, sample: {n: 3, seed: 1}, shuffle: 2}}
- {name: made, map: "lambda x: x", over: {python: {call: "helper:numbers", args: [3]}}}
- {name: piped, map: "lambda x: x", over: {stdin: nul}}
- {name: sent, map: "lambda x: open('data/table.txt').read()", over: [1]}
- {name: empty, map: "lambda x: x", over: []}
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, DOCUMENT, str]:
    folder = tmp_path_factory.mktemp("many")
    for name, text in {
        "lib/helper.py": "def triple(x): return 3 * x\ndef numbers(n): yield from range(n)\n",
        "tools/own.py": "class Box:\n    @staticmethod\n    def of(x):\n        return [x]\n",
        "data/table.txt": "from afar",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "stdin").write_bytes(b"a\0b c\0d\ne")
    (folder / "spec.yaml").write_text(MANY)
    run = Run(folder, ["run", "spec.yaml", "-n", "2", "--format", "json"], stdin=folder / "stdin")
    code = run.wait()
    document = json.loads(run.out.read_text())
    return code, {job["name"]: job for job in document["jobs"]}, run.said()


EXPECTED_VALUES = {
    "squares": [x * x for x in range(10)],
    "halves": 10,
    "total": 285,
    "share": {"1": 1 / 285, "2": 2 / 285},
    "plus": [[285, "n=2"], [285, "n=2"]],
    "of_the_ok": [6, 3, 2],
    "not_in_vain": [1],
    "words": [6, [["a", 3], ["b", 2], ["c", 1]]],
    "as_they_come": sum(range(200)),
    "in_order": "01234567891011",
    "parts": [[0, ["a", "b", "c"]], [1, ["d", "e"]]],
    "gathered": ["a", "b", "c", "d", "e"],
    "pushed_list": {"0": [0, 2], "1": [0, 2]},
    "pushed_total": {"1": 6},
    "anyone": [1],
}


@pytest.mark.parametrize("name", EXPECTED_VALUES)
def test_the_value_of(many: tuple[int, DOCUMENT, str], name: str) -> None:
    assert many[1][name]["value"] == EXPECTED_VALUES[name]


EXPECTED_ITEMS = {
    "method": [103, 106],
    "partial": [102, 104],
    "generator": [["a", "b"], ["c", "d"]],
    "coroutine": [-1, -2],
    "from_lib": [3, 6],
    "in_file": [[1], [2]],
    "pushed": [10, 20],
    "direct": [[0, 0], [1, 0], [2, 0], [3, 1], [4, 1], [5, 1]],
    "only_one": [[0, 1], [1, 1], [2, 1], [3, 1]],
    "refs": [[1, 10, "<10>"]],
    "unpacked": [2, 0],
    "grid": ["0.1/0", "0.1/1", "0.2/1"],
    "pairs": [1.5, 3.5],
    "cases": [["a"], ["a", "b"]],
    "made": [0, 1, 2],
    "piped": ["a", "b c", "d\ne"],
    "sent": ["from afar"],
    "empty": [],
}


@pytest.mark.parametrize("name", EXPECTED_ITEMS)
def test_the_items_of(many: tuple[int, DOCUMENT, str], name: str) -> None:
    assert values(many[1][name]) == EXPECTED_ITEMS[name]


def test_a_sample_is_some_of_them(many: tuple[int, DOCUMENT, str]) -> None:
    found = values(many[1]["sampled"])
    assert len(set(found)) == 3
    assert all(0 <= x < 1_000_000 for x in found)


def test_a_failed_job_stops_those_that_need_it_and_no_others(
    many: tuple[int, DOCUMENT, str],
) -> None:
    code, jobs, said = many
    assert code == 1
    assert jobs["needs_them_all"]["status"] == "cancelled"
    assert jobs["needs_them_all"]["items"] == []
    assert jobs["not_in_vain"]["status"] == "ok"
    assert "needs some_fail" in said


def test_a_failing_reducer_names_the_item(many: tuple[int, DOCUMENT, str]) -> None:
    _, jobs, said = many
    assert jobs["fails"]["status"] != "ok"
    assert "item 2" in said
    assert "TypeError" in said


def test_lengths_that_differ_are_found_before_the_start(tmp_path: Path) -> None:
    spec = "map: f:f\nover:\n  zip: {a: [1, 2], b: {range: 3}}\n"
    (tmp_path / "spec.yaml").write_text(spec)
    run = Run(tmp_path, ["run", "spec.yaml"])
    assert run.wait() == 2
    said = run.said()
    assert "spec.yaml:3:8" in said
    assert "a" in said
    assert "2" in said
    assert "3" in said
    assert not (tmp_path / ".arcli").exists()


def test_an_empty_input_warns_unless_it_is_an_error(tmp_path: Path) -> None:
    code, _, said = run(tmp_path, "map: math:sqrt\nover: {glob: '*.nothing'}\n")
    assert code == 0
    assert "no items" in said
    code, _, said = run(tmp_path, "map: math:sqrt\nover: []\nallow_empty: false\n")
    assert code == 2
    assert "no items" in said


def test_only_some_jobs_and_what_they_need(tmp_path: Path) -> None:
    spec = """\
jobs:
- {name: a, map: math:sqrt, over: [4]}
- {name: b, map: math:sqrt, over: [9]}
- {name: c, map: math:sqrt, over: {from: a}}
expect: [b.ok > 0, c.failed > 0]
"""
    code, jobs, _ = run(tmp_path, spec, "--job", "c")
    assert (code, list(jobs)) == (0, ["a", "c"])
    code, _, said = run(tmp_path, spec, "--job", "d")
    assert code == 2
    assert "no job 'd'" in said


def test_a_job_brings_those_whose_pushed_values_it_uses(tmp_path: Path) -> None:
    spec = """\
setup: {run: "def later(x): return x + total", push: {unused: 1}}
jobs:
- {name: first, map: "lambda x: x", over: [1, 2], reduce: operator:add, push_as: total}
- {name: again, map: "lambda x: 10 * x", over: [1, 2], reduce: operator:add, push_as: total}
- {name: other, map: "lambda x: x", over: [1], collect: list, push_as: unused}
- {name: by_name, map: "lambda x: x + total", over: [1]}
- {name: by_setup, map: later, over: [1]}
- {name: by_ref, map: "lambda x, y: x + y", over: [1], args: ["${ref.total.real}"]}
- {name: by_chance, map: "lambda x: eval('x')", over: [1]}
- {name: not_at_all, map: "abs", over: [-31]}
"""
    chosen = {"by_name": 31, "by_setup": 31, "by_ref": 31, "by_chance": 1, "not_at_all": 31}
    for name, value in chosen.items():
        code, jobs, _ = run(tmp_path, spec, "--inline", "--job", name)
        assert (code, values(jobs[name])) == (0, [value])
        others = {"by_chance": ["again", "other"], "not_at_all": []}
        assert list(jobs) == [*others.get(name, ["again"]), name]


PARTIAL = """\
jobs:
- {name: a, map: "lambda x: 1 // (x - 2)", over: {range: 5}, reduce: operator:add, push_as: tot}
- {name: listed, map: "lambda x: 1 // x", over: [1, 0], collect: list}
- {name: uses_name, map: "lambda x: [x, tot]", over: {range: 2}}
- {name: uses_value, map: "lambda x: x", over: {range: "${jobs.a.value}"}}
- {name: uses_some, map: "lambda x: x", over: {from: {job: a, where: ok}}, collect: list}
- {name: uses_none, map: "abs", over: [1]}
"""


def test_what_is_not_ok_is_null_for_a_later_job_whatever_it_has_as_its_value(tmp_path: Path) -> None:
    """A command that failed has its output as its value, and is null all the same."""
    spec = """\
jobs:
- {name: a, command: "exit {}", over: ['0', '3']}
- {name: fails, map: "lambda x: 1 // x", over: [1, 0]}
- {name: of_all, map: "lambda x: x if x is None else x['exit']", over: {from: {job: a, where: all}}}
- {name: and_these, map: "lambda x: x", over: {from: {job: fails, where: all}}}
"""
    code, jobs, _ = run(tmp_path, spec, "--inline")
    assert code == 1
    assert values(jobs["of_all"]) == [0, None]
    assert values(jobs["and_these"]) == [1, None]
    explained = Run(tmp_path, ["run", "spec.yaml", "--inline", "--resume", "--explain", "--dry-run"])
    assert explained.wait() == 0
    assert "of_all: 2 items kept, 0 to run" in explained.out.read_text()


def test_a_value_of_some_items_is_marked_and_nobody_works_with_it(tmp_path: Path) -> None:
    code, jobs, _ = run(tmp_path, PARTIAL, "--inline")
    assert code == 1
    assert jobs["a"]["value"] == -1
    assert (jobs["a"]["counts"]["ok"], jobs["a"]["counts"]["planned"]) == (4, 5)
    assert jobs["listed"]["value"] == [1]
    ended = {name: job["ended"] for name, job in jobs.items() if job["items"] == []}
    assert ended == {"uses_name": "needs a", "uses_value": "needs a"}
    assert jobs["uses_some"]["value"] == [-1, -1, 1, 0]
    assert jobs["uses_name"]["counts"]["unread"] == 2
    assert jobs["uses_value"]["counts"]["unread"] is None
    run_ = Run(tmp_path, ["run", "spec.yaml", "--inline"])
    assert run_.wait() == 1
    lines = run_.out.read_text().splitlines()
    assert "a = -1 (from 4 of 5 items)" in lines
    assert "listed = [1] (from 1 of 2 items)" in lines
    assert "uses_some = [-1,-1,1,0]" in lines


CLOSED = """\
jobs:
- {name: a, map: "lambda x: (x, x * x)", over: {range: 4}, reduce: "lambda a, b: [*a, b]", initial: []}
- {name: b, map: "lambda x: (x, x * x)", over: {range: 4}}
- {name: lists, map: "lambda x: [x, x * x]", over: {range: 4}}
- {name: excluded, map: str, over: {from: b, exclude: [[1, 1]]}}
- {name: unequal, map: str, over: {from: b, where: "item != (1, 1)"}}
- {name: part, map: str, over: {from: b, where: "item[0] > 1"}}
- {name: among, map: str, over: {from: b, where: "item in [(1, 1)]"}}
- {name: kind, map: str, over: {from: b, where: "isinstance(item, tuple)"}}
- {name: rows, map: str, over: {from: b, where: {x: 1}}}
- {name: in_pairs, map: "lambda p, q: p", over: {product: {p: {from: b}, q: [1]}, exclude: [{p: [1, 1]}]}}
- {name: of_pairs, map: "lambda p, q: p", over: {product: {p: {from: b}, q: [1]}, where: {p: [1]}}}
- {name: inside, map: "lambda p, q: p", over: {zip: {p: [["${jobs.a.value}"]], q: [1]},
   where: "p[0][1][0] > 0"}}
- {name: others, map: "lambda p, q: p[1] + q", over: {product: {p: {from: b}, q: [1, 2]}, where: "q > 1",
   exclude: [{q: 1}]}}
- {name: chosen, map: "lambda x: x[0]", over: {from: b, sample: {n: 4}, shuffle: 1}}
- {name: of_lists, map: "lambda x: x[0]", over: {from: lists, exclude: [[1, 1]], where: "item[0] < 3"}}
"""


def test_what_only_engines_can_open_is_compared_with_nothing(tmp_path: Path) -> None:
    code, jobs, said = run(tmp_path, CLOSED, "--inline")
    assert code == 2
    refused = {name for name, job in jobs.items() if job["ended"] == "input error"}
    assert refused == {
        "excluded", "unequal", "part", "among", "kind", "rows", "in_pairs", "of_pairs", "inside",
    }  # fmt: skip
    for name in refused:
        assert "is a value that only engines can open" in jobs[name]["input_error"]
    assert "hint: leave items out in the function" in said
    assert values(jobs["others"]) == [2, 3, 6, 11]
    assert sorted(values(jobs["chosen"])) == [0, 1, 2, 3]
    assert values(jobs["of_lists"]) == [0, 2]


ENOUGH = """\
jobs:
- {name: a, map: "lambda x: 6 // x", over: [0, 1, 2, 3, 6, 6, 6, 6], halt: {ok: 2}, chunksize: 1,
   collect: list, push_as: found}
- {name: by_items, map: "lambda x: x", over: {from: a}}
- {name: by_name, map: "lambda x: found", over: [1]}
- {name: by_value, map: "lambda x, found: found", over: [1], kwargs: {found: "${jobs.a.value}"}}
"""


def test_as_many_as_were_asked_for_are_enough_for_later_jobs(tmp_path: Path) -> None:
    code, jobs, said = run(tmp_path, ENOUGH, "--inline")
    assert code == 0, said
    assert (jobs["a"]["ended"], jobs["a"]["counts"]["error"]) == ("enough", 1)
    found = jobs["a"]["value"]
    assert found[:2] == [6, 3]
    assert values(jobs["by_items"]) == found
    assert values(jobs["by_name"]) == values(jobs["by_value"]) == [found]


@pytest.mark.parametrize(
    ("over", "value", "words"),
    [
        ("[a, 1.5, true, null, [2]]", {"a": 0, "1.5": 1, "true": 2, "3": 3, "4": 4}, ""),
        ("[1, 2, 1]", None, "at item 2: item 0 has the key 1, too"),
        ("[a, a]", None, "at item 1: item 0 has the key 'a', too"),
        ("[true, true]", None, "at item 1: item 0 has the key true, too"),
        ("['1', 1]", None, "at item 1: item 0 has the key '1', the same as 1;"),
        ("[1, true]", None, "at item 1: item 0 has the key 1, the same as true;"),
        ("['1', null]", None, "at item 1: item 0 has the key '1', the same as 1 (its number);"),
        ("[null, 0]", None, "at item 1: item 0 has the key 0 (its number), the same as 0;"),
    ],
)
def test_a_collected_dict_loses_nothing(tmp_path: Path, over: str, value: Any, words: str) -> None:
    spec = f"""\
jobs:
- {{name: numbered, map: "lambda x: next(count)", over: {over}, collect: dict, push_as: found}}
- {{name: used, apply: "lambda: len(found)"}}
setup: {{run: "import itertools; count = itertools.count()"}}
"""
    code, jobs, said = run(tmp_path, spec, "--inline")
    assert code == (1 if words else 0)
    assert jobs["numbered"]["value"] == value
    assert words in (jobs["numbered"]["value_error"] or "")
    assert words in said
    assert values(jobs["used"]) == ([] if words else [5])


BAD_INPUTS = """\
jobs:
- {name: a, map: abs, over: {range: 3}, reduce: operator:add}
- {name: no_list, map: abs, over: {list: "${jobs.a.value}"}}
- {name: uneven, map: "lambda a, b: a", over: {zip: {a: [1, 2], b: {stdin: lines}}}}
- {name: broken, map: "lambda n: n", over: {csv: bad.csv}, collect: list}
- {name: of_broken, map: abs, over: {from: broken}}
- {name: fine, map: abs, over: [1]}
"""


def test_an_input_that_cannot_be_read_is_told_with_its_job_and_its_place(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("n\n1\n2,3\n")
    code, jobs, said = run(tmp_path, BAD_INPUTS, "--inline")
    assert code == 2
    assert "spec.yaml:3:42: job 'no_list': over: int is not a list of items" in said
    assert "spec.yaml:4:53: job 'uneven': zip: 'b' ends after 0 items, 'a' has more" in said
    assert "spec.yaml:5:50: job 'broken': " in said
    ended = [(name, job["status"], job["ended"]) for name, job in jobs.items()]
    assert ended == [
        ("a", "ok", "done"),
        ("no_list", "failed", "input error"),
        ("uneven", "failed", "input error"),
        ("broken", "failed", "input error"),
        ("of_broken", "cancelled", "needs broken"),
        ("fine", "ok", "done"),
    ]
    assert jobs["broken"]["value"] is None


def test_what_is_missing_on_an_engine_is_found_before_items_are_spent(tmp_path: Path) -> None:
    code, jobs, said = run(tmp_path, "map: no_such_module:f\nover: {range: 100}\n")
    assert code == 6
    assert "spec.yaml:1:6: engine" in said
    assert "cannot import no_such_module" in said
    assert "hint: install it" in said
    assert [(job["status"], job["items"]) for job in jobs.values()] == [("failed", [])]


WRONG_SETUPS = {
    "apply: os:gtpid\n": (
        "spec.yaml:1:8: engine 0 on host {host}: function of job 'spec': 'os' has no 'gtpid': "
        "did you mean 'getpid'?"
    ),
    "apply: os:getpid\nsetup: {run: 'x = 1 / 0'}\n": (
        "spec.yaml:2:14: engine 0 on host {host}: run: ZeroDivisionError: division by zero\n"
        '      File "<setup.run>", line 1, in <module>'
    ),
    "apply: os:getpid\nsetup: {imports: [math, json.nothing]}\n": (
        "spec.yaml:2:18: engine 0 on host {host} cannot import json.nothing (import json.nothing)"
    ),
    "map: abs\nover: [1]\nreduce: operator:ad\n": (
        "spec.yaml:3:9: engine 0 on host {host}: reducer 'operator:ad' of job 'spec': "
        "'operator' has no 'ad': did you mean '"
    ),
}


@pytest.mark.parametrize("spec", WRONG_SETUPS)
def test_what_the_setup_or_a_function_gets_wrong_is_told_with_its_place(tmp_path: Path, spec: str) -> None:
    code, _, said = run(tmp_path, spec, "--inline")
    assert code == 6
    lines = [line for line in said.splitlines() if "Traceback" not in line]
    assert WRONG_SETUPS[spec].format(host=socket.gethostname()) in "\n".join(lines)
    assert "Unresolved" not in said
    assert "hint: Traceback" not in said


def test_limit_takes_the_first_ones(tmp_path: Path) -> None:
    code, jobs, _ = run(tmp_path, "map: math:sqrt\nover: {range: 100}\n", "--limit", "3")
    assert (code, values(jobs["spec"])) == (0, [0.0, 1.0, 2**0.5])


def test_another_interpreter_runs_a_projects_own_environment(tmp_path: Path) -> None:
    """A venv without arcli, which sees this one's packages by a path file."""
    import sysconfig
    import venv

    venv.create(tmp_path / "env", with_pip=False)
    (site,) = (tmp_path / "env" / "lib").glob("*/site-packages")
    packages = tmp_path / "packages"
    packages.mkdir()
    for found in Path(sysconfig.get_path("purelib")).iterdir():
        if "arcli" not in found.name:
            (packages / found.name).symlink_to(found)
    (site / "packages.pth").write_text(f"{packages}\n")
    (site / "only_here.py").write_text("def answer(x):\n    return x + 41\n")
    python = tmp_path / "env" / "bin" / "python"
    spec = f"""\
cluster: {{python: {python}}}
jobs:
- {{name: own, map: only_here:answer, over: [1, 2]}}
- {{name: shell, command: "echo {{}} {{index}}", over: [a], parse: lines}}
"""
    code, jobs, _ = run(tmp_path, spec)
    assert (code, values(jobs["own"]), values(jobs["shell"])) == (0, [42, 43], [["a 0"]])


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("last", ["'ü'", "chr(0xd800)"])
def test_a_reducer_gets_each_value_as_it_was(tmp_path: Path, last: str, ordered: bool) -> None:
    """Also where JSON lacks it, and where a fast reader of JSON would stumble over it."""
    kinds = "[1.5, 10**30, float('nan'), b'x', (1, 2), 3j, {'$a': None, 'b': [True, {}]}, 0"
    spec = f"""
map: |-
  lambda x: {kinds}, {last}][x] if x != 7 else 1 / 0
over: {{range: 9}}
ordered: {str(ordered).lower()}
reduce: "lambda seen, value: [*seen, value]"
initial: []
finish: "lambda seen, n: [n, *map(ascii, seen)]"
"""
    code, jobs, _ = run(tmp_path, spec)
    assert code == 1
    assert jobs["spec"]["value"] == [
        8, "1.5", str(10**30), "nan", "b'x'", "(1, 2)", "3j", "{'$a': None, 'b': [True, {}]}",
        {"'ü'": r"'\xfc'"}.get(last, r"'\ud800'"),
    ]  # fmt: skip


CLASSES = """\
setup:
  run: |
    import dataclasses
    @dataclasses.dataclass
    class Point:
        x: int
    class Bare:
        pass
jobs:
- {name: shown, map: "Point", over: [1, 2], collect: list}
- {name: bare, map: "lambda x: Bare()", over: [1]}
- {name: items, map: "lambda one, all: [type(each) is Point for each in (one, *all)]", over: {from: shown},
   args: ["${jobs.shown.value}"]}
- {name: bares, map: "lambda one: type(one) is Bare", over: {from: bare}}
- {name: main, apply: "lambda: __import__('__main__').Point is Point"}
"""


@pytest.mark.parametrize("words", [["-n", "1"], ["--inline"]])
def test_classes_of_setup_are_the_same_for_later_jobs_wherever_they_run(
    tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "spec.yaml").write_text(CLASSES)
    first = Run(tmp_path, ["run", "spec.yaml", "--format", "json", *words])
    assert first.wait() == 0, first.said()
    jobs = {job["name"]: values(job) for job in json.loads(first.out.read_text())["jobs"]}
    assert jobs["items"] == [[True] * 3] * 2
    assert jobs["bares"] == jobs["main"] == [True]
    again = Run(tmp_path, ["rerun", "0", "--job", "bares"])
    assert again.wait() == 0, again.said()
    assert "value    true" in again.out.read_text()
