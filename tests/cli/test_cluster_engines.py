"""``arcli cluster exec|signal|restart|scale``: what is done to the engines of a cluster that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import PATIENCE, called, wait_until
from test_cluster_command import Shell, shell

from arcli.cluster import snippet


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A cluster of two engines; tests leave it with as many that are idle."""
    with shell(tmp_path_factory.mktemp("cluster")) as sh:
        sh.arcli("cluster", "start", "-n", "2")
        yield sh


def answers(sh: Shell, *words: str, code: int = 0) -> list[dict[str, Any]]:
    """What code comes to on each engine."""
    engines: list[dict[str, Any]] = sh.json("cluster", "exec", "arcli", *words, code=code)["engines"]
    return engines


def test_code_runs_among_the_names_of_each_engine(running: Shell) -> None:
    running.arcli("cluster", "exec", "arcli", "import os\nmine = {'x': 1}")
    (first, second) = answers(running, "print('hé'); mine['x'] + 41")
    assert (first["stdout"], first["value"], first["error"]) == ("hé\n", "42", None)
    assert second == {**first, "engine": second["engine"]}
    pids = {json.loads(answer["value"]) for answer in answers(running, "os.getpid()")}
    assert pids == {engine["pid"] for engine in running.engines()}
    name = second["engine"]
    assert (
        running.arcli("cluster", "exec", "arcli", "mine", "--targets", f"{name}") == f"{name}: {{'x': 1}}\n"
    )
    assert [answer["value"] for answer in answers(running, "None")] == [None, None]


def test_code_comes_from_a_file_and_what_it_raises_is_told(running: Shell) -> None:
    code = running.folder / "code.py"
    code.write_text("import sys\nprint('told', file=sys.stderr)\ndef f():\n    raise SystemExit(3)\nf()\n")
    done = running.run("arcli", "cluster", "exec", "arcli", "-f", str(code), "--targets", "0")
    assert (done.returncode, done.stdout) == (1, "")
    lines = [line.removeprefix("0: ") for line in done.stderr.splitlines()]
    assert lines[0] == "told"
    # From 3.13 on a line below the code may mark what of it was called.
    assert [line for line in lines[1:] if line.strip(" ~^")] == [
        "Traceback (most recent call last):",
        '  File "<exec>", line 5, in <module>', "    f()",
        '  File "<exec>", line 4, in f', "    raise SystemExit(3)",
        "SystemExit: 3",
    ]  # fmt: skip
    assert all("SyntaxError" in answer["error"] for answer in answers(running, "1 +", code=1))
    (running.folder / "latin.py").write_bytes(b"'\xe9'")
    for words, what in (
        (["-f", "latin.py"], "latin.py is no UTF-8"),
        (["-f", "missing.py"], "missing.py cannot be read"),
        (["1", "-f", str(code)], "give code"),
        ([], "give code"),
        (["1", "--targets", "7"], "engine 7"),
    ):
        running.arcli("cluster", "exec", "arcli", *words, code=2)
        assert what in running.said


