"""Records of a past run in the format of an output."""

from __future__ import annotations

from collections.abc import Iterable

from arcli.engine.tally import Tally
from arcli.outputs.all_outputs import Outputs
from arcli.record import RecordBatch, decode
from arcli.timing.summary import RunSummary


def write_records(lines: Iterable[bytes], outputs: Outputs, summary: RunSummary) -> None:
    """Write records to outputs that have not been started. Raises OutputError."""
    with outputs:
        for line in lines:
            record = decode(line)
            first, job = record["index"], record["job"]
            outputs.record(RecordBatch(job=job, first=first, count=1, lines=line, tally=Tally()))
        outputs.finish(summary, {})
