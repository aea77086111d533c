"""A report as one JSON document, in the form of ``arcli run --format json`` without the items.

Each job has ``histogram`` beside its ``timing``: ``[upper bound in seconds, items]`` pairs, with
which two reports can be compared. ``groups`` and ``slowest`` are there where they were asked for.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from arcli.engine.tally import GROWTH, Tally
from arcli.record import dump
from arcli.reports.collect import Report
from arcli.timing.groups import Group


def render(report: Report) -> bytes:
    """Return the document, with a newline at its end."""
    return dump(to_tree(report)) + b"\n"


def to_tree(report: Report) -> dict[str, Any]:
    """Return the document as plain data."""
    jobs = []
    for job in report.summary.jobs:
        tree = {**job.to_dict(), "histogram": histogram(report.tallies.get(job.name, Tally()))}
        if report.groups is not None:
            by = [_group(group) for group in report.groups.of(job.name)]
            tree["groups"] = {"by": report.groups.key, "groups": by}
        jobs.append(tree)
    tree = {"run": report.to_run(), "jobs": jobs, "damaged": report.damaged}
    if report.slowest:
        tree["slowest"] = [asdict(slow) for slow in report.slowest]
    return tree


def histogram(tally: Tally) -> list[list[float]]:
    """Return how many items took up to how many seconds, in steps of 2 %."""
    return [[GROWTH**bucket, count] for bucket, count in sorted(tally.buckets.items())]


def _group(group: Group) -> dict[str, Any]:
    tally = group.tally
    return {
        "value": group.value,
        "items": tally.total,
        "ok": group.ok,
        "failed": group.failed,
        "mean": tally.mean,
        "stddev": tally.deviation,
        "min": tally.shortest if tally.ran else 0.0,
        "median": tally.quantile(0.5),
        "p95": tally.quantile(0.95),
        "max": tally.longest,
    }
