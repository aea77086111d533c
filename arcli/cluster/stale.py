"""Private folders of embedded clusters (``SupervisorProcess.folder``) that nobody uses any more.

A supervisor removes its folder at its end, also where arcli was killed; one stays behind only where
the supervisor was killed, too, or the machine went down.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from arcli.cluster.processes import kill_marked, marked
from arcli.cluster.supervisor_process import MARK

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
    folders = sorted(folder for base in set(bases) for folder in _left_below(base))
    if not folders or not Path("/proc/self/environ").exists():
        return []
    used = set(_used(folders))
    stale = [folder for folder in folders if folder not in used]
    return [Stale(folder, tuple(marked(f"{MARK}={folder}".encode()))) for folder in stale]


def end_processes(stale: Stale) -> None:
    """End what a cluster has left behind, those that are still the ones that were found."""
    kill_marked(f"{MARK}={stale.folder}".encode())


def _left_below(base: Path) -> list[Path]:
    try:
        named = [entry for entry in os.scandir(base) if NAME.fullmatch(entry.name)]
    except OSError:
        return []
    return [Path(entry.path) for entry in named if _is_left(Path(entry.path))]


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
    """Return the supervisor holds a lock on its log, whichever container it lives in."""
    try:
        fd = os.open(log, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _used(folders: list[Path]) -> Iterator[Path]:
    """Yield those that a process names, but for the mark of what an item had started."""
    names = {os.fsencode(path.name): path for path in folders}
    marks = {f"{MARK}={path}".encode() for path in folders}
    for process in Path("/proc").glob("[0-9]*"):
        for file in ("cmdline", "environ"):
            with suppress(OSError):
                words = set((process / file).read_bytes().split(b"\0")) - marks
                yield from (path for name, path in names.items() if any(name in word for word in words))
