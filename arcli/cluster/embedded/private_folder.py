"""The private folder of an embedded cluster: sockets, keys and logs, out of every other user's reach.

An embedded cluster listens on Unix sockets only, so whoever may open this folder may use the cluster. Its
supervisor removes it at its end, also where arcli was killed; one stays behind only where the supervisor
was killed, too, or the machine went down: what nobody uses any more is found here.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from arcli.cluster.processes import kill_marked, marked
from arcli.engine.flock import locked
from arcli.errors import ClusterError

MARK = "ARCLI_CLUSTER"
"""The environment variable by which a cluster's processes, and what they start, are known."""
PREFIX = "arcli-"
LONGEST = 103
"""Bytes that the path of a Unix socket may have; macOS has the least (``sys/un.h``; Linux 107)."""
SOCKET = "/z:000"
"""What is appended to the folder for a socket (``controller.run``), at its longest."""
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def create() -> Path:
    """Make a folder that only this user can enter, short enough for sockets.

    Raises ClusterError where none of ``bases`` will do, with what is wrong with each.
    """
    problems = []
    # The first folder that is fit is taken, and all that were not are named if none
    # was.
    for base in bases():
        problem = unfit(base)
        if problem is None:
            try:
                folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
            except OSError as error:
                problem = error.strerror or str(error)
            else:
                check(folder)
                return folder
        problems.append(f"{base}: {problem}")
    raise ClusterError(
        "no cluster: there is no folder for its sockets that nobody else can write to",
        hint="\n".join([*problems, "TMPDIR may name another one, with a short path"]),
    )


def bases() -> Iterator[Path]:
    """Yield the folders that a private folder may be in, the best one first, without links.

    ``$XDG_RUNTIME_DIR`` comes last: it goes when its user logs out, and a run may go on.
    """
    candidates = [tempfile.gettempdir(), "/tmp", "/var/tmp"]  # noqa: S108 - each is checked
    candidates += filter(None, [os.environ.get("XDG_RUNTIME_DIR")])
    resolved: dict[Path, None] = {}
    for candidate in candidates:
        with suppress(OSError):
            resolved[Path(candidate).resolve(strict=True)] = None
    yield from resolved


def unfit(base: Path) -> str | None:
    """Tell why sockets should not be below ``base``, which has no links in it; None where they may.

    Whoever may write to a folder above may put another one in its place, unless it is sticky.
    """
    longest = len(os.fsencode(base)) + len(f"/{PREFIX}12345678{SOCKET}")
    if longest > LONGEST:
        return f"its path is too long for Unix sockets by {longest - LONGEST} bytes"
    try:
        str(base).encode()
    except UnicodeEncodeError:
        return "its path is not UTF-8, as ZeroMQ wants it"
    owners = trusted_owners()
    for folder in (base, *base.parents):
        about = folder.stat()
        if about.st_uid not in owners:
            return f"{folder} belongs to another user ({about.st_uid})"
        if about.st_mode & _WRITABLE_BY_OTHERS and not about.st_mode & stat.S_ISVTX:
            return f"others can write to {folder}"
    return None


def trusted_owners() -> set[int]:
    """Return the users whose files this one has to trust: itself, root, and root as a container shows it.

    In a user namespace, owners without a number there appear as the overflow user
    (https://man7.org/linux/man-pages/man7/user_namespaces.7.html).
    """
    owners = {0, os.getuid()}
    with suppress(OSError, ValueError):
        *_, mapped = Path("/proc/self/uid_map").read_text().split()
        if int(mapped) < 2**32 - 1:
            owners.add(int(Path("/proc/sys/kernel/overflowuid").read_text()))
    return owners


def check(folder: Path) -> None:
    """Raise ClusterError where a folder is a link, somebody else's, or open to others."""
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise ClusterError(
            f"no cluster: {folder} is not a folder that only this user can enter",
            hint="something changes what arcli makes there; TMPDIR may name another place",
        )


# -- those that nobody uses any more ---------------------------------------------------------------

NAME = re.compile(r"arcli-[a-z0-9_]{8}")
"""As ``tempfile.mkdtemp`` makes them of the prefix."""
LOG = "supervisor.log"
QUIET_SECONDS = 60.0
"""What is younger may belong to a supervisor that is only just starting."""


class Stale(NamedTuple):
    """A folder that nobody uses any more, and the processes that its cluster has left behind.

    They are what items had started in sessions of their own, where nothing was there to end them:
    the supervisor and arcli were killed together.
    """

    folder: Path
    processes: tuple[int, ...] = ()


def find_stale(bases: Iterable[Path]) -> list[Stale]:
    """Return those below ``bases`` that are certainly arcli's, this user's, and in nobody's use.

    Certain it can be only where there is /proc; elsewhere there are none.
    """
    # What looks like one, then what no process names: both are needed to be certain.
    folders = []
    for base in set(bases):
        with suppress(OSError):
            named = [entry.path for entry in os.scandir(base) if NAME.fullmatch(entry.name)]
            folders += [Path(path) for path in named if _is_left(Path(path))]
    folders.sort()
    if not folders or not Path("/proc/self/environ").exists():
        return []
    used = set(_used(folders))
    stale = [folder for folder in folders if folder not in used]
    return [Stale(folder, tuple(marked(f"{MARK}={folder}".encode()))) for folder in stale]


def end_processes(stale: Stale) -> None:
    """End what a cluster has left behind, those that are still the ones that were found."""
    kill_marked(f"{MARK}={stale.folder}".encode())


def _is_left(folder: Path) -> bool:
    """Tell whether it looks like one, and is neither new nor locked."""
    try:
        about, log = folder.lstat(), (folder / LOG).lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(about.st_mode)
        and stat.S_IMODE(about.st_mode) == 0o700
        and stat.S_ISREG(log.st_mode)
        and about.st_uid == log.st_uid == os.getuid()
        and time.time() - max(about.st_mtime, log.st_mtime) > QUIET_SECONDS
        and not _is_locked(folder / LOG)
    )


def _is_locked(log: Path) -> bool:
    """Tell whether the supervisor holds a lock on its log, whichever container it lives in."""
    # What cannot be looked at counts as locked: nothing is removed by mistake.
    try:
        fd = os.open(log, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        return not locked(fd, shared=True)
    finally:
        os.close(fd)


def _used(folders: list[Path]) -> Iterator[Path]:
    """Yield those that a process names, but for the mark of what an item had started."""
    names = {os.fsencode(path.name): path for path in folders}
    marks = {f"{MARK}={path}".encode() for path in folders}
    for process in Path("/proc").glob("[0-9]*"):
        for file in ("cmdline", "environ"):
            with suppress(OSError):
                texts = set((process / file).read_bytes().split(b"\0")) - marks
                yield from (path for name, path in names.items() if any(name in text for text in texts))
