"""Clusters that outlive a run: found, started, looked at and stopped by their files.

The files are ipyparallel's, in IPython's profiles. A controller writes connection files; ``ipcluster`` and
``arcli cluster start`` also write a cluster file (``ipyparallel.Cluster.from_file``), so that either knows
what the other has started. Files can outlive their cluster.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from arcli import launchers
from arcli.cluster.base import log_tails
from arcli.cluster.connection import Connection, Line, UnreachableError, forgeable
from arcli.engine.flock import locked
from arcli.errors import ClusterError

if TYPE_CHECKING:
    from arcli.cluster.launched.ipyparallel_config import IpyparallelConfig


PROFILE = "default"
NAME = re.compile(r"[\w.-]*")
"""What profiles and ids of clusters that arcli starts can be: parts of files' names, with no colon."""
_CONNECTION = re.compile(r"ipcontroller(?:-(.+))?-client\.json")
_CLUSTER = re.compile(r"cluster-(.*)\.json")
_PROGRAMS = ("ipyparallel", "ipcontroller", "ipengine")
"""What stands in the commands of a cluster's processes."""


class Known(Struct, frozen=True, kw_only=True):
    """A cluster that has left files: it may run, or have ended without tidying up."""

    profile: str
    cluster_id: str
    security: Path

    @property
    def name(self) -> str:
        """As ``--cluster`` takes it: ``ID`` in the default profile, or ``PROFILE:ID``."""
        if self.profile == PROFILE and self.cluster_id:
            return self.cluster_id
        return f"{self.profile}:{self.cluster_id}"

    @property
    def connection_file(self) -> Path:
        """What the controller wrote for clients."""
        middle = f"-{self.cluster_id}" if self.cluster_id else ""
        return self.security / f"ipcontroller{middle}-client.json"

    @property
    def cluster_file(self) -> Path:
        """What whoever started the cluster wrote, for stopping it later."""
        return self.security / f"cluster-{self.cluster_id}.json"

    @property
    def launcher(self) -> str | None:
        """How its engines were started; None where no cluster file tells."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            cluster: dict[str, Any] = json.loads(self.cluster_file.read_bytes())
            return str(cluster["engines"]["class"])
        return None


def of_connection_file(path: Path) -> Known | None:
    """Return the cluster whose controller wrote a connection file; None where its name says none."""
    match = _CONNECTION.fullmatch(path.name)
    if match is None:
        return None
    profile = path.parent.parent.name.removeprefix("profile_")
    return Known(profile=profile, cluster_id=match[1] or "", security=path.parent)


def profile_folder(profile: str) -> Path:
    """Tell where IPython keeps a profile, whether it is there or not."""
    # Where IPython cannot write it takes a temporary folder, another one each time: nobody would find a
    # cluster there, or stop it.
    folder = Path(os.path.expanduser(os.environ.get("IPYTHONDIR") or "~/.ipython"))  # noqa: PTH111
    with suppress(OSError):
        if os.access(folder if folder.exists() else folder.parent, os.W_OK | os.X_OK):
            from IPython.paths import get_ipython_dir

            folder = Path(get_ipython_dir())
    return folder / f"profile_{profile}"


def known(profile: str | None = None) -> list[Known]:
    """Return all clusters of the user, or those of one profile, by name."""
    folders = profile_folder(PROFILE).parent.glob("profile_*")
    others = sorted(path.name.removeprefix("profile_") for path in folders)
    names = [profile] if profile is not None else [PROFILE, *others]
    # Of one cluster there may be both files, or either.
    clusters = {
        Known(profile=name, cluster_id=match[1] or "", security=path.parent)
        for name in dict.fromkeys(names)
        for path in (profile_folder(name) / "security").glob("*.json")
        if (match := _CLUSTER.fullmatch(path.name) or _CONNECTION.fullmatch(path.name))
    }
    return sorted(clusters, key=lambda one: (one.profile != PROFILE, one.name))


def find(name: str) -> Known:
    """Return the cluster that ``ID`` (of the default profile) or ``PROFILE:ID`` names.

    Raises ClusterError with those that are known where there is none.
    """
    profile, colon, cluster_id = name.rpartition(":")
    return named(profile if colon else PROFILE, cluster_id)


def named(profile: str, cluster_id: str) -> Known:
    """Return the same, its parts given."""
    one = Known(profile=profile, cluster_id=cluster_id, security=profile_folder(profile) / "security")
    if one.connection_file.is_file() or one.cluster_file.is_file():
        return one
    others = ", ".join(other.name for other in known())
    raise ClusterError(
        f"there is no cluster {one.name!r}: {one.connection_file} does not exist",
        hint=f"known are: {others}" if others else "`arcli cluster start` starts one",
    )


ANSWERS = 2.0
"""Seconds that a hub, or an engine, has to answer where people wait for it."""

State = Literal["running", "silent", "gone"]


class Look(Struct, frozen=True, kw_only=True):
    """What is to be seen of a cluster: ``engines`` are those that are registered."""

    state: State
    why: str | None = None
    address: str | None = None
    engines: set[int] | None = None


def look(one: Known) -> Look:
    """Tell whether a cluster runs, does not answer, or has only left its files."""
    try:
        connection = Connection.read(one.connection_file)
        connection.check()
    except UnreachableError as error:
        return Look(state="silent", why=error.message)
    except ClusterError as error:
        return Look(state="gone", why=error.message)
    address = connection.address
    registered = _ask(connection, ANSWERS)
    if registered is None:
        # Where its controller has ended, its port may be somebody else's by now.
        if (own := own_processes(one)) is not None and not own.controller:
            return Look(state="gone", why=f"{address} does not answer, and its controller has ended")
        return Look(state="silent", why=f"{address} does not answer", address=address)
    return Look(state="running", address=address, engines=registered)


def _ask(connection: Connection, seconds: float) -> set[int] | None:
    with closing(Line(connection.info, connection.address)) as line:
        line.ask()
        return line.answer(seconds)


def start(one: Known, recipe: IpyparallelConfig, timeout: float, notice: Callable[[str], None]) -> Look:
    """Start a cluster that goes on when this process has ended.

    Waits until all engines are registered, or for ``timeout`` seconds: a batch queue may take
    longer. Raises ClusterError, also where engines of this machine have ended before any was there.
    """
    with _starting(one), _left_by_signals():
        return _start(one, recipe, timeout, notice)


@contextmanager
def _starting(one: Known) -> Iterator[None]:
    """Let nobody else start the same cluster at a time: of two controllers nobody could stop the first.

    Raises ClusterError.
    """
    path = _log_file(one)
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
                f"a cluster {one.name!r} is being started already", hint="--id gives another name"
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
def held_signals() -> Iterator[None]:
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
    if look(one).state != "gone":
        raise ClusterError(
            f"a cluster {one.name!r} is running already",
            hint=f"--id gives another name; `arcli cluster stop {one.name}` stops it",
        )
    import asyncio

    from arcli.cluster.launched.ipyparallel_config import cluster_for

    # Files of a cluster that was killed would be taken for those of the new one, and nothing else names
    # its engines, which outlive their controller.
    if one.cluster_file.is_file() and _left_over(one):
        stop(one)
    _tidy(one)
    # It outlives this process, and its schedulers, which are forks of it, must not outlive it.
    tied = [sys.executable, "-P", "-m", "arcli.cluster.processes", "0", "ipyparallel.controller"]
    cluster = cluster_for(recipe, _log(one), tied)
    end = time.monotonic() + timeout

    async def bring_up() -> None:
        await cluster.start_controller()
        await cluster.controller.get_connection_info()  # engines find it by this file
        with held_signals():
            await cluster.start_engines(recipe.engines)

    try:
        asyncio.run(bring_up())
        connection = Connection.read(one.connection_file)
        # What has ended already stands in none of its sets any more.
        launcher = launchers.named(recipe.launcher)
        here = launcher is not None and launcher.local
        pids = list(_pids(cluster.to_dict()["engines"])) if here else None
        registered = _gather(connection, recipe.engines, end, pids)
    # Half a cluster is stopped again, also after Ctrl-C.
    except BaseException as error:
        with suppress(Exception):  # the first error is the one to tell of
            cluster.stop_cluster_sync()
        _tidy(one)
        if isinstance(error, Exception) and not isinstance(error, ClusterError):
            error = ClusterError(f"no cluster: {recipe.launcher} could not start it: {error}")
        if isinstance(error, ClusterError) and error.hint is None:
            path = _log_file(one)
            raise ClusterError(
                error.message, hint="\n".join([f"its log is {path}", *log_tails([path])])
            ) from error
        raise error
    if len(registered) < recipe.engines:
        notice(f"{len(registered)} of {recipe.engines} engines have come up within {timeout:g} s")
    return Look(state="running", address=connection.address, engines=registered)


def _gather(connection: Connection, count: int, end: float, pids: Sequence[int] | None) -> set[int]:
    """Return the engines that are registered when there are ``count``, or when the time is up.

    ``pids`` are the processes that engines are, or are started by, where these are here. Raises
    ClusterError where all of them have ended before any engine was there.
    """
    while True:
        ended = pids is not None and not any(map(_lives, pids))
        registered = _ask(connection, max(ANSWERS, end - time.monotonic()))
        if registered is None:
            raise ClusterError(f"no cluster: nobody answers at {connection.address}")
        if len(registered) >= count or time.monotonic() > end:
            return registered
        if ended and not registered:
            raise ClusterError("no cluster: its engines have ended as soon as they were started")
        time.sleep(0.1)


def _lives(pid: int, words: Sequence[str] = ("",)) -> bool:
    """Tell whether a process, which may be a child that nobody has waited for, goes on.

    One with none of the ``words`` in its command is another one, which has got the number since.
    """
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        command = " ".join(process.cmdline())
        return process.status() != psutil.STATUS_ZOMBIE and any(word in command for word in words)
    return False


def stop(one: Known) -> Look:
    """Stop a cluster and remove its files. Returns how it was before. Raises ClusterError.

    Of a cluster that is gone only the files are removed: its processes' ids may be others' now.
    """
    before = look(one)
    launcher = launchers.named(one.launcher or "")
    # Jobs in a batch queue may outlive the controller, so they are cancelled even
    # where nobody answers.
    batch = one.launcher is not None and (launcher is None or launcher.batch)
    if one.cluster_file.is_file() and (before.state != "gone" or batch or _left_over(one)):
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
    elif before.state != "gone":
        raise ClusterError(
            f"{one.name} has no cluster file, so nobody but who started it knows how to stop it",
            hint=f"it was neither started by arcli nor by ipcluster; {one.cluster_file} is missing",
        )
    _tidy(one)
    return before


class OwnProcesses(Struct, frozen=True, kw_only=True):
    """Whether a cluster's recorded processes live; ``started`` is how many engines were started."""

    controller: bool
    engines: bool
    started: int


