"""The process that writes one output while arcli itself does other things.

``python -m arcli.outputs.writer FD``: FD is a connection, over which it gets a ``WriterTask``, lists of
batches, whose lines it reads in the run's journal where they stand there, and at the end what
``Output.finish`` takes. It answers once: None, or the exception that ended it.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection

from arcli.engine.own_code import hush
from arcli.errors import ArcliError, OutputError
from arcli.outputs import registry
from arcli.outputs.base import OutputContext
from arcli.outputs.stream import Stream
from arcli.outputs.target import GzipTarget, OpenFile, Target, writing
from arcli.outputs.writer_process import SPARED, WriterFailed, WriterTask
from arcli.record import RecordBatch
from arcli.stretches import read_at

MOST_OF_A_TRACEBACK = 20_000
"""Characters of a traceback that are told: who is told of it may be at sending something itself."""
NICENESS = 5
"""By how much it stands back: its share of a processor is a third of that of others."""


def write(connection: Connection) -> None:
    """Do one task, and answer. An end of the connection before its end leaves the file as it is."""
    answer: Exception | None = None
    try:
        task: WriterTask = connection.recv()
        file = OpenFile(task.descriptor, task.name, task.folder)
        target: Target = GzipTarget(file) if task.packed else file
        page = Stream(target=target)
        output = registry.named(task.format)(
            OutputContext(
                target=target, name=task.name, job=task.job, options=task.options, results=page, report=page
            )
        )
        output.start()
        try:
            while isinstance(message := connection.recv(), list):
                for batch in message:
                    if not batch.lines and task.journal is not None:
                        batch.lines = read_lines(task.journal, batch, task.name)
                    output.record(batch)
            output.finish(*message)
        except BaseException:
            output.abort()
            raise
    except EOFError:
        return
    except ArcliError as error:
        answer = error
    except Exception:  # noqa: BLE001 - raised by who started this process
        answer = WriterFailed(traceback.format_exc()[-MOST_OF_A_TRACEBACK:])
    with suppress(OSError):  # nobody wants to know any more
        connection.send(answer)


def read_lines(journal: int, batch: RecordBatch, name: str) -> bytes:
    """Return what stands in the journal of a batch; ``name`` is what it is for. Raises OutputError."""
    try:
        with writing(name):
            return read_at(journal, batch.offset, batch.length)
    except EOFError:
        raise OutputError(f"cannot write {name}: the run's journal was cut by something else") from None


def end_with(connection: Connection) -> None:
    """End this process when the other side has, also while it waits for who reads what it writes."""
    ended = select.poll()
    ended.register(connection, 0)  # which is told in any case
    ended.poll()
    os._exit(1)


def main() -> None:
    """Serve the connection whose descriptor is the first argument."""
    hush()
    # A signal that is sent to all of a run is for arcli, which has what came until then written down.
    for number in SPARED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SPARED)
    # Rows are made of much that is let go of at once, and nothing of it refers to itself.
    gc.set_threshold(50_000, 20, 20)
    gc.freeze()
    # The run itself goes first where there are not processors enough for both.
    os.nice(NICENESS)
    connection = Connection(int(sys.argv[1]))
    threading.Thread(target=end_with, args=(connection,), daemon=True, name="arcli-end").start()
    write(connection)
    sys.stderr.flush()
    os._exit(0)  # taking down what was imported takes longer than it took to import it


if __name__ == "__main__":
    main()
