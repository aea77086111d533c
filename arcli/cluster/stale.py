"""Private folders of embedded clusters (``helper.SupervisorProcess.folder``) that nobody uses any more.

A supervisor removes its folder at its end, also where arcli was killed; one stays behind only where
the supervisor was killed, too, or the machine went down.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

NAME = re.compile(r"arcli-[a-z0-9_]{8}")
"""As ``tempfile.mkdtemp`` makes them of the prefix."""
LOG = "supervisor.log"
QUIET_SECONDS = 60.0
"""What is younger may belong to a supervisor that is only just starting."""


def stale_folders(temporary: Path) -> list[Path]:
    """Return those below ``temporary`` that are certainly arcli's, this user's, and in nobody's use.

    Certain it can be only where there is /proc; elsewhere there are none.
    """
    try:
        named = [entry for entry in os.scandir(temporary) if NAME.fullmatch(entry.name)]
    except OSError:
        return []
    folders = [Path(entry.path) for entry in named if _is_left(Path(entry.path))]
    if not folders or not Path("/proc/self/environ").exists():
        return []
    used = set(_mentioned(folders))
    return sorted(path for path in folders if path not in used)


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


def _mentioned(folders: list[Path]) -> Iterator[Path]:
    """Yield those that a process names in its command or its environment, as all of a cluster's do."""
    names = {os.fsencode(path.name): path for path in folders}
    for process in Path("/proc").glob("[0-9]*"):
        for file in ("cmdline", "environ"):
            with suppress(OSError):
                content = (process / file).read_bytes()
                yield from (path for name, path in names.items() if name in content)
