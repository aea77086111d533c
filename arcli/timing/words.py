"""A summary's figures as words for people; without what draws tables, which takes long to import."""

from __future__ import annotations

from collections.abc import Iterator

from arcli.escape import one_line
from arcli.timing.ledger import End
from arcli.timing.summary import JobStatus, JobSummary, RunSummary
from arcli.units import format_seconds


def percent(share: float) -> str:
    """A share (0 … 1) as ``93 %``; what is there is never shown as nothing."""
    if 0 < share < 0.01:
        return "<1 %"
    return f"{share * 100:.0f} %"


TIME_COLUMNS = ("mean ± σ", "median", "p95", "min … max")  # noqa: RUF001
"""What tables call the seconds of items."""


def job_cells(job: JobSummary) -> dict[str, str]:
    """Return a job's figures by the columns that tables have for them."""
    counts, timing = job.counts, job.timing
    return {
        "items": f"{counts.planned:,}",
        "ok": f"{counts.ok:,}",
        "failed": f"{counts.failed:,}",
        "wall": format_seconds(timing.wall),
        "serial": format_seconds(timing.serial),
        "speed-up": f"{timing.speedup:.2f}",
        "efficiency": percent(timing.efficiency),
    }


def item_times(job: JobSummary) -> str:
    """How long items took: mean ± standard deviation, range, and quantiles."""
    times = job.timing
    pairs = (("median", times.median), ("p95", times.p95))
    quantiles = ", ".join(f"{name} {format_seconds(value)}" for name, value in pairs)
    mean = f"{format_seconds(times.mean)} ± {format_seconds(times.stddev)}"
    return f"{mean}; {format_seconds(times.min)} … {format_seconds(times.max)}, {quantiles}"


def chunk_words(job: JobSummary) -> str:
    """How the items travelled: ``auto: 1 … 4,000, typically 1,200 items``."""
    chunks = job.chunks
    if chunks.given is not None:
        return f"{chunks.count:,}, given: {plural(chunks.given, 'item')}"
    if chunks.smallest == chunks.largest:
        return f"{chunks.count:,}, auto: {plural(chunks.largest, 'item')}"
    span = f"{chunks.smallest:,} … {chunks.largest:,}"
    return f"{chunks.count:,}, auto: {span}, typically {plural(chunks.typical, 'item')}"


def remarks(job: JobSummary, *, brief: bool = False) -> str:
    """Say what else is worth knowing about a job, empty when nothing is; ``brief``: beside its counts."""
    counts = job.counts
    if job.ended is End.NEEDS and not counts.planned:
        return f"cancelled, {job.ended_words}"
    # Only what is not as everybody expects: a job of which all went well has nothing to remark.
    parts = [
        f"{number:,} {what}"
        for number, what in (
            (counts.timeout, "timed out"),
            (counts.lost, "lost"),
            (0 if brief else counts.cancelled, "cancelled"),
            (0 if brief else counts.unread or 0, "never read"),
            (counts.retried, "retried"),
            (counts.replayed, "kept from the run before"),
        )
        if number
    ]
    # A source that was not read to its end may have had any number more.
    if counts.unread is None and not brief:
        parts.append("an unknown number never read")
    if job.restarts:
        parts.append(f"{plural(job.restarts, 'engine')} restarted")
    if job.value_note is not None and not brief:  # it was told when it came up
        parts.append(f"its value {job.value_note}")
    if job.ended is End.RUNNING:
        parts.append("still running")
    elif job.input_error is not None:
        parts.append(f"input error: {job.input_error}")
    elif job.ended is not End.DONE:
        why = job.reason if job.ended in {End.INTERRUPTED, End.ENOUGH} else None
        parts.append(f"ended: {one_line(why) if why else job.ended_words}")
    elif job.status is JobStatus.EMPTY and not brief:
        parts.append("no items")
    return ", ".join(parts)


def beside_items(summary: RunSummary) -> Iterator[tuple[str | None, str]]:
    """Yield what is wrong with a run that no item tells: the job, None for the run, and the words."""
    for job in summary.jobs:
        if job.value_error is not None:
            yield job.name, f"no value: {job.value_error}"
        # What the run tells as its own end, that of its first job, is told once.
        elif job.input_error is not None and job.input_error not in (summary.error or ""):
            yield job.name, f"input error: {job.input_error}"
        elif job.ended is End.DEADLINE and summary.error is None:
            yield job.name, remarks(job)
    if summary.error is not None:
        yield None, summary.error


def progress_words(
    done: int, total: int | None, *, failed: int, rate: float, left: float | None
) -> list[str]:
    """Say how far a job is: ``120 of 1,000 items (12 %)``, ``3 not ok``, ``34/s``, ``about 26.0 s left``.

    From what is sure to what is guessed; what says nothing (a ``rate`` of 0, no ``total``) is left out.
    """
    parts = [plural(done, "item")]
    if total is not None:
        percent_done = f" ({done * 100 // total} %)" if total else ""
        parts = [f"{done:,} of {plural(total, 'item')}{percent_done}"]
    if failed:
        parts.append(f"{failed:,} not ok")
    if rate:
        parts.append(f"{rate:,.3g}/s")
    if left:
        parts.append(f"about {format_seconds(left)} left")
    return parts


def time_words(summary: RunSummary) -> str:
    """Where the time of the whole run went."""
    jobs = summary.wall - summary.startup - summary.finish
    parts = (
        ("reading the spec", summary.reading),
        ("start-up", summary.startup - summary.reading),
        ("setup", summary.setup),
        ("loading functions", summary.loading),
        ("jobs", jobs - summary.setup - summary.loading),
        ("stopping", summary.stopping),
        ("writing outputs", summary.writing),
    )
    words = ", ".join(f"{name} {format_seconds(value)}" for name, value in parts if value > 0)
    return f"{format_seconds(summary.wall)}: {words}"


def overhead_words(job: JobSummary) -> str:
    """Where the engines' time went, in shares of it."""
    spent = job.overhead
    parts = (
        ("items", spent.compute),
        *([("failed or stopped attempts", spent.attempts)] if spent.attempts else []),
        ("arcli", spent.envelope),
        ("idle", spent.idle),
    )
    words = ", ".join(f"{name} {percent(spent.share(value))}" for name, value in parts)
    if spent.returning <= 0 or not job.chunks.count:
        return words
    return f"{words}; a chunk returns in {format_seconds(spent.returning / job.chunks.count)}"


def plural(number: int, noun: str) -> str:
    """``1 item``, ``1,200 items``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
