"""Items behave as scripts do on every kind of cluster, and in arcli's own process."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import mpi
import pytest
import slurm
from foreign import foreign
from runs import Run

VARIABLES = {"PAGER": "less", "FORCE_COLOR": "", "TERM": "vt100", "IPYTHONDIR": "/nowhere"}
"""What a kernel sets for itself, and what arcli was called with."""
FILE = Path(__file__).parent / "habits.py"
HABITS = re.findall(r"^def (\w+)\(\):", FILE.read_text(), re.MULTILINE)
Results = tuple[Path, dict[str, dict[str, Any]]]


def ran(folder: Path, cluster: dict[str, Any], *words: str, **env: str) -> dict[str, dict[str, Any]]:
    """The record of each habit, in a run on this cluster."""
    shutil.copy(FILE, folder)
    spec = {"map": "habits.py:keep", "over": HABITS, "cluster": cluster}
    (folder / "spec.json").write_text(json.dumps(spec))
    variables = {"EXPECTED": json.dumps(VARIABLES), **VARIABLES, **env}
    run = Run(folder, ["run", "spec.json", "--format", "jsonl", *words], env=variables)
    run.wait()
    records = {record["input"]: record for record in run.lines() if "index" in record}
    assert len(records) == len(HABITS), run.said()
    return records


@contextmanager
def on_embedded(folder: Path) -> Iterator[Results]:
    yield folder, ran(folder, {"engines": 2})


@contextmanager
def on_local(folder: Path) -> Iterator[Results]:
    yield folder, ran(folder, {"engines": 2, "launcher": "local"})


@contextmanager
def on_inline(folder: Path) -> Iterator[Results]:
    yield folder, ran(folder, {}, "--inline")


@contextmanager
def on_mpi(folder: Path) -> Iterator[Results]:
    if why := mpi.missing():
        pytest.skip(why)
    cluster = {"engines": 2, "launcher": "mpi", "start_timeout": 90, "options": mpi.OPTIONS}
    yield folder, ran(folder, cluster, **mpi.ENV)


@contextmanager
def on_slurm(folder: Path) -> Iterator[Results]:
    if why := slurm.missing():
        pytest.skip(why)
    (folder / "slurm").mkdir()
    with slurm.slurm(folder / "slurm") as batch:
        yield folder, ran(folder, {"engines": 2, "launcher": "slurm", "start_timeout": 90}, **batch.env)


@contextmanager
def on_joined(folder: Path) -> Iterator[Results]:
    """Somebody else's engines: they have the environment that they were started with."""
    (folder / "theirs").mkdir()
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        variables = {**VARIABLES, "IPYTHONDIR": str(folder / "theirs" / "ipython")}
        for name, value in {**variables, "EXPECTED": json.dumps(variables)}.items():
            patch.setenv(name, value)
        theirs = stack.enter_context(foreign(folder / "theirs", 2))
        before = theirs.variables(*VARIABLES)
        records = ran(folder, {"connection_file": str(theirs.file)})
        theirs.pids()  # whoever has answered has taken leave of the run
        for pid in {record["value"][1] for record in records.values()}:
            (log,) = folder.rglob(f"log.{pid}.txt")
            assert log.read_text() == "file\n"
        assert theirs.variables(*VARIABLES) == before  # and find it again as it was
        for engine in theirs.engines:  # they go on, and end when their owner ends them
            os.kill(engine.pid, signal.SIGTERM)
            engine.wait()
        yield folder, records


CLUSTERS = [on_embedded, on_local, on_inline, on_mpi, on_slurm, on_joined]


@pytest.fixture(scope="module", params=CLUSTERS, ids=lambda cluster: cluster.__name__)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """The folder of a run, and the record of each habit."""
    with request.param(tmp_path_factory.mktemp("habits")) as results:
        yield results


@pytest.mark.parametrize("habit", HABITS)
def test_a_habit_of_scripts_is_kept(habit: str, results: Results) -> None:
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
    results: Results, request: pytest.FixtureRequest
) -> None:
    folder, records = results
    launched = request.node.callspec.params["results"] in (on_mpi, on_slurm)
    for engine in {record["value"][1] for record in records.values()}:
        (log,) = folder.rglob(f"log.{engine}.txt")
        assert log.read_text() == "file\n"
        if not launched:  # whose launchers end engines when it suits them
            (end,) = folder.rglob(f"end.{engine}.txt")
            assert sorted(end.read_text().split()) == ["atexit", "finally"]
