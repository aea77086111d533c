"""What an item prints, caught at the file descriptors, so that C code and child processes count.

Output goes to temporary files without a name, never to a pipe: C code that prints while it holds the
interpreter lock would fill a pipe that nobody can empty. A thread cuts a file that grows past the
cap, so that gigabytes of output cost neither memory nor disk.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from errno import EAGAIN
from typing import Any

from .blank_files import nameless
from .live import GrowingFile, Live, Patrol, PrintedText

CAP = 1 << 20
"""Bytes of each stream that an item's record keeps."""
WHOLE = 1 << 30
"""Bytes of each stream that are kept where all is asked for."""
MARK = 1
"""Bytes that a file begins with: one that is empty is not ours, but what an item put in its place,
such as /dev/null."""


NOTHING = ("", "", False)
"""What an item that printed nothing has printed."""
_seek, _END = os.lseek, os.SEEK_END


def printed_path(run_folder: str, job: str, index: int, attempt: int, stream: str) -> str:
    """Return the file for what an item printed and its record does not hold; ``out`` or ``err``."""
    return os.path.join(run_folder, "printed", job, f"{index}-{attempt}.{stream}")  # noqa: PTH118


def keep_whole(file: int, start: int, path: str) -> None:
    """Copy what a file holds from ``start`` on to ``path`` where a record does not: too much, or no text.

    An engine that does not see the run's folder, on another host, keeps what the record holds.
    """
    size = os.fstat(file).st_size - start
    if size <= 0:
        return
    head = os.pread(file, min(size, CAP + 1), start)
    if size <= CAP and _is_text(head):
        return
    folder = os.path.dirname(path)  # noqa: PTH120 - nothing heavier on an engine
    if not os.path.isdir(os.path.dirname(os.path.dirname(folder))):  # noqa: PTH112, PTH120 - as above
        return
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - as above
    with open(path, "wb") as copy:  # noqa: PTH123 - as above
        copy.write(head)
        while rest := os.pread(file, 1 << 20, start + copy.tell()):
            copy.write(rest)


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


class NoCapture:
    """Leaves the streams alone."""

    def __enter__(self) -> NoCapture:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def take(self) -> tuple[str, str, bool]:
        """Return what was printed since the last call: stdout, stderr, and whether either was capped."""
        return NOTHING

    def begin(self, index: int, attempt: int) -> None:
        """Note which item prints from now on, where several do side by side."""

    def close(self) -> None:
        """Let go of what it holds; nothing is printed any more, and nobody looks."""


class Capture(NoCapture):
    """Has streams of its own in the place of ``sys.stdout`` and ``sys.stderr``, and looks at them."""

    def __init__(self, patrol: Patrol) -> None:
        self._patrol = patrol

    def __enter__(self) -> Capture:
        self._before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self._streams()
        self._watching = ExitStack()
        self._watching.enter_context(self._patrol.over(self))
        return self

    def __exit__(self, *exc: object) -> None:
        self._watching.close()
        sys.stdout, sys.stderr = self._before

    def _streams(self) -> tuple[Any, Any]:
        """Return what stands for stdout and stderr from now on."""
        raise NotImplementedError

    def look(self, live: Live) -> None:
        """See Watched."""
        raise NotImplementedError


class SysCapture(Capture):
    """Catches what is written to ``sys.stdout`` and ``sys.stderr``."""

    def __init__(self, live: Live, patrol: Patrol) -> None:
        super().__init__(patrol)
        # The same from one item to the next: a log handler that one has made still writes to it.
        self._ours = CappedText(live, "out"), CappedText(live, "err")

    def look(self, live: Live) -> None:
        """See Watched."""
        for text in self._ours:
            text.lines.look(live, *live.running())

    def _streams(self) -> tuple[CappedText, CappedText]:
        for text in self._ours:  # what was written between two chunks is no item's
            text.drain()
        return self._ours

    def take(self) -> tuple[str, str, bool]:
        """See NoCapture."""
        # A task may have put streams of its own in place: ours are put back for the next one.
        out, err = sys.stdout, sys.stderr = self._ours
        if not out.written and not err.written:
            return NOTHING
        cut = out.written > CAP or err.written > CAP
        return out.drain(), err.drain(), cut


