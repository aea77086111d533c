"""A run's summary as Markdown that GitHub renders, for the summary of a CI job or a comment.

https://github.github.com/gfm/#tables-extension-
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from arcli.escape import one_line, shortened
from arcli.outputs.base import TargetOutput
from arcli.outputs.run_end import count_words
from arcli.timing.failures import item_words
from arcli.timing.summary import JobSummary, RunStatus, RunSummary
from arcli.timing.words import TIME_COLUMNS, job_cells, overhead_words, plural, remarks, time_words
from arcli.units import format_seconds

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$#])")
_LONGEST = 200
_FAILURES = 20


class MarkdownSummary(TargetOutput):
    """The verdict, the jobs and what failed."""

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        jobs = tuple(job for job in summary.jobs if self._job in {None, job.name})
        self._target.write(summary_text(replace(summary, jobs=jobs)).encode())
        super().finish(summary, values)


def summary_text(summary: RunSummary) -> str:
    """Write a run's summary, with a newline at its end."""
    # The failures stand before the figures: that is what a reader of a red job looks for.
    mark = {RunStatus.OK: "✅", RunStatus.RUNNING: "⏳"}.get(summary.status, "❌")
    words = f"{count_words(summary.jobs)} in {format_seconds(summary.wall)}"
    head = f"### {mark} {escape(summary.name)}: {escape(words)}"
    why = [f"{escape(summary.error)}.", ""] if summary.error is not None else []
    for job in summary.jobs:
        if job.value_error is not None:
            why += [f"{escape(job.name)} has no value: {escape(job.value_error)}.", ""]
    return "\n".join([head, "", *why, *failures_table(summary), *jobs_part(summary)]) + "\n"


def jobs_part(summary: RunSummary) -> Iterator[str]:
    """A row a job, and where the time went."""
    if summary.jobs:
        rows = [[job.name, *job_cells(job).values(), *_item_times(job)] for job in summary.jobs]
        yield from table(("job", *job_cells(summary.jobs[0]), *TIME_COLUMNS), rows)
    yield f"Run `{summary.run}`, {escape(time_words(summary))}."
    for job in summary.jobs:
        words = "; ".join(filter(None, (overhead_words(job), remarks(job))))
        yield f"{escape(job.name)}: {escape(words)}."
    yield ""


def failures_table(summary: RunSummary) -> Iterator[str]:
    """The groups of failures, the largest first; nothing where there is none."""
    groups = summary.failures(cancelled=True)
    rows = [(f"{g.count:,}", g.title, job, g.place or "", item_words(g)) for job, g in groups]
    if rows:
        yield from table(("items", "failure", "job", "place", "first"), rows[:_FAILURES], texts=5)
    if rest := sum(group.count for _, group in groups[_FAILURES:]):
        yield f"{rest:,} more in {plural(len(groups) - _FAILURES, 'other group')}."
        yield ""


def escape(text: str) -> str:
    """Text as one line that means nothing to Markdown, nor to HTML; cut where it is long."""
    return _SPECIAL.sub(r"\\\1", shortened(one_line(text), _LONGEST))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> Iterator[str]:
    """A table whose first ``texts`` columns are text and the others figures; cells are escaped."""
    marks = [":---" if place < texts else "---:" for place in range(len(head))]
    for row in (head, marks, *rows):
        cells = row if row is marks else [escape(cell) for cell in row]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _item_times(job: JobSummary) -> tuple[str, str, str, str]:
    """Return the cells of ``TIME_COLUMNS``."""
    timing = job.timing
    if not timing.measured:
        return "", "", "", ""
    mean = f"{format_seconds(timing.mean)} ± {format_seconds(timing.stddev)}"
    span = f"{format_seconds(timing.min)} … {format_seconds(timing.max)}"
    return mean, format_seconds(timing.median), format_seconds(timing.p95), span
