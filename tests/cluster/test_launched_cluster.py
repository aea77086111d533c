"""ipyparallel's launchers, with a real Slurm, a real MPI and a real SSH on this machine."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mpi
import psutil
import pytest
import slurm
import sshd
from fake_queue import fake_queue
from runs import PATIENCE, Run, each_once, has_ended, running, wait_until, words_of

KILLS_ONCE = """
setup:
  imports: [os, time]
  run: |
    def f(x):
        if x == 3 and not os.path.exists("killed"):
            open("killed", "w").close()
            os.kill(os.getpid(), 9)
        time.sleep(0.01)
        return x
jobs:
- {name: map, map: f, over: {range: 40}}
- {name: all, apply: os.getpid}
"""
RANKS = """jobs:
- name: ranks
  apply: "lambda: [(c := __import__('mpi4py.MPI').MPI.COMM_WORLD).rank, c.allreduce(1)]"
"""
STUCK = 'setup: {imports: [time]}\nmap: "lambda x: time.sleep(300 if x else 0)"\nover: {range: 9}\n'


def spec(launcher: str, job: str, options: dict[str, Any] | None = None, **keys: Any) -> str:
    """A spec on a launcher, with its options."""
    cluster = {"launcher": launcher, "start_timeout": 90, "options": options or {}, **keys}
    return f"cluster: {json.dumps(cluster)}\n{job}"


def left_of(run: Run) -> list[str]:
    """What is left in the folder of a run's cluster: its log, and no keys."""
    (folder,) = (run.folder / ".arcli" / "runs").glob("*/cluster")
    assert folder.stat().st_mode & 0o077 == 0
    return sorted(path.name for path in folder.iterdir())


def of_job(run: Run, name: str) -> list[dict[str, Any]]:
    """The records of one job."""
    return [record for record in run.lines() if record.get("job") == name]


def launching(run: Run) -> psutil.Process:
    """The process that starts a run's cluster."""
    children = psutil.Process(run.process.pid).children()  # not what they are about to start themselves
    (launcher,) = (child for child in children if "arcli.cluster.launched.launcher" in words_of(child))
    return launcher


# -- Slurm ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Slurm]:
    """One Slurm for all tests."""
    if why := slurm.missing():
        pytest.skip(why)
    with slurm.slurm(tmp_path_factory.mktemp("slurm")) as started:
        yield started


def test_slurm_runs_the_same_spec_and_replaces_an_engine_that_dies(
    batch: slurm.Slurm, tmp_path: Path
) -> None:
    asks = "os.environ['SLURM_JOB_ID'], os.environ['COLOUR'], os.environ['OMP_NUM_THREADS']"
    job = f'{KILLS_ONCE}- {{name: asks, apply: "lambda: ({asks})"}}\n'
    queue = {"SlurmEngineSetLauncher.queue": "quick"}
    text = spec("slurm", job, queue, env={"COLOUR": "blue"}, threads_per_engine=3)
    with running(tmp_path, text, env=batch.env) as run:
        assert run.wait() == 0, run.said()
        assert each_once(of_job(run, "map"), 40)
        first, second = (record["value"] for record in of_job(run, "asks"))
        assert first[1:] == second[1:] == ["blue", "3"]
        assert first[0] != second[0]  # the other engine's job could not be made larger
        engines = run.manifest()["engines"]
        assert sorted(engine["engine_id"] for engine in engines) == [0, 1, 2]
        assert sorted(engine["slot"] for engine in engines) in ([0, 0, 1], [0, 1, 1])
        assert left_of(run) == ["launching.log", "slurm.batch"]
        assert run.said().count("\n") < 40  # nothing of ipyparallel's
    wait_until(lambda: not batch.jobs(), batch.said)


def test_a_run_that_is_killed_leaves_no_job_in_the_queue(batch: slurm.Slurm, tmp_path: Path) -> None:
    with running(tmp_path, spec("slurm", STUCK), env=batch.env) as run:
        wait_until(run.lines, run.said)
        run.signal(signal.SIGKILL)
        run.wait()
        wait_until(lambda: not batch.jobs(), batch.said)
        assert left_of(run) == ["launching.log", "slurm.batch"]


