"""Records set aside on disk until the end of the run, for formats that need to know it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from arcli.outputs.target import FileTarget, GzipTarget, Target, writing
from arcli.record import RecordBatch

BLOCK = 1 << 20


def spool_folder(target: Target) -> Path | None:
    """Choose the folder of the file that it becomes: the same disk, found full or unwritable at once."""
    return target.folder if isinstance(target, FileTarget | GzipTarget) else None


class Spool:
    """Lines of records in a nameless file; memory holds only where each job's stretches are."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file: BinaryIO | None = None
        self._stretches: list[tuple[str, int, int]] = []
        self._size = 0

    def open(self, folder: Path | None) -> None:
        """Make the file in ``folder`` (None: where temporary files go). Raises OutputError."""
        with writing(self._name):
            self._file = cast("BinaryIO", tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - close()

    def add(self, batch: RecordBatch) -> None:
        """Append a batch's lines. Raises OutputError."""
        start, self._size = self._size, self._size + len(batch.lines)
        with writing(self._name):
            self._opened.write(batch.lines)
        if self._stretches and self._stretches[-1][0] == batch.job:
            start = self._stretches.pop()[1]
        self._stretches.append((batch.job, start, self._size))

    def blocks(self, job: str) -> Iterator[bytes]:
        """Yield a job's lines in blocks of up to ``BLOCK`` bytes, cut anywhere."""
        for name, position, end in self._stretches:
            while name == job and position < end:
                self._opened.seek(position)
                block = self._opened.read(min(BLOCK, end - position))
                if not block:
                    raise OSError(f"the spool of {self._name} ends early")
                position += len(block)
                yield block

    def lines(self) -> Iterator[bytes]:
        """Yield all lines in the order of their arrival."""
        self._opened.seek(0)
        yield from self._opened

    def close(self) -> None:
        """Let go of it; the file is gone then."""
        if self._file is not None:
            with suppress(OSError):  # what could not be flushed is not wanted any more
                self._file.close()

    @property
    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise ValueError(f"the spool of {self._name} is not open")
        return self._file
