"""The journal: every record of a run, one JSON object a line, in the order of completion.

What was appended survives the death of arcli at once, since the operating system has it. It
survives a power failure after a second at the latest: that often a thread of the journal's own has
it brought to the disk (``fdatasync``), and once more when the run ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

import msgspec
from msgspec import Meta, Struct

from arcli.engine.tally import Status
from arcli.errors import OutputError
from arcli.record import JOB_NAME, decode
from arcli.stretches import read_at, write_all

SYNC_SECONDS = 1.0
"""What a power failure can cost, in seconds of a run."""
BLOCK = 1 << 16
LINE = 4096
"""Bytes that hold most lines."""
LONGEST = 1e10
"""Seconds (three centuries) that no item takes: what claims more is damaged."""
LONGEST_NUMBER = 4300
"""Digits of the longest integer that Python reads: a record with a longer one is none."""
FOLLOW_SECONDS = 0.1
"""How long a reader that follows a journal pauses between two looks."""
FOLLOW_BYTES = 1 << 20
_T = TypeVar("_T")
_fdatasync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has only fsync


class Journal:
    """A journal that is being written. One thread appends, any thread may read.

    Raises OutputError, from every method, for what the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        # One run writes it: a run that goes on with another one has a journal of its own.
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise self._refused("made", error) from None
        self._end = self._synced = 0
        self._syncing = threading.Lock()
        self._wanted = threading.Event()
        self._closing = False
        self._syncer: threading.Thread | None = None
        self._failure: OutputError | None = None

    def append(self, lines: bytes) -> int:
        """Add whole lines, each with its newline; returns the offset at which they begin.

        Where that fails, nothing of them stays behind.
        """
        if self._failure is not None:
            raise self._failure
        # A disk that is nearly full takes a part: the rest is tried again, and where that fails the
        # part is taken back, so that no reader finds half of a record.
        start = self._end
        try:
            os.lseek(self._fd, start, os.SEEK_SET)
            write_all(partial(os.write, self._fd), lines)
        except OSError as error:
            with suppress(OSError):  # then it is a torn line, which every reader recognises
                os.ftruncate(self._fd, start)
            raise self._refused("written", error) from None
        # The thread that syncs begins with the first record: a run that fails before needs none.
        self._end = start + len(lines)
        if self._syncer is None:
            self._syncer = threading.Thread(target=self._keep_synced, name="arcli-journal", daemon=True)
            self._syncer.start()
        return start

    def fileno(self) -> int:
        """Return the descriptor, for who reads it elsewhere."""
        return self._fd

    def read(self, offset: int, length: int) -> bytes:
        """Return what stands at ``offset``, ``length`` bytes of it."""
        try:
            return read_at(self._fd, offset, length)
        except OSError as error:
            raise self._refused("read", error) from None
        except EOFError:
            cut = f"the journal {self._path} ends too early: something else has cut it"
            raise OutputError(cut) from None

    def sync_soon(self) -> None:
        """Have its thread do what ``sync`` does, while the caller does something else."""
        self._wanted.set()

    def sync(self) -> None:
        """Bring everything appended so far to the disk."""
        # The system tells of a failure once only, to whoever asks first: all others must hear of it, too.
        with self._syncing:
            if self._failure is None and self._synced != self._end:
                self._failure = self._sync()
            if self._failure is not None:
                raise self._failure

    def _sync(self) -> OutputError | None:
        # What is appended meanwhile belongs to the next time. A file that has no name any more is
        # written to without an error, and gone when it is closed: that must be told.
        end = self._end
        try:
            _fdatasync(self._fd)
            removed = os.fstat(self._fd).st_nlink == 0
        except OSError as error:
            return self._refused("brought to the disk", error)
        if removed:
            return OutputError(f"the journal {self._path} was removed during the run: its records are lost")
        self._synced = end
        return None

    def _keep_synced(self) -> None:
        while not self._closing and self._failure is None:
            self._wanted.wait(SYNC_SECONDS)
            self._wanted.clear()
            with suppress(OutputError):  # the next to append or to sync raises it
                self.sync()

    def close(self) -> None:
        """Bring it to the disk and let it go. May be called more than once."""
        if self._closing:
            return
        self._closing = True
        self._wanted.set()
        if self._syncer is not None:
            self._syncer.join()
        try:
            self.sync()
        finally:
            os.close(self._fd)

    def _refused(self, what: str, error: OSError) -> OutputError:
        return OutputError(
            f"the journal {self._path} cannot be {what}: {error.strerror}",
            hint="what is in it is whole; make room or choose another place with ARCLI_DIR, then "
            "go on with --resume",
        )


