"""``arcli report``: where the time of a past run went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from arcli.cli import complete
from arcli.cli.options import color_option
from arcli.cli.past import format_of, output_page, pick_run, report_options

if TYPE_CHECKING:
    from arcli.outputs.stream import Stream
    from arcli.reports.collect import Report

MOST_ITEMS = 100_000
"""Items that the page has in its table."""
FORMATS = ("text", "json", "markdown", "html", "trace")


@click.command("report", short_help="Show where the time of a past run went.")
@click.argument("run", default="latest", metavar="[RUN]", shell_complete=complete.runs_or_files)
@report_options(*FORMATS)
@click.option(
    "--by",
    metavar="KEY",
    multiple=True,
    help="Group items by a key of their input, or by engine, host, slot, status or job; together.",
)
@click.option("--slowest", type=click.IntRange(min=0), metavar="N", help="Also show the N slowest items.")
@color_option(exposed=False)
def command(
    run: str, output: str | None, form: str | None, by: tuple[str, ...], slowest: int | None
) -> None:
    """Show the timing tables of RUN: an id, its beginning, latest (the default) or previous.

    Works for runs that still go on or were killed, too: what they did is in their journals. html is
    one page without external resources, trace is for https://ui.perfetto.dev, markdown for the job
    summary of a CI.

    \b
    Examples:
      arcli report
      arcli report previous --by seed -o report.html
    """
    chosen = form or format_of(output, FORMATS)
    past_run = pick_run(run)
    with output_page(output) as page:
        # A trace is written while the journal is read; everything else sums the run up first.
        if chosen == "trace":
            from arcli.reports import trace

            for piece in trace.render(past_run):
                page.target.write(piece)
            return
        from arcli.reports.collect import Wanted, read_report

        parts = Wanted(
            by=by,
            slowest=(10 if chosen == "html" else 0) if slowest is None else slowest,
            drawn=chosen == "html",
            tallies=chosen in {"html", "json"},
            items=MOST_ITEMS if chosen == "html" else 0,
        )
        _show(page, chosen, read_report(past_run, parts))


def _show(page: Stream, form: str, report: Report) -> None:
    from arcli.reports import formats

    if form == "text":
        formats.write_text(page, report)
    elif form == "json":
        page.target.write(formats.render_json(report))
    elif form == "markdown":
        page.target.write(formats.render_markdown(report).encode())
    # A page with many drawings is written in pieces, as they are drawn.
    else:
        from arcli.reports import html

        for piece in html.render(report):
            page.target.write(piece.encode())
