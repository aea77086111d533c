"""A cluster of ipyparallel's own that somebody else has started: a controller and engines."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipyparallel
from runs import MARK, PATIENCE, marked, wait_until

from arcli.cluster.connection import Connection

HEART = ["--HeartMonitor.period=50", "--HeartMonitor.max_heartmonitor_misses=1200"]


class Foreign:
    """Its processes are children of the test; ``env`` lets a run of arcli find it by its id.

    It has a loopback address of its own: a controller chooses free ports, and takes them a second later,
    when those of an address that others use may be somebody else's.
    """

    def __init__(self, folder: Path, *controller: str) -> None:
        self.mark = uuid.uuid4().hex
        self.cluster_id = "theirs"
        self.ipython = folder / "ipython"
        self.env = {"IPYTHONDIR": str(self.ipython)}
        self.security = self.ipython / "profile_default" / "security"
        self.file = self.security / f"ipcontroller-{self.cluster_id}-client.json"
        self.engines: list[subprocess.Popen[bytes]] = []
        self.folder = folder
        self.ip = ".".join(str(number) for number in (127, *secrets.token_bytes(2), 1))
        own = [f"--ip={self.ip}", f"--IPController.monitor_ip={self.ip}"]
        self.controller = self._process("controller", *own, *HEART, *controller)
        wait_until(lambda: self.file.is_file() and self.file.read_bytes().endswith(b"}"))
        self._client: Any = None

    def _process(self, kind: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"ipyparallel.{kind}", f"--cluster-id={self.cluster_id}"]
        with (self.folder / f"{kind}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, *words],
                env={**os.environ, **self.env, MARK: self.mark},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_engines(self, count: int, *words: str) -> None:
        """Start engines and wait until they are registered."""
        before = set(self.client.ids)  # of which some may be dead, and their end not known here yet
        self.engines += [self._process("engine", *words) for _ in range(count)]
        wait_until(lambda: len(set(self.client.ids) - before) >= count, self.said)

    @property
    def client(self) -> Any:
        """A client of the test's own."""
        if self._client is None:
            self._client = ipyparallel.Client(str(self.file), timeout=PATIENCE)
        return self._client

    def connection(self) -> Connection:
        """What its controller wrote for clients."""
        return Connection.read(self.file)

    def pids(self) -> dict[int, int]:
        """The engines' processes by their ids."""
        view = self.client[:]
        pids = view.apply_async(os.getpid).get(PATIENCE)
        return dict(zip(view.targets, pids, strict=True))

    def names(self) -> list[set[str]]:
        """The names in each engine's namespace, IPython's own aside."""
        view = self.client[:]
        found = view.apply_async(eval, "set(get_ipython().user_ns)").get(PATIENCE)
        return [{name for name in names if not name.startswith("_")} for names in found]

    def variables(self, *names: str) -> list[list[str | None]]:
        """What these variables are on each engine."""
        ask = f"[__import__('os').environ.get(name) for name in {names!r}]"
        found: list[list[str | None]] = self.client[:].apply_async(eval, ask).get(PATIENCE)
        return found

    def said(self) -> str:
        """What its processes logged."""
        return "\n".join(log.read_text("utf-8", "replace") for log in self.folder.glob("*.log"))

    def close(self) -> None:
        """End all of it."""
        if self._client is not None:
            self._client.close(linger=0)
        for process in [*self.engines, self.controller]:
            process.kill()
            process.wait()
        for left in marked(self.mark):  # nannies, schedulers
            os.kill(left.pid, signal.SIGKILL)
        wait_until(lambda: not marked(self.mark))


@contextmanager
def foreign(folder: Path, engines: int, *controller: str) -> Iterator[Foreign]:
    """A running cluster with so many engines; ended, and gone, at the end."""
    cluster = Foreign(folder, *controller)
    try:
        if engines:
            cluster.start_engines(engines)
        yield cluster
    finally:
        cluster.close()