class Damage(Struct, frozen=True, kw_only=True):
    """A part of a journal that is no record: where it begins, its length in bytes, and why."""

    offset: int
    length: int
    reason: str


class Entry(Struct, frozen=True, kw_only=True):
    """A record in a journal: its place, its line with the newline, and what the line says."""

    offset: int
    line: bytes
    data: dict[str, Any]


_Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Seconds = Annotated[float, Meta(ge=0, lt=LONGEST)]
_Time = Annotated[datetime, Meta(tz=True)]


class _ErrorOutline(Struct, frozen=True, gc=False):
    type: str
    message: str
    traceback: str | None = None


class _AttemptOutline(Struct, frozen=True, gc=False):
    engine_id: _Whole
    status: str
    reason: str
    seconds: _Seconds
    started: str | None = None
    completed: str | None = None


class _ArtifactOutline(Struct, frozen=True, gc=False):
    path: str
    size: _Whole


class Outline(Struct, frozen=True, gc=False):
    """What a record says besides its input and its value: a line with anything else there is none."""

    job: str
    index: _Number
    key: str
    status: Status
    seconds: _Seconds | None = None
    exact: bool = True
    error: _ErrorOutline | None = None
    # Whoever shows a record, adds up records or goes on with them may rely on these, too.
    run: str = ""
    reason: str | None = None
    stdout: str = ""
    stderr: str = ""
    truncated: bool | None = None
    engine_id: _Whole | None = None
    slot: _Whole | None = None
    msg_id: str | None = None
    chunk: _Whole | None = None
    attempt: _Whole | None = None
    submitted: _Time | None = None
    started: _Time | None = None
    completed: _Time | None = None
    received: _Time | None = None
    replayed: bool = False
    earlier_attempts: list[_AttemptOutline] | None = None
    usage: dict[str, float | None] | None = None
    outdir: str | None = None
    artifacts: list[_ArtifactOutline] | None = None


_OUTLINE = msgspec.json.Decoder(Outline)
"""Reads a record in a third of the time that a dict of all that it says takes."""


def entries(path: Path, on_damage: Callable[[Damage], None]) -> Iterator[Entry]:
    """Yield the records of a journal, one after another; what is damaged goes to ``on_damage`` instead.

    Changes nothing, and holds one line at a time. A journal that is being written may be read: it
    ends where it ended at the first call. Raises OSError.
    """
    for offset, line, data in _read(path, read_record, on_damage):
        yield Entry(offset=offset, line=line, data=data)


def outlines(
    path: Path, on_damage: Callable[[Damage], None] = lambda damage: None
) -> Iterator[tuple[int, bytes, Outline]]:
    """Yield the offset, the line and the outline of each record that ``entries`` yields."""
    return _read(path, _outlined, on_damage)


def _read(
    path: Path, read: Callable[[bytes], _T | None], on_damage: Callable[[Damage], None]
) -> Iterator[tuple[int, bytes, _T]]:
    """Yield the offset, the line and what ``read`` makes of it; None from there is damage."""
    # A run that goes on may be writing its last line: what stands behind the last newline is none.
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        end = _last_newline(file, size)
        offset = 0
        while offset < end:
            line = file.readline()
            data = read(line)
            if data is not None:
                yield offset, line, data
            else:
                on_damage(Damage(offset=offset, length=len(line), reason="not a record"))
            offset += len(line)
        if end < size:
            tail = os.pread(file.fileno(), min(BLOCK, size - end), end)
            reason = "a torn line" if tail.strip(b"\0") else "NULs, as a power failure leaves them"
            on_damage(Damage(offset=end, length=size - end, reason=reason))