def test_engines_end_by_themselves_where_nobody_can_cancel_their_job(
    batch: slurm.Slurm, tmp_path: Path
) -> None:
    heart = {"IPEngine.max_heartbeat_misses": 10}
    job = 'setup: {imports: [time]}\nmap: "lambda x: time.sleep(0.1)"\nover: {range: 9000}\n'
    with running(tmp_path, spec("slurm", job, heart), env=batch.env) as run:
        wait_until(run.lines, run.said)
        launching(run).kill()
        assert run.wait() == 3
        assert "the process that started the cluster is gone" in run.said()
        assert "Traceback" not in run.said()
    wait_until(lambda: not batch.jobs(), batch.said)


def test_a_queue_that_never_runs_the_job_ends_the_run_in_time(batch: slurm.Slurm, tmp_path: Path) -> None:
    closed = {"SlurmEngineSetLauncher.queue": "closed"}
    text = spec("slurm", STUCK, closed, start_timeout=12)
    with running(tmp_path, text, env=batch.env) as run:
        assert run.wait() == 3
        late = ("the controller did not start", "0 of 2 engines came up by launcher: slurm")
        assert any(f"{what} within 12 s" in run.said() for what in late)
    wait_until(lambda: not batch.jobs(), batch.said)


def test_engines_that_the_queue_holds_back_are_used_when_they_come(
    batch: slurm.Slurm, tmp_path: Path
) -> None:
    template = """#!/bin/sh
#SBATCH --ntasks={n}
srun --ntasks=1 --overlap {program_and_args} &
while [ ! -e go ]; do sleep 0.1; done
srun --ntasks=1 --overlap {program_and_args} &
wait
"""
    job = """
setup: {imports: [os, time]}
map: "lambda x: time.sleep(0.05) or os.getpid()"
over: {range: 4000}
halt: now
max_failures: 1
"""
    options = {"SlurmEngineSetLauncher.batch_template": template}
    text = spec("slurm", job, options, start_timeout=40, min_engines=1)
    with running(tmp_path, text, env=batch.env) as run:
        wait_until(run.lines, run.said)
        assert len({record["value"] for record in run.lines()}) == 1
        (tmp_path / "go").touch()
        wait_until(lambda: len({record["value"] for record in run.lines()}) == 2, run.said)
        run.signal(signal.SIGTERM)
        assert run.wait() == 143
    wait_until(lambda: not batch.jobs(), batch.said)


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("FAILS", "`scancel 101` exited with status 1 and said: scancel: error: Invalid job id specified"),
        ("HANGS", "`scancel 101` did not end within 20 s"),
    ],
)
def test_a_job_that_cannot_be_cancelled_is_told(tmp_path: Path, does: str, says: str) -> None:
    queue = fake_queue(tmp_path / "queue")
    text = spec("slurm", "map: abs\nover: [-1]\n")
    with running(tmp_path, text, env={**queue.env, f"SCANCEL_{does}": "1"}) as run:
        assert run.process.wait(PATIENCE) == 0, run.said()
        assert f"job 101 may still be in the queue: {says}" in run.said()
        assert ("still being stopped, 10 s on" in run.said()) == (does == "HANGS")
        assert left_of(run) == ["launching.log", "slurm.batch"]
        assert queue.cancelled() == ["101"]


# -- MPI ------------------------------------------------------------------------------------


def test_mpi_engines_are_ranks_of_one_world_and_replaced_when_mpiexec_ends_them(
    tmp_path: Path,
) -> None:
    if why := mpi.missing():
        pytest.skip(why)
    job = KILLS_ONCE.replace("jobs:\n", RANKS)
    with running(tmp_path, spec("mpi", job, mpi.OPTIONS), env=mpi.ENV) as run:
        assert run.wait() == 0, run.said()
        ranks = [(r["slot"], *r["value"]) for r in of_job(run, "ranks")]
        assert ranks == [(0, 0, 2), (1, 1, 2)]
        assert each_once(of_job(run, "map"), 40)
        assert [record["slot"] for record in of_job(run, "all")] == [0, 1]


