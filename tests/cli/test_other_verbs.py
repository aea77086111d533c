"""``init``, ``check``, ``schema`` and ``run --dry-run``, as typed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runs import PATIENCE, Run, called

CALLED = {"compare", "init", "report", "runs", "show"}
"""Verbs that read files of arcli's own, and write some."""


def arcli(folder: Path, *words: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command line."""
    (folder / "stdin").write_bytes(stdin)
    if words[0] in CALLED:
        return called(folder, *words, stdin=folder / "stdin")
    run = Run(folder, list(words), stdin=folder / "stdin")
    code = run.wait()
    return code, run.out.read_text(), run.said()


def test_init_writes_a_spec_that_runs_as_it_is(tmp_path: Path) -> None:
    code, said, _ = arcli(tmp_path, "init")
    assert (code, said) == (0, "job.yaml is written; try: arcli run job.yaml\n")
    assert arcli(tmp_path, "check", "job.yaml")[0] == 0
    code, out, _ = arcli(tmp_path, "run", "job.yaml", "--format", "json", "-p", "n=4")
    assert code == 0
    assert json.loads(out)["jobs"][0]["value"] == sum(x**0.5 for x in range(4))


def test_init_replaces_nothing_unless_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("precious")
    code, _, said = arcli(tmp_path, "init", "mine.yaml")
    assert code == 2
    assert "--force" in said
    assert (tmp_path / "mine.yaml").read_text() == "precious"
    assert arcli(tmp_path, "init", "mine.yaml", "--force")[0] == 0
    assert "name: mine" in (tmp_path / "mine.yaml").read_text()
    code, out, _ = arcli(tmp_path, "init", "-")
    assert (code, out.count("map:")) == (0, 1)
    code, _, said = arcli(tmp_path, "init", "no/such/folder.yaml")
    assert code == 4
    assert "hint: its directory does not exist" in said


def test_what_init_advises_can_be_typed(tmp_path: Path) -> None:
    code, said, _ = arcli(tmp_path, "init", "my job.yaml")
    assert (code, said) == (0, "my job.yaml is written; try: arcli run 'my job.yaml'\n")
    assert "arcli run 'my job.yaml'\n" in (tmp_path / "my job.yaml").read_text()


def test_a_tab_can_be_seen(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("map: abs\nover:\n\t[1]\n")
    code, _, said = arcli(tmp_path, "check", "spec.yaml")
    assert code == 2
    assert "  3 | →[1]\n    | ^\n" in said


def test_check_says_what_is_valid_and_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("map: math:sqrt\nover: [1]\n")
    (tmp_path / "bad.yaml").write_text("map: math:sqrt\nover: {rnage: 1}\nretires: 2\n")
    code, out, said = arcli(tmp_path, "check", "good.yaml", "bad.yaml")
    assert code == 2
    assert out == "good.yaml: valid, 1 job: good\n"
    assert "bad.yaml:2:8: unknown key 'rnage'" in said
    assert "bad.yaml:3:1: unknown key 'retires'" in said
    assert "  3 | retires: 2\n    | ^\n  hint: did you mean 'retries'?" in said
    assert not (tmp_path / ".arcli").exists()
    code, out, _ = arcli(tmp_path, "check", "bad.yaml", "--format", "json")
    problems = json.loads(out)["error"]["problems"]
    assert [(problem["line"], problem["column"]) for problem in problems] == [(2, 8), (3, 1)]
    assert arcli(tmp_path, "check", "good.yaml", "--format", "json")[1] == '{"problems": []}\n'
    assert arcli(tmp_path, "check", "-q", "good.yaml")[1] == ""


def test_check_runs_nothing_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text("open('ran', 'w')\ndef f(x): return x\ndef g(): yield 1\n")
    (tmp_path / "spec.yaml").write_text(
        "setup: {path: [.], imports: [work], run: \"open('ran', 'w')\"}\n"
        "map: work.py:f\nover: {python: 'work:g'}\n"
    )
    assert arcli(tmp_path, "check", "spec.yaml")[0] == 0
    assert arcli(tmp_path, "run", "--dry-run", "spec.yaml")[0] == 0
    assert not (tmp_path / "ran").exists()


def test_check_reads_standard_input(tmp_path: Path) -> None:
    code, out, _ = arcli(tmp_path, "check", "-", stdin=b"map: math:sqrt\nover: [1]\n")
    assert (code, out) == (0, "-: valid, 1 job: stdin\n")


def test_what_the_terminal_would_obey_is_shown_harmlessly(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text('map: math:sqrt\nover: [1]\n"re\x9b2Jtries\u202e": 2\n')
    code, _, said = arcli(tmp_path, "check", "spec.yaml")
    assert code == 2
    assert "\x9b" not in said
    assert "\u202e" not in said


def test_the_schema_is_json(tmp_path: Path) -> None:
    code, out, _ = arcli(tmp_path, "schema")
    assert code == 0
    assert json.loads(out)["title"]


def test_a_dry_run_shows_the_first_and_last_calls(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("city,size\nSt. Gallen,1\nÜrümqi,2\n")
    (tmp_path / "spec.yaml").write_text(
        """\
jobs:
- {name: grid, map: "lambda a, b: a", over: {product: {a: {range: 1000}, b: [x, y]}}, chunksize: 7}
- {name: rows, command: "echo {city} > {size}", over: {csv: rows.csv}}
- {name: later, map: math:sqrt, over: {from: grid}}
- {name: each, apply: time:sleep, args: ["${ref.id}"]}
"""
    )
    code, out, _ = arcli(tmp_path, "run", "spec.yaml", "--dry-run", "-n", "3")
    assert code == 0
    assert "spec: 4 jobs on 3 engines" in out
    assert "grid: map, 2,000 items, 286 chunks, in order" in out
    assert "     0  (lambda a, b: a)(a=0, b='x')" in out
    assert "  1999  (lambda a, b: a)(a=999, b='y')" in out
    assert "echo 'St. Gallen' > 1" in out
    assert "as many items as there will be" in out
    assert "time:sleep(${ref.id})" in out
    code, out, _ = arcli(tmp_path, "run", "spec.yaml", "--dry-run", "--format", "json")
    assert json.loads(out)["jobs"][0]["items"] == 2000
    code, out, _ = arcli(tmp_path, "run", "spec.yaml", "--dry-run", "--job", "grid", "--limit", "5")
    assert "grid: map, 5 items" in out
    assert "rows" not in out


HUGE: dict[str, Any] = {
    "where": {"range": 10**12, "where": "item == 4"},
    "exclude": {"product": {"a": {"range": 10**6}, "b": {"range": 10**5}},
                "exclude": [{"a": 1}, {"a": 3, "b": 7}]},
}  # fmt: skip
HURRIED = (
    "from arcli.cli import main, preview; preview.PATIENCE = 2.0; main(['run', 's.json', '--dry-run'])"
)


@pytest.mark.parametrize("over", HUGE.values(), ids=HUGE)
def test_a_dry_run_does_not_walk_a_huge_input_to_its_end(over: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"map": "os:getenv", "over": over}))
    done = subprocess.run(
        [sys.executable, "-c", HURRIED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert re.search(r"at least [\d,]+ items? ", done.stdout)
    assert "os:getenv(4)" in done.stdout or "os:getenv(a=0, b=1)" in done.stdout


def test_a_dry_run_shows_all_that_a_command_is_given_and_what_it_waits_for(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("""\
jobs:
- {name: a, map: math:sqrt, over: [1], collect: list}
- {name: b, command: "cp {} ${jobs.a.value}", over: [x y], cwd: "{}", env: {A: "{index}"},
   command_stdin: "<{}>", parse: lines, needs: [a]}
- {name: c, notebook: n.ipynb, over: {cases: [{x: 1}]}}
- {name: d, command: [ls, "{x}"], over: {jsonl: rows.jsonl}}
""")
    (tmp_path / "n.ipynb").write_text(
        '{"nbformat": 4, "cells": [{"cell_type": "code", "metadata": {"tags": ["parameters"]}}]}'
    )
    (tmp_path / "rows.jsonl").write_text('{"y": 1}\n')
    code, out, _ = arcli(tmp_path, "run", "spec.yaml", "--dry-run")
    assert code == 0
    assert "cd 'x y'; A=0 cp 'x y' '${jobs.a.value}' <<< '<x y>'" in out
    assert "only if ok: a" in out
    assert "then parse what is printed as lines" in out
    assert "n.ipynb(x=1)" in out
    assert "not possible: there is no {x} in this item" in out


def test_a_dry_run_knows_the_engines_that_there_would_be(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("apply: os:getpid\ntargets: [0, 5]\n")
    assert arcli(tmp_path, "check", "spec.yaml")[0] == 0  # another machine may have six
    assert arcli(tmp_path, "run", "spec.yaml", "--dry-run", "-n", "6")[0] == 0
    code, _, said = arcli(tmp_path, "run", "spec.yaml", "--dry-run", "-n", "2")
    assert code == 2
    assert "spec.yaml:2:14: there is no engine 5" in said


def test_a_dry_run_reads_no_generator_and_walks_no_grid(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        """\
jobs:
- {name: one, map: "lambda x: x", over: [1, 2]}
- {name: grid, map: f:f, over: {product: {a: {range: 1e6}, b: {range: 1e6}}, exclude: [{b: 3}]}}
- {name: from, map: f:f, over: {product: {a: [1], b: {from: one}}}}
- {name: run, map: f:f, over: {zip: {a: [1, 2], b: {product: {c: {python: "nowhere:f"}}}}}}
"""
    )
    assert arcli(tmp_path, "check", "spec.yaml")[0] == 0
    code, out, _ = arcli(tmp_path, "run", "spec.yaml", "--dry-run")
    assert code == 0
    assert "grid: map, 999,999,000,000 items" in out
    assert "  999999999999  f:f(a=999999, b=999999)" not in out
    assert "  999998999999  f:f(a=999999, b=999999)" in out
    assert "from: map, as many items as there will be" in out
    assert "run: map, 2 items" in out


def test_a_dry_run_reads_standard_input(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("command: [ls, '{}']\nover: {stdin: nul}\n")
    code, out, _ = arcli(tmp_path, "run", "spec.yaml", "--dry-run", stdin=b"a b\0c")
    assert code == 0
    assert "2 items" in out
    assert "ls 'a b'" in out
