"""``arcli check``: whether specs are valid, without running anything of theirs."""

from __future__ import annotations

import click

from arcli.cli import complete
from arcli.cli.error_boundary import Call
from arcli.cli.options import PARAMS, SETS, color_option, format_option


@click.command("check", short_help="Check specs; run nothing.")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...", shell_complete=complete.files)
@PARAMS
@SETS
@click.option("-q", "--quiet", is_flag=True, help="Say nothing of specs that are valid.")
@format_option("text", "json", meaning="json: one object with all problems.")
@color_option(exposed=False)
@click.pass_obj
def command(
    call: Call,
    /,
    specs: tuple[str, ...],
    params: tuple[tuple[str, str], ...],
    sets: tuple[tuple[str, str], ...],
    quiet: bool,
    form: str,
) -> None:
    """Check that each SPEC is valid; nothing of the user's is run and no cluster is opened.

    Files that specs name are looked at, and all problems are shown at once.

    \b
    Examples:
      arcli check sweep.yaml
      arcli check *.yaml --set cluster.engines=4
    """
    from arcli.errors import Problem, SpecError
    from arcli.escape import plain
    from arcli.specfile.load import load
    from arcli.timing.words import plural

    problems: list[Problem] = []
    # One spec that is wrong keeps no other from being looked at.
    for source in specs:
        try:
            spec = load(source, params=dict(params), sets=sets)
        except SpecError as error:
            problems += error.problems
            continue
        if form == "text" and not quiet:
            jobs = ", ".join(job.name for job in spec.jobs)
            click.echo(f"{plain(source)}: valid, {plural(len(spec.jobs), 'job')}: {jobs}")
    if problems:
        raise SpecError(problems)
    if form == "json":
        click.echo('{"problems": []}')