def test_a_launcher_that_was_stopped_leaves_nothing_when_arcli_is_killed(tmp_path: Path) -> None:
    """The kernel wakes it; nobody else would."""
    if why := mpi.missing():
        pytest.skip(why)
    with running(tmp_path, spec("mpi", STUCK, mpi.OPTIONS), env=mpi.ENV) as run:
        wait_until(run.lines, run.said)
        launching(run).suspend()
        run.signal(signal.SIGKILL)
        run.process.wait()
        wait_until(lambda: not run.relatives(), lambda: f"left behind: {run.relatives()}")


# -- SSH ------------------------------------------------------------------------------------


def test_ssh_starts_engines_on_other_hosts(tmp_path: Path) -> None:
    if why := sshd.missing():
        pytest.skip(why)
    there = tmp_path / "there"
    there.mkdir()
    with sshd.sshd(there) as server:
        job = "setup: {imports: [os]}\napply: \"lambda: (os.environ['COLOUR'], os.getpid())\"\n"
        text = spec("ssh", job, server.options(1), engines=1, env={"COLOUR": "blue"})
        with running(tmp_path, text, "-n", "1") as run:
            assert run.wait() == 0, run.said()
            values = [record["value"] for record in run.lines()]
            assert [colour for colour, _ in values] == ["blue"]
            wait_until(lambda: all(has_ended(pid) for _, pid in values))
        keys = [path for path in there.rglob("*.json") if "ipcontroller" in path.name]
        assert keys == []  # connections travel in the environment


# -- what cannot be started -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("launcher", "options", "code", "words"),
    [
        ("slurm", {"SlurmEngineSetLauncher.queu": "x"}, 2, "did you mean 'queue'?"),
        ("slurm", {"SlurmEngineLauncher.queue": "x"}, 2, "SlurmEngineSetLauncher"),
        ("mpi", {"MPIEngineSetLauncher.mpi_cmd": ["no-mpiexec"]}, 3, "no command 'no-mpiexec'"),
        ("slurm", {"SlurmEngineSetLauncher.submit_command": ["false"]}, 3, "status 1"),
        ("slurm", {"SlurmEngineSetLauncher.batch_template_file": "/no/file"}, 3, "directory: '/no/file'"),
        ("mpi", {"HeartMonitor.period": "soon"}, 3, "expected an int"),
    ],
)
def test_what_cannot_be_started_is_said_in_words(
    tmp_path: Path, launcher: str, options: dict[str, Any], code: int, words: str
) -> None:
    with running(tmp_path, spec(launcher, STUCK, options)) as run:
        assert run.wait() == code
        assert words in run.said()
        # What arcli says itself, the log of a controller aside: that may end in any way.
        lines = [line for line in run.said().splitlines() if not line.startswith("ipcontroller-")]
        assert not any("Traceback" in line for line in lines)
        assert left_of(run)[0] == "launching.log"


def test_a_launcher_whose_program_is_missing_is_told_with_what_to_do(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    text = spec("slurm", "map: abs\nover: [-1]\n")
    with running(tmp_path, text, env={"PATH": str(empty)}) as run:
        assert run.wait() == 3
        told = [line for line in run.said().splitlines() if line.startswith(("arcli: ", "hint: "))]
        assert told[0] == "arcli: no cluster: launcher: slurm: there is no command 'sbatch'"
        assert told[1].startswith("hint: load the module that has sbatch")
        assert "ipcontroller" not in run.said()


def test_a_batch_system_must_be_told_how_many(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(spec("slurm", STUCK))
    run = Run(tmp_path, ["run", "spec.yaml"])
    assert run.wait() == 2
    assert "how many engines" in run.said()
