"""A real Slurm of the test's own: munged, slurmctld and slurmd, one node, this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from runs import wait_until

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
SEARCH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=quick Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
PartitionName=closed Nodes={host} State=DOWN OverSubscribe=FORCE:4
"""


def missing() -> str | None:
    """Why there can be no Slurm here; None where there can."""
    absent = [name for name in NEEDED if shutil.which(name, path=SEARCH) is None]
    if absent:
        return f"no {absent[0]} here: apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "slurmd runs jobs as their users, which needs root"


@dataclass(frozen=True)
class Slurm:
    """A running Slurm; ``env`` makes its commands, and arcli, find it."""

    folder: Path
    env: dict[str, str]

    def jobs(self) -> list[tuple[str, str]]:
        """The ids and states of all jobs that are queued or running."""
        command = ["squeue", "--noheader", "--format=%i %T"]
        env = {**os.environ, **self.env}
        said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
        return [(job, state) for job, state in (line.split() for line in said.splitlines())]

    def said(self) -> str:
        """What its daemons logged."""
        return "\n".join(log.read_text("utf-8", "replace") for log in self.folder.glob("*.log"))


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in found]


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Start it, with all that it writes in ``folder``; ended by its processes' ids."""
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    for name in ("state", "spool"):
        (folder / name).mkdir(mode=0o755)
    host = socket.gethostname().partition(".")[0]
    conf = folder / "slurm.conf"
    user, cpus, ports = "root", os.cpu_count() or 1, _free_ports(2)
    conf.write_text(CONF.format(host=host, ports=ports, folder=folder, user=user, cpus=cpus))
    it = Slurm(folder, {"SLURM_CONF": str(conf), "PATH": SEARCH})
    files = [f"--{what}={folder}/munge.{what}" for what in ("socket",)]
    files += [f"--{what}-file={folder}/munge.{what}" for what in ("pid", "log", "seed")]
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={key}", *files],
        ["slurmctld", "-D", "-f", str(conf)],
        ["slurmd", "-D", "-f", str(conf), "-N", host],
    ]
    with ExitStack() as stack:
        for command in commands:
            stack.enter_context(_daemon(command, folder, it.env))
            if command[0] == "munged":
                wait_until((folder / "munge.socket").exists, it.said)
        wait_until(lambda: _idle(it), it.said)
        yield it


def _idle(it: Slurm) -> bool:
    command = ["sinfo", "--noheader", "--partition=quick", "--format=%T"]
    env = {**os.environ, **it.env}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done.stdout.strip() == "idle"


@contextmanager
def _daemon(command: list[str], folder: Path, env: dict[str, str]) -> Iterator[None]:
    name = shutil.which(command[0], path=SEARCH)
    assert name is not None
    with (folder / f"{command[0]}.out.log").open("wb") as log:
        process = subprocess.Popen(
            [name, *command[1:]],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
