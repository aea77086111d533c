"""A run's and its jobs' figures by name, and expectations on them: ``p95 > +10%``, ``failed > 0``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct, field

from arcli.errors import ExpectationError, UsageError
from arcli.timing.summary import JobSummary, RunSummary
from arcli.units import format_seconds, parse_duration

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


FIGURES = {
    figure.name: figure
    for figure in (
        Figure("items", "count", None),
        Figure("ok", "count", True),
        Figure("failed", "count", False),
        Figure("wall", "seconds", False),
        Figure("startup", "seconds", False),
        Figure("finish", "seconds", False),
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
RUN = ("wall", "startup", "finish", "serial", "items", "ok", "failed")
"""What a run has as a whole; ``wall`` is that of its process, start-up included."""
JOB = tuple(name for name in FIGURES if name not in {"startup", "finish"})
"""What each job has: the ``counts`` and ``timing`` of its summary."""
OF_ITEMS = frozenset(["mean", "stddev", "min", "median", "p95", "p99", "max"])
"""What only a job has of which an item has run."""


class JobFigures(Struct, frozen=True, kw_only=True):
    """One job: its figures by name, and the distribution of item seconds (buckets of a tally)."""

    name: str
    figures: Mapping[str, float]
    buckets: Mapping[int, int] = field(default_factory=dict)


class Measured(Struct, frozen=True, kw_only=True):
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
    """Return the figures of ``JOB``, by name; without ``OF_ITEMS`` where no item has run."""
    counts = {"items": job.counts.planned, "ok": job.counts.ok, "failed": job.counts.failed}
    names = [name for name in JOB if job.timing.measured or name not in OF_ITEMS]
    return {name: counts[name] if name in counts else getattr(job.timing, name) for name in names}


def change(before: float, now: float) -> float:
    """By how much of ``before`` a figure has grown: 0.1 is 10 % more; infinitely from 0."""
    if before == now:
        return 0.0
    return (now - before) / before if before else math.copysign(math.inf, now)


def show_change(share: float) -> str:
    """Return a change as ``+12.3 %``; ``new`` from nothing."""
    return "new" if math.isinf(share) else f"{share * 100:+.1f} %"


GRAMMAR = f"""\
[JOB.]FIGURE OP LIMIT
  JOB     the name of a job; without it the figure is the run's, or else that of any job
  FIGURE  {", ".join(RUN)} (of the run)
          {", ".join(JOB[:8])},
          {", ".join(JOB[8:])} (of a job)
  OP      > >= < <=
  LIMIT   +10% or -10% (against A), 30s or 250ms, 0.8, 80% (efficiency only);
          seconds need their unit"""
_FORM = re.compile(r"\s*(?:([A-Za-z0-9_.-]+)\.)?([A-Za-z0-9-]+)\s*(>=|<=|>|<)\s*(\S(?:.*\S)?)\s*", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_RELATIVE = re.compile(r"([+-]\d+(?:\.\d+)?)\s*%")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_HELD = "expect: and --fail-if say what must not be so: p95 > 200ms fails above 200 ms"
_OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


class Expectation(Struct, frozen=True, kw_only=True):
    """What must not hold: ``figure`` (of ``job``, where it is not None) ``op`` ``limit``.

    A ``relative`` limit is a change as a share: 0.1 for ``+10%``.
    """

    text: str
    job: str | None
    figure: str
    op: str
    limit: float
    relative: bool

    @property
    def of_run(self) -> bool:
        """Whether it is about the run as a whole, not about jobs."""
        return self.job is None and self.figure in RUN


class Finding(Struct, frozen=True, kw_only=True):
    """An expectation and the figures that it met; ``job`` is None where they are the run's."""

    expectation: Expectation
    job: str | None
    value: float
    before: float | None
    holds: bool

    def words(self) -> str:
        """Return the expectation with the figures: ``squares: p95 > +10%: 8.05 ms, now 9.40 ms, …``."""
        figure = FIGURES[self.expectation.figure]
        about = f"{self.job}: " if self.job and self.expectation.job is None else ""
        if self.before is None:
            return f"{about}{self.expectation.text}: it is {figure.show(self.value)}"
        grown = show_change(change(self.before, self.value))
        return (
            f"{about}{self.expectation.text}: {figure.show(self.before)} became "
            f"{figure.show(self.value)}, {grown}"
        )


