"""The supervisor's process as its client starts it, and how many engines it should have.

It is cheap to import, for it is the first to start: what the supervisor imports takes longer than all that
arcli itself must do before it needs engines, so it should be on its way before the spec is even read.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from arcli.cluster.embedded import private_folder
from arcli.cluster.embedded.private_folder import MARK
from arcli.cluster.processes import wake_when_orphaned
from arcli.engine.flock import locked
from arcli.errors import ClusterError

LAST_WORDS = 5.0
"""Seconds that the supervisor has to end the cluster before it is killed itself."""
WAVE = 8
"""Engines that are started at a time: more would only take the first ones' time."""
SCARCE = {
    errno.EMFILE: "ulimit -n allows more open files in a process",
    errno.ENFILE: "the whole system has too many open files",
    errno.EAGAIN: "ulimit -u, or a container's limit, allows more processes",
    errno.ENOMEM: "free memory, or allow more of it: ulimit -v",
}
"""What to do where the system has none left of what a process takes."""
ANOTHER_CLUSTERS = {"IPP_CONNECTION_INFO", "IPP_PROFILE_DIR", "IPP_CLUSTER_ID"}
"""What an engine has in its environment, where arcli itself is what an engine runs."""
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


def thread_limits(threads: int | None) -> dict[str, str]:
    """Return how many threads numerical libraries may have on an engine, as environment variables.

    None: what is set where arcli was called, and one where nothing is.
    """
    return {name: str(threads or os.environ.get(name, 1)) for name in THREAD_LIMITS}


class Settings(NamedTuple):
    """What is settled when a supervisor starts: it brings up a controller and engines by itself.

    ``python`` is the interpreter of engines that start afresh, None for forks of the supervisor;
    ``first_id`` the first engine's id, for ids are never used twice in a run. ``threads`` and
    ``env`` are in place before anything is imported: libraries read them only once.
    """

    engines: int
    threads: int | None = None
    env: Mapping[str, str] = {}
    python: str | None = None
    first_id: int = 0


def start_beside(
    module: str, folder: Path, *arguments: str, log: BinaryIO, env: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a module of arcli's that outlives this process by as long as it takes to tidy up.

    Its arguments are the descriptor of its end of a connection, ``folder`` and ``arguments``; ``log``
    takes what it and all that it starts print. Returns the process and this end of the connection. Raises
    ClusterError where the system starts no process.
    """
    inherited = {name: os.environ[name] for name in os.environ if name not in ANOTHER_CLUSTERS}
    command = [sys.executable, "-P", "-m", module]  # -P: a file in the working folder is no module
    with ExitStack() as on_failure:
        try:
            # Its end of the pair is all that ties it to this process: when that closes, it leaves nothing.
            connection, theirs = socket.socketpair()
            on_failure.enter_context(connection)
            with theirs:
                process = subprocess.Popen(
                    [*command, str(theirs.fileno()), str(folder), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[theirs.fileno()],
                    env={**inherited, **env, MARK: str(folder)},
                    start_new_session=True,  # Ctrl-C in the terminal is arcli's to handle
                    # Before anything else: it may be stopped while it still imports, and arcli killed.
                    preexec_fn=wake_when_orphaned,
                )
        except OSError as error:
            raise not_started(error) from error
        on_failure.pop_all()
    return process, connection


def not_started(error: OSError) -> ClusterError:
    """Return the error of a cluster whose first process could not be started, with what to do about it."""
    name = f" {error.filename}:" if error.filename else ""
    return ClusterError(
        f"no cluster: its first process cannot be started:{name} {error.strerror}",
        hint=SCARCE.get(error.errno or 0),
    )


class SupervisorProcess:
    """A supervisor with a private ``folder``; its events, and its commands, on ``connection``.

    ``used`` is to be set once it may have met anything of the user's. Raises ClusterError where it cannot
    be started, and then leaves nothing.
    """

    def __init__(self, settings: Settings) -> None:
        # The first engines come up by themselves, so that nobody has to ask for them; the others are
        # asked for as these come up.
        self.used = False
        self.settings = settings
        self.folder = private_folder.create()
        request = {
            "engines": min(settings.engines, WAVE),
            "python": settings.python,
            "first_id": settings.first_id,
        }
        try:
            log_fd = os.open(self.folder / "supervisor.log", os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(log_fd, "wb") as log:
                # Held for as long as the supervisor lives: see private_folder.find_stale.
                locked(log.fileno())
                self.process, self.connection = start_beside(
                    "arcli.cluster.embedded.supervisor",
                    self.folder,
                    json.dumps(request),
                    log=log,
                    env={**thread_limits(settings.threads), **settings.env},
                )
        except BaseException as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise not_started(error) from error
            raise

    def send(self, line: bytes) -> None:
        """Give a command. Its death is noticed where events are read."""
        with suppress(OSError):
            self.connection.sendall(line)

    def receive(self) -> bytes:
        """Return what it has sent; empty when it is gone, however it went."""
        try:
            return self.connection.recv(65536)
        except OSError:  # killed with something unread: the connection is reset, not closed
            return b""

    def close(self) -> None:
        """End it and all that it started; returns when nothing is left."""
        # One that has met nothing of the user's may still be importing, and nothing can have hidden
        # from it: it need not be asked.
        if not self.used and sys.platform == "linux":
            self._kill()
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LAST_WORDS)
            while self.connection.recv(65536):
                pass  # it ends when it has ended everything else
        self.connection.close()
        try:
            self.process.wait(LAST_WORDS)
        except subprocess.TimeoutExpired:
            self._kill()
        # It did not come to its own end: what it would have ended is found by the mark.
        if self.used and self.process.returncode != 0:
            from arcli.cluster.processes import kill_marked

            kill_marked(f"{MARK}={self.folder}".encode())
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kill(self) -> None:
        if self.process.poll() is None:
            from arcli.cluster.processes import has_ended, kill_tree

            below = kill_tree(self.process.pid)
            self.process.wait()
            # Whose children these are now, only looking tells when they have ended.
            end = time.monotonic() + LAST_WORDS
            while not all(map(has_ended, below)) and time.monotonic() < end:
                time.sleep(0.002)


def usable_cpus(root: Path = Path("/")) -> int:
    """CPUs that are worth an engine each, at least 1. ``root`` holds ``proc`` and ``sys``."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(root)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """CPUs that the cgroup of this process, or one above it, allows; None without a limit.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    # A line a hierarchy: number, controllers (none: it is cgroup v2), path. The tightest limit of
    # the group and of all above it holds; in a container the path itself may not be visible.
    limits: list[float | None] = []
    for _, controllers, path in (line.split(":", 2) for line in memberships if line.count(":") >= 2):
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        below = Path(path.lstrip("/"))
        limits += map(_limit, (mount / below, *(mount / parent for parent in below.parents)))
    return min((limit for limit in limits if limit is not None), default=None)


def _limit(folder: Path) -> float | None:
    """Return a cgroup's CPUs by its quota: of version 2, or of version 1."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):
        allowed = int((folder / "cpu.cfs_quota_us").read_text())
        return allowed / int((folder / "cpu.cfs_period_us").read_text()) if allowed > 0 else None
    return None
