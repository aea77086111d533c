"""Two runs side by side as one HTML page: figures, failures, seconds, and the items that differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from arcli import __version__
from arcli.reports import svg
from arcli.reports.collect import Report
from arcli.reports.comparison import Comparison, Row, missing_words
from arcli.reports.differing import Differing
from arcli.reports.html import MOST_FAILURES
from arcli.reports.page import Column, failure, header, live_table, moment, page, table, text
from arcli.timing.failures import FailureGroup, item_words

_COLUMNS = (
    Column("job"), Column("item", "number"), Column("input"), Column("A", "status"),
    Column("B", "status"), Column("seconds of A", "seconds"), Column("seconds of B", "seconds"),
    Column("result of A"), Column("result of B"),
)  # fmt: skip
"""Of the table of items that differ: the fields of a DifferentItem."""


class Pair(Struct, frozen=True, kw_only=True):
    """A comparison, and what only folders of runs have: None where a side is a document."""

    comparison: Comparison
    reports: tuple[Report | None, Report | None] = (None, None)
    differing: Differing | None = None


def render(pair: Pair) -> Iterator[str]:
    """Yield the page, piece by piece."""
    return page(f"{pair.comparison.b.name}: B against A, arcli", _parts(pair))


def _parts(pair: Pair) -> Iterator[str]:
    comparison = pair.comparison
    failed = any(finding.holds for finding in comparison.findings)
    word = "an expectation failed" if failed else "all expectations hold"
    pill = word if comparison.findings else ""
    about = []
    for side, run in (("A", comparison.a), ("B", comparison.b)):
        about.append(f"{side}: {', '.join(filter(None, (run.label, run.name, moment(run.started))))}")
    yield from header(f"{comparison.b.name}: B against A", pill, "bad" * failed, about)
    for section in _SECTIONS:
        yield from section(pair)
    yield f"<footer>arcli {text(__version__)}</footer>\n"


def _findings(pair: Pair) -> Iterator[str]:
    """Yield what was expected, and whether it held."""
    if pair.comparison.findings:
        yield "<section><h2>Expectations</h2>"
        for finding in pair.comparison.findings:
            kind, word = (' class="not-ok"', "failed") if finding.holds else ("", "ok")
            yield f"<p{kind}>{word}: {text(finding.words())}</p>"
        yield "</section>\n"


def _figures(pair: Pair) -> Iterator[str]:
    """Yield the figures of the runs and of each job that both have, and how the seconds are spread."""
    comparison = pair.comparison
    yield from _rows("The run", comparison.rows)
    for job in comparison.jobs:
        drawings = ""
        for side, report in zip("AB", pair.reports, strict=True):
            tally = report.tallies.get(job.name) if report is not None else None
            if tally is not None and tally.ran:
                drawings += f'<div class="scroll"><h2><small>item seconds of {side}</small></h2>'
                drawings += f"{''.join(svg.histogram(tally))}</div>"
        after = f"<p>Items: {text(job.items.words())}.</p>"
        yield from _rows(
            job.name, job.rows, after + (f'<div class="sides">{drawings}</div>' * bool(drawings))
        )
    for sentence in missing_words(comparison):
        yield f"<section>{text(sentence)}</section>\n"


def _rows(title: str, rows: Sequence[Row], after: str = "") -> Iterator[str]:
    yield f"<section><h2>{text(title)}</h2>"
    kinds = {None: "n", True: "n not-ok", False: "n better"}
    yield from table(
        ("figure", "A", "B", "change"),
        [row.cells() for row in rows],
        last=[kinds[row.worse] for row in rows],
    )
    yield f"{after}</section>\n"


def _failures(pair: Pair) -> Iterator[str]:
    """Yield the kinds of failures of both, those first of which B has most."""
    kinds: dict[tuple[str, str, str | None], list[FailureGroup | None]] = {}
    for side, report in enumerate(pair.reports):
        for job in report.summary.jobs if report is not None else ():
            for group in job.failures:
                kinds.setdefault((job.name, group.title, group.place), [None, None])[side] = group
    if not kinds:
        return
    order = sorted(kinds.items(), key=lambda kind: [-(side.count if side else 0) for side in kind[1][::-1]])
    yield "<section><h2>What failed <small>items of A, of B</small></h2>"
    for (name, *_), (before, now) in order[:MOST_FAILURES]:
        counts = f"{before.count if before else 0:,} → {now.count if now else 0:,}"
        word = "" if before and now else " new" if now else " gone"
        groups = [(side, group) for side, group in (("A", before), ("B", now)) if group is not None]
        lines = [f"{side}, {name}: {item_words(group)}" for side, group in groups]
        # Of both the newer one is what somebody has to mend.
        yield failure(f"<b>{counts}{word}</b>", lines, groups[-1][1])
    rest = len(order) - MOST_FAILURES
    yield f"<p>{rest:,} more kinds</p></section>\n" if rest > 0 else "</section>\n"


def _items(pair: Pair) -> Iterator[str]:
    """Yield the items that came to something else."""
    found = pair.differing
    if found is None:
        yield "<section>Items are compared one by one where A and B are runs, not documents.</section>\n"
    elif not found.different:
        yield f"<section>None of {found.compared:,} items came to something else.</section>\n"
    else:
        listed = len(found.items)
        more = f", the first {listed:,} of {found.different:,}" if found.different > listed else ""
        note = f" that differ{more}; {found.compared:,} compared"
        yield from live_table("Items that differ", _COLUMNS, found.items, note)


_SECTIONS: tuple[Callable[[Pair], Iterator[str]], ...] = (_findings, _figures, _failures, _items)
"""The page from top to bottom."""
