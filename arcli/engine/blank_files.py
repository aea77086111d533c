"""Files without a name that commands print to, used again where that is safe: making one takes longer."""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC


class BlankFiles:
    """Descriptors of empty files, which are nobody else's.

    What outlives a command may still have its file open: such a one is not used again.
    """

    def __init__(self) -> None:
        self._null: list[int] = []
        self._blank: list[int] = []
        self._told_apart = True

    def take(self) -> int:
        """Return the descriptor of an empty file that is appended to."""
        return self._blank.pop() if self._blank else _made()

    def opened_again(self, file: int) -> int:
        """Return a descriptor for a child, which the system tells from ours; it is to be closed here."""
        try:
            return os.open(f"/proc/self/fd/{file}", _FLAGS)
        except OSError:  # then it has ours, and whether that is open elsewhere, nobody can tell
            self._told_apart = False
            return os.dup(file)

    def give_back(self, file: int) -> None:
        """Have a file back, whatever is in it."""
        if not self._told_apart or not _alone(file):
            os.close(file)
            return
        if os.fstat(file).st_size:  # asking takes a fourth of the time
            os.ftruncate(file, 0)
        self._blank.append(file)

    @property
    def null(self) -> int:
        """A descriptor of what holds nothing, and takes anything."""
        if not self._null:
            self._null.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        return self._null[0]

    def close(self) -> None:
        """Let go of all files."""
        for files in (self._blank, self._null):
            while files:
                os.close(files.pop())

    __del__ = close


def _alone(file: int) -> bool:
    """Tell whether nobody else has a file open.

    Only then does Linux give a lease for writing, which is given up at once.
    https://man7.org/linux/man-pages/man2/F_GETLEASE.2const.html
    """
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except (AttributeError, OSError):  # not Linux, a file system that has no leases, or somebody has it
        return False
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


def nameless() -> int:
    """Return a descriptor of a file without a name, which writers append to.

    Where the system can, it never has one (``O_TMPFILE``): that is a third of the cost.
    """
    try:
        return os.open(tempfile.gettempdir(), _FLAGS | os.O_TMPFILE, 0o600)
    except (AttributeError, OSError):  # not Linux, or a file system that cannot
        with tempfile.TemporaryFile(prefix="arcli-", buffering=0) as named:
            file = os.dup(named.fileno())
        fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
        return file


def _made() -> int:
    file = nameless()
    # Whoever opens a file while its lease is held has a signal sent here: one that ends nobody.
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
    return file
