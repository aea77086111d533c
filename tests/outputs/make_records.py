"""Records, batches and summaries for the tests of outputs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from arcli.engine.tally import Tally
from arcli.outputs.base import Output, OutputContext
from arcli.outputs.stream import Stream
from arcli.outputs.target import FileTarget, StreamTarget, Target
from arcli.record import ItemError, Record, RecordBatch
from arcli.timing.failures import Failures
from arcli.timing.ledger import EngineUse, Ledger
from arcli.timing.summary import RunSummary, summarize_job

DIVISION = ItemError(
    type="ZeroDivisionError",
    message="division by zero",
    traceback='Traceback:\n  File "spec.yaml", line 3\nZeroDivisionError: division by zero',
)


def record(index: int, status: str = "ok", **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "run": "r1", "job": "squares", "index": index, "key": "k", "input": index, "status": status,
        "reason": None, "value": index * index if status == "ok" else None, "exact": True,
        "error": DIVISION if status == "error" else None, "stdout": "", "stderr": "",
        "truncated": False, "engine_id": index % 2, "slot": index % 2, "msg_id": "m-1",
        "chunk": index, "attempt": 1, "submitted": "2026-01-31T12:00:00.000000Z",
        "started": "2026-01-31T12:00:00.250000Z", "completed": "2026-01-31T12:00:00.500000Z",
        "received": "2026-01-31T12:00:00.600000Z", "seconds": 0.25,
    }  # fmt: skip
    return Record(**{**fields, **changes})


def batch(*records: Record) -> RecordBatch:
    tally = Tally()
    for item in records:
        tally.add(item.status, item.seconds, item.attempt)
    return RecordBatch(
        job=records[0].job,
        first=records[0].index,
        count=len(records),
        lines=b"".join(item.to_line() for item in records),
        tally=tally,
    )


def summary(*batches: RecordBatch, exit_code: int = 0, error: str | None = None) -> RunSummary:
    ledgers: dict[str, Ledger] = {}
    for part in batches:
        ledger = ledgers.setdefault(part.job, Ledger(job=part.job, wall=2.0, chunks=1))
        ledger.tally.merge(part.tally)
        ledger.planned += part.count
        failures = Failures()
        failures.add_lines(part.lines)
        ledger.failures = failures.groups()
        ledger.engines = {0: EngineUse(engine_id=0, slot=0, present=2.0, busy=1.0, compute=1.0)}
    return RunSummary(
        run="r1",
        name="rms",
        started="2026-01-31T12:00:00.000000Z",
        exit_code=exit_code,
        wall=3.0,
        jobs=tuple(summarize_job(ledger) for ledger in ledgers.values()),
        error=error,
    )


def play(output: Output, *batches: RecordBatch, values: dict[str, Any] | None = None) -> None:
    """A whole run of an output."""
    output.start()
    for part in batches:
        output.record(part)
    output.finish(summary(*batches), values or {})


class Paper:
    """A page in memory."""

    def __init__(self, width: int | None = None, *, color: bool = False) -> None:
        self._stream = io.BytesIO()
        self.page = Stream(target=StreamTarget(self._stream), width=width, color=color)

    @property
    def text(self) -> str:
        return self._stream.getvalue().decode()


def context(target: Target, name: str = "out", **more: Any) -> OutputContext:
    """What an output is made with that writes to ``target``."""
    page = more.pop("results", Stream(target=target))
    return OutputContext(target=target, name=name, results=page, report=page, **more)


def on_file(path: Path, **more: Any) -> OutputContext:
    return context(FileTarget(path), str(path), **more)
