"""A run's figures as Prometheus' textfile collector reads them, replaced by each run.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from arcli.engine.tally import STATUSES
from arcli.outputs.base import TargetOutput
from arcli.timing.summary import JobSummary, RunSummary
from arcli.units import parse_time

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class PrometheusFile(TargetOutput):
    """When the last run was, how long it took, how it ended; items by job and status; their seconds."""

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        jobs = [job for job in summary.jobs if self._job in {None, job.name}]
        self._target.write("".join(f"{line}\n" for line in _lines(summary, jobs)).encode())
        super().finish(summary, values)


def _lines(summary: RunSummary, jobs: list[JobSummary]) -> Iterator[str]:
    spec = {"spec": summary.name}
    ended = (parse_time(summary.started) or 0.0) + summary.wall
    # Names and units as https://prometheus.io/docs/practices/naming/ has them; of the last run, because
    # a batch job is gone before anybody could ask it.
    # A run that goes on or was killed has no exit code, and none is not 0: `!= 0` holds for NaN.
    code = math.nan if summary.exit_code is None else int(summary.exit_code)
    for name, help_, value in (
        ("last_run_timestamp_seconds", "When the last run ended.", ended),
        ("last_run_duration_seconds", "How long the last run took.", summary.wall),
        ("last_run_exit_code", "The exit code of the last run.", code),
    ):
        yield from _head(name, "gauge", help_)
        yield _sample(name, spec, value)
    yield from _head("last_run_items", "gauge", "Items of the last run by job and status.")
    for job in jobs:
        for status in STATUSES:
            labels = {**spec, "job": job.name, "status": status}
            yield _sample("last_run_items", labels, getattr(job.counts, status))
    # A summary is quantiles, sum and count of the same under one name: of what ran to its end, and in this
    # run. Nothing has no quantiles.
    yield from _head("last_run_item_seconds", "summary", "Seconds an item of the last run.")
    for job in jobs:
        labels, timing, counts = {**spec, "job": job.name}, job.timing, job.counts
        quantiles = (("0.5", timing.median), ("0.95", timing.p95), ("0.99", timing.p99))
        for quantile, value in quantiles if timing.measured else ():
            yield _sample("last_run_item_seconds", {**labels, "quantile": quantile}, value)
        yield _sample("last_run_item_seconds_sum", labels, timing.serial)
        ran = counts.ok + counts.error + counts.timeout - counts.replayed
        yield _sample("last_run_item_seconds_count", labels, max(0, ran))


def _head(name: str, kind: str, help_: str) -> Iterator[str]:
    yield f"# HELP arcli_{name} {help_}"
    yield f"# TYPE arcli_{name} {kind}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
    return f"arcli_{name}{{{inside}}} {'NaN' if value != value else value}"
