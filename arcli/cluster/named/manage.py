"""Clusters that outlive a run: started, looked at and stopped by their files.

The files are ipyparallel's (``Cluster.from_file``), so ``ipcluster list`` and ``ipcluster stop``
know what is started here, and the other way round.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from arcli import launchers
from arcli.cluster.connection import Connection, forgeable
from arcli.cluster.hub import Line
from arcli.cluster.ipyparallel_config import IpyparallelConfig, cluster_for
from arcli.cluster.named.find import Known, known
from arcli.errors import ClusterError

if TYPE_CHECKING:
    from arcli.cluster.client import Identity

ANSWERS = 2.0
"""Seconds that a hub, or an engine, has to answer where people wait for it."""

State = Literal["running", "silent", "gone"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What is to be seen of a cluster: ``engines`` are those that are registered."""

    state: State
    why: str | None = None
    address: str | None = None
    engines: set[int] | None = None


def look(one: Known) -> Look:
    """Whether a cluster runs, does not answer, or has only left its files."""
    try:
        connection = Connection.read(one.connection_file)
        connection.check()
    except ClusterError as error:
        return Look(state="gone", why=error.message)
    address = connection.address
    there = _ask(connection, ANSWERS)
    if there is None:
        return Look(state="silent", why=f"{address} does not answer", address=address)
    return Look(state="running", address=address, engines=there)


