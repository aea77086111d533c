"""Items behave as scripts do on an embedded cluster, a launched one, and in arcli's own process."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from runs import Run

LAUNCHERS = {
    "embedded": ["-n", "2"],
    "local": ["-n", "2", "--set", "cluster.launcher=local"],
    "inline": ["--inline"],
}
VARIABLES = {"PAGER": "less", "FORCE_COLOR": "", "TERM": "vt100", "IPYTHONDIR": "/nowhere"}
"""What a kernel sets for itself, and what arcli was called with."""
FILE = Path(__file__).parent / "habits.py"
HABITS = re.findall(r"^def (\w+)\(\):", FILE.read_text(), re.MULTILINE)


@pytest.fixture(scope="module", params=LAUNCHERS)
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, dict[str, Any]]]:
    """The folder of a run, and the record of each habit."""
    folder = tmp_path_factory.mktemp("habits")
    shutil.copy(FILE, folder)
    (folder / "spec.json").write_text(json.dumps({"map": "habits.py:keep", "over": HABITS}))
    words = ["run", "spec.json", "--format", "jsonl", *LAUNCHERS[request.param]]
    run = Run(folder, words, env={**VARIABLES, "EXPECTED": json.dumps(VARIABLES)})
    run.wait()
    return folder, {record["input"]: record for record in run.lines()}


@pytest.mark.parametrize("habit", HABITS)
def test_a_habit_of_scripts_is_kept(habit: str, results: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    record = results[1][habit]
    assert record["error"] is None
    assert record["value"][0] is True
    if habit == "printing":
        assert sorted(record["stdout"].split()) == ["buffer", "child", "descriptor", "print"]
    if habit == "rich_output":
        assert record["stdout"] == "{'a': [1, 2]}\n"
    if habit == "logs":
        assert record["stderr"] == "WARNING:mine:careful\n"


def test_files_are_written_and_functions_run_at_the_end(
    results: tuple[Path, dict[str, dict[str, Any]]],
) -> None:
    folder, records = results
    for engine in {record["value"][1] for record in records.values()}:
        assert (folder / f"log.{engine}.txt").read_text() == "file\n"
        ends = (folder / f"end.{engine}.txt").read_text().split()
        assert sorted(ends) == ["atexit", "finally"]
