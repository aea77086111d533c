"""Clusters that outlive a run: how they are started, and stopped by whoever comes later.

A cluster file says how (``ipyparallel.Cluster.from_file``); ``ipcluster`` writes one, too, so that either
stops what the other has started.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from arcli import launchers
from arcli.cluster.base import log_tails
from arcli.cluster.connection import Connection, forgeable
from arcli.cluster.named import ANSWERS, Known, Look, answer_of, lives, look, look_inside, pids_in
from arcli.engine.flock import locked
from arcli.errors import ArcliError, ClusterError

if TYPE_CHECKING:
    from arcli.cluster.launched.ipyparallel_config import IpyparallelConfig


def start(one: Known, recipe: IpyparallelConfig, timeout: float, notice: Callable[[str], None]) -> Look:
    """Start a cluster that goes on when this process has ended.

    Waits until all engines are registered, or for ``timeout`` seconds: a batch queue may take
    longer. Raises ClusterError, also where engines of this machine have ended before any was there.
    """
    with starting(one), _left_by_signals():
        return _start(one, recipe, timeout, notice)


@contextmanager
def starting(one: Known) -> Iterator[None]:
    """Let nobody else start the same cluster, or more of it, at a time: nobody could stop the first.

    Raises ClusterError.
    """
    path = one.log_file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = path.open("ab")
    except OSError as error:
        raise ClusterError(
            f"no cluster: {error.filename} cannot be written: {error.strerror}",
            hint="IPYTHONDIR may name another folder for IPython's files",
        ) from None
    with log:
        if locked(log.fileno()) is False:
            raise ClusterError(
                f"a cluster {one.name!r} is being started or changed already",
                hint=f"{one.command('status')} tells when that is done",
            )
        yield


@contextmanager
def _left_by_signals() -> Iterator[None]:
    """Have what asks this process to end leave the block as Ctrl-C does, so that it can be tidied up."""

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    # What was ignored stays so: nohup means it.
    numbers = [
        each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _held_signals() -> Iterator[None]:
    """Let signals wait for the end of the block: a process that nobody has noted yet would go on."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def _start(one: Known, recipe: IpyparallelConfig, timeout: float, notice: Callable[[str], None]) -> Look:
    if look_inside(one).state != "gone":
        raise ClusterError(
            f"a cluster {one.name!r} is running already",
            hint=f"--id gives another name; {one.command('stop')} stops it",
        )
    from arcli.cluster.launched.ipyparallel_config import cluster_for
    from arcli.cluster.launched.stopping import missing_command, stop_parts, words

    # Files of a cluster that was killed would be taken for those of the new one, and nothing else names
    # its engines, which outlive their controller.
    if one.cluster_file.is_file() and _left_over(one):
        for what in _stop_recorded(one):
            notice(f"{one.name}: {what}")
    _tidy(one)
    # It outlives this process, and its schedulers, which are forks of it, must not outlive it.
    tied = [sys.executable, "-P", "-m", "arcli.cluster.processes", "0", "ipyparallel.controller"]
    cluster = cluster_for(recipe, log_of(one), tied)
    logged = one.log_file.stat().st_size
    began = time.monotonic()
    end = began + timeout

    async def bring_up() -> None:
        await cluster.start_controller()
        await cluster.controller.get_connection_info()  # engines find it by this file
        with _held_signals():
            await cluster.start_engines(recipe.engines)

    try:
        asyncio.run(bring_up())
        connection = Connection.read(one.connection_file)
        # What has ended already stands in none of its sets any more.
        launcher = launchers.named(recipe.launcher)
        here = launcher is not None and launcher.local
        pids = list(pids_in(cluster.to_dict()["engines"])) if here else None
        registered = _gather(connection, recipe.engines, end, pids)
    # Half a cluster is stopped again, also after Ctrl-C.
    except BaseException as error:
        for what in asyncio.run(stop_parts(cluster)):
            notice(f"{one.name}: {what}")
        _tidy(one)
        if isinstance(error, Exception) and not isinstance(error, ArcliError):
            missing = missing_command(error)
            error = ClusterError(
                f"no cluster: {recipe.launcher} could not start it: {words(error)}",
                hint=None if missing is None else launchers.advice_without(missing),
            )
        if isinstance(error, ClusterError) and error.hint is None:
            tail = log_tails([one.log_file], logged)
            raise ClusterError(
                error.message, hint="\n".join([f"its log is {one.log_file}", *tail])
            ) from error
        raise error
    _write_recipe(one, recipe)
    if len(registered) < recipe.engines:
        # The command that submits a job may have taken longer than there was time.
        seconds = time.monotonic() - began
        notice(f"{len(registered)} of {recipe.engines} engines have come up within {seconds:.0f} s")
    return Look(state="running", address=connection.address, engines=registered)


def _gather(connection: Connection, count: int, end: float, pids: Sequence[int] | None) -> set[int]:
    """Return the engines that are registered when there are ``count``, or when the time is up.

    ``pids`` are the processes that engines are, or are started by, where these are here. Raises
    ClusterError where all of them have ended before any engine was there.
    """
    while True:
        ended = pids is not None and not any(map(lives, pids))
        registered = answer_of(connection, max(ANSWERS, end - time.monotonic()))
        if registered is None:
            raise ClusterError(f"no cluster: nobody answers at {connection.address}")
        if len(registered) >= count or time.monotonic() > end:
            return registered
        if ended and not registered:
            raise ClusterError("no cluster: its engines have ended as soon as they were started")
        time.sleep(0.1)


