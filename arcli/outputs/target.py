"""Where an output's bytes go: somebody else's stream, or a file that appears whole or not at all."""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Protocol

from arcli.errors import OutputError, ReaderGone
from arcli.stretches import write_all

if TYPE_CHECKING:
    from pathlib import Path

STDOUT = "standard output"
_STANDARD = {"/dev/stdout": "/dev/fd/1", "/dev/stderr": "/dev/fd/2"}
_HINTS = {
    **dict.fromkeys(
        (errno.ENOENT, errno.ENOTDIR),
        "its directory does not exist (any more): create it, or choose another path",
    ),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a path that you may write to"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there, or choose a path on another disk"),
}
"""What to do about an error of the system, by its number."""


class Target(Protocol):
    """Opened once, written to, then committed or discarded. Every step raises OutputError.

    A subclass leaves out the steps at which it has nothing to do. ``folder`` is the directory for what
    belongs beside it, where there is one.
    """

    @property
    def folder(self) -> Path | None:
        """See above."""
        return None

    def open(self) -> None:
        """Prove that it can be written."""
        return  # with a body it is what happens where a subclass says nothing, and no gap in it

    def write(self, data: bytes) -> None:
        """Take bytes, soon or now."""

    def commit(self) -> None:
        """It is complete."""
        return

    def discard(self) -> None:
        """It will not be completed: leave nothing half-written. Raises nothing."""
        return


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Turn an OSError of the block into an OutputError that names the output and the reason."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {name}: {error.strerror or error}", hint=_HINTS.get(error.errno or 0)
        ) from error


