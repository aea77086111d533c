"""A spec is one, wherever it is called from; and its old runs go by what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runs import Run, running, wait_until

from arcli.errors import UsageError
from arcli.store.clean import Policy, policy_from


def arcli(folder: Path, *words: str, code: int = 0, **more: Any) -> str:
    run = Run(folder, list(words), **more)
    assert run.wait() == code, run.said()
    return run.out.read_text() + run.said()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Where a spec is, and where nothing is."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "spec.yaml").write_text("map: len\nover: {lines: in.txt}\n")
    (here / "in.txt").write_text("a\nb\n")
    return here, there


def test_runs_reports_and_resuming_mean_the_spec(folders: tuple[Path, Path]) -> None:
    here, there = folders
    arcli(here, "run", "spec.yaml", "--inline", "-q")
    (first,) = (here / ".arcli" / "runs").iterdir()
    listed = json.loads(arcli(there, "runs", "../here/spec.yaml", "--format", "json"))
    assert [run["id"] for run in listed["runs"]] == [first.name]
    assert first.name in arcli(there, "report", "../here/spec.yaml")
    assert first.name in arcli(there, "show", first.name, "0")
    with (here / "in.txt").open("a") as file:
        file.write("ccc\n")
    words = ["run", str(here / "spec.yaml"), "--inline", "--format", "jsonl", "--resume"]
    for folder, kept in ((there, [True, True, False]), (here, [True, True, True])):
        run = Run(folder, words)
        assert run.wait() == 0
        assert [record.get("replayed", False) for record in run.lines()] == kept
    assert len(json.loads(arcli(here, "runs", "spec.yaml", "--format", "json"))["runs"]) == 3


def test_two_crons_from_two_folders_meet_in_one_lock(tmp_path: Path) -> None:
    (tmp_path / "cron").mkdir()
    spec = "map: \"lambda x: __import__('time').sleep(120)\"\nover: [1]\n"
    with running(tmp_path, spec, "--inline", "--no-overlap") as run:
        wait_until(lambda: list((tmp_path / ".arcli/runs").glob("2*/state.json")), run.said)
        words = ["run", "../spec.yaml", "--inline", "--no-overlap"]
        assert "is locked by process" in arcli(tmp_path / "cron", *words, code=75)


def test_old_runs_of_the_spec_go_when_one_has_ended(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("map: abs\nover: [1]\nkeep: {runs: 2}\n")
    (tmp_path / "b.yaml").write_text("map: abs\nover: [1]\n")
    for _ in range(3):
        arcli(tmp_path, "run", "a.yaml", "--inline", "-q")
    arcli(tmp_path, "run", "b.yaml", "--inline", "-q")
    runs = json.loads(arcli(tmp_path, "runs", "--format", "json"))["runs"]
    assert [run["name"] for run in runs] == ["b", "a", "a"]
    arcli(tmp_path, "run", "b.yaml", "--inline", "-q", env={"ARCLI_KEEP": "1"})
    runs = json.loads(arcli(tmp_path, "runs", "--format", "json"))["runs"]
    assert [run["name"] for run in runs] == ["b", "a", "a"]


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", None),
        ("20", Policy(keep=20)),
        ("30d", Policy(older_than=30 * 86400.0)),
        ("runs=20, age=2h", Policy(keep=20, older_than=7200.0)),
    ],
)
def test_what_the_environment_says_of_keeping(text: str, policy: Policy | None) -> None:
    assert policy_from({"ARCLI_KEEP": text}) == policy


@pytest.mark.parametrize("text", ["x", "0", "runs=2d", "-1", "age=", "much=3"])
def test_what_says_nothing_of_keeping(text: str) -> None:
    with pytest.raises(UsageError, match="says not what to keep"):
        policy_from({"ARCLI_KEEP": text})


def test_what_says_nothing_of_keeping_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("map: abs\nover: [1]\nsetup: {imports: [nosuch]}\n")
    run = Run(tmp_path, ["run", "a.yaml", "--inline"], env={"ARCLI_KEEP": "nonsense"})
    assert run.wait() == 2
    assert "ARCLI_KEEP='nonsense' says not what to keep" in run.said()
    assert not list(tmp_path.glob(".arcli/runs/*"))
