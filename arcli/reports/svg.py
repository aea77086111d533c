"""Drawings for the HTML report: what each engine did when, and how long items took."""

from __future__ import annotations

import math
from collections.abc import Iterator

from arcli.engine.tally import Status, Tally
from arcli.escape import plain
from arcli.reports.page import text
from arcli.timing.distributions import bars, ticks
from arcli.timing.timeline import Span, Timeline
from arcli.timing.words import percent
from arcli.units import format_seconds

WIDTH = 1000
"""Of every drawing, in its own units; the page scales it."""
LABELS = 76
RIGHT = 16
ACROSS = WIDTH - LABELS - RIGHT
"""Of a drawing's width, what is not beside it."""
MOST_ENGINES = 64
JOB_COLORS = 6
BARS = 48
TALL = 170
TOP = 32


def timeline(line: Timeline, jobs: list[str]) -> Iterator[str]:
    """Yield a row an engine: its items, or how busy it was where there are very many. May be empty."""
    engines = line.engines[:MOST_ENGINES]
    if not engines or line.end <= 0:
        return
    row = 24 if len(engines) <= 16 else 11
    tall = row * len(engines)
    # Everything is drawn to one scale, from the run's beginning to its end.
    scale = ACROSS / line.end
    yield begin_drawing(tall + 26, "What each engine did, over time")
    for moment in ticks(line.end, 10):
        x = LABELS + moment * scale
        yield f'<path class="grid" d="M{x:.1f} 0V{tall + 4}"/>'
        yield tick(x, format_seconds(moment), tall + 20)
    places = {engine: place * row for place, engine in enumerate(engines)}
    for engine, top in places.items():
        share = percent(line.busy_seconds(engine) / line.end)
        yield (
            f'<text class="label" x="{LABELS - 8}" y="{top + row / 2 + 4:g}">'
            f"engine {engine}<title>engine {engine}: items {share} of the time</title></text>"
        )
        life = line.lives.get(engine)
        if life is None:
            yield _part("lane", 0.0, line.end, top, row, scale, f"engine {engine}")
            continue
        # An engine comes up, does its setup, and is there until it ends, or all is over.
        name = f"engine {engine}"
        came = format_seconds(life.came - life.launched)
        place = "" if life.replaces is None else f", in place of engine {life.replaces}"
        setup = format_seconds(life.ready - life.came)
        went = min(life.went, line.end)
        yield _part("startup", life.launched, life.came, top, row, scale, f"{name}: start-up {came}{place}")
        yield _part("setup", life.came, life.ready, top, row, scale, f"{name}: setup {setup}")
        yield _part("lane", life.ready, max(life.ready, went), top, row, scale, name)
        if life.reason is not None:
            x = LABELS + went * scale
            title = text(f"ended after {format_seconds(life.went)}: {plain(life.reason)}")
            yield f'<path class="end" d="M{x:.1f} {top}v{row}"><title>{title}</title></path>'
    # Each item where there are few; beyond that how busy an engine was.
    if line.spans is not None:
        colors = {job: number % JOB_COLORS for number, job in enumerate(jobs)}
        for span in line.spans:
            if span.engine_id in places:
                yield _span(span, places[span.engine_id], row, scale, colors.get(span.job, 0))
    else:
        for engine, top in places.items():
            yield from _stretches(line, engine, top, row, scale)
    yield "</svg>"


def _span(span: Span, top: int, row: int, scale: float, color: int) -> str:
    took = format_seconds(span.end - span.begin)
    title = f"{span.job} {span.index}: {took}, {span.status}"
    kind = f"j{color}" if span.status == Status.OK else "bad"
    if span.reason is not None:
        title, kind = f"{title}, tried again: {plain(span.reason)}", f"{kind} s3"
    return _part(kind, span.begin, span.end, top, row, scale, title)


def _part(kind: str, begin: float, end: float, top: int, row: int, scale: float, title: str) -> str:
    """Return what an engine did from one moment to another; however short, it is seen."""
    return (
        f'<rect class="{kind}" x="{LABELS + begin * scale:.2f}" y="{top + 2}" '
        f'width="{max(0.4, (end - begin) * scale):.2f}" height="{row - 4}">'
        f"<title>{text(title)}</title></rect>"
    )