def test_engines_that_are_at_something_are_named_and_a_signal_ends_it(running: Shell) -> None:
    words = [sys.executable, "-m", "arcli", "cluster", "exec", "arcli", "import time; time.sleep(600)"]
    with subprocess.Popen(
        words, env=running.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as waiting:
        wait_until(
            lambda: all(
                engine["waiting"] for engine in running.json("cluster", "status", "arcli")["engines"]
            )
        )
        running.arcli("cluster", "exec", "arcli", "1", "--timeout", "0.5s", code=3)
        assert "engines 0, 1 of arcli did not answer within 0.5 s" in running.said
        for verb in (["restart", "arcli"], ["scale", "arcli", "1"]):
            running.arcli("cluster", *verb, code=3)
            assert "have work" in running.said or "has work" in running.said
        running.arcli("cluster", "signal", "arcli", "NONSENSE", code=2)
        assert "there is no signal 'NONSENSE'" in running.said
        assert running.arcli("cluster", "signal", "arcli", "int") == "arcli: SIGINT sent to 2 engines\n"
        _, err = waiting.communicate(timeout=PATIENCE)
        assert waiting.returncode == 1
        assert err.count(b": KeyboardInterrupt") == 2
    assert [answer["value"] for answer in answers(running, "6 * 7")] == ["42", "42"]


def test_engines_become_more_and_fewer_and_new_ones(tmp_path: Path) -> None:
    with shell(tmp_path) as sh:
        sh.arcli("cluster", "start", "-n", "1", "--python", sys.executable)
        (first,) = sh.engines()
        assert sh.arcli("cluster", "scale", "arcli", "3") == "arcli: 3 engines\n"
        assert sh.arcli("cluster", "scale", "arcli", "3") == "arcli: 3 engines\n"
        assert first["pid"] in {engine["pid"] for engine in sh.engines()}
        # What came first stays, and ipyparallel's own commands know how many there are.
        assert sh.arcli("cluster", "scale", "arcli", "1") == "arcli: 1 engine\n"
        assert [engine["pid"] for engine in sh.engines()] == [first["pid"]]
        listed = sh.run("ipyparallel.cluster", "list").stdout.splitlines()
        assert listed[1].split()[:4] == ["default", "arcli", "True", "1"]
        assert sh.arcli("cluster", "restart", "arcli") == "arcli: 1 engine\n"
        (new,) = sh.engines()
        assert new["pid"] != first["pid"]
        assert sh.arcli("cluster", "scale", "arcli", "2") == "arcli: 2 engines\n"
        sh.arcli("cluster", "stop", "arcli")
        wait_until(lambda: not sh.processes(), lambda: str(sh.processes()))
        assert list(sh.security.glob("*.json")) == []


def test_what_another_user_may_have_written_is_not_acted_upon(running: Shell) -> None:
    for name in ("arcli-arcli.json", "cluster-arcli.json"):
        file = running.security / name
        mode = file.stat().st_mode
        file.chmod(0o666)
        for verb in (["restart"], ["scale", "5"], ["scale", "1"], ["signal", "INT"]):
            running.arcli("cluster", verb[0], "arcli", *verb[1:], code=3)
            assert "can be written by other users" in running.said
        file.chmod(mode)
    assert len(running.engines()) == 2


def test_engines_that_somebody_else_has_started_run_code_and_no_more(running: Shell) -> None:
    file = running.security / "cluster-arcli.json"
    file.rename(running.folder / file.name)
    try:
        assert [answer["value"] for answer in answers(running, "1")] == ["1", "1"]
        running.arcli("cluster", "scale", "arcli", "5", code=3)
        assert "has no cluster file" in running.said
    finally:
        (running.folder / file.name).rename(file)


def test_a_snippet_needs_no_engine() -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    out, err, value, error = json.loads(snippet.run("print(1)\nx = [2]\nx", names))
    assert (out, err, value, error) == ("1\n", "", "[2]", None)
    assert names["x"] == [2]
    assert json.loads(snippet.run("x.append(3)", names))[2] is None
    assert json.loads(snippet.run("", names)) == ["", "", None, None]
    assert "KeyboardInterrupt" in json.loads(snippet.run("raise KeyboardInterrupt", names))[3]
    assert json.loads(snippet.run("'\\ud800'", names))[2] == "'\\ud800'"


def test_a_controller_that_is_too_busy_for_a_client_is_told(
    running: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise TimeoutError("Hub connection request timed out")

    monkeypatch.setenv("IPYTHONDIR", running.env["IPYTHONDIR"])
    monkeypatch.setattr("arcli.cluster.asked.RawClient", refuse)
    code, _, said = called(running.folder, "cluster", "status", "arcli")
    assert code == 3
    assert "did not let a client in: Hub connection request timed out" in said
