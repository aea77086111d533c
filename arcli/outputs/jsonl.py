"""JSON Lines: each record on its line, the moment it arrives."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from arcli.engine.flock import locked
from arcli.errors import OutputError
from arcli.outputs.base import Output, OutputContext, TargetOutput
from arcli.outputs.target import FileTarget, WriteTimer, existing_mode, writing
from arcli.record import RecordBatch
from arcli.stretches import write_all
from arcli.timing.summary import RunSummary


def jsonl_output(context: OutputContext) -> Output:
    """Choose the output: a plain file is written line by line, anything else as its target does."""
    target = context.target
    return JsonlFile(target.path, target.timer) if isinstance(target, FileTarget) else JsonlStream(context)


class JsonlStream(TargetOutput):
    """Records' lines to a stream, as they are."""

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        self._target.write(batch.lines)


class JsonlFile(Output):
    """Records' lines to a file that holds whole lines at any time, also when the disk is full.

    What was in the file before goes with the first batch, so that a run that never got that far
    leaves it. Where it is a pipe or a device, ``timer`` times how long its reader takes.
    """

    def __init__(self, path: Path, timer: WriteTimer | None = None) -> None:
        self._path = path
        self._timer = timer or WriteTimer()
        self._fd = -1
        self._size = 0
        self._made = False
        self._regular = True
        self._emptied = False

    def start(self) -> None:
        """See Output."""
        with writing(str(self._path)):
            self._made = existing_mode(self._path) is None
            # That of a pipe lasts until somebody reads it.
            with self._timer.timing():
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
        # Other runs are kept from it until it is closed: they would write over this one's lines.
        if self._regular and locked(self._fd) is False:
            self._close()
            raise OutputError(
                f"cannot write {self._path}: another run is writing it",
                hint="wait for that run, or choose another path; --no-overlap is for runs of one spec",
            )

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        self._empty()
        # The system's own write, unbuffered: what is out is in the file, whatever happens to arcli then.
        timing = nullcontext() if self._regular else self._timer.timing()
        with writing(str(self._path)), timing:
            try:
                write_all(partial(os.write, self._fd), batch.lines)
            except OSError:
                # The torn line at the end of what was written of the batch is taken back.
                if self._regular:
                    with suppress(OSError):
                        written = os.lseek(self._fd, 0, os.SEEK_CUR) - self._size
                        self._size += batch.lines.rfind(b"\n", 0, written) + 1
                        os.ftruncate(self._fd, self._size)
                raise
        self._size += len(batch.lines)

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        self._empty()
        with writing(str(self._path)):
            deleted = self._regular and os.fstat(self._fd).st_nlink == 0
            self._close()
        self._made = False
        if deleted:
            raise OutputError(f"cannot write {self._path}: it was deleted while the run wrote it")

    def abort(self) -> None:
        """See Output. Whole lines that are out stay; a file that got none goes."""
        with suppress(OSError):
            self._close()
        if self._made and self._size == 0:
            with suppress(OSError):
                self._path.unlink()

    def _empty(self) -> None:
        if self._regular and not self._emptied:
            with writing(str(self._path)):
                os.ftruncate(self._fd, 0)
        self._emptied = True

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):  # at once, also where a child that an item forked has the file, too
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)