def _stretches(line: Timeline, engine: int, top: int, row: int, scale: float) -> Iterator[str]:
    """Yield one path for each share, so that a long run is a small file."""
    paths: dict[str, list[str]] = {}
    for part in line.stretches(engine):
        x, wide = LABELS + part.begin * scale, (part.end - part.begin) * scale
        shape = f"M{x:.1f} {top + 2}h{wide:.1f}v{row - 4}h-{wide:.1f}z"
        if part.share:
            paths.setdefault(f"j0 s{round(part.share * 4)}", []).append(shape)
        if part.failed:
            low = f"M{x:.1f} {top + row - 5}h{max(1.0, wide):.1f}v3h-{max(1.0, wide):.1f}z"
            paths.setdefault("bad", []).append(low)
    for kind, shapes in paths.items():
        yield f'<path class="{kind}" d="{"".join(shapes)}"/>'


def histogram(tally: Tally) -> Iterator[str]:
    """Yield how many items took how long, on a logarithmic axis, with median and 95th percentile."""
    bins = bars(tally, BARS)
    if not bins:
        return
    most = max(each.count for each in bins)
    wide = ACROSS / len(bins)
    yield begin_drawing(TOP + TALL + 26, "How many items took how long")
    # Two lines are enough to read heights by.
    for count in (most, most // 2):
        yield level(count / most, f"{count:,}")
    for place, each in enumerate(bins):
        if each.count:
            span = f"{format_seconds(each.low)} … {format_seconds(each.high)}: {each.count:,}"
            yield bar(LABELS + place * wide + 0.5, wide - 1, each.count / most, span)
    step = max(1, len(bins) // 8)
    for place in range(0, len(bins), step):
        yield tick(LABELS + place * wide, format_seconds(bins[place].low))
    yield from _quantiles(tally, bins[0].low, bins[-1].high)
    yield "</svg>"


def _quantiles(tally: Tally, low: float, high: float) -> Iterator[str]:
    """Yield a line for each, and its words on a line of their own, on the side that has room."""
    for y, name, q in ((12, "median", 0.5), (27, "p95", 0.95)):
        value = tally.quantile(q)
        share = math.log(max(value, low) / low) / math.log(high / low)
        x = LABELS + share * ACROSS
        anchor, gap = ("start", 5) if share < 0.5 else ("end", -5)
        yield f'<path class="mark" d="M{x:.1f} {y - 10}V{TOP + TALL}"/>'
        yield (
            f'<text class="quantile" text-anchor="{anchor}" x="{x + gap:.1f}" y="{y}">'
            f"{name} {format_seconds(value)}</text>"
        )


def begin_drawing(tall: float, label: str) -> str:
    """Return the tag that begins a drawing; ``label`` is for who cannot see it."""
    return f'<svg viewBox="0 0 {WIDTH} {tall:g}" role="img" aria-label="{text(plain(label))}">'


def bar(x: float, wide: float, share: float, title: str) -> str:
    """Return a bar of a share (0 … 1) of the height: one that has anything in it is seen."""
    high = max(1.0, TALL * share)
    return (
        f'<rect class="j0" x="{x:.1f}" y="{TOP + TALL - high:.1f}" width="{wide:.2f}" '
        f'height="{high:.1f}"><title>{text(title)}</title></rect>'
    )


def level(share: float, label: str) -> str:
    """Return the line that heights are read by at a share (0 … 1) of the height."""
    y = TOP + TALL * (1 - share)
    return (
        f'<path class="grid" d="M{LABELS} {y:.1f}H{WIDTH - RIGHT}"/>'
        f'<text class="label" x="{LABELS - 8}" y="{y + 4:.1f}">{text(label)}</text>'
    )


def tick(x: float, label: str, y: float = TOP + TALL + 18) -> str:
    """Return a figure below a drawing."""
    return f'<text class="tick" x="{x:.1f}" y="{y:g}">{text(label)}</text>'
