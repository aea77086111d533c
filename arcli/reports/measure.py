"""The figures of a run, from its folder or from a JSON document about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arcli.engine.tally import GROWTH, Status, Tally
from arcli.errors import UsageError
from arcli.record import decode
from arcli.reports.collect import Wanted, read_report
from arcli.store.folder import RunFolder
from arcli.timing.metrics import Measured, measured
from arcli.timing.stored_summary import run_from_dict


def measure_run(run: RunFolder) -> Measured:
    """Return a run's figures, as its report has them. Raises OutputError."""
    report = read_report(run, Wanted(tallies=True))
    buckets = {name: tally.buckets for name, tally in report.tallies.items()}
    return measured(report.summary, buckets, label=run.id)


def measure_document(path: Path) -> Measured:
    """Return the figures in a document of ``arcli run`` or ``arcli report``. Raises UsageError."""
    try:
        tree = decode(path.read_bytes())
        run, jobs = tree["run"], tree["jobs"]
        # One that was killed has no exit code, which no figure needs.
        summary = run_from_dict({**run, "exit_code": run.get("exit_code") or 0}, jobs)
        buckets = {job["name"]: _buckets(job) for job in jobs}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            f"{path} is not what arcli writes of a run",
            hint="`arcli report --format json` and `arcli run --format json` do",
        ) from None
    return measured(summary, buckets, label=str(path))


def _buckets(job: Mapping[str, Any]) -> dict[int, int]:
    """Return the distribution of a job's item seconds: from the histogram, or else from its items."""
    if "histogram" in job:
        pairs = [(float(bound), int(count)) for bound, count in job["histogram"]]
        if any(count < 1 for _, count in pairs):
            raise ValueError("not a histogram")
        return {round(math.log(bound) / math.log(GROWTH)): count for bound, count in pairs}
    tally = Tally()
    for item in job.get("items", ()):
        tally.add(Status.OK, None if item.get("replayed") else item.get("seconds"))
    return tally.buckets
