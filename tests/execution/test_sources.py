"""Runs over inputs that are slow, noisy, wrong or in each other's way."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from runs import Run, each_once, finish, running, wait_until

MAP = 'map: "lambda x: x"\n'


def test_a_generator_that_exits_prints_and_is_slow_ends_its_job_alone(tmp_path: Path) -> None:
    (tmp_path / "gen.py").write_text(
        "import os, sys, time\n"
        "def items():\n"
        "    print('NOISE')\n"
        "    yield 1\n"
        "    while not os.path.exists('go'): time.sleep(0.01)\n"
        "    sys.exit(3)\n"
    )
    with running(tmp_path, MAP + "over: {python: gen.py:items}\n") as run:
        wait_until(run.lines, run.said)  # an item is run before the next one is there
        (tmp_path / "go").touch()
        assert run.wait() == 2
    assert "gen.py:items failed: SystemExit: 3" in run.said()
    assert "NOISE" in run.said()
    assert all(json.loads(line) for line in run.out.read_text().splitlines())


STDIN_AND_ENGINES = """
command: [echo, "{a}", "{b}"]
over: {product: {a: {stdin: lines}, b: "${engines.slots}"}}
"""


def test_standard_input_goes_with_what_engines_decide(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x\ny\n")
    code, records = finish(tmp_path, STDIN_AND_ENGINES, stdin=tmp_path / "in")
    assert code == 0
    assert [record["input"] for record in records] == [{"a": a, "b": b} for a in "xy" for b in (0, 1)]
    for words, shown in (
        (["--dry-run"], "echo y 1"),
        (["--estimate"], "engines"),
        (["--resume", "--explain", "--dry-run"], "4 items kept"),
    ):
        with running(tmp_path, STDIN_AND_ENGINES, *words, "--format", "text", stdin=tmp_path / "in") as run:
            assert run.wait() == 0, run.said()
        assert shown in run.out.read_text()


def test_what_a_program_prints_that_a_generator_starts_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text("""
import os
def items():
    # Before the first item: what is printed while one runs in this process, too, counts as the item's.
    os.system("echo noise of a program")
    os.write(1, b"noise of a library\\n")
    yield 1
    yield 2
""")
    spec = "{map: 'lambda x: x', over: {python: noisy.py:items}}"
    for words in (["-n", "1"], ["--inline"]):
        with running(tmp_path, spec, *words) as run:
            assert run.wait() == 0
            assert [line["value"] for line in run.lines()] == [1, 2]
            assert "noise of a program\nnoise of a library\n" in run.said()


def test_standard_input_in_a_product_is_read_by_the_run(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("one\n")
    spec = 'map: "lambda **k: k"\nover: {product: {a: [1, 2], b: {stdin: lines}}}\n'
    code, records = finish(tmp_path, spec + "allow_empty: false\n", stdin=tmp_path / "in")
    assert code == 0
    assert [record["value"] for record in records] == [{"a": 1, "b": "one"}, {"a": 2, "b": "one"}]


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=["a\n1\n2\n"])
    writer.start()
    code, records = finish(tmp_path, 'map: "lambda a: a"\nover: {csv: pipe}\n')
    writer.join()
    assert (code, [record["value"] for record in records]) == (0, [1, 2])


def test_files_that_are_called_like_pythons_own_break_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "specs"
    folder.mkdir()
    for name in ("random", "types", "json", "selectors", "pickle"):
        (folder / f"{name}.py").write_text("raise RuntimeError('taken for a module of Python')\n")
    (folder / "gen.py").write_text("import random\ndef items(): yield random.Random(1).random()\n")
    (folder / "spec.yaml").write_text(
        "setup: {imports: [random]}\n"
        'map: "lambda x: x == random.Random(1).random()"\nover: {python: "gen:items"}\n'
    )
    run = Run(tmp_path, ["run", "specs/spec.yaml", "-n", "1", "--format", "jsonl"])
    assert run.wait() == 0, run.said()
    assert [record["value"] for record in run.lines()] == [True]
    assert each_once(run.lines(), 1)


def test_closed_input_is_known_before_a_cluster_is(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(MAP + "over: {stdin: lines}\n")
    run = Run(tmp_path, ["run", "spec.yaml"], preexec=lambda: os.close(0))
    assert run.wait() == 2
    assert "spec.yaml:2:15: standard input is closed" in run.said()
    assert not (tmp_path / ".arcli").exists()


BAD_CELLS = """
jobs:
  - {name: functions, map: "lambda n, name: n", over: {csv: TABLE}}
  - {name: commands, command: "echo {n} {name}", parse: lines, over: {csv: TABLE}}
  - {name: pairs, map: "lambda k, t: [k, t['n']]", over: {product: {k: [1, 2], t: {csv: TABLE}}}}
  - {name: dealt, map: "lambda k, t: k", view: direct, over: {zip: {k: [1, 2, 3, 4], t: {csv: TABLE}}}}
  - {name: several, map: len, batch: 3, over: {csv: TABLE}}
  - {name: picked, map: "lambda n, name: n", over: {csv: TABLE, where: "n > 1"}}
  - {name: folders, map: "lambda n, name: n", outdir: "out/{name}", over: {csv: TABLE}}