def follow(path: Path, ended: threading.Event) -> Iterator[Entry]:
    """Yield the records of a journal that may still be written, as they come, until its writer has ended.

    What is damaged is passed over. Raises OSError but for a journal that is not there yet.
    """
    # By polling: no notices of a file system cross hosts on a shared disk.
    offset, rest = 0, bytearray()
    while True:
        over = ended.is_set()  # before it is read: what was written until then is read now
        block = b""
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(offset + len(rest))
            block = file.read(FOLLOW_BYTES)
        # Behind the last newline is a line that is still being written, or nothing. One of hundreds of
        # blocks is put together as it grows, and copied only when it is whole.
        head, newline, tail = block.rpartition(b"\n")
        for line in b"".join((rest, head)).split(b"\n") if newline else ():
            data = read_record(line)
            if data is not None:
                yield Entry(offset=offset, line=line + b"\n", data=data)
            offset += len(line) + 1
        if newline:
            rest.clear()
        rest += tail
        if len(block) == FOLLOW_BYTES:
            continue
        if over:
            return
        ended.wait(FOLLOW_SECONDS)


def read_record(line: bytes) -> dict[str, Any] | None:
    """Return what a line says, or None where it is no record."""
    try:
        data = decode(line)
    except ValueError:
        return None
    return data if _outline_of(data) is not None else None


def _outlined(line: bytes) -> Outline | None:
    """Return the outline of a record, or None where a line is none."""
    if len(line) <= LONGEST_NUMBER and (outline := _skimmed(line)) is not None:
        return outline
    # What the fast reader refuses may be a record all the same: it is the whole one that decides.
    try:
        return _outline_of(decode(line))
    except ValueError:
        return None


def is_record_of(line: bytes, job: str, index: int) -> bool:
    """Tell whether a line is the record of an item."""
    outline = _skimmed(line) or _outlined(line)
    return outline is not None and (outline.job, outline.index) == (job, index)


def _skimmed(line: bytes) -> Outline | None:
    """Return the outline of a record, of whose input and value only the form is looked at, or None."""
    # As text, for what is skipped is else not looked at: bytes that are no UTF-8 are damage.
    try:
        outline = _OUTLINE.decode(line.decode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return outline if _is_job_name(outline.job) else None


def _outline_of(data: Mapping[str, Any]) -> Outline | None:
    """Return the outline of what a line says, or None where that is no record."""
    try:
        outline = msgspec.convert(data, Outline)
    except msgspec.ValidationError:
        return None
    return outline if _is_job_name(outline.job) else None


@lru_cache(maxsize=256)
def _is_job_name(name: str) -> bool:
    """Tell whether a job can be called so: its name becomes a part of paths."""
    return JOB_NAME.fullmatch(name) is not None


def _last_newline(file: BinaryIO | Any, end: int) -> int:
    """Return the offset behind the last newline before ``end``; 0 where there is none.

    Looks from the end, a block at a time: what a power failure leaves can be gigabytes of NULs.
    """
    while end > 0:
        start = max(0, end - BLOCK)
        at = os.pread(file.fileno(), end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


class LineReader:
    """Reads the lines of an open journal by their offsets. Raises OSError."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.forget()

    def forget(self) -> None:
        """Let go of what was read ahead: it may be another text by now."""
        self._near = (0, b"")

    def line(self, offset: int) -> bytes:
        """Return the line that begins at ``offset``, with its newline; nothing where it has none."""
        start, block = self._near
        at = offset - start
        follows = 0 <= at <= len(block)
        if follows and (end := block.find(b"\n", at)) >= 0:
            return block[at : end + 1]
        # Where one line follows the other the next ones are read with it. Most lines fit into the first
        # read; the length grows by a factor, so that a line of a gigabyte is not read a thousand times.
        length = BLOCK if follows else LINE
        while True:
            block = os.pread(self._fd, length, offset)
            end = block.find(b"\n")
            if end >= 0 or len(block) < length:
                break
            length *= 4
        self._near = (offset, block if len(block) <= BLOCK else b"")
        return block[: end + 1]
