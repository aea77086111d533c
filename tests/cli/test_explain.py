"""Why a resumed run keeps which items."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import Run

SPEC = """\
setup: {run: "offset = 1"}
jobs:
- {name: a, map: "f.py:f", over: {lines: in.txt}, kwargs: {k: 1}}
- {name: b, map: "lambda x: 1 / x", over: [1, 0]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "f.py").write_text("def f(x, k):\n    return x * k\n")
    (tmp_path / "in.txt").write_text("x\ny\n")
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 1
    return tmp_path


def explained(folder: Path, *words: str) -> list[str]:
    run = Run(folder, ["run", "spec.yaml", "--inline", "--resume", "--explain", "--dry-run", *words])
    assert run.wait() == 0, run.said()
    return [line.strip() for line in run.out.read_text().splitlines()[1:]]


def test_what_is_new_and_what_failed(folder: Path) -> None:
    assert explained(folder) == ["a: 2 items kept, 0 to run", "b: 2 items kept, 0 to run"]
    with (folder / "in.txt").open("a") as file:
        file.write("z\n")
    assert explained(folder, "--failed") == [
        "a: 2 items kept, 1 to run: 1 with a new input",
        "b: 1 item kept, 1 to run: 1 that failed before",
    ]
    run = Run(folder, ["run", "spec.yaml", "--inline", "--failed", "--explain", "--format", "jsonl"])
    assert run.wait() == 1
    for sentence in ("a: 2 items kept, 1 to run: 1 with a new input", "b: 1 item kept, 1 to run"):
        assert sentence in run.said(), "the run itself says the same"
    assert [record.get("replayed", False) for record in run.lines()] == [True, True, False, True, False]


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("k: 1", "k: 2", "the constants changed"),
        ("offset = 1", "offset = 2", "the setup changed"),
        ("f.py:f", "g.py:f", "the function changed"),
    ],
)
def test_what_has_changed_is_named(folder: Path, old: str, new: str, changed: str) -> None:
    (folder / "g.py").write_text((folder / "f.py").read_text())
    (folder / "spec.yaml").write_text(SPEC.replace(old, new))
    assert explained(folder)[0] == f"a: 0 items kept, 2 to run: {changed}"


def test_a_functions_file_that_changed_is_said_and_minded_when_asked_for(folder: Path) -> None:
    (folder / "f.py").write_text("def f(x, k):\n    return x + 'k'\n")
    told = explained(folder)[0]
    assert told == "a: 2 items kept, 0 to run; the function's file has changed, which --rerun-changed minds"
    assert explained(folder, "--rerun-changed") == [
        "a: 0 items kept, 2 to run: 2 that an older version of the function computed",
        "b: 2 items kept, 0 to run",
    ]


def test_it_is_told_what_the_earlier_run_has_and_not_yet_what_is_used(folder: Path) -> None:
    (folder / "spec.yaml").write_text(SPEC.replace("offset = 1", "offset = 2"))
    run = Run(folder, ["run", "spec.yaml", "--inline", "--resume", "--explain"])
    assert run.wait() == 1
    assert ", which has 4 results\n" in run.said()
    assert "a: 0 items kept, 2 to run: the setup changed" in run.said()


def test_explaining_is_about_resuming(folder: Path) -> None:
    run = Run(folder, ["run", "spec.yaml", "--explain"])
    assert run.wait() == 2
    assert "--explain is about what --resume or --failed keeps" in run.said()


FED = """\
jobs:
- {name: a, map: "lambda x: x * 10", over: [1, 2, 0]}
- {name: b, map: "lambda x: x + 1", over: {from: a}}
- {name: c, map: "lambda x: x", over: {python: "f.py:count"}}
"""


def test_items_that_are_kept_values_of_an_earlier_job_are_known(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(FED)
    (tmp_path / "f.py").write_text("def count():\n    yield 1\n")
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 0
    generator = "c: its items are what a generator yields, which only a run calls"
    assert explained(tmp_path) == ["a: 3 items kept, 0 to run", "b: 3 items kept, 0 to run", generator]
    (tmp_path / "spec.yaml").write_text(FED.replace("x + 1", "x + 2"))
    assert explained(tmp_path)[1] == "b: 0 items kept, 3 to run: the function changed"
    # As soon as one of them runs again, its value is not known.
    (tmp_path / "spec.yaml").write_text(FED.replace("[1, 2, 0]", "[1, 2, 5]"))
    assert explained(tmp_path)[:2] == [
        "a: 2 items kept, 1 to run: 1 with a new input",
        "b: its items are values of a, of which 1 item runs again: known in the run only",
    ]


def test_values_that_are_not_kept_exactly_run_again_for_a_job_that_reads_them(tmp_path: Path) -> None:
    text = """\
jobs:
- {name: a, map: "lambda x: {x}", over: [1, 2]}
- {name: b, map: "len", over: {from: a}}
"""
    (tmp_path / "spec.yaml").write_text(text)
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 0
    dry = explained(tmp_path)
    run = Run(tmp_path, ["run", "spec.yaml", "--inline", "--resume", "--explain", "--format", "jsonl"])
    assert run.wait() == 0
    assert dry[0] in run.said()
