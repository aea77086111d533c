"""A cluster of a test's own, of which nothing may be left when the test ends."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipyparallel
import psutil
from runs import MARK, PATIENCE, SUPERVISOR, marked, wait_until, words_of

from arcli.cluster.base import ClusterEvent, ClusterOptions, EngineDown, EngineUp
from arcli.cluster.embedded.cluster import EmbeddedCluster

CHILD = "subprocess.Popen(['sleep', '300'], start_new_session=True).pid"
"""What a user may start: neither of the engine's session nor waited for."""


def of_cluster(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that are a cluster's: a run also starts others, such as git, which come and go."""
    return [process for process in processes if SUPERVISOR in words_of(process)]


def supervisor_of(processes: list[psutil.Process]) -> psutil.Process:
    """The supervisor among a run's processes; the others of its cluster are its forks, and look like it."""
    mine = of_cluster(processes)
    pids = {process.pid for process in mine}
    (supervisor,) = (process for process in mine if process.ppid() not in pids)
    return supervisor


def folder_of(processes: list[psutil.Process]) -> Path:
    """A cluster's private folder."""
    return Path(supervisor_of(processes).cmdline()[-2])


class Own:
    """A started cluster, the events that it has reported, and its processes."""

    def __init__(self, **options: Any) -> None:
        self.mark = uuid.uuid4().hex
        env = {**options.pop("env", {}), MARK: self.mark}
        options = {"engines": 2, "start_timeout": PATIENCE, **options}
        self.cluster = EmbeddedCluster(ClusterOptions(env=env, **options))
        self.events: list[ClusterEvent] = []

    def note(self, event: ClusterEvent) -> None:
        self.events.append(event)

    def processes(self) -> list[psutil.Process]:
        """The supervisor, the controller's and the engines' processes, and their children."""
        return marked(self.mark)

    def folder(self) -> Path:
        """The private folder, of a supervisor that may have begun a moment ago."""
        return folder_of(wait_until(self.processes))

    def pid(self, engine_id: int) -> int:
        """The process of an engine that is up."""
        (pid,) = (info.pid for info in self.cluster.engines() if info.engine_id == engine_id)
        assert pid is not None
        return pid

    def ask(self, expression: str) -> list[Any]:
        """What an expression is on each engine, in the order of their ids."""
        file = self.folder() / "profile" / "security" / "ipcontroller-client.json"
        with ipyparallel.Client(str(file), timeout=PATIENCE) as client:  # arcli's own unpickles nothing
            engines = client[:]
            engines.execute(f"import os, random, subprocess, sys; answer = {expression}").get(PATIENCE)
            answers: list[Any] = engines.pull("answer", block=True)
            return answers

    def up(self) -> list[EngineUp]:
        """The engines that were reported up."""
        return [event for event in self.events if isinstance(event, EngineUp)]

    def down(self) -> list[EngineDown]:
        """The engines that were reported gone."""
        return [event for event in self.events if isinstance(event, EngineDown)]


@contextmanager
def own_cluster(**options: Any) -> Iterator[Own]:
    """A cluster that is started; stopped at the end, and then gone altogether."""
    own = Own(**options)
    folder = None
    try:
        own.cluster.start(own.note)
        slots = own.cluster.slots
        wait_until(
            lambda: not own.cluster.coming(), lambda: f"{len(own.cluster.engines())} of {slots} are up"
        )
        folder = own.folder()
        yield own
    finally:
        own.cluster.stop()
        wait_until(lambda: not own.processes(), lambda: f"left behind: {own.processes()}")
        assert folder is None or not folder.exists()