def stop(one: Known, notice: Callable[[str], None]) -> Look:
    """Stop a cluster and remove its files. Returns how it was before. Raises ClusterError.

    Of a cluster that is gone only the files are removed: its processes' ids may be others' now.
    ``notice`` is told of what may go on, such as a job that could not be cancelled.
    """
    before = look(one)
    if before.state == "starting":
        raise ClusterError(
            f"{one.name} is being started",
            hint=f"{one.command('status')} tells when it runs; Ctrl-C ends a start",
        )
    launcher = launchers.named(one.launcher or "")
    # Jobs in a batch queue may outlive the controller, so they are cancelled even
    # where nobody answers.
    batch = one.launcher is not None and (launcher is None or launcher.batch)
    if one.cluster_file.is_file() and (before.state != "gone" or batch or _left_over(one)):
        for what in _stop_recorded(one):
            notice(f"{one.name}: {what}")
    elif before.state != "gone":
        raise ClusterError(
            f"{one.name} has no cluster file, so nobody but who started it knows how to stop it",
            hint=f"it was neither started by arcli nor by ipcluster; {one.cluster_file} is missing",
        )
    _tidy(one)
    return before


def _stop_recorded(one: Known) -> list[str]:
    """Stop what a cluster file says was started. Returns in words what may go on. Raises ClusterError."""
    from arcli.cluster.launched.stopping import stop_parts

    async def stop() -> list[str]:
        return await stop_parts(recorded(one))

    return asyncio.run(stop())


def _left_over(one: Known) -> bool:
    """Tell whether processes of a cluster live on though nobody answers, and are its own."""
    import psutil

    # On another host nobody can look. Here a process id may be somebody else's by now: only where
    # all that still live are ipyparallel's are they taken for the cluster's own.
    launcher = launchers.named(one.launcher or "")
    if launcher is None or not launcher.local:
        return False
    commands = []
    for pid in pids_in(json.loads(one.cluster_file.read_bytes())):
        with suppress(psutil.Error):
            commands.append(" ".join(psutil.Process(pid).cmdline()))
    return bool(commands) and all("ipyparallel" in command for command in commands)


def _write_recipe(one: Known, recipe: IpyparallelConfig) -> None:
    """Keep how the cluster was started, for more engines like those: ipyparallel's own file does not."""
    handle = os.open(one.recipe_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor, for the file's mode
        file.write(msgspec.json.encode(recipe))


def recorded(one: Known) -> Any:
    """Return the ``ipyparallel.Cluster`` that a cluster file has recorded, which can start engines, too.

    Raises ClusterError where there is no such file, or another user may have written one.
    """
    from ipyparallel import Cluster

    from arcli.cluster.launched.ipyparallel_config import IpyparallelConfig, cluster_for

    if not one.cluster_file.is_file():
        raise ClusterError(
            f"{one.name} has no cluster file, so nobody but who started it knows its engines",
            hint=f"it was neither started by arcli nor by ipcluster; {one.cluster_file} is missing",
        )
    options: dict[str, Any] = {}
    for path in (one.cluster_file, one.recipe_file):
        if path.is_file() and (problem := forgeable(path.stat())):  # they name what is imported and run
            raise ClusterError(f"{path} {problem}, so it is not acted upon")
    # Without a recipe it was ipcluster, which goes by the configuration of its profile.
    try:
        if one.recipe_file.is_file():
            recipe = msgspec.json.decode(one.recipe_file.read_bytes(), type=IpyparallelConfig)
            made = cluster_for(recipe, log_of(one))
            options = {"config": made.config, "load_profile": False}
            options["send_engines_connection_env"] = made.send_engines_connection_env
        state = json.loads(one.cluster_file.read_bytes())
        _drop_ended(one, state)
        return Cluster.from_dict(state, cluster_file=str(one.cluster_file), log=log_of(one), **options)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(f"the files of {one.name} cannot be read: {error}") from error


def _drop_ended(one: Known, state: dict[str, Any]) -> None:
    """Take from a cluster's state the engines of this machine whose processes have ended.

    ipyparallel does so where nothing has the process id any more, which somebody may not have waited for.
    https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/cluster/launcher.py
    (``LocalProcessLauncher._reconstruct_process``)
    """
    launcher = launchers.named(one.launcher or "")
    if launcher is None or not launcher.local:
        return
    for group in state["engines"]["sets"].values():
        if "engines" in group:
            group["engines"] = {
                key: engine for key, engine in group["engines"].items() if lives(engine["pid"])
            }


def _tidy(one: Known) -> None:
    """Remove the files of a cluster that has ended: they would be taken for a new one's."""
    engine_file = one.connection_file.name.replace("-client.json", "-engine.json")
    for path in (one.cluster_file, one.connection_file, one.recipe_file, one.security / engine_file):
        path.unlink(missing_ok=True)


def log_of(one: Known) -> logging.Logger:
    """Return a log for what ipyparallel prints: in a file, not on the terminal."""
    path = one.log_file
    path.parent.mkdir(parents=True, exist_ok=True)
    log = logging.getLogger(f"arcli.cluster.{one.name}")
    if not log.handlers:
        log.addHandler(logging.FileHandler(path, delay=True))
        log.propagate = False
        log.setLevel(logging.INFO)
    return log
