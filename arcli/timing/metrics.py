"""The figures of a run and of its jobs by name, as comparisons and expectations speak of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from arcli.timing.summary import JobSummary, RunSummary
from arcli.units import format_seconds

Kind = Literal["seconds", "count", "share", "number"]


class Figure(NamedTuple):
    """A figure's name, what it is a number of, and whether more of it is better (None: neither)."""

    name: str
    kind: Kind
    more_is_better: bool | None

    def show(self, value: float) -> str:
        """Return a value of it for people."""
        if self.kind == "seconds":
            return format_seconds(value)
        if self.kind == "count":
            return f"{value:,.0f}"
        if self.kind == "share":
            return f"{value * 100:.1f} %"
        if 0 < value < 0.1:
            return f"{value:.2g}"
        return f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"


RUN = {
    figure.name: figure
    for figure in (
        Figure("wall", "seconds", False),
        Figure("startup", "seconds", False),
        Figure("finish", "seconds", False),
        Figure("serial", "seconds", False),
        Figure("items", "count", None),
        Figure("ok", "count", True),
        Figure("failed", "count", False),
    )
}
"""What a run has as a whole; ``wall`` is that of its process, start-up included."""
JOB = {
    figure.name: figure
    for figure in (
        Figure("items", "count", None),
        Figure("ok", "count", True),
        Figure("failed", "count", False),
        Figure("wall", "seconds", False),
        Figure("serial", "seconds", False),
        Figure("speedup", "number", True),
        Figure("efficiency", "share", True),
        Figure("throughput", "number", True),
        Figure("mean", "seconds", False),
        Figure("stddev", "seconds", None),
        Figure("min", "seconds", False),
        Figure("median", "seconds", False),
        Figure("p95", "seconds", False),
        Figure("p99", "seconds", False),
        Figure("max", "seconds", False),
    )
}
"""What each job has: the ``counts`` and ``timing`` of its summary."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFigures:
    """One job: its figures by name, and the distribution of item seconds (buckets of a tally)."""

    name: str
    figures: Mapping[str, float]
    buckets: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One run, measured. ``label`` says to people which one it is."""

    run: str
    name: str
    started: str
    label: str
    figures: Mapping[str, float]
    jobs: Mapping[str, JobFigures]


def measured(summary: RunSummary, buckets: Mapping[str, Mapping[int, int]], *, label: str = "") -> Measured:
    """Return a summary's figures; ``buckets`` has the item seconds of each job that they are known of."""
    jobs = {
        job.name: JobFigures(name=job.name, figures=job_figures(job), buckets=buckets.get(job.name, {}))
        for job in summary.jobs
    }
    # Figures of the run that are sums over its jobs; the others are its own.
    added = {
        name: sum(job.figures[name] for job in jobs.values())
        for name in ("serial", "items", "ok", "failed")
    }
    own = {"wall": summary.wall, "startup": summary.startup, "finish": summary.finish}
    return Measured(
        run=summary.run,
        name=summary.name,
        started=summary.started,
        label=label or summary.run,
        figures={**own, **added},
        jobs=jobs,
    )


def job_figures(job: JobSummary) -> dict[str, float]:
    """Return the figures of ``JOB``, by name."""
    counts = {"items": job.counts.planned, "ok": job.counts.ok, "failed": job.counts.failed}
    return {name: counts[name] if name in counts else getattr(job.timing, name) for name in JOB}


def change(before: float, now: float) -> float:
    """By how much of ``before`` a figure has grown: 0.1 is 10 % more; infinitely from 0."""
    if before == now:
        return 0.0
    return (now - before) / before if before else math.copysign(math.inf, now)


def show_change(share: float) -> str:
    """Return a change as ``+12.3 %``; ``new`` from nothing."""
    return "new" if math.isinf(share) else f"{share * 100:+.1f} %"
