"""``arcli cluster``: clusters that outlive a run, by the command itself and with ipcluster."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_queue import FakeQueue, fake_queue
from runs import MARK, PATIENCE, called, has_ended, marked, wait_until, words_of

from arcli import launchers
from arcli.cluster.named import Known, anew
from arcli.cluster.open import engine_count
from arcli.engine.flock import locked


class Shell:
    """Commands with an IPython folder of their own, and all that they start."""

    def __init__(self, folder: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.folder = folder
        self.security = folder / "ipython" / "profile_default" / "security"
        self.env = {**os.environ, "IPYTHONDIR": str(folder / "ipython"), MARK: self.mark}

    def run(self, module: str, *words: str) -> subprocess.CompletedProcess[str]:
        """``python -m MODULE WORDS…``, in the folder."""
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def arcli(self, *words: str, code: int = 0) -> str:
        """What a command has on stdout; it ends with this code and no traceback."""
        done = self.run("arcli", *words)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        self.said = done.stderr
        return done.stdout

    def json(self, *words: str, code: int = 0) -> Any:
        """The document that a command prints."""
        return json.loads(self.arcli(*words, "--format", "json", code=code))

    def engines(self, name: str = "arcli") -> list[dict[str, Any]]:
        """The engines of a cluster, once all have said where they are.

        A busy hub, or engine, may take longer for that than people wait.
        """

        def found() -> list[dict[str, Any]]:
            done = self.run("arcli", "cluster", "status", name, "--format", "json")
            engines: list[dict[str, Any]] = [] if done.returncode else json.loads(done.stdout)["engines"]
            return engines if all(engine["pid"] for engine in engines) else []

        answer: list[dict[str, Any]] = wait_until(found, name)
        return answer

    def processes(self) -> list[int]:
        """Everything that lives of what was started here."""
        return [process.pid for process in marked(self.mark)]

    def kill(self) -> None:
        """Kill everything that was started here, some of which may end while others are killed."""

        def is_empty() -> bool:
            processes = marked(self.mark)
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            return not processes

        wait_until(is_empty, lambda: str(self.processes()))


@contextmanager
def shell(folder: Path) -> Iterator[Shell]:
    """A shell whose processes are gone at the end."""
    one = Shell(folder)
    try:
        yield one
    finally:
        one.kill()


def test_a_cluster_from_start_to_stop(tmp_path: Path) -> None:
    with shell(tmp_path) as sh:
        assert sh.arcli("cluster", "start", "-n", "2").startswith("arcli: 2 engines at tcp://127")
        (row,) = wait_until(
            lambda: [row for row in sh.json("cluster", "list") if row["state"] == "running"]
        )
        assert (row["name"], row["engines"]) == ("arcli", 2)
        assert row["launcher"] == "local"
        # Whoever joins it, or is an engine of it, may have an older jupyter_client, without orjson.
        assert json.loads(Path(row["connection_file"]).read_bytes())["pack"] == "json"
        listed = sh.run("ipyparallel.cluster", "list").stdout.splitlines()
        assert listed[1].split()[:3] == ["default", "arcli", "True"]
        tables = wait_until(lambda: [text for text in [sh.arcli("cluster", "list")] if "running" in text])
        header, line = tables[0].splitlines()
        assert header.split() == ["NAME", "STATE", "ENGINES", "LAUNCHER", "ADDRESS"]
        assert line.split()[:4] == ["arcli", "running", "2", "local"]

        engines = sh.engines()
        assert [engine["engine"] for engine in engines] == [0, 1]
        assert {engine["pid"] for engine in engines} <= set(sh.processes())
        sh.arcli("cluster", "start", "-n", "1", code=3)
        assert "is running already" in sh.said

        (tmp_path / "spec.yaml").write_text("map: abs\nover: [-1, -2]\n")
        assert sh.json("run", "spec.yaml", "--cluster", "arcli")["run"]["engines"] == 2
        assert len(sh.engines("default:arcli")) == 2

        assert sh.arcli("cluster", "stop", "arcli") == "arcli: stopped\n"
        wait_until(lambda: not sh.processes(), lambda: str(sh.processes()))
        assert list(sh.security.glob("*.json")) == []
        assert sh.json("cluster", "list") == []
        sh.arcli("cluster", "status", "arcli", code=3)
        assert "there is no cluster 'arcli'" in sh.said


@pytest.fixture
def queue(tmp_path: Path) -> FakeQueue:
    """The commands of a batch system."""
    return fake_queue(tmp_path / "queue")


START_BATCH = ("cluster", "start", "--launcher", "slurm", "-n", "2", "--id", "big")


@pytest.mark.parametrize("controller", ["lives", "was killed"])
def test_a_batch_cluster_whose_job_has_ended_can_be_stopped(
    tmp_path: Path, queue: FakeQueue, controller: str
) -> None:
    with shell(tmp_path) as sh:
        sh.env |= {**queue.env, "SCANCEL_FAILS": "1"}
        sh.arcli(*START_BATCH)
        queue.end(101)
        if controller == "was killed":
            sh.kill()
        sh.arcli("cluster", "stop", "big")
        assert "big: job 101 may still be in the queue: `scancel 101` exited with status 1" in sh.said
        wait_until(lambda: not sh.processes(), lambda: str(sh.processes()))
        assert list(sh.security.glob("*.json")) == []


def test_a_cluster_is_stopped_also_where_scancel_hangs(tmp_path: Path, queue: FakeQueue) -> None:
    with shell(tmp_path) as sh:
        sh.env |= {**queue.env, "SCANCEL_HANGS": "1"}
        sh.arcli(*START_BATCH)
        controller = json.loads((sh.security / "cluster-big.json").read_bytes())["controller"]
        sh.arcli("cluster", "stop", "big")
        assert "big: job 101 may still be in the queue: `scancel 101` did not end within 20 s" in sh.said
        assert has_ended(controller["state"]["pid"])
        assert list(sh.security.glob("*.json")) == []


def test_a_cluster_that_was_killed_is_said_to_be_gone(tmp_path: Path) -> None:
    with shell(tmp_path) as sh:
        sh.arcli("cluster", "start", "-n", "1", "--id", "old")
        sh.kill()
        (row,) = sh.json("cluster", "list")
        assert (row["name"], row["state"], row["engines"]) == ("old", "gone", None)
        sh.arcli("cluster", "list")
        assert "`arcli cluster stop old` removes" in sh.said
        assert sh.json("cluster", "status", "old", code=3)["state"] == "gone"
        assert sh.arcli("cluster", "stop", "--all") == "old: was gone, files removed\n"
        assert list(sh.security.glob("*.json")) == []


def test_what_a_killed_controller_had_forked_ends_with_it(tmp_path: Path) -> None:
    with shell(tmp_path) as sh:
        sh.arcli("cluster", "start", "-n", "1")
        controller = json.loads((sh.security / "cluster-arcli.json").read_bytes())["controller"]["state"][
            "pid"
        ]
        engines = {engine["pid"] for engine in sh.engines()}
        assert len(sh.processes()) > 1 + len(engines)
        os.kill(controller, signal.SIGKILL)
        sh.arcli("cluster", "stop", "arcli")
        wait_until(lambda: not sh.processes(), lambda: str(sh.processes()))


def test_a_cluster_is_started_anew_without_the_engines_of_one_whose_controller_was_killed(
    tmp_path: Path,
) -> None:
    with shell(tmp_path) as sh:
        sh.arcli("cluster", "start", "-n", "1")
        cluster = json.loads((sh.security / "cluster-arcli.json").read_bytes())
        engines = {engine["pid"] for engine in sh.engines()}
        os.kill(cluster["controller"]["state"]["pid"], signal.SIGKILL)
        sh.arcli("cluster", "start", "-n", "1")
        assert not engines & {*sh.processes()}
        sh.arcli("cluster", "stop", "arcli")
        wait_until(lambda: not sh.processes(), lambda: str(sh.processes()))


def test_a_controller_ends_with_one_of_its_schedulers(tmp_path: Path) -> None:
    """What it is asked to bring would get lost, and nobody would hear of it."""
    with shell(tmp_path) as sh:
        sh.arcli("cluster", "start", "-n", "1")
        cluster = json.loads((sh.security / "cluster-arcli.json").read_bytes())
        controller = psutil.Process(cluster["controller"]["state"]["pid"])
        controller.children()[0].kill()
        wait_until(lambda: has_ended(controller.pid), lambda: str(sh.processes()))
        sh.arcli("cluster", "stop", "arcli")


def end_engines(sh: Shell, *, nannies: bool) -> None:
    """Kill the engines of a cluster ``old``, with the nannies that would tell the hub or without."""
    cluster = json.loads((sh.security / "cluster-old.json").read_bytes())
    (one,) = cluster["engines"]["sets"].values()
    engines = [psutil.Process(engine["pid"]) for engine in one["engines"].values()]
    doomed = [child for engine in engines for child in engine.children()] if nannies else []
    for process in [*doomed, *engines]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not {process.pid for process in engines} & {*sh.processes()})


@pytest.mark.parametrize("nannies", [True, False])
def test_a_run_need_not_wait_for_engines_that_have_ended(tmp_path: Path, nannies: bool) -> None:
    (tmp_path / "spec.yaml").write_text("cluster: {start_timeout: 1h}\nmap: abs\nover: [-1, -2]\n")
    with shell(tmp_path) as sh:
        sh.arcli("cluster", "start", "-n", "2", "--id", "old")
        # Without nannies the hub misses them only after a while: they are still registered.
        end_engines(sh, nannies=nannies)
        sh.arcli("run", "spec.yaml", "--cluster", "old", code=3)
        assert "old is dead, its engines have ended" in sh.said
        assert "`arcli cluster start --id old` starts one anew" in sh.said


def test_a_port_that_is_somebody_elses_by_now_is_no_cluster(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("cluster: {start_timeout: 1h}\nmap: abs\nover: [-1, -2]\n")
    with shell(tmp_path) as sh, socket.socket() as other:
        sh.arcli("cluster", "start", "-n", "1", "--id", "old")
        sh.kill()
        # Which port that is says the file: the one that the cluster had may be anybody's by now.
        other.bind(("127.0.0.1", 0))
        other.listen()
        file = sh.security / "ipcontroller-old-client.json"
        connection = json.loads(file.read_bytes())
        file.write_text(json.dumps({**connection, "registration": other.getsockname()[1]}))
        sh.arcli("run", "spec.yaml", "--cluster", "old", code=3)
        assert "old is dead, its controller has ended" in sh.said
        assert sh.json("cluster", "list")[0]["state"] == "gone"
        sh.arcli("cluster", "start", "-n", "1", "--id", "old")
        assert len(sh.engines("old")) == 1
        sh.arcli("cluster", "stop", "old")
        wait_until(lambda: not sh.processes(), lambda: str(sh.processes()))


def test_files_of_a_cluster_whose_processes_ids_are_others_now_end_nobody(tmp_path: Path) -> None:
    with shell(tmp_path) as sh, subprocess.Popen(["sleep", "300"], env=sh.env) as innocent:
        sh.security.mkdir(parents=True)
        state = {"pid": innocent.pid, "state": "running"}
        document = {
            "cluster": {"cluster_id": "old", "class": "ipyparallel.cluster.cluster.Cluster"},
            "controller": {"class": "local", "state": state},
            "engines": {"class": "local", "sets": {"1": {"engines": {"0": state}}}},
        }
        (sh.security / "cluster-old.json").write_text(json.dumps(document))
        assert sh.json("cluster", "list")[0]["state"] == "gone"
        assert sh.arcli("cluster", "stop", "old") == "old: was gone, files removed\n"
        assert innocent.poll() is None
        innocent.kill()


def write_files(sh: Shell, name: str, launcher: str = "local") -> Path:
    """Write the file of a cluster of which nothing runs; returns its path."""
    sh.security.mkdir(parents=True, exist_ok=True)
    document = {
        "cluster": {"cluster_id": name, "class": "ipyparallel.cluster.cluster.Cluster"},
        "controller": {"class": "local", "state": {}},
        "engines": {"class": launcher, "sets": {}},
    }
    path = sh.security / f"cluster-{name}.json"
    path.write_text(json.dumps(document))
    return path


def test_a_cluster_that_is_being_started_is_not_gone_and_left_alone(tmp_path: Path) -> None:
    with shell(tmp_path) as sh:
        file = write_files(sh, "new")
        log = sh.security.parent / "log" / "arcli-new.log"
        log.parent.mkdir()
        with log.open("ab") as held:
            assert locked(held.fileno())
            assert sh.json("cluster", "list")[0]["state"] == "starting"
            assert sh.arcli("cluster", "status", "new", code=3) == "new: starting\n"
            sh.arcli("cluster", "stop", "new", code=3)
            assert "new is being started" in sh.said
            assert file.exists()
        assert sh.json("cluster", "list")[0]["state"] == "gone"


def test_one_that_cannot_be_stopped_keeps_no_other_one(tmp_path: Path) -> None:
    with shell(tmp_path) as sh:
        write_files(sh, "a", "slurm").chmod(0o666)
        file = write_files(sh, "b")
        assert sh.arcli("cluster", "stop", "a", "nobody", "b", code=3) == "b: was gone, files removed\n"
        assert "can be written by other users" in sh.said
        assert "there is no cluster 'nobody'" in sh.said
        assert not file.exists()
        write_files(sh, "b")
        answer = sh.json("cluster", "stop", "--all", code=3)
        assert [row["name"] for row in answer["stopped"]] == ["b"]
        assert [row["name"] for row in answer["failed"]] == ["a"]


def test_what_could_not_be_started_is_told_in_words_and_with_its_own_log(tmp_path: Path) -> None:
    words = ["cluster", "start", "-n", "1", "--launcher", "slurm", "--id", "x", "--option"]
    command = "SlurmEngineSetLauncher.submit_command"
    with shell(tmp_path) as sh:
        sh.arcli(*words, f'{command}=["no-sbatch"]', code=3)
        assert "could not start it: there is no command 'no-sbatch'" in sh.said
        assert "hint: load the module that has no-sbatch" in sh.said
        assert "may" not in sh.said  # nothing was submitted
        sh.arcli(*words, f'{command}=["false"]', code=3)
        assert "could not start it: `false " in sh.said
        assert sh.said.count("Stopping controller") == 1


def test_late_engines_are_counted_when_they_are_looked_for(tmp_path: Path, queue: FakeQueue) -> None:
    with shell(tmp_path) as sh:
        sh.env |= {**queue.env, "SBATCH_SLEEP": "3"}
        sh.arcli(*START_BATCH, "--timeout", "1s")
        found = re.search(r"0 of 2 engines have come up within (\d+) s", sh.said)
        assert found is None or int(found[1]) >= 3
        assert "within 1 s" not in sh.said
        sh.arcli("cluster", "stop", "big")


@pytest.mark.parametrize(
    ("hosts", "asked", "count"),
    [({"a": 2, "b": {"n": 3}}, None, 5), ({"a": 2}, 1, 1), ({"a": 2}, 9, 2)],
)
def test_the_hosts_numbers_are_how_many_engines_there_are(
    hosts: dict[str, Any], asked: int | None, count: int
) -> None:
    ssh = launchers.named("ssh")
    assert ssh is not None
    assert engine_count(ssh, asked, {"SSHEngineSetLauncher.engines": hosts}) == count


@pytest.mark.parametrize(
    ("profile", "cluster_id", "words"),
    [("default", "", "cluster start --id ''"), ("gpu", "a", "cluster start --profile gpu --id a")],
)
def test_the_advice_for_a_dead_cluster_can_be_typed(profile: str, cluster_id: str, words: str) -> None:
    assert f"`arcli {words}`" in anew(Known(profile=profile, cluster_id=cluster_id, security=Path("x")))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["stop"], 2, "--all"),
        (["stop", "x", "--all"], 2, "--all"),
        (["stop", "x"], 3, "there is no cluster 'x'"),
        (["start", "-n", "1", "--launcher", "ssh", "--option", "SSHLauncher.hots=x"], 2, "hostname"),
        (["start", "--launcher", "ssh"], 2, "how many engines?"),
        (["start", "--launcher", "ssh", "--option", "SSHEngineSetLauncher.engines=2"], 2, "each host"),
        (["start", "-n", "1", "--python", "/nowhere/python"], 3, "cannot be started"),
        (["start", "-n", "1", "--id", "a:b"], 2, "'a:b' is no name"),
        (["start", "-n", "1", "--profile", "a/b"], 2, "'a/b' is no name"),
    ],
)
def test_what_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    ended, _, told = called(tmp_path, "cluster", *words)
    assert (ended, "Traceback" in told) == (code, False)
    assert said in told


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ('exec {python} -S -E "$@"', "cannot import ipyparallel"),
        ("{checked}; echo no GPU >&2; exit 3", "ended as soon as"),
    ],
)
def test_engines_that_cannot_start_are_no_cluster(tmp_path: Path, does: str, said: str) -> None:
    python = tmp_path / "python"
    checked = f'case "$2" in *find_spec*) exec {sys.executable} "$@";; esac'
    python.write_text(f"#!/bin/sh\n{does.format(python=sys.executable, checked=checked)}\n")
    python.chmod(0o755)
    with shell(tmp_path) as sh:
        sh.arcli("cluster", "start", "-n", "2", "--python", str(python), code=3)
        assert said in sh.said
        wait_until(lambda: not sh.processes(), lambda: str(sh.processes()))
        assert list(sh.security.glob("*.json")) == []


def test_one_cluster_is_started_once_at_a_time(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "arcli", "cluster", "start", "-n", "1"]
    with shell(tmp_path) as sh:
        starts = [
            subprocess.Popen(
                words, env=sh.env, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            for _ in range(2)
        ]
        said = [start.communicate(timeout=PATIENCE)[1].decode() for start in starts]
        assert sorted(start.returncode for start in starts) == [0, 3]
        assert any("already" in text for text in said)
        assert len(sh.engines()) == 1
        sh.arcli("cluster", "stop", "arcli")
        wait_until(lambda: not sh.processes(), lambda: str(sh.processes()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_start_that_is_asked_to_end_leaves_no_half_of_a_cluster(tmp_path: Path, number: int) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *find_spec*) exec {sys.executable} "$@";; esac\nexec sleep 600\n'
    )
    python.chmod(0o700)
    words = [sys.executable, "-m", "arcli", "cluster", "start", "-n", "1", "--python", str(python)]
    with shell(tmp_path) as sh:
        start = subprocess.Popen(words, env=sh.env, cwd=tmp_path, stderr=subprocess.PIPE)
        wait_until(lambda: any("sleep" in words_of(process) for process in marked(sh.mark)), "no engine")
        start.send_signal(number)
        start.communicate(timeout=PATIENCE)
        assert start.returncode == 128 + number
        wait_until(lambda: not sh.processes(), lambda: str(sh.processes()))
        assert sh.json("cluster", "list") == []


@pytest.mark.parametrize("nowhere", ["file", "file/below", "/proc/below"])
def test_no_cluster_is_started_where_nobody_would_find_it(tmp_path: Path, nowhere: str) -> None:
    (tmp_path / "file").touch()
    with shell(tmp_path) as sh:
        sh.env["IPYTHONDIR"] = str(tmp_path / nowhere)
        sh.arcli("cluster", "start", "-n", "1", code=3)
        assert "IPYTHONDIR may name another folder" in sh.said
        assert sh.json("cluster", "list") == []


def test_no_cluster_is_no_table(tmp_path: Path) -> None:
    with shell(tmp_path) as sh:
        assert sh.arcli("cluster", "list") == ""
        assert "no cluster is known" in sh.said