class CappedText(io.TextIOBase):
    """A text stream that keeps the first CAP characters, and tells of whole lines."""

    def __init__(self, live: Live, stream: str) -> None:
        self.lines = PrintedText(stream)
        self._live = live
        self._stream = stream
        self._parts: list[str] = []
        self.written = 0

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """Keep a text, as far as there is room. Raises TypeError for bytes, as every text stream does."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self.written < CAP:
            self._parts.append(text[: CAP - self.written])
        self.written += len(text)
        if self._live.wants(self._stream):
            self.lines.write(text)
        return len(text)

    def close(self) -> None:
        """A task may close its stdout; the next one still needs it."""

    def drain(self) -> str:
        """Return what was written; it is empty afterwards."""
        parts, self._parts, self.written = self._parts, [], 0
        self.lines = PrintedText(self._stream)
        return "".join(parts).encode("utf-8", "backslashreplace").decode()


class FdCapture(Capture):
    """Catches what is written to the file descriptors 1 and 2, by whomever.

    ``path_of`` gives the file for what the item that runs now prints to a stream and its record does not
    hold; None: that is not kept.
    """

    def __init__(self, patrol: Patrol, path_of: Callable[[str], str] | None = None) -> None:
        super().__init__(patrol)
        cap = CAP if path_of is None else WHOLE
        self._files = _CaptureFile(1, "out", cap), _CaptureFile(2, "err", cap)
        self._path_of = path_of

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        for file in self._files:
            file.detach()

    def _streams(self) -> tuple[io.TextIOWrapper, io.TextIOWrapper]:
        out, err = self._files
        return out.attach(), err.attach()

    def take(self) -> tuple[str, str, bool]:
        """See NoCapture. This first look runs after every item, so it is short."""
        out, err = self._files
        # Most items print nothing: that is known by two seeks, without a look into
        # the files.
        # A stream that is closed raises ValueError, and one that an item has deleted AttributeError.
        try:
            if out.opened.holds or err.opened.holds:
                out.opened.flush()
                err.opened.flush()
            untouched = sys.stdout is out.opened and sys.stderr is err.opened
            if untouched and _seek(1, 0, _END) == MARK == _seek(2, 0, _END):
                return NOTHING
        except (AttributeError, OSError, ValueError):
            pass
        if not (out.pending(getattr(sys, "stdout", None)) | err.pending(getattr(sys, "stderr", None))):
            return NOTHING
        if self._path_of is not None:
            for file in self._files:
                file.keep(self._path_of)
        texts = out.drain(), err.drain()
        return texts[0], texts[1], out.was_cut() | err.was_cut()

    def look(self, live: Live) -> None:
        """See Watched."""
        for file in self._files:
            file.growing.look(live, *live.running())

    def close(self) -> None:
        """See NoCapture."""
        for file in self._files:
            file.close()


class _Text(io.TextIOWrapper):
    """Text on its way to a descriptor. ``holds`` says whether some may not have got there.

    To ask a stream for it (``flush``) takes five times as long as to look at a flag.
    """

    holds = False

    def write(self, text: str, _write: Callable[..., int] = io.TextIOWrapper.write) -> int:
        """Write a text, of which what comes behind the last line's end may wait for more."""
        self.holds = True
        return _write(self, text)

    def flush(self) -> None:
        """Write what waits."""
        super().flush()
        self.holds = False


class _Bytes(io.FileIO):
    """Bytes on their way to a descriptor, none of which wait.

    Whoever wraps them in a stream of its own does not close them: ``sys.stdout = io.TextIOWrapper(
    sys.stdout.buffer, …)`` closes the buffer when it is let go of.
    """

    def write(self, data: Any) -> int:
        """Write all of it, where the operating system would begin with a part. Raises OSError."""
        written = super().write(data)
        if written == len(data):
            return written
        rest = memoryview(data).cast("B")
        size = len(rest)
        while True:
            if written is None:  # an item has put something there that blocks nobody
                raise BlockingIOError(EAGAIN, "write could not complete without blocking")
            rest = rest[written:]
            if not rest:
                return size
            written = super().write(rest)

    def close(self) -> None:
        """Stay open."""


