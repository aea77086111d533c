"""Locks that die with their holder, however it dies.

On a file system without locks one is had by everybody, and says so.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from arcli.engine.flock import locked
from arcli.errors import LockedError, OutputError
from arcli.store.files import make_private, read_as, spec_key, state_folder
from arcli.units import isoformat


class Holder(Struct, frozen=True, kw_only=True):
    """Who holds a lock: a process, its host, and since when (ISO 8601 UTC)."""

    pid: int
    host: str
    since: str


class Lock:
    """A lock on a file of its own, held from the call of ``hold`` to ``release``.

    The file stays behind: removing it would let two holders lock two files of the same name.
    ``works`` is False where the file system has no locks, so that others may have it, too.
    """

    def __init__(self, fd: int, *, works: bool = True) -> None:
        self._fd: int | None = fd
        self.works = works
        # A forked child shares the lock until it closes its copy, and it may outlive its parent. The
        # hook stays registered for ever, so it must not keep the lock alive.
        itself = weakref.ref(self)

        def let_go() -> None:
            lock = itself()
            if lock is not None:
                lock.release(shared=True)

        os.register_at_fork(after_in_child=let_go)

    @classmethod
    def hold(cls, path: Path, what: str, *, wait: bool = False) -> Self:
        """Lock ``path``. Raises LockedError, which says who holds ``what``, and OutputError.

        ``wait`` is for a file that is nobody else's, but may be looked at (``is_held``).
        """
        try:
            make_private(path.parent)
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise OutputError(f"the lock {path} cannot be made: {error.strerror}") from None
        works = locked(fd, wait=wait)
        if works is False:
            os.close(fd)
            holder = holder_of(path)
            who = "another process"
            if holder is not None:
                who = f"process {holder.pid} on {holder.host}, since {holder.since}"
            hint = "wait for it or end it: the lock goes with it"
            raise LockedError(f"{what} is locked by {who}", hint=hint)
        # Who has it writes down who that is, for those who do not get it; the text itself locks nothing.
        try:
            myself = Holder(pid=os.getpid(), host=socket.gethostname(), since=isoformat(time.time()))
            os.ftruncate(fd, 0)
            os.pwrite(fd, msgspec.json.encode(myself), 0)
        except OSError as error:
            os.close(fd)
            raise OutputError(f"the lock {path} cannot be had: {error.strerror}") from None
        return cls(fd, works=bool(works))

    def release(self, *, shared: bool = False) -> None:
        """Let it go; where it is ``shared`` with a parent, only this process's copy of it."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        if not shared:
            os.ftruncate(fd, 0)  # nobody is the holder any more, also where locks cannot be seen
            if self.works:
                fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def lock_for(root: Path, spec_file: str, environ: Mapping[str, str]) -> Path:
    """Return the lock file of a spec: the same for every way to write its path, wherever that is done.

    It is in the user's state folder; below ``root`` where that cannot be had.
    """
    folder = state_folder(environ)
    if folder is not None:
        with suppress(OSError):
            make_private(folder / "locks")
            if os.access(folder / "locks", os.W_OK):
                root = folder
    return root / "locks" / f"{spec_key(spec_file)}.lock"


def is_held(path: Path) -> bool | None:
    """Tell whether anyone holds the lock: False where there is no such file, None where the file
    system has no locks.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    # Shared, so that two who look at the same moment do not take each other for the holder.
    try:
        free = locked(fd, shared=True)
    finally:
        os.close(fd)
    return None if free is None else not free


def holder_of(path: Path) -> Holder | None:
    """Tell who wrote down last that the lock is theirs; None where that cannot be read."""
    try:
        return read_as(path.read_bytes(), Holder)
    except (OSError, ValueError):
        return None
