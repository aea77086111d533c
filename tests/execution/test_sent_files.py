"""``setup: files``: brought to engines, never in the place of what is the user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from runs import Run

SPEC = """\
setup: {files: [config.txt, deep/er/s.sh]}
map: "lambda x: (open('config.txt').read(), __import__('os').popen('deep/er/s.sh').read())"
over: [1, 2]
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    (tmp_path / "proj" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "proj" / "spec.yaml").write_text(SPEC)
    (tmp_path / "proj" / "config.txt").write_text("the spec's")
    (tmp_path / "proj" / "deep" / "er" / "s.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "proj" / "deep" / "er" / "s.sh").chmod(0o755)
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"


def run(folder: Path, spec: str, *more: str) -> tuple[int, list[object], str]:
    run = Run(folder, ["run", spec, "-n", "2", "--format", "jsonl", *more])
    code = run.wait()
    return code, [record.get("value") for record in run.lines() if "index" in record], run.said()


def left(folder: Path) -> set[str]:
    return {found.name for found in folder.iterdir() if not found.name.startswith("std")}


@pytest.mark.parametrize("more", [[], ["--inline"]])
def test_what_engines_were_sent_runs_and_is_gone_afterwards(elsewhere: Path, more: list[str]) -> None:
    code, values, _ = run(elsewhere, "../proj/spec.yaml", *more)
    assert (code, values) == (0, [["the spec's", "ran\n"]] * 2)
    assert left(elsewhere) == {".arcli"}


def test_another_file_is_not_replaced(elsewhere: Path) -> None:
    (elsewhere / "config.txt").write_text("the user's")
    code, values, said = run(elsewhere, "../proj/spec.yaml")
    assert (code, values) == (2, [])
    assert "config.txt is another file" in said
    assert (elsewhere / "config.txt").read_text() == "the user's"
    assert not (elsewhere / "deep").exists()


def test_an_equal_file_stays_and_so_do_the_specs_own(elsewhere: Path) -> None:
    (elsewhere / "config.txt").write_text("the spec's")
    (elsewhere / "deep").mkdir()
    assert run(elsewhere, "../proj/spec.yaml")[0] == 0
    assert left(elsewhere) == {".arcli", "config.txt", "deep"}
    assert not list((elsewhere / "deep").iterdir())
    proj = elsewhere.parent / "proj"
    assert run(proj, "spec.yaml")[0] == 0
    assert (proj / "config.txt").exists()
    assert (proj / "deep" / "er" / "s.sh").exists()


def test_engines_that_come_late_leave_nothing_either(elsewhere: Path) -> None:
    """The items are done long before the last engine is there, and brings what it was sent."""
    (elsewhere.parent / "proj" / "deep" / "large").write_bytes(os.urandom(3_000_000))
    spec = "map: abs\nover: [1, 2]\nsetup: {files: [config.txt, deep/large]}\n"
    (elsewhere.parent / "proj" / "many.yaml").write_text(spec)
    for _ in range(4):
        assert run(elsewhere, "../proj/many.yaml", "-n", "16")[0] == 0
        assert left(elsewhere) == {".arcli"}
