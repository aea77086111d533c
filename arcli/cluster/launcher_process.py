"""The process beside arcli that has ipyparallel start a cluster, as arcli sees it."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from arcli.cluster import protocol
from arcli.cluster.processes import kill_tree, wake_when_orphaned
from arcli.cluster.supervisor_process import MARK, thread_limits

LAST_WORDS = 60.0
"""Seconds in which batch jobs are cancelled and processes elsewhere ended."""


class Ended(NamedTuple):
    """The process is gone: there will be no more events."""


class LauncherProcess:
    """``arcli.cluster.launcher``, with its log in ``folder``; all that it starts has ``env``."""

    def __init__(self, folder: Path, threads: int | None, env: Mapping[str, str]) -> None:
        self.log = folder / "launching.log"
        self._reader = protocol.Reader()
        self._events: deque[protocol.Message | Ended] = deque()
        self._asked = False
        self._connection, theirs = socket.socketpair()
        limits = thread_limits(threads)
        log_fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        command = [sys.executable, "-P", "-m", "arcli.cluster.launcher"]
        # Its log takes all that launchers print; what is said to arcli comes by the
        # socket, whose end is the sign to clean up.
        with theirs, os.fdopen(log_fd, "wb") as log:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **limits, **env, MARK: str(folder)},
                start_new_session=True,  # Ctrl-C in the terminal is arcli's to handle
                # Before anything else: it may be stopped while it still imports, and arcli killed.
                preexec_fn=wake_when_orphaned,
            )

    def send(self, command: protocol.Command) -> None:
        """Give a command. Its death is noticed where events are read."""
        self._asked = True
        with suppress(OSError):
            self._connection.sendall(protocol.encode(command))

    def event(self, seconds: float = 0.0) -> protocol.Message | Ended | None:
        """Return what it has to say next, if it says it within that time; Ended where it is gone."""
        if not self._events:
            ready, _, _ = select.select([self._connection], [], [], max(0.0, seconds))
            if ready:
                self._receive()
        return self._events.popleft() if self._events else None

    def _receive(self) -> None:
        try:
            data = self._connection.recv(65536)
        except OSError:  # killed with something unread: the connection is reset, not closed
            data = b""
        self._events.extend(self._reader.feed(data))
        if not data:
            self._events.append(Ended())

    def close(self) -> None:
        """End it and all that it started."""
        if not self._asked:
            self._process.kill()  # it may still be importing, and has started nothing
        self._connection.close()
        try:
            self._process.wait(LAST_WORDS)
        except subprocess.TimeoutExpired:
            kill_tree(self._process.pid)
            self._process.wait()
