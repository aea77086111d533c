"""The supervisor's process as its client starts it; cheap to import, for it is the first to start.

What it imports takes longer than all that arcli itself must do before it needs engines, so it
should be on its way before the spec is even read.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

LAST_WORDS = 5.0
"""Seconds that the supervisor has to end the cluster before it is killed itself."""
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


class Helper:
    """A supervisor that waits for commands on ``connection``, with a private ``folder``.

    ``threads`` and ``env`` are settled before it imports anything: libraries read them only once.
    """

    def __init__(self, *, threads: int = 1, env: Mapping[str, str] | None = None) -> None:
        self.idle = True
        self.settled = (threads, dict(env or {}))
        self.folder = Path(tempfile.mkdtemp(prefix="arcli-"))
        self.connection, theirs = socket.socketpair()
        said = os.open(self.folder / "supervisor.log", os.O_WRONLY | os.O_CREAT, 0o600)
        with theirs, os.fdopen(said, "wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",  # a file in the working directory must not pass for a module
                    "-m",
                    "arcli.cluster.supervisor",
                    str(theirs.fileno()),
                    str(self.folder),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                env=self._environment(threads, env or {}),
                start_new_session=True,  # Ctrl-C in the terminal is arcli's to handle
            )

    def _environment(self, threads: int, env: Mapping[str, str]) -> dict[str, str]:
        limits = dict.fromkeys(THREAD_LIMITS, str(threads))
        private = {"IPYTHONDIR": str(self.folder), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        return {**os.environ, **limits, **env, **private}

    def send(self, line: bytes) -> None:
        """Give a command. Its death is noticed where events are read."""
        self.idle = False
        with suppress(OSError):
            self.connection.sendall(line)

    def receive(self) -> bytes:
        """What it has sent; empty when it is gone, however it went."""
        try:
            return self.connection.recv(65536)
        except OSError:  # killed with something unread: the connection is reset, not closed
            return b""

    def close(self) -> None:
        """End it and all that it started; returns when nothing is left."""
        if self.idle:
            self.process.kill()  # it may still be importing, and has no children
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        try:
            self.process.wait(LAST_WORDS)
        except subprocess.TimeoutExpired:
            from arcli.cluster.processes import kill_tree

            kill_tree(self.process.pid)
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
