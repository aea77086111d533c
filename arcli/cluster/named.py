"""Clusters that outlive a run: found and looked at by their files.

The files are ipyparallel's, in IPython's profiles. A controller writes connection files; ``ipcluster`` and
``arcli cluster start`` also write a cluster file (``ipyparallel.Cluster.from_file``), so that either knows
what the other has started. Files can outlive their cluster.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from arcli import launchers
from arcli.cluster.connection import Connection, Line, UnreachableError
from arcli.engine.flock import locked
from arcli.errors import ClusterError
from arcli.escape import shell_line

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
    def recipe_file(self) -> Path:
        """How ``arcli cluster start`` started it."""
        return self.security / f"arcli-{self.cluster_id}.json"

    @property
    def log_file(self) -> Path:
        """What ipyparallel said where arcli started it; locked while it is being started."""
        return self.security.parent / "log" / f"arcli-{self.cluster_id or 'cluster'}.log"

    @property
    def launcher(self) -> str | None:
        """How its engines were started; None where no cluster file tells."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            cluster: dict[str, Any] = json.loads(self.cluster_file.read_bytes())
            return str(cluster["engines"]["class"])
        return None

    def command(self, name: str, *words: str) -> str:
        """Return what one types to do something to a cluster, in backticks."""
        return f"`{shell_line(['arcli', 'cluster', name, self.name, *words])}`"


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

State = Literal["running", "silent", "starting", "gone"]


class Look(Struct, frozen=True, kw_only=True):
    """What is to be seen of a cluster: ``engines`` are those that are registered."""

    state: State
    why: str | None = None
    address: str | None = None
    engines: set[int] | None = None


def look(one: Known) -> Look:
    """Tell whether a cluster runs, does not answer, is being started, or has only left its files."""
    seen = look_inside(one)
    if seen.state == "gone" and _is_being_started(one):
        return Look(state="starting", why=f"{one.name} is being started, {one.log_file} is its log")
    return seen


def _is_being_started(one: Known) -> bool:
    with suppress(OSError), one.log_file.open("rb") as log:
        return locked(log.fileno(), shared=True) is False
    return False


def look_inside(one: Known) -> Look:
    """Tell the same of a cluster that this process itself is about to start."""
    try:
        connection = Connection.read(one.connection_file)
        connection.check()
    except UnreachableError as error:
        return Look(state="silent", why=error.message)
    except ClusterError as error:
        return Look(state="gone", why=error.message)
    address = connection.address
    registered = answer_of(connection, ANSWERS)
    if registered is None:
        # Where its controller has ended, its port may be somebody else's by now.
        if (own := own_processes(one)) is not None and not own.controller:
            return Look(state="gone", why=f"{address} does not answer, and its controller has ended")
        return Look(state="silent", why=f"{address} does not answer", address=address)
    return Look(state="running", address=address, engines=registered)


def answer_of(connection: Connection, seconds: float) -> set[int] | None:
    """Return the engines that are registered with a hub; None where it does not answer."""
    with closing(Line(connection.info, connection.address)) as line:
        line.ask()
        return line.answer(seconds)


def every(profile: str | None = None) -> list[tuple[Known, Look]]:
    """Return all clusters of the user, or of one profile, and what is to be seen of them."""
    return [(one, look(one)) for one in known(profile)]


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
        controller, engines = ([*pids_in(cluster[part])] for part in ("controller", "engines"))
        started = sum(group["n"] for group in cluster["engines"]["sets"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    # Homes are shared: what another host's cluster has recorded are no processes of this one.
    if located != socket.gethostname() or not controller:
        return None
    return OwnProcesses(
        controller=any(lives(pid, _PROGRAMS) for pid in controller),
        engines=any(lives(pid, _PROGRAMS) for pid in engines),
        started=started,
    )


def anew(one: Known) -> str:
    """Return what to do about a cluster that has ended."""
    profile = ["--profile", one.profile] if one.profile != PROFILE else []
    start = shell_line(["arcli", "cluster", "start", *profile, "--id", one.cluster_id])
    return f"{one.command('stop')} removes what is left of it, `{start}` starts one anew"


def lives(pid: int, words: Sequence[str] = ("",)) -> bool:
    """Tell whether a process, which may be a child that nobody has waited for, goes on.

    One with none of the ``words`` in its command is another one, which has got the number since.
    """
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        command = " ".join(process.cmdline())
        return process.status() != psutil.STATUS_ZOMBIE and any(word in command for word in words)
    return False


def pids_in(tree: Any) -> Iterator[int]:
    """Yield the ids of all processes that a cluster file has recorded."""
    if isinstance(tree, dict):
        if isinstance(pid := tree.get("pid"), int) and pid > 0:
            yield pid
        for branch in tree.values():
            yield from pids_in(branch)
