"""The private folder of an embedded cluster: sockets, keys and logs, out of every other user's reach.

An embedded cluster listens on Unix sockets only, so whoever may open this folder may use the cluster.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from arcli.errors import ClusterError

PREFIX = "arcli-"
LONGEST = 103
"""Bytes that the path of a Unix socket may have; macOS has the least (``sys/un.h``; Linux 107)."""
SOCKET = "/z:000"
"""What is appended to the folder for a socket (``forks.run_controller``), at its longest."""
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