def _ask(connection: Connection, seconds: float) -> set[int] | None:
    with closing(Line(connection.info, connection.address)) as line:
        line.ask()
        return line.answer(seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """One engine, and its messages. A busy one does not say where it is."""

    engine: int
    host: str | None
    pid: int | None
    waiting: int
    done: int


def engines(one: Known) -> list[Engine]:
    """The engines of a cluster that runs."""
    from arcli.cluster.client import RawClient, ask_identities

    connection = Connection.read(one.connection_file)
    with closing(Line(connection.info, connection.address)) as line:
        # The hub knows what waits for each engine, and answers while engines
        # compute.
        counts = line.queues(ANSWERS)
    with RawClient(dict(connection.info), timeout=ANSWERS) as client:
        places = ask_identities(client, ANSWERS)
        ids = sorted(client.ids)
    return [_engine(key, places.get(key), counts.get(key, {})) for key in ids]


def _engine(engine_id: int, place: Identity | None, counts: dict[str, int]) -> Engine:
    pid, host, _ = place or (None, None, None)
    waiting = counts.get("queue", 0) + counts.get("tasks", 0)
    return Engine(engine=engine_id, host=host, pid=pid, waiting=waiting, done=counts.get("completed", 0))


def clocks(one: Known) -> dict[int, float]:
    """How many seconds the clocks of a cluster's engines are ahead of this host's, by engine.

    An answer's way takes a while, so that this is known to within that. Raises ClusterError.
    """
    from arcli.cluster.client import RawClient, ask_identities

    connection = Connection.read(one.connection_file)
    connection.check()
    with RawClient(dict(connection.info), timeout=ANSWERS) as client:
        before = time.time()
        identities = ask_identities(client, ANSWERS)
        middle = (before + time.time()) / 2
    return {engine_id: identity.clock - middle for engine_id, identity in identities.items()}


def start(one: Known, recipe: IpyparallelConfig, timeout: float, notice: Callable[[str], None]) -> Look:
    """Start a cluster that goes on when this process has ended.

    Waits until all engines are registered, or for ``timeout`` seconds: a batch queue may take
    longer. Raises ClusterError.
    """
    if look(one).state != "gone":
        raise ClusterError(
            f"a cluster {one.name!r} is running already",
            hint=f"--id gives another name; `arcli cluster stop {one.name}` stops it",
        )
    # Files of a cluster that was killed would be taken for those of the new one.
    _tidy(one)
    cluster = cluster_for(recipe, _log(one))
    end = time.monotonic() + timeout
    try:
        asyncio.run(_bring_up(cluster, recipe.engines))
        connection = Connection.read(one.connection_file)
        there = _gather(connection, recipe.engines, end)
    # Half a cluster is stopped again, also after Ctrl-C.
    except BaseException as error:
        with suppress(Exception):  # the first error is the one to tell of
            cluster.stop_cluster_sync()
        _tidy(one)
        if isinstance(error, Exception) and not isinstance(error, ClusterError):
            raise ClusterError(
                f"no cluster: {recipe.launcher} could not start it: {error}",
                hint=f"its log is {_log_file(one)}",
            ) from error
        raise
    if len(there) < recipe.engines:
        notice(f"{len(there)} of {recipe.engines} engines have come up within {timeout:g} s")
    return Look(state="running", address=connection.address, engines=there)


async def _bring_up(cluster: Any, engines: int) -> None:
    """Start the controller, and once engines can find its connection file, the engines."""
    await cluster.start_controller()
    await cluster.controller.get_connection_info()
    await cluster.start_engines(engines)


def _gather(connection: Connection, count: int, end: float) -> set[int]:
    """The engines that are registered when there are ``count``, or when the time is up."""
    while True:
        there = _ask(connection, max(ANSWERS, end - time.monotonic()))
        if there is None:
            raise ClusterError(f"no cluster: nobody answers at {connection.address}")
        if len(there) >= count or time.monotonic() > end:
            return there
        time.sleep(0.1)


def stop(one: Known) -> Look:
    """Stop a cluster and remove its files. Returns how it was found. Raises ClusterError.

    Of a cluster that is gone only the files are removed: its processes' ids may be others' now.
    """
    found = look(one)
    launcher = launchers.named(one.launcher or "")
    # Jobs in a batch queue may outlive the controller, so they are cancelled even
    # where nobody answers.
    batch = one.launcher is not None and (launcher is None or launcher.batch)
    if one.cluster_file.is_file() and (found.state != "gone" or batch or _left_over(one)):
        from ipyparallel import Cluster

        if problem := forgeable(one.cluster_file.stat()):  # it names what is imported and run
            raise ClusterError(f"{one.cluster_file} {problem}, so it is not acted upon")
        # ipyparallel's cluster file says by which launcher it was started, and so
        # how it is stopped.
        try:
            cluster = Cluster.from_file(str(one.cluster_file), log=_log(one))
            cluster.stop_engines_sync()
            cluster.stop_controller_sync()
        except Exception as error:
            raise ClusterError(
                f"{one.name} could not be stopped: {error}", hint=f"its log is {_log_file(one)}"
            ) from error
    elif found.state != "gone":
        raise ClusterError(
            f"{one.name} has no cluster file, so nobody but who started it knows how to stop it",
            hint=f"it was neither started by arcli nor by ipcluster; {one.cluster_file} is missing",
        )
    _tidy(one)
    return found


def _left_over(one: Known) -> bool:
    """Whether processes of a cluster live on though nobody answers, and are its own."""
    import psutil

    launcher = launchers.named(one.launcher or "")
    if launcher is None or not launcher.local:
        return False
    commands = []
    for pid in _pids(json.loads(one.cluster_file.read_bytes())):
        with suppress(psutil.Error):
            commands.append(" ".join(psutil.Process(pid).cmdline()))
    return bool(commands) and all("ipyparallel" in command for command in commands)


def _pids(tree: Any) -> Iterator[int]:
    if isinstance(tree, dict):
        if isinstance(pid := tree.get("pid"), int) and pid > 0:
            yield pid
        for branch in tree.values():
            yield from _pids(branch)


def _tidy(one: Known) -> None:
    """Remove the files of a cluster that has ended: they would be taken for a new one's."""
    engine_file = one.connection_file.name.replace("-client.json", "-engine.json")
    for path in (one.cluster_file, one.connection_file, one.security / engine_file):
        path.unlink(missing_ok=True)


def _log_file(one: Known) -> Any:
    return one.security.parent / "log" / f"arcli-{one.cluster_id or 'cluster'}.log"


def _log(one: Known) -> logging.Logger:
    """Where ipyparallel's words go: to a file, not to the terminal."""
    path = _log_file(one)
    path.parent.mkdir(parents=True, exist_ok=True)
    log = logging.getLogger(f"arcli.cluster.{one.name}")
    if not log.handlers:
        log.addHandler(logging.FileHandler(path, delay=True))
        log.propagate = False
        log.setLevel(logging.INFO)
    return log


def every(profile: str | None = None) -> list[tuple[Known, Look]]:
    """All clusters of the user, or of one profile, and what is to be seen of them."""
    return [(one, look(one)) for one in known(profile)]