def parse(text: str) -> Expectation:
    """Read one. Raises UsageError, which shows the grammar, for what is none."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise _malformed(text, "it is not FIGURE OP LIMIT")
    job, name, op, limit = match.groups()
    name = name.replace("-", "").lower()
    if name not in JOB and (name not in RUN or job is not None):
        raise _malformed(text, f"there is no figure {match[2]!r}")
    value, relative = _limit(text, FIGURES[name], limit)
    expression = f"{job + '.' if job else ''}{name} {op} {limit}"
    return Expectation(text=expression, job=job, figure=name, op=op, limit=value, relative=relative)


def _limit(text: str, figure: Figure, limit: str) -> tuple[float, bool]:
    # A sign makes it a comparison: `+10%` is against another run, `80%` is a share by itself.
    if match := _RELATIVE.fullmatch(limit):
        return float(match[1]) / 100, True
    if match := _SHARE.fullmatch(limit):
        if figure.kind == "share":
            return float(match[1]) / 100, False
        raise _malformed(text, f"{limit} needs a sign: +{limit} or -{limit}, against A")
    if figure.kind == "seconds" and _NUMBER.fullmatch(limit) and float(limit):
        raise _malformed(text, f"{limit} has no unit: {limit}ms, {limit}s, or +{limit}% against A")
    try:
        return parse_duration(limit if figure.kind == "seconds" else float(limit)), False
    except ValueError:
        kinds = {"seconds": "a duration such as 30s", "share": "a share such as 0.8 or 80%"}
        expected = kinds.get(figure.kind, "a number, not negative")
        raise _malformed(text, f"{limit!r} is neither +10% nor {expected}") from None


def _malformed(text: str, why: str) -> UsageError:
    return UsageError(f"{text!r} is no expectation: {why}", hint=f"it is {GRAMMAR}")


def settle(expectations: Iterable[Expectation], jobs: Sequence[str]) -> None:
    """Tell whether all can be decided on a run of these jobs, before it is run. Raises UsageError."""
    for each in expectations:
        if each.relative:
            raise _nothing_to_compare(each)
        if each.job is not None and each.job not in jobs:
            raise UsageError(
                f"{each.text}: there is no job {each.job!r}", hint=f"there are: {', '.join(jobs)}"
            )


def _nothing_to_compare(expectation: Expectation) -> UsageError:
    limit = expectation.text.rpartition(expectation.op)[2].strip()
    return UsageError(
        f"{expectation.text}: there is no other run that {limit} could be of",
        hint="give an absolute limit, or use `arcli compare A B`",
    )


def check(
    expectations: Iterable[Expectation], now: Measured, before: Measured | None = None
) -> list[Finding]:
    """Tell whether each holds, for every job that it is about.

    Raises UsageError for one that cannot be decided: it names a job that there is not, or compares
    with a run that is not there.
    """
    return [finding for each in expectations for finding in _findings(each, now, before)]


def fail_on(findings: Iterable[Finding]) -> ExpectationError | None:
    """Return the error that tells of those that hold, with their figures; None where none does."""
    held = [finding.words() for finding in findings if finding.holds]
    if not held:
        return None
    if len(held) == 1:
        return ExpectationError(f"an expectation failed, {held[0]}", hint=_HELD)
    return ExpectationError("\n  ".join([f"{len(held)} expectations failed:", *held]), hint=_HELD)


def _findings(expectation: Expectation, now: Measured, before: Measured | None) -> Iterator[Finding]:
    name, text = expectation.figure, expectation.text
    if expectation.relative and before is None:
        raise _nothing_to_compare(expectation)
    then = before if expectation.relative else None
    if expectation.of_run:
        yield _find(expectation, None, now.figures[name], then.figures[name] if then else None)
        return
    # Without a job's name it holds for each; in a comparison for those that both runs have.
    jobs = [*now.jobs] if expectation.job is None else [expectation.job]
    common = [job for job in jobs if job in now.jobs and (then is None or job in then.jobs)]
    idle = next((run for run in (now, then) if run is not None and not run.jobs), None)
    if idle is not None:
        raise UsageError(f"{text}: no job began in {idle.label}, which has no figures of jobs")
    if not common:
        raise UsageError(
            f"{text}: there is no such job {'to compare' if then else 'in the run'}",
            hint=f"the run's jobs: {', '.join(now.jobs) or 'none'}",
        )
    for job in common:
        figures, earlier = now.jobs[job].figures, then.jobs[job].figures if then else None
        # Of seconds that no item has had, nothing holds.
        if name in figures and (earlier is None or name in earlier):
            yield _find(expectation, job, figures[name], earlier[name] if earlier else None)


def _find(expectation: Expectation, job: str | None, value: float, before: float | None) -> Finding:
    measured = value if before is None else change(before, value)
    return Finding(
        expectation=expectation,
        job=job,
        value=value,
        before=before,
        holds=bool(_OPERATORS[expectation.op](measured, expectation.limit)),
    )
