"""What answers at once must not import what takes long."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from runs import PATIENCE

LOOKS = """
import atexit, json, sys

def tell(name="modules"):
    with open(name, "w") as file:
        json.dump(sorted(sys.modules), file)

def on_event(event, details):
    if event == "subprocess.Popen" and "arcli.cluster.embedded.supervisor" in details[1]:
        tell("modules_at_start")

atexit.register(tell)
sys.addaudithook(on_event)
sys.argv = json.loads(sys.argv[1])
from arcli.__main__ import main
main()
"""
SLOW = {"ipyparallel", "IPython", "zmq", "jupyter_client", "pydantic", "rich", "yaml", "asyncio"}
SLOW |= {"cloudpickle", "pyarrow", "papermill", "nbformat", "difflib", "importlib.metadata", "wcmatch"}


def imported(folder: Path, *words: str) -> set[str]:
    """The modules that a command line has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", LOOKS, json.dumps(["arcli", *words])],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert "Traceback" not in done.stderr
    return set(json.loads((folder / "modules").read_text()))


@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["run", "--help"], ["map", "--help"]])
def test_help_imports_nothing_slow(tmp_path: Path, words: list[str]) -> None:
    modules = imported(tmp_path, *words)
    assert "arcli.cli" in modules
    # Which ipyparallel it is only its metadata tells, without importing all of it.
    assert modules & SLOW <= ({"importlib.metadata"} if words == ["--version"] else set())
    assert ("arcli.cli.run" in modules) == (words[:1] in (["run"], ["map"]))


@pytest.mark.parametrize("words", [["run", "spec.yaml"], ["map", "echo {}", ":::", "1"]])
def test_a_cluster_starts_before_anything_slow_is_imported(tmp_path: Path, words: list[str]) -> None:
    """What engines are forked from takes longest to import, and this process has the time meanwhile."""
    (tmp_path / "spec.yaml").write_text("map: abs\nover: {range: 3}\n")
    imported(tmp_path, *words)
    modules = set(json.loads((tmp_path / "modules_at_start").read_text()))
    assert "arcli.cluster.embedded.supervisor_process" in modules
    assert modules & SLOW == set()


def test_checking_a_spec_does_without_engines(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("map: abs\nover: {range: 3}\n")
    modules = imported(tmp_path, "check", "spec.yaml")
    assert modules & {"ipyparallel", "IPython", "zmq", "rich"} == set()


@pytest.mark.parametrize("words", [["-q"], ["--format", "jsonl"]])
def test_a_run_that_shows_no_table_does_without_what_draws_them(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "spec.yaml").write_text("map: abs\nover: {range: 3}\n")
    modules = imported(tmp_path, "run", "spec.yaml", "-n", "1", *words)
    assert "arcli.execution.run" in modules
    unwanted = {"rich", "pyarrow", "papermill", "statistics", "ipyparallel.cluster", "psutil", "wcmatch"}
    assert modules & unwanted == set()


@pytest.mark.parametrize("words", [["runs"], ["report"], ["compare", "latest"], ["clean", "--help"]])
def test_looking_at_past_runs_does_without_engines_and_specs(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / ".arcli/runs/20260101-000000-0000").mkdir(parents=True)
    modules = imported(tmp_path, *words)
    assert f"arcli.cli.{words[0]}" in modules
    assert modules & (SLOW - {"rich", "importlib.metadata"}) == set()


def test_import_time_agrees(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "arcli", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "click" in names
    assert names & SLOW == set()
