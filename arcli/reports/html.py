"""A report as one HTML page that needs nothing from elsewhere, and runs nothing but its own script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePath

from arcli import __version__
from arcli.engine.tally import Tally
from arcli.escape import shell_line
from arcli.reports import svg
from arcli.reports.collect import Report
from arcli.reports.formats import damage_words, ending, group_rows, slowest_rows
from arcli.reports.page import Column, failure, header, live_table, moment, page, table, text
from arcli.timing.failures import item_words
from arcli.timing.groups import GROUP_COLUMNS, SLOW_COLUMNS, time_cells
from arcli.timing.tables import engine_totals
from arcli.timing.thresholds import FIGURES
from arcli.timing.words import (
    TIME_COLUMNS,
    chunk_words,
    job_cells,
    overhead_words,
    percent,
    plural,
    remarks,
    time_words,
)
from arcli.units import format_seconds

COLUMNS = (
    Column("job"), Column("item", "number"), Column("input"), Column("status", "status"),
    Column("seconds", "seconds"), Column("result"),
)  # fmt: skip
"""Of the table of items: the fields of an ItemRow."""
MOST_ENGINES = 256
MOST_FAILURES = 50


def render(report: Report) -> Iterator[str]:
    """Yield the page, piece by piece."""
    return page(f"{report.manifest.name or report.manifest.id}: arcli report", _parts(report))


def _parts(report: Report) -> Iterator[str]:
    name, manifest = report.manifest.name or report.manifest.id, report.manifest
    kind = "warn" if report.state != "ended" else "" if report.exit_code == 0 else "bad"
    about = [f"run {manifest.id}", moment(manifest.started), manifest.host and f"on {manifest.host}"]
    yield from header(name, ending(report), kind, [", ".join(filter(None, about))])
    if report.damaged:
        yield f"<section>{text(damage_words(report))}</section>\n"
    for section in SECTIONS:
        yield from section(report)
    yield f"<footer>arcli {text(__version__)}, run {text(report.manifest.id)}</footer>\n"


def cards(report: Report) -> Iterator[str]:
    """Yield the figures that are asked for first."""
    summary = report.summary
    counts, (wall, serial) = summary.counts, summary.work
    speedup = serial / wall if wall > 0 else 0.0
    used = sum(job.timing.efficiency * job.timing.wall for job in summary.jobs)
    # What a resumed run replayed took no time in it, and must not count as throughput.
    done = counts.recorded - counts.cancelled - counts.replayed
    cards = (
        (format_seconds(summary.wall), f"wall, {format_seconds(summary.startup)} of it start-up"),
        (f"{counts.ok:,}", "items ok"),
        (f"{counts.failed:,}", "items failed"),
        (f"{speedup:.2f}", f"speed-up on {plural(summary.engines, 'engine')}"),
        (percent(used / wall if wall > 0 else 0.0), "efficiency"),
        (FIGURES["throughput"].show(max(0, done) / wall if wall > 0 else 0.0), "items a second"),
    )
    yield '<div class="cards">'
    for figure, label in cards:
        yield f"<div><b>{text(figure)}</b><span>{text(label)}</span></div>"
    yield "</div>\n"


def timeline(report: Report) -> Iterator[str]:
    """Yield what each engine did, over time."""
    if report.timeline is None or not report.timeline.engines:
        return
    jobs = [job.name for job in report.summary.jobs]
    exact = report.timeline.spans is not None
    what = "each item" if exact else "lighter: less of the time in items; red: failed items"
    yield f"<section><h2>Engines over time <small>{what}, since the run began</small></h2>"
    yield '<div class="scroll">'
    yield from svg.timeline(report.timeline, jobs)
    yield "</div>"
    # A colour a job needs a key only where there are several.
    colors = [(f"j{place % svg.JOB_COLORS}", job) for place, job in enumerate(jobs)]
    keys = [
        *(colors if exact and len(jobs) > 1 else []),
        *([("bad", "not ok")] if exact else []),
        *([("line", "start-up"), ("soft", "setup")] if report.timeline.lives else []),
    ]
    made = (f'<i style="background:var(--{color})"></i>{text(words)}' for color, words in keys)
    ends = any(life.reason is not None for life in report.timeline.lives.values())
    ended = "; a red line: an engine ended" if ends else ""
    yield f'<p class="key">{"".join(made)}{ended}</p>'
    if (rest := len(report.timeline.engines) - svg.MOST_ENGINES) > 0:
        yield f"<p>{rest:,} more engines are not shown.</p>"
    yield "</section>\n"


def jobs(report: Report) -> Iterator[str]:
    """Yield the table of jobs, and what is to be said of each."""
    jobs = report.summary.jobs
    if not jobs:
        return
    yield "<section><h2>Jobs</h2>"
    rows = [
        [job.name, *job_cells(job).values(), *time_cells(report.tallies.get(job.name, Tally()))]
        for job in jobs
    ]
    yield from table(("job", *job_cells(jobs[0]), *TIME_COLUMNS), rows)
    yield f"<p>{text(time_words(report.summary))}</p>"
    for job in jobs:
        chunks = f"chunks {chunk_words(job)}" if job.chunks.count else ""
        note = "; ".join(filter(None, (overhead_words(job), chunks, remarks(job))))
        yield f"<p>{text(job.name)}: {text(note)}</p>"
        if job.value_error is not None:
            yield f"<p>{text(job.name)} has no value: {text(job.value_error)}</p>"
    yield "</section>\n"


def histograms(report: Report) -> Iterator[str]:
    """Yield how long the items of each job took."""
    for job, tally in report.tallies.items():
        if tally.ran:
            yield f"<section><h2>Item seconds <small>{text(job)}: {tally.ran:,} items</small></h2>"
            yield '<div class="scroll">'
            yield from svg.histogram(tally)
            yield "</div></section>\n"


def plots(report: Report) -> Iterator[str]:
    """Yield items a second over time, and jobs' seconds against their inputs' numbers and their order."""
    drawn = report.plots
    if drawn is None:
        return
    if drawing := "".join(drawn.throughput()):
        yield "<section><h2>Items a second <small>over time, since the run began</small></h2>"
        yield f'<div class="scroll">{drawing}</div></section>\n'
    for (job, name), points in drawn.series.items():
        if drawing := "".join(drawn.scatter(job, name)):
            title = "the order of the items" if name == "order" else name
            some = len(points.points)
            share = "" if some == points.seen else f", {some:,} of {points.seen:,} items"
            yield f"<section><h2>Seconds against {text(title)} <small>{text(job)}{share}</small></h2>"
            yield f'<div class="scroll">{drawing}</div></section>\n'


def failures(report: Report) -> Iterator[str]:
    """Yield the kinds of failures, the most frequent first."""
    groups = report.summary.failures(cancelled=True)
    if not groups:
        return
    yield "<section><h2>What failed</h2>"
    for job, group in groups[:MOST_FAILURES]:
        head = f"<b>{text(plural(group.count, 'item'))}</b>"
        yield failure(head, [f"{job}: {item_words(group)}"], group)
    rest = sum(group.count for _, group in groups[MOST_FAILURES:])
    others = plural(len(groups) - MOST_FAILURES, "other group")
    yield f"<p>{rest:,} more in {others}</p></section>\n" if rest else "</section>\n"


def groups(report: Report) -> Iterator[str]:
    """Yield the groups of items that were asked for."""
    groups = report.groups
    for job in groups.jobs:
        yield f"<section><h2>By {text(groups.key)} <small>{text(job)}</small></h2>"
        yield from table((groups.key, *GROUP_COLUMNS), group_rows(groups.of(job)))
        yield "</section>\n"


def slowest(report: Report) -> Iterator[str]:
    """Yield the items that took longest."""
    if not report.slowest:
        return
    yield "<section><h2>Slowest items</h2>"
    yield from table(("item", "input", *SLOW_COLUMNS), slowest_rows(report), texts=2)
    yield "</section>\n"


def items(report: Report) -> Iterator[str]:
    """A table that the page's script fills: it is searched and sorted there."""
    if not report.items:
        return
    total = report.summary.counts.recorded
    note = f"; the first {len(report.items):,} of {total:,}" if total > len(report.items) else ""
    yield from live_table("Items", COLUMNS, report.items, note)


