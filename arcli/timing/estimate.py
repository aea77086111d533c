"""What a whole run will take, from what a pilot of some items took."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from arcli.timing.summary import JobSummary, RunSummary

CHUNK_SECONDS = 0.2
"""Work that a chunk should have, as the session's policy has it."""
MARGIN = 0.1
"""What a prediction may be off by beside the spread of the items: machines are not always alike."""
GOOD_ENOUGH = 1.05
"""Fewer engines are recommended where they take at most this many times as long."""


class JobEstimate(Struct, frozen=True, kw_only=True):
    """One job, from a pilot of ``seen`` items; times are seconds, ``items`` None where nobody knows.

    ``message`` is what a chunk costs beside its items' own time, ``chunksize`` the one recommended,
    ``beside`` how many items an engine runs side by side. ``folding`` is what a reducer takes for a value.
    """

    name: str
    items: int | None
    seen: int
    mean: float
    stddev: float
    fastest: float
    slowest: float
    message: float
    chunksize: int
    beside: int = 1
    folding: float = 0.0

    @property
    def total(self) -> int:
        """Items that are reckoned with: where nobody knows, those of the pilot."""
        return self.seen if self.items is None else self.items

    def seconds(self, engines: int) -> float:
        """Predict the job's wall time: its work and its messages dealt out, and half a straggler.

        Then its values are folded, one after another: with ``combine`` it may be less.
        """
        chunks, places = math.ceil(self.total / self.chunksize), engines * self.beside
        work = self.total * self.mean / min(places, max(1, self.total))
        shared = work + chunks * self.message / min(engines, max(1, self.total))
        last = self.slowest / 2 if self.total > places else 0.0
        return max(shared + last, self.slowest if self.total else 0.0) + self.total * self.folding

    def uncertainty(self, engines: int) -> float:
        """Return how far the prediction may be off: two standard errors of the mean, and a margin."""
        if not self.seen:
            return 0.0
        error = 2 * self.stddev / math.sqrt(self.seen) / self.mean if self.mean else 0.0
        return self.seconds(engines) * (error + MARGIN)


class Estimate(Struct, frozen=True, kw_only=True):
    """A whole spec on ``engines``; ``around`` are the seconds of start-up and end."""

    engines: int
    around: float
    jobs: tuple[JobEstimate, ...]

    def wall(self, engines: int) -> float:
        """Predict the run's wall time in seconds."""
        return self.around + sum(job.seconds(engines) for job in self.jobs)

    def uncertainty(self, engines: int) -> float:
        """Return the seconds that the prediction may be off by; jobs err independently."""
        jobs = math.sqrt(sum(job.uncertainty(engines) ** 2 for job in self.jobs))
        return jobs + MARGIN * self.around

    def recommended(self, usable: int) -> int:
        """Return the fewest engines, up to ``usable``, that take hardly longer than the best number."""
        walls = {engines: self.wall(engines) for engines in range(1, max(1, usable) + 1)}
        best = min(walls.values())
        return next(engines for engines, wall in walls.items() if wall <= best * GOOD_ENOUGH)


def folding_seconds(summary: RunSummary, folded: Collection[str]) -> float:
    """Return what a value takes in the reducers of the jobs ``folded``, on average, from a pilot's summary.

    It is what is left of the pilot beside start, end and items, for so few are folded when all are there.
    """
    others = summary.startup + summary.setup + summary.loading + summary.finish
    left = summary.wall - others - sum(job.timing.wall for job in summary.jobs)
    values = sum(job.counts.ok for job in summary.jobs if job.name in folded)
    return max(0.0, left) / values if values else 0.0


def estimate_job(
    summary: JobSummary, items: int | None, engines: int, beside: int, folding: float = 0.0
) -> JobEstimate:
    """Estimate a job from the summary of its pilot, whose engines ran ``beside`` items at a time.

    ``folding`` is what its reducer takes for a value.
    """
    timing, overhead, seen = summary.timing, summary.overhead, summary.counts.recorded
    chunks = max(1, summary.chunks.count)
    # In a pilot the engines idle at its end, while the last items run: that is no message's.
    waiting = max(0.0, overhead.idle - timing.max * max(0, summary.width - 1) / 2)
    total = seen if items is None else items
    fair = max(1, math.ceil(total / (2 * max(1, engines))))
    size = math.ceil(max(1.0, CHUNK_SECONDS / timing.mean) * beside) if timing.mean > 0 else fair
    return JobEstimate(
        name=summary.name,
        items=items,
        seen=seen,
        mean=timing.mean,
        stddev=timing.stddev,
        fastest=timing.min,
        slowest=timing.max,
        message=(overhead.envelope + waiting) / chunks,
        chunksize=summary.chunks.given or max(1, min(size, fair)),
        beside=beside,
        folding=folding,
    )


def pilot_size(
    jobs: Sequence[JobSummary],
    beside: Mapping[str, int],
    engines: int,
    seconds: float,
    most: int,
    folding: float = 0.0,
) -> int:
    """Return how many items of each job fit into a pilot of so many seconds, at least two an engine.

    ``beside`` are, by the names of the jobs, the items that an engine runs at a time.
    ``folding`` are the seconds that the reducers take for a value of each.
    """
    each = sum(job.timing.mean / beside[job.name] for job in jobs) + folding * engines
    fitting = math.ceil(seconds * engines / each) if each > 0 else most
    return max(2 * engines, min(fitting, most))