def own_processes(one: Known) -> OwnProcesses | None:
    """Tell which recorded processes of a cluster live; None where nobody can from this host."""
    launcher = launchers.named(one.launcher or "")
    if launcher is None or not launcher.local:
        return None
    try:
        located = json.loads(one.connection_file.read_bytes())["location"]
        cluster = json.loads(one.cluster_file.read_bytes())
        controller, engines = ([*_pids(cluster[part])] for part in ("controller", "engines"))
        started = sum(group["n"] for group in cluster["engines"]["sets"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    # Homes are shared: what another host's cluster has recorded are no processes of this one.
    if located != socket.gethostname() or not controller:
        return None
    return OwnProcesses(
        controller=any(_lives(pid, _PROGRAMS) for pid in controller),
        engines=any(_lives(pid, _PROGRAMS) for pid in engines),
        started=started,
    )


def anew(one: Known) -> str:
    """Return what to do about a cluster that has ended."""
    start = "arcli cluster start" + (f" --profile {one.profile}" if one.profile != PROFILE else "")
    return (
        f"`arcli cluster stop {one.name}` removes what is left of it, "
        f"`{start} --id {one.cluster_id}` starts one anew"
    )


def _left_over(one: Known) -> bool:
    """Tell whether processes of a cluster live on though nobody answers, and are its own."""
    import psutil

    # On another host nobody can look. Here a process id may be somebody else's by now: only where
    # all that still live are ipyparallel's are they taken for the cluster's own.
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
    """Return a log for what ipyparallel prints: in a file, not on the terminal."""
    path = _log_file(one)
    path.parent.mkdir(parents=True, exist_ok=True)
    log = logging.getLogger(f"arcli.cluster.{one.name}")
    if not log.handlers:
        log.addHandler(logging.FileHandler(path, delay=True))
        log.propagate = False
        log.setLevel(logging.INFO)
    return log


def every(profile: str | None = None) -> list[tuple[Known, Look]]:
    """Return all clusters of the user, or of one profile, and what is to be seen of them."""
    return [(one, look(one)) for one in known(profile)]
