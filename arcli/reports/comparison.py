"""Put two runs side by side: figures of folders or documents; whether items differ by more than noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from arcli.engine.tally import GROWTH, Status, Tally
from arcli.errors import InputError, UsageError
from arcli.record import decode
from arcli.reports.collect import Report
from arcli.timing.distributions import Difference, difference
from arcli.timing.summary import run_from_dict
from arcli.timing.thresholds import FIGURES, Figure, Finding, Measured, change, measured, show_change

RUN_ROWS = ("wall", "startup", "failed")
JOB_ROWS = (
    "items", "failed", "wall", "serial", "speedup", "efficiency", "throughput", "mean", "median",
    "p95", "p99", "max",
)  # fmt: skip
TITLES = {"speedup": "speed-up", "startup": "start-up"}
NOTABLE = 0.05
"""A change that is worth a colour."""


class Row(Struct, frozen=True, kw_only=True):
    """A figure of both runs."""

    figure: Figure
    before: float
    now: float

    @property
    def change(self) -> float:
        """By how much of A's it has changed."""
        return change(self.before, self.now)

    def cells(self) -> tuple[str, str, str, str]:
        """Name, A, B and the change, for people."""
        title = TITLES.get(self.figure.name, self.figure.name)
        # What rounding leaves of two equal figures is no change that anybody can read.
        grown = show_change(self.change) if abs(self.change) >= 0.0005 else "="
        return (title, self.figure.show(self.before), self.figure.show(self.now), grown)

    @property
    def worse(self) -> bool | None:
        """Whether it has become notably worse (True) or better (False)."""
        if self.figure.more_is_better is None or abs(self.change) < NOTABLE:
            return None
        return (self.change > 0) != self.figure.more_is_better


class JobPart(Struct, frozen=True, kw_only=True):
    """A job that both runs have."""

    name: str
    rows: Sequence[Row]
    items: Difference


class Comparison(Struct, frozen=True, kw_only=True):
    """``a`` before, ``b`` now; ``only_a`` and ``only_b`` are jobs that the other run lacks."""

    a: Measured
    b: Measured
    rows: Sequence[Row]
    jobs: Sequence[JobPart]
    only_a: Sequence[str]
    only_b: Sequence[str]
    findings: Sequence[Finding]

    def to_tree(self) -> dict[str, Any]:
        """Return the document of ``--format json``; a change from nothing is null."""
        a, b = self.a, self.b
        runs = [
            {"run": run.run, "name": run.name, "started": run.started, "source": run.label}
            for run in (a, b)
        ]
        jobs = [
            {
                "name": job.name,
                "figures": _figures(a.jobs[job.name].figures, b.jobs[job.name].figures),
                "items": {
                    "verdict": job.items.verdict,
                    "test": "Mann-Whitney",
                    "p": job.items.p,
                    "slower": job.items.slower,
                },
            }
            for job in self.jobs
        ]
        findings = [
            {
                "expression": finding.expectation.text,
                "job": finding.job,
                "a": finding.before,
                "b": finding.value,
                "holds": finding.holds,
            }
            for finding in self.findings
        ]
        return {
            "a": runs[0],
            "b": runs[1],
            "run": _figures(a.figures, b.figures),
            "jobs": jobs,
            "only_in_a": list(self.only_a),
            "only_in_b": list(self.only_b),
            "fail_if": findings,
        }


def compare(a: Measured, b: Measured, findings: Sequence[Finding] = ()) -> Comparison:
    """Put two runs side by side; jobs are matched by name, in the order of the second run."""
    # A job that only one of them has can be named, and compared with nothing.
    parts = [
        JobPart(
            name=name,
            rows=_rows(JOB_ROWS, a.jobs[name].figures, job.figures),
            items=difference(a.jobs[name].buckets, job.buckets),
        )
        for name, job in b.jobs.items()
        if name in a.jobs
    ]
    return Comparison(
        a=a,
        b=b,
        rows=_rows(RUN_ROWS, a.figures, b.figures),
        jobs=parts,
        only_a=[name for name in a.jobs if name not in b.jobs],
        only_b=[name for name in b.jobs if name not in a.jobs],
        findings=findings,
    )


def missing_words(comparison: Comparison) -> list[str]:
    """Return sentences about jobs that only one of the runs has."""
    sides = (("A", comparison.only_a), ("B", comparison.only_b))
    return [f"only in {side}: {', '.join(names)}" for side, names in sides if names]


def _rows(names: Sequence[str], a: Mapping[str, float], b: Mapping[str, float]) -> list[Row]:
    return [
        Row(figure=FIGURES[name], before=a[name], now=b[name]) for name in names if name in a and name in b
    ]


def _figures(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, Any]:
    """Return each figure that both have; what grew from nothing has no change that JSON could hold."""
    both = [name for name in a if name in b]
    changes = {name: change(a[name], b[name]) if a[name] or not b[name] else None for name in both}
    return {name: {"a": a[name], "b": b[name], "change": changes[name]} for name in both}


def measure_report(report: Report) -> Measured:
    """Return the figures of a report that was read with its tallies."""
    buckets = {name: tally.buckets for name, tally in report.tallies.items()}
    return measured(report.summary, buckets, label=report.manifest.id)


def measure_document(path: Path) -> Measured:
    """Return the figures in a document of ``arcli run`` or ``arcli report``; it may be packed (``.gz``).

    Raises UsageError.
    """
    # Two runs are compared without what reads inputs, which takes long to import.
    from arcli.inputs.files import UNREADABLE, opened, unreadable

    try:
        with opened(path) as file:
            tree = decode(file.read())
        run, jobs = tree["run"], tree["jobs"]
        summary = run_from_dict(run, jobs)
        buckets = {job["name"]: _buckets(job) for job in jobs}
    except InputError as error:
        raise UsageError(error.message) from None
    except UNREADABLE as error:
        raise UsageError(f"{path} cannot be read: {unreadable(error)}") from None
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
        seconds = None if item.get("replayed") else item.get("seconds")
        tally.add(Status(item["status"]), seconds)
    return tally.buckets
