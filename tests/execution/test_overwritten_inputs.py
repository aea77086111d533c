"""Outputs that the run itself reads are refused before anything is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs import PATIENCE, Run

DATA = '{"a": 1}\n{"a": 2}\n'
MAP = 'map: "lambda a: a"\nunpack: kwargs\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with data under several names, and a module."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text(DATA)
    (tmp_path / "link.jsonl").symlink_to("data/rows.jsonl")
    os.link(tmp_path / "data" / "rows.jsonl", tmp_path / "twin.jsonl")
    (tmp_path / "code.py").write_text("def f(a): return a\n")
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("over: {jsonl: data/rows.jsonl}\noutput: [data/../data/rows.jsonl]\n", []),
        ("over: {jsonl: link.jsonl}\noutput: [data/rows.jsonl]\n", []),
        ("over: {jsonl: data/rows.jsonl}\noutput: [twin.jsonl]\n", []),
        ("over: {jsonl: data/rows.jsonl}\n", ["-o", "link.jsonl"]),
        ("over: {product: {a: {glob: 'data/*'}}}\n", ["-o", "data/rows.jsonl"]),
        ("over: {glob: '*/'}\n", ["-o", "data/rows.jsonl"]),
        ("over: {product: {a: {lines: twin.jsonl}}}\noutput: [data/rows.jsonl]\n", []),
        ("over: [1]\noutput: [{path: spec.yaml, format: jsonl}]\n", []),
    ],
)
def test_it_is_an_error_and_nothing_is_touched(folder: Path, spec: str, words: list[str]) -> None:
    (folder / "spec.yaml").write_text(MAP + spec)
    run = Run(folder, ["run", "spec.yaml", "--inline", *words])
    assert run.wait() == 2
    assert "an input of job 'spec'" in run.said() or "the spec itself" in run.said()
    assert (folder / "data" / "rows.jsonl").read_text() == DATA
    assert (folder / "spec.yaml").read_text() == MAP + spec
    assert not (folder / ".arcli").exists()


def test_neither_standard_input_nor_code_is_overwritten(folder: Path) -> None:
    (folder / "spec.yaml").write_text(MAP + "over: {stdin: jsonl}\n")
    rows = folder / "data" / "rows.jsonl"
    run = Run(folder, ["run", "spec.yaml", "--inline", "-o", "link.jsonl"], stdin=rows)
    assert (run.wait(), rows.read_text()) == (2, DATA)
    (folder / "spec.yaml").write_text(
        "map: code.py:f\nover: [1]\noutput: [{path: code.py, format: text}]\n"
    )
    run = Run(folder, ["run", "spec.yaml", "--inline"])
    assert run.wait() == 2
    assert "code.py is code of job 'spec'" in run.said()


def test_what_is_printed_is_not_read(folder: Path) -> None:
    """With `>>` into its own input a run would never end."""
    rows = folder / "data" / "rows.jsonl"
    (folder / "spec.yaml").write_text(MAP + "over: {jsonl: link.jsonl}\n")
    words = [sys.executable, "-m", "arcli", "run", "spec.yaml", "--inline"]
    for name, code in (("data/rows.jsonl", 2), ("twin.jsonl", 2), ("spec.yaml", 2), ("other", 0)):
        with (folder / name).open("a") as stdout:
            done = subprocess.run(
                words, cwd=folder, stdout=stdout, stderr=subprocess.PIPE, timeout=PATIENCE, check=False
            )
        assert done.returncode == code, done.stderr
        assert code == 0 or b"stdout is " in done.stderr
    assert rows.read_text() == DATA
    assert "a=2" in (folder / "other").read_text()


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        ("{scatter: {x: {jsonl: link.jsonl}}}", "what x is scattered from"),
        ("{files: [twin.jsonl]}", "a file of the setup"),
    ],
)
def test_what_engines_are_set_up_with_is_not_overwritten(folder: Path, setup: str, words: str) -> None:
    spec = f"{MAP}over: [{{a: 1}}]\nsetup: {setup}\n"
    (folder / "spec.yaml").write_text(spec + "output: [data/rows.jsonl]\n")
    run = Run(folder, ["run", "spec.yaml", "--inline"])
    assert run.wait() == 2
    assert f"data/rows.jsonl is {words}" in run.said()
    (folder / "spec.yaml").write_text(spec)
    run = Run(folder, ["run", "spec.yaml", "--inline", "-o", "data/rows.jsonl"])
    assert run.wait() == 2
    assert f"data/rows.jsonl is {words}" in run.said()
    assert (folder / "data" / "rows.jsonl").read_text() == DATA


def test_another_file_is_written(folder: Path) -> None:
    (folder / "spec.yaml").write_text(MAP + "over: {jsonl: data/rows.jsonl}\noutput: [data/out.jsonl]\n")
    assert Run(folder, ["run", "spec.yaml", "--inline"]).wait() == 0
    assert (folder / "data" / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ("{glob: '*.{nope,none}'}", "no file matches '*.{nope,none}'"),
        ("{glob: '~/no-such-folder-*'}", "no file matches"),
        ("{range: 3, where: 'item > 5'}", "there are no items, or where left none"),
        ("{jsonl: {path: data/rows.jsonl, where: 'a > 5'}}", "there are no items, or where left none"),
        ("{product: {b: {jsonl: data/rows.jsonl, where: {a: 5}}, c: [1]}}", "or where left none"),
        ("{product: {a: [1, 2]}, exclude: [{a: 1}, {a: 2}]}", "or exclude left none"),
    ],
)
def test_no_items_are_told_with_their_reason_quiet_or_not(folder: Path, over: str, reason: str) -> None:
    (folder / "spec.yaml").write_text(f'map: "lambda **k: k"\nunpack: kwargs\nover: {over}\n')
    run = Run(folder, ["run", "spec.yaml", "--inline", "-q"])
    assert run.wait() == 0
    assert reason in run.said()
    (folder / "spec.yaml").write_text(f"map: repr\nover: {over}\nallow_empty: true\n")
    run = Run(folder, ["run", "spec.yaml", "--inline", "-q"])
    assert (run.wait(), run.said()) == (0, "")
    (folder / "spec.yaml").write_text(f"map: repr\nover: {over}\nallow_empty: false\n")
    assert Run(folder, ["run", "spec.yaml", "--inline", "-q"]).wait() == 2