class _CaptureFile:
    """A file without a name in the place of one file descriptor."""

    def __init__(self, fd: int, stream: str, cap: int) -> None:
        self._fd = fd
        self._stream = stream
        self._file = nameless()
        os.ftruncate(self._file, MARK)
        self._inode = os.fstat(self._file).st_ino
        self.growing = GrowingFile(lambda: self._file, stream, start=MARK, cap=cap)
        self._saved: int | None = None
        self.opened: Any = None

    def attach(self) -> io.TextIOWrapper:
        """Put the file where the descriptor was; returns its stream."""
        try:
            self._saved = os.dup(self._fd)
        except OSError:  # closed by whoever started us
            self._saved = None
        os.dup2(self._file, self._fd)
        return self.stream()

    def detach(self) -> None:
        """Put the descriptor back as it was."""
        if self._saved is None:
            os.close(self._fd)
        else:
            os.dup2(self._saved, self._fd)
            os.close(self._saved)

    def close(self) -> None:
        """Let go of the file, which is nowhere else by now."""
        os.close(self._file)

    def stream(self) -> io.TextIOWrapper:
        """Return a text stream on the descriptor: the same one, unless a task has taken it apart."""
        try:
            whole = self.opened is not None and not self.opened.closed
        except ValueError:  # it was detached from what it writes to
            whole = False
        if not whole:
            raw: Any = _Bytes(self._fd, "w", closefd=False)
            self.opened = _Text(raw, "utf-8", "backslashreplace", line_buffering=True)
        opened: io.TextIOWrapper = self.opened
        return opened

    def pending(self, current: Any) -> int:
        """Bring what is buffered to the file; returns the bytes that wait there.

        ``current`` is what stands for the stream in ``sys`` now. A stream or a descriptor that a
        task closed or replaced is mended. lseek is the cheapest look at a file's size, and
        appending writers do not mind where it leaves the offset.
        """
        try:
            if (stream := self.opened) is not None and current is stream:
                stream.flush()
                if (size := os.lseek(self._fd, 0, os.SEEK_END)) == MARK:
                    return 0
                if size and os.fstat(self._fd).st_ino == self._inode:
                    return size - MARK
        except (OSError, ValueError):  # ValueError is what a closed stream raises
            pass
        # An item that took apart or replaced a stream gets its neighbour one that is whole. What its own
        # still holds is written now: later it would be the neighbour's.
        if current is not self.opened:
            with suppress(Exception):  # a class of the user's may raise anything
                current.flush()
        setattr(sys, "stdout" if self._fd == 1 else "stderr", self.stream())
        os.dup2(self._file, self._fd)
        with suppress(OSError):  # what could not be written while the descriptor was closed
            self.stream().flush()
        if not (size := os.fstat(self._file).st_size):  # an item cut it off
            os.ftruncate(self._file, MARK)
        return max(0, size - MARK)

    def keep(self, path_of: Callable[[str], str]) -> None:
        """Copy what a record does not hold to the file that is for this stream."""
        with self.growing.lock:
            keep_whole(self._file, MARK, path_of(self._stream))

    def drain(self) -> str:
        """Return the text in the file, as far as the cap goes; the file is empty afterwards."""
        with self.growing.lock:
            size = os.fstat(self._file).st_size - MARK
            raw = os.pread(self._file, min(size, CAP), MARK)
            self.growing.cut |= size > CAP
            os.ftruncate(self._file, MARK)
            self.growing.renew()
        return raw.decode("utf-8", "backslashreplace")

    def was_cut(self) -> bool:
        """Tell whether output was dropped since the last call."""
        cut, self.growing.cut = self.growing.cut, False
        return cut


def make_capture(mode: str, live: Live, patrol: Patrol) -> NoCapture:
    """Return the capture for ``fd``, ``sys`` or ``none``."""
    if mode == "fd":
        return FdCapture(patrol)
    return SysCapture(live, patrol) if mode == "sys" else NoCapture()
