"""The page for people who come from GNU parallel: each of its lines, held against that tool."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs import PATIENCE

PAGE = (Path(__file__).parents[1] / "docs" / "from-gnu-parallel.md").read_text("utf-8")
ROW = re.compile(r"^\| `(.+?)` \| `(.+?)` \|(.*)\|$", re.MULTILINE)
TABLES = re.findall(r"^\|(?!---).*$", re.sub(r"^.*\n\|---.*$", "", PAGE, flags=re.MULTILINE), re.MULTILINE)
ROWS = [tuple(cell.replace("\\|", "|") for cell in row) for row in ROW.findall(PAGE)]
FILES = {
    "names.txt": "ann\nbob\ncy\n",
    "sizes.txt": "1\n2\n3\n",
    "zeros": "a b\0c\0",
    "runs.csv": "size,seed\n10,1\n20,2\n",
    "runs.jsonl": '{"n": 1}\n{"n": 2}\n',
    "functions.sh": "f() { echo f $1; }\n",
    "d/a.txt": "",
    "model.py": "def score(x):\n    return x * x\n",
    "a.log": "text\n" * 100,
    "one two.wav": "sound",
    "bin/sim": '#!/bin/sh\necho sim "$@"\n',
    "bin/flac": '#!/bin/sh\ntest -s "$1"\n',
}
HAS_PARALLEL = shutil.which("parallel") is not None and shutil.which("jq") is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for program in (tmp_path / "bin").iterdir():
        program.chmod(0o755)
    return tmp_path


def ran(folder: Path, command: str) -> tuple[int, list[str], str]:
    """The exit code, the lines of stdout in their alphabet's order, and stderr."""
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**os.environ, "PATH": path, "HOME": str(folder)},
        capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, sorted(done.stdout.splitlines()), done.stderr


def test_every_line_of_the_tables_is_one_that_is_run() -> None:
    assert [line for line in TABLES if not ROW.match(line)] == []
    assert len(ROWS) == len(TABLES)


@pytest.mark.parametrize(("theirs", "ours", "note"), ROWS, ids=[ours for _, ours, _ in ROWS])
def test_a_line_of_the_table(folder: Path, theirs: str, ours: str, note: str) -> None:
    inline = (
        ours if " -j " in ours or "launcher" in ours else ours.replace("arcli map", "arcli map --inline")
    )
    code, out, err = ran(folder, inline)
    expected = re.search(r"<!-- exit (\d+) -->", note)
    assert code == (int(expected[1]) if expected else 0), err
    if HAS_PARALLEL and "<!-- differs -->" not in note:
        silent = f"mkdir -p .parallel; touch .parallel/will-cite; {theirs}"
        their_code, their_out, their_err = ran(folder, silent)
        assert out == their_out or (their_code and "not installed" in their_err)  # a module of Perl's


CONSOLE = re.search(r"```console\n(.*?)```", PAGE, re.DOTALL)


def test_the_first_lines_work(folder: Path) -> None:
    assert CONSOLE is not None
    for line in CONSOLE[1].splitlines():
        code, _, err = ran(folder, line.removeprefix("$ ").replace("arcli map", "arcli map --inline"))
        assert code == 0, (line, err)
    assert (folder / "a.log.gz").exists()
    assert (folder / "job.yaml").exists()
