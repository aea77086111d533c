"""An output that is written by a process of its own, once there is enough of it to be worth one.

To turn a record into a row takes as long as all that arcli does otherwise with it, and threads would take
turns. https://docs.python.org/3/glossary.html#term-global-interpreter-lock
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from arcli.engine.ends import killed_by
from arcli.errors import OutputError
from arcli.outputs.base import Output, OutputContext
from arcli.outputs.registry import Format
from arcli.outputs.target import FileTarget
from arcli.record import RecordBatch
from arcli.timing.summary import RunSummary

HELD = 4 << 20
"""Bytes of records up to which no process is worth it: they are held, and written at the end."""
SENT = 1 << 18
"""Bytes of records that are handed over at a time."""
SPARED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a run softly, and none of its outputs."""


class WriterTask(Struct, frozen=True, kw_only=True):
    """What a process is to write: an output of ``format`` into the file that is open as ``descriptor``.

    The others are those of an OutputContext; ``folder`` is for what belongs beside the file, and ``packed``
    is whether what is written is to be a gzip file. ``journal`` is the descriptor of the file in which the
    lines of batches stand that have none, None where all have theirs.
    """

    format: str
    descriptor: int
    folder: Path | None
    packed: bool
    name: str
    job: str | None
    options: Mapping[str, Any]
    journal: int | None = None


class WriterFailed(Exception):
    """A bug in an output's code; the text is its traceback in the process that writes it."""


class WrittenBeside(Output):
    """An output of ``form`` into ``file``, which the context's target writes to.

    The file is opened, and brought under its name, by this process, so that it goes with the run whatever
    happens to the other one.
    """

    def __init__(self, form: Format, context: OutputContext, file: FileTarget) -> None:
        self._context = context
        self._file = file
        self._format = form.name
        self._output = form(context)
        self._batches: list[RecordBatch] = []
        self._bytes = 0
        self._process: WriterProcess | None = None
        self._here = False

    def start(self) -> None:
        """See Output."""
        self._output.start()

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        self._batches.append(batch)
        self._bytes += len(batch.lines)
        if self._process is None and not self._here and self._bytes >= HELD:
            self._begin(batch.journal)
        if self._here:
            self._write_here()
        elif self._process is not None and self._bytes >= SENT:
            with self._file.timing():
                self._process.hand_over(self._taken())

    def _begin(self, journal: int | None) -> None:
        """Have a process, or write here from now on where there can be none: slower, but all of it."""
        context, file = self._context, self._file
        task = WriterTask(
            format=self._format,
            descriptor=file.fileno(),
            folder=file.folder,
            packed=context.target is not file,
            name=context.name,
            job=context.job,
            options=context.options,
            journal=journal,
        )
        try:
            self._process = WriterProcess(task)
        except OSError:
            self._here = True

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        if self._process is None:
            self._write_here()
            self._output.finish(summary, values)
            return
        with self._file.timing():
            self._process.hand_over(self._taken())
            self._process.send((summary, {}))  # tables have none of the values
            self._process.join()
        self._file.commit()
        self._output.abort()  # of what it has opened nothing was needed

    def abort(self) -> None:
        """See Output."""
        if self._process is not None:
            self._process.end()
        self._output.abort()

    def _write_here(self) -> None:
        for batch in self._taken():
            self._output.record(batch)

    def _taken(self) -> list[RecordBatch]:
        batches, self._batches, self._bytes = self._batches, [], 0
        return batches


class WriterProcess:
    """A process at a task (``arcli.outputs.writer``). Whatever is asked of it raises what ended it.

    Raises OSError where there can be no other process.
    """

    def __init__(self, task: WriterTask) -> None:
        self._name = task.name
        self._journal = task.journal

        from multiprocessing.connection import Pipe  # most runs get along without it

        self._connection, theirs = Pipe()
        # Not in the place of a standard stream that is closed here: the process has one of its own there.
        wanted = (theirs.fileno(), task.descriptor, *(() if task.journal is None else (task.journal,)))
        with ExitStack() as passed:
            passed.enter_context(theirs)
            descriptors = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in wanted]
            for fd in descriptors:
                passed.callback(os.close, fd)
            # Spared while it imports, too: what is blocked here is so there, until it ignores it.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, SPARED)
            try:
                # -P: a file in the working folder is no module.
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "arcli.outputs.writer", str(descriptors[0])],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=descriptors,
                    start_new_session=True,
                )
            except OSError:
                self._connection.close()
                raise
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _, descriptor, *journal = descriptors
        task = replace(task, descriptor=descriptor, journal=journal[0] if journal else None)
        self.send(task)

    def hand_over(self, batches: list[RecordBatch]) -> None:
        """Have it write batches; those that stand in the journal it reads there. Raises OutputError."""
        self.send([self._by_place(batch) for batch in batches])

    def _by_place(self, batch: RecordBatch) -> RecordBatch:
        journaled = batch.journal is not None and batch.journal == self._journal
        return replace(batch, lines=b"") if journaled else batch

    def send(self, message: Any) -> None:
        """Hand something over, as soon as it has taken what came before. Raises OutputError."""
        if self._connection.poll():
            self.join()
        try:
            self._connection.send(message)
        except OSError:  # it has ended, and may have said why
            self.join()

    def join(self) -> None:
        """Wait for its answer, and its end. Raises OutputError."""
        try:
            answer: Exception | None = self._connection.recv()
        except (EOFError, OSError):
            code = self._process.wait()
            ending = killed_by(-code) if code < 0 else f"ended with status {code}"
            answer = OutputError(f"cannot write {self._name}: the process that writes it was {ending}")
        self._connection.close()
        self._process.wait()
        if answer is not None:
            raise answer

    def end(self) -> None:
        """End it, if it has not ended."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