def engines(report: Report) -> Iterator[str]:
    """Yield the table of engines."""
    engines = engine_totals(report.summary.jobs)
    if not engines:
        return
    rows = [
        [
            str(each.engine_id),
            each.host or "-",
            f"{each.items:,}",
            f"{each.chunks:,}",
            *(format_seconds(s) for s in (each.busy, each.compute, each.idle)),
            percent(each.busy_share),
        ]
        for each in engines[:MOST_ENGINES]
    ]
    yield "<section><h2>Engines</h2>"
    head = ("engine", "host", "items", "chunks", "busy", "compute", "idle", "busy share")
    yield from table(head, rows, texts=2)
    if (rest := len(engines) - MOST_ENGINES) > 0:
        yield f"<p>{rest:,} more</p>"
    yield "</section>\n"


def origin(report: Report) -> Iterator[str]:
    """Yield what the run was made of and by."""
    about = report.manifest
    command = list(map(str, about.argv))
    command[:1] = [PurePath(word).name for word in command[:1]]
    versions, git = about.versions or {}, about.git or {}
    commit = f"{git.get('commit')}{', with changes' if git.get('dirty') else ''}" if git else ""
    entries = {
        "spec": about.spec_file,
        "command": shell_line(command),
        "goes on with": about.resumes,
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "commit": commit,
    }
    yield "<section><h2>Where it comes from</h2><dl>"
    for name, value in entries.items():
        if value:
            yield f"<dt>{name}</dt><dd>{text(str(value))}</dd>"
    yield "</dl></section>\n"


SECTIONS: tuple[Callable[[Report], Iterator[str]], ...] = (
    cards, timeline, jobs, histograms, plots, failures, groups, slowest, items, engines, origin,
)  # fmt: skip
"""The page from top to bottom; each yields nothing where there is nothing to show."""
