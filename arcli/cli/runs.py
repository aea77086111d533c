"""``arcli runs``: what was run, newest first."""

from __future__ import annotations

import os
from itertools import islice

import click

from arcli.cli import complete
from arcli.cli.options import color_option, format_option
from arcli.cli.past import output_page


@click.command("runs", short_help="List past runs, newest first.")
@click.argument("spec", required=False, metavar="[SPEC]", shell_complete=complete.files)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the N newest.")
@format_option("text", "json", meaning="json: one object, with times in ISO 8601 UTC.")
@color_option(exposed=False)
def command(spec: str | None, limit: int | None, form: str) -> None:
    """List past runs, newest first; with SPEC, a file or a name, only those of this spec.

    The last column is the exit code, or running, or killed where a run never came to its end.

    \b
    Examples:
      arcli runs
      arcli runs sweep.yaml --format json
    """
    from arcli.reports import runlist
    from arcli.store.folder import run_root
    from arcli.store.past import brief, runs_of

    root = run_root(os.environ)
    runs = [brief(run) for run in islice(runs_of(root, spec, os.environ), limit)]
    # A message on stderr keeps stdout empty for programs.
    with output_page(None) as page:
        if form == "json":
            page.target.write(runlist.render_json(runs))
        elif runs:
            page.show(runlist.table(runs, width=page.table_width))
        else:
            of = "" if spec is None else f" of {spec}"
            click.echo(f"arcli: there are no runs{of} in {root}", err=True)
