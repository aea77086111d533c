"""``arcli compare``: two runs' timing side by side, and a gate for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arcli.cli import complete
from arcli.cli.error_boundary import Call
from arcli.cli.options import EXPECTATION, format_option
from arcli.cli.past import output_page, pick_run

if TYPE_CHECKING:
    from arcli.timing.thresholds import Measured


@click.command("compare", short_help="Compare the timing of two runs.")
@click.argument("a", shell_complete=complete.runs_or_files)
@click.argument("b", default="latest", metavar="[B]", shell_complete=complete.runs_or_files)
@click.option(
    "--fail-if",
    "expectations",
    multiple=True,
    type=EXPECTATION,
    help="Exit 5 if this holds, such as 'p95 > +10%'; may be repeated.",
)
@format_option("text", "json", "markdown", meaning="What stdout gets.")
@click.pass_obj
def command(call: Call, /, a: str, b: str, form: str, expectations: tuple[Any, ...]) -> None:
    """Compare run B (the latest) with run A: figures, changes, and whether items really differ.

    A and B are ids of runs or their beginnings, latest, previous, or .json files that `arcli run`
    or `arcli report` wrote, such as a baseline that is kept with the code.

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
      arcli compare baseline.json --fail-if 'p95 > +10%'
    """
    from arcli.record import dump
    from arcli.reports import compared
    from arcli.reports.comparison import compare
    from arcli.timing.thresholds import check, fail_on

    before, now = _measured(a), _measured(b)
    findings = check(expectations, now, before)
    comparison = compare(before, now, findings)
    with output_page(None) as page:
        if form == "json":
            page.target.write(dump(comparison.to_tree()) + b"\n")
        elif form == "markdown":
            page.target.write(compared.render_markdown(comparison).encode())
        else:
            page.show(compared.text(comparison, width=page.table_width))
    # What fails is told after the tables that show it, and not twice to a program that has read it.
    error = fail_on(findings)
    if error is not None:
        call.reported = form == "json"
        raise error


def _measured(word: str) -> Measured:
    from arcli.reports.comparison import measure_document, measure_run

    if word.endswith(".json") or Path(word).is_file():
        return measure_document(Path(word))
    return measure_run(pick_run(word))
