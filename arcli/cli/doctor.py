"""``arcli doctor``: what works here, and what to do about the rest."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import click


@click.command("doctor", short_help="Say what works on this machine.")
@click.option("--cluster", metavar="NAME", help="Also look at the clocks of its engines.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: one document.",
)
def command(cluster: str | None, form: str) -> int:
    """Look at what arcli needs, start two engines, and say what to do about what does not work.

    Exit 0 where runs work, 3 where they do not; what only some specs need is told and changes nothing.

    \b
    Examples:
      arcli doctor
      arcli doctor --format json
    """
    from arcli.errors import ExitCode
    from arcli.escape import plain
    from arcli.execution.doctor import examine
    from arcli.store.folder import run_root

    findings = []
    for finding in examine(run_root(os.environ), cluster):
        findings.append(finding)
        if form == "text":
            mark = "ok" if finding.ok else "NO" if finding.needed else "--"
            click.echo(plain(f"{mark}  {finding.what:<24} {finding.detail}"))
            if finding.do:
                click.echo(plain(f"    {'':<24} {finding.do}"))
    if form == "json":
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    broken = any(finding.needed and not finding.ok for finding in findings)
    return ExitCode.NO_CLUSTER if broken else ExitCode.OK
