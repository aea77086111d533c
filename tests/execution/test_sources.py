"""Runs over inputs that are slow, noisy, wrong or in each other's way."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

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