class WriteTimer:
    """Times writes that last for as long as their reader likes; another thread watches them.

    A reader that has stopped must not hold up a signal.
    """

    def __init__(self) -> None:
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """For how many seconds the write that is under way has been; safe from any thread."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Time the block."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None


class LastLine:
    """The last line of a terminal, which two streams may share; ``begun``: it has text and no end."""

    begun = False


class StreamTarget(Target):
    """A stream that was open before arcli and stays open after it; written through at once.

    ``line`` is the last line of what it is written to.
    """

    def __init__(self, stream: BinaryIO, name: str = STDOUT, line: LastLine | None = None) -> None:
        self._stream = stream
        self._name = name
        self._line = line or LastLine()
        self.timer = WriteTimer()

    def write(self, data: bytes) -> None:
        """Write and flush. Raises ReaderGone where nobody reads any more."""
        if data:
            self._line.begun = not data.endswith(b"\n")
        with self._reporting():
            write_all(self._write_some, data)
            self._flush()

    def commit(self) -> None:
        """Flush."""
        with self._reporting():
            self._flush()

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            with self.timer.timing(), writing(self._name):
                yield
        except OutputError as error:
            if isinstance(error.__cause__, BrokenPipeError):
                raise ReaderGone(f"nobody reads {self._name} any more") from error.__cause__
            raise

    def _write_some(self, data: memoryview) -> int:
        try:
            return self._stream.write(data) or 0
        except BlockingIOError as error:  # another holder of the pipe made it non-blocking
            self._wait()
            return error.characters_written

    def _flush(self) -> None:
        while True:
            try:
                return self._stream.flush()
            except BlockingIOError:
                self._wait()

    def _wait(self) -> None:
        select.select([], [self._stream], [])


class GzipTarget:
    """What is written, packed: another target gets it as a gzip file (RFC 1952)."""

    def __init__(self, target: Target) -> None:
        self._target = target
        # 16 and more asks zlib for the header and the trailer of gzip.
        self._packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def folder(self) -> Path | None:
        """See Target."""
        return self._target.folder

    def open(self) -> None:
        """See Target."""
        self._target.open()

    def write(self, data: bytes) -> None:
        """See Target."""
        if packed := self._packer.compress(data):
            self._target.write(packed)

    def commit(self) -> None:
        """See Target."""
        self._target.write(self._packer.flush())
        self._target.commit()

    def discard(self) -> None:
        """See Target."""
        self._target.discard()


class NullStream(Target):
    """What stands in for a stream that is closed."""

    def write(self, data: bytes) -> None:
        """Forget it."""


class BestEffort(Target):
    """A stream for what people may do without: where it takes nothing, that is the end of it."""

    def __init__(self, target: Target) -> None:
        self._target: Target = target

    def write(self, data: bytes) -> None:
        """Write, or never try again."""
        try:
            self._target.write(data)
        except (OutputError, ReaderGone):
            self._target = NullStream()


class FileTarget:
    """A file that is written beside its name, where the system can without one, and renamed at the end.

    A device or a pipe under that name is written to as it is. A symbolic link stays one.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.path = path
        self._path = path
        self._temporary: Path | None = None
        self._nameless = False
        self._file: BinaryIO | None = None
        self.timer = WriteTimer()

    @property
    def folder(self) -> Path | None:
        """See Target; None beside a device."""
        return self._path.parent if self._temporary else None

    def fileno(self) -> int:
        """Return the descriptor of the open file."""
        return self._opened.fileno()

    def open(self) -> None:
        """Make the file beside. Raises OutputError where that cannot be."""
        with writing(self.name):
            mode = existing_mode(self._path)
            if mode is not None and not stat.S_ISREG(mode):
                # Unbuffered: what is discarded is not to wait for a reader once more.
                with self.timer.timing():
                    self._file = self._path.open("wb", buffering=0)
                return
            self._path = type(self._path)(os.path.realpath(self._path))
            if mode is not None and not os.access(self._path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            # A name of its own: not mkstemp, whose files nobody else may read.
            stem = os.fsencode(self._path.name)[:200].decode(sys.getfilesystemencoding(), "ignore")
            self._temporary = self._path.with_name(f".{stem}.{os.urandom(4).hex()}.tmp")
            # What has no name goes with the last process that has it open, also where that is killed.
            nameless = _nameless(self._path.parent)
            self._nameless = nameless is not None
            self._file = nameless or self._temporary.open("xb")
            if mode is not None:
                os.fchmod(self._file.fileno(), stat.S_IMODE(mode))

    def write(self, data: bytes) -> None:
        """Write, buffered where it is a file."""
        with writing(self.name), self.timing():
            write_all(self._opened.write, data)

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Time the block, where a reader and not a disk takes what is written."""
        if self._temporary is not None:
            yield
            return
        with self.timer.timing():
            yield

    def commit(self) -> None:
        """Bring it to the disk and under its name; where that fails, nothing is left."""
        try:
            # On the disk before it has its name: after a power loss there is the
            # old file or the new one.
            with writing(self.name):
                self._opened.flush()
                if self._temporary is not None:
                    os.fsync(self._opened.fileno())
                if self._temporary is not None and self._nameless:
                    # Only a rename can take the place of another file.
                    _link(self._opened.fileno(), self._temporary)
                self._opened.close()
                if self._temporary is not None:
                    self._temporary.replace(self._path)
                    self._temporary = None
        except OutputError:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove the file beside; what was under the name before is still there."""
        # Nothing here may raise: it runs while another error is on its way.
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
        if self._temporary is not None:
            with suppress(OSError, UnicodeEncodeError):  # it may be no name in the locale's encoding
                self._temporary.unlink()
            self._temporary = None

    @property
    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise ValueError(f"{self.name} is not open")
        return self._file


class OpenFile(Target):
    """A file that somebody else has opened, and brings under its name when it is complete."""

    def __init__(self, descriptor: int, name: str, folder: Path | None) -> None:
        self._file = open(descriptor, "wb")  # noqa: SIM115 - a descriptor has no path, and stays open
        self._name = name
        self._folder = folder

    @property
    def folder(self) -> Path | None:
        """See Target."""
        return self._folder

    def write(self, data: bytes) -> None:
        """Write, buffered."""
        with writing(self._name):
            self._file.write(data)

    def commit(self) -> None:
        """Hand all of it to the system."""
        with writing(self._name):
            self._file.close()

    def discard(self) -> None:
        """Leave the rest to who has opened it."""
        with suppress(OSError):
            self._file.close()


def _nameless(folder: Path) -> BinaryIO | None:
    """Make a file without a name in ``folder``; None where that cannot be, or could not be named later."""
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        descriptor = os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o666)
    except OSError:  # not on this file system, or no file at all: that, one with a name will tell
        return None
    if not os.access(_descriptor_path(descriptor), os.F_OK):  # without /proc
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "wb")


def _link(descriptor: int, path: Path) -> None:
    """Give an open file without a name its first one. Raises OSError."""
    # With a folder's descriptor, which an absolute path has no use for, Python follows the symbolic link:
    # https://docs.python.org/3/library/os.html#os.link
    os.link(_descriptor_path(descriptor), path, src_dir_fd=descriptor)


def _descriptor_path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def existing_mode(path: Path) -> int | None:
    """Return the mode of what is at ``path``, None where nothing is. Raises OSError for a directory."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return mode


def is_device(path: Path) -> bool:
    """Tell whether something is there that is neither a file nor a directory."""
    with suppress(OSError):
        mode = existing_mode(path)
        return mode is not None and not stat.S_ISREG(mode)
    return False


def open_descriptor(path: Path) -> int | None:
    """Return the descriptor of this process that a path names, where it is a file.

    None for any other path. Opened by its name that file would be replaced, or written from its beginning.
    """
    descriptor = descriptor_in(str(path))
    if descriptor is None:
        return None
    with suppress(OSError, OverflowError):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
    return None


def descriptor_in(path: str) -> int | None:
    """Return the descriptor that a path such as ``/dev/stderr`` or ``/dev/fd/N`` names, None for others."""
    folder, _, number = _STANDARD.get(path, path).rpartition("/")
    if folder not in {"/dev/fd", "/proc/self/fd"} or not (number.isascii() and number.isdecimal()):
        return None
    return int(number)
