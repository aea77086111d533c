"""What is set aside on disk until the end of the run, for formats that need to know it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO, cast

from arcli.outputs.base import OutputContext, TargetOutput
from arcli.outputs.target import Target, writing
from arcli.timing.summary import RunSummary

BLOCK = 1 << 18


class Spool:
    """A nameless file; ``name`` is what messages call the output that it becomes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file: BinaryIO | None = None
        self.size = 0

    def open(self, target: Target) -> None:
        """Make the file, beside that of a target that is open: the same disk, found full at once.

        Raises OutputError.
        """
        with writing(self._name):
            self._file = cast("BinaryIO", tempfile.TemporaryFile(dir=target.folder))  # noqa: SIM115 - close()

    def write(self, data: bytes) -> None:
        """Append. Raises OutputError."""
        with writing(self._name):
            self.file.write(data)
        self.size += len(data)

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Read a stretch in blocks of up to ``BLOCK`` bytes, cut anywhere."""
        # The place is sought anew for each block, since somebody may write between two of them.
        position, end = start, self.size if end is None else end
        while position < end:
            self.file.seek(position)
            block = self.file.read(min(BLOCK, end - position))
            if not block:
                raise OSError(f"the spool of {self._name} ends early")
            position += len(block)
            yield block

    def close(self) -> None:
        """Let go of it; the file is gone then."""
        if self._file is not None:
            with suppress(OSError):  # what could not be flushed is not wanted any more
                self._file.close()

    @property
    def file(self) -> BinaryIO:
        """The file itself, for libraries that want one."""
        if self._file is None:
            raise ValueError(f"the spool of {self._name} is not open")
        return self._file


class SpooledOutput(TargetOutput):
    """An output that is written at the end, of what its ``record`` has put into the spool."""

    def __init__(self, context: OutputContext) -> None:
        super().__init__(context)
        self._spool = Spool(context.name)

    def start(self) -> None:
        """See Output."""
        super().start()
        self._spool.open(self._target)

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        with writing(self._name):
            for piece in self._document(summary, values):
                self._target.write(piece)
        super().finish(summary, values)
        self._spool.close()

    def abort(self) -> None:
        """See Output."""
        self._spool.close()
        super().abort()

    def _document(self, summary: RunSummary, values: dict[str, Any]) -> Iterator[bytes]:
        """Yield all that is to be written."""
        raise NotImplementedError