"""


def by_job(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The items' values by their jobs, None for one that is an error."""
    values: dict[str, list[Any]] = {}
    for record in records:
        job = values.setdefault(record["job"], [])
        assert record["index"] == len(job)
        job.append(record["value"] if record["status"] == "ok" else None)
    return values


@pytest.mark.parametrize("words", [["-n", "2"], ["--inline"]], ids=["embedded", "inline"])
def test_a_cell_that_is_no_text_costs_its_own_items_only(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"n,name\n1,a\n2,caf\xe9\n3,c\n4,d\n")
    code, records = finish(tmp_path, BAD_CELLS.replace("TABLE", "t.csv"), *words)
    assert code == 1
    assert by_job(records) == {
        "functions": [1, None, 3, 4],
        "commands": [["1 a"], None, ["3 c"], ["4 d"]],
        "pairs": [[1, 1], None, [1, 3], [1, 4], [2, 1], None, [2, 3], [2, 4]],
        "dealt": [1, None, 3, 4],
        "several": [None, 1],
        "picked": [None, 3, 4],
        "folders": [1, None, 3, 4],
    }
    for record in records:
        if record["status"] != "ok":
            assert (record["status"], record["error"]["type"]) == ("error", "BadInput")
            assert r"t.csv:3: 'caf\xe9' is not utf-8 (column 'name')" in record["error"]["message"]
            assert "encoding: latin-1" in record["error"]["message"]
            assert r"'name': <'caf\xe9' is not utf-8>" in record["input"]["repr"]


def test_only_rows_that_were_no_text_run_when_their_encoding_is_given(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"n,name\n1,a\n2,caf\xe9\n3,c\n")
    spec = 'map: "lambda n, name: name"\nover: {csv: TABLE}\n'
    assert finish(tmp_path, spec.replace("TABLE", "t.csv"), "--inline")[0] == 1
    # As it is, it is the same error once more: nobody has run that row.
    code, again = finish(tmp_path, spec.replace("TABLE", "t.csv"), "--inline", "--resume", "--explain")
    assert (code, [record.get("replayed", False) for record in again]) == (1, [True, False, True])
    mended = spec.replace("TABLE", "{path: t.csv, encoding: latin-1}")
    code, records = finish(tmp_path, mended, "--inline", "--resume")
    assert (code, [record["value"] for record in records]) == (0, ["a", "caf\u00e9", "c"])
    assert [record.get("replayed", False) for record in records] == [True, False, True]


def test_a_dry_run_shows_the_cells_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"n,name\n1,a\n2,caf\xe9\n3,c\n4,d\n")
    with running(tmp_path, BAD_CELLS.replace("TABLE", "t.csv"), "--dry-run", "--format", "text") as run:
        assert run.wait() == 0
    assert r"(n=2, name=<'caf\xe9' is not utf-8>)" in run.out.read_text()


def test_what_is_dealt_out_to_engines_has_no_item_that_could_be_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"n,name\n1,a\n2,caf\xe9\n")
    spec = 'setup: {scatter: {rows: {csv: t.csv}}}\nmap: "lambda x: rows"\nover: [1]\n'
    with running(tmp_path, spec, "--inline") as run:
        assert run.wait() == 2
    assert r"t.csv:3: 'caf\xe9' is not utf-8 (column 'name')" in run.said()
