"""``arcli compare``: two runs' timing side by side, and a gate for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from arcli.cli import complete
from arcli.cli.error_boundary import Call
from arcli.cli.options import color_option, fail_if_option
from arcli.cli.past import format_of, output_page, pick_run, report_options
from arcli.paths import is_file

if TYPE_CHECKING:
    from arcli.outputs.stream import Stream
    from arcli.reports.collect import Report
    from arcli.reports.comparison import Comparison
    from arcli.store.folder import RunFolder
    from arcli.timing.thresholds import Measured

FORMATS = ("text", "json", "markdown", "html")


@click.command("compare", short_help="Compare the timing of two runs.")
@click.argument("a", shell_complete=complete.runs_or_files)
@click.argument("b", default="latest", metavar="[B]", shell_complete=complete.runs_or_files)
@fail_if_option("p95 > +10%")
@report_options(*FORMATS)
@color_option(exposed=False)
@click.pass_obj
def command(
    call: Call, /, a: str, b: str, form: str | None, output: str | None, expectations: tuple[Any, ...]
) -> None:
    """Compare run B (the latest) with run A: figures, changes, and whether items really differ.

    A and B are ids of runs or their beginnings, latest, previous, or .json files (.gz, too) that
    `arcli run` or `arcli report` wrote, such as a baseline that is kept with the code. html is one
    page without external resources; of two runs it has the failures and the items that differ, too.

    \b
    --fail-if takes [JOB.]FIGURE OP LIMIT:
      p95 > +10%           the 95th percentile of any job's items grew by more than 10 %
      squares.p95 > 200ms  that of one job is above 200 ms
      wall > 30s           the run took longer than this
      failed > 0           items failed
      efficiency < 0.8     any job's

    \b
    Examples:
      arcli compare previous latest
      arcli compare previous -o changes.html
      arcli compare baseline.json --fail-if 'p95 > +10%'
    """
    from arcli.record import dump
    from arcli.reports import compared
    from arcli.reports.comparison import compare
    from arcli.timing.thresholds import check, fail_on

    chosen = form or format_of(output, FORMATS)
    before, now = _side(a), _side(b)
    findings = check(expectations, now.measured, before.measured)
    comparison = compare(before.measured, now.measured, findings)
    with output_page(output) as page:
        if chosen == "json":
            page.target.write(dump(comparison.to_tree()) + b"\n")
        elif chosen == "markdown":
            page.target.write(compared.render_markdown(comparison).encode())
        elif chosen == "html":
            _write_page(page, comparison, before, now)
        else:
            page.show(compared.text(comparison, width=page.table_width))
    # What fails is told after the tables that show it, and not twice to a program that has read it.
    error = fail_on(findings)
    if error is not None:
        call.reported = chosen == "json" and output in {None, "-"}
        raise error


class _Side(NamedTuple):
    """A run, or a document of one: then there is neither a folder nor a report."""

    measured: Measured
    run: RunFolder | None = None
    report: Report | None = None


def _side(word: str) -> _Side:
    from arcli.reports.collect import Wanted, read_report
    from arcli.reports.comparison import measure_document, measure_report

    if word.endswith((".json", ".json.gz")) or is_file(Path(word)):
        return _Side(measure_document(Path(word)))
    run = pick_run(word)
    report = read_report(run, Wanted(tallies=True))
    return _Side(measure_report(report), run, report)


def _write_page(page: Stream, comparison: Comparison, before: _Side, now: _Side) -> None:
    from arcli.reports.comparison_page import Pair, render
    from arcli.reports.differing import differing

    found = differing(before.run, now.run) if before.run is not None and now.run is not None else None
    pair = Pair(comparison=comparison, reports=(before.report, now.report), differing=found)
    for piece in render(pair):
        page.target.write(piece.encode())
