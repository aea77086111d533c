"""Private folders and files, there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arcli.errors import OutputError, UsageError

ELSEWHERE = "choose another place for run folders with ARCLI_DIR"
_OURS = {"runs", "locks"}


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turns what the disk refuses into an OutputError that names the file."""
    try:
        yield
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise OutputError(message, hint=ELSEWHERE) from None


def make_root(root: Path) -> None:
    """The folder of all runs, private and never committed. Raises OSError."""
    make_private(root)
    ignored = root / ".gitignore"
    # A folder that has other things in it is somebody else's, who may well want to commit them.
    if not ignored.exists() and {entry.name for entry in root.iterdir()} <= _OURS:
        ignored.write_text("*\n")


def make_private(folder: Path) -> None:
    """A folder, and those above it that are missing, for its owner alone. Raises OSError."""
    if folder.is_dir():
        return
    make_private(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            why = os.strerror(errno.ENOTDIR)
            raise NotADirectoryError(errno.ENOTDIR, why, str(folder)) from None


def require_own(path: Path) -> None:
    """Refuse what another user could have forged: root is trusted, too. Raises UsageError, OSError."""
    owner = path.lstat().st_uid
    if owner not in {0, os.geteuid()}:
        raise UsageError(
            f"{path} belongs to another user (uid {owner}), and what it holds would be believed",
            hint=ELSEWHERE,
        )


def disk_time(folder: Path) -> float:
    """Tell what time it is by the clock that stamps the files of a folder, in seconds since the epoch.

    On a shared disk that is the server's; where nothing can be written, this host's.
    """
    probe = folder / ".time"
    try:
        probe.touch(mode=0o600)
        return probe.stat().st_mtime
    except OSError:
        return time.time()


def write_whole(path: Path, data: bytes, *, durable: bool) -> None:
    """Write a private file; ``durable``: it survives a power failure, too. Raises OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor, for the file's mode
            file.write(data)
            if durable:
                file.flush()
                os.fsync(fd)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
