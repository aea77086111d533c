"""``arcli cancel``: stop a run from elsewhere."""

from __future__ import annotations

import threading
import time

import click

from arcli.cli.past import pick_current, require_end

HEARD = 10.0
"""Seconds in which a run takes a request, half a second as a rule."""
LOOK = 0.05


@click.command("cancel", short_help="Stop a run.")
@click.argument("run", required=False, metavar="[RUN]")
@click.option("--drain", is_flag=True, help="Start nothing new, and let what runs end.")
@click.option("--reason", metavar="TEXT", help="Why; it stands in the records and in `arcli runs`.")
def command(run: str | None, drain: bool, reason: str | None) -> None:
    r"""Stop RUN as SIGTERM does, from any shell and any host that sees its folder.

    RUN is an id or its beginning; by default the newest run that goes on. What has ended is kept:
    `arcli run SPEC --resume` goes on.

    \b
    Examples:
      arcli cancel --reason 'the disk is needed'
      arcli cancel 20261126-0915 --drain
    """
    from arcli.errors import ClusterError, UsageError
    from arcli.store.past import state_of
    from arcli.store.requests import Cancel, post

    folder = pick_current(run)
    require_end(folder)
    if state_of(folder) == "ended":
        raise UsageError(f"run {folder.id} has ended already, with exit code {folder.manifest.exit_code}")
    path = post(folder.path, Cancel(reason=reason, drain=drain))
    due, pause = time.monotonic() + HEARD, threading.Event()
    while path.exists():
        if time.monotonic() > due:
            path.unlink(missing_ok=True)
            require_end(folder.fresh())
            raise ClusterError(
                f"run {folder.id} does not take requests",
                hint=f"`arcli status {folder.id}` shows how it stands",
            )
        pause.wait(LOOK)
    how = "what runs may end, nothing new is started" if drain else "it stops"
    click.echo(f"run {folder.id}: {how}", err=True)
