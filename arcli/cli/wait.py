"""``arcli wait``: until runs have ended."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import click

from arcli.cli import complete
from arcli.cli.error_boundary import Call, tell
from arcli.cli.options import DURATION
from arcli.cli.past import pick_current, require_end

if TYPE_CHECKING:
    from arcli.store.folder import RunFolder

LOOK = 0.2
"""Seconds between two looks at whether a run has ended."""


@click.command("wait", short_help="Wait for runs to end.")
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete.runs)
@click.option("--timeout", type=DURATION, help="Exit 124 if they still go on after this long.")
def command(runs: tuple[str, ...], timeout: float | None) -> int:
    """Wait until each RUN has ended, and exit as it did.

    RUN is an id or its beginning; by default the newest run that goes on, else the newest. Of several
    runs the exit code is the one that says most. A run that was killed before its end is exit 3, which
    is said when the others have ended, too.

    \b
    Examples:
      arcli wait && echo all is well
      arcli wait 20261126-0915 20261126-0917 --timeout 2h
    """
    import time

    from arcli.errors import ClusterError, DeadlineError
    from arcli.timing.exit_code import first

    due = None if timeout is None else time.monotonic() + timeout
    folders = [pick_current(word) for word in runs] or [pick_current(None)]
    # One after the other is enough: the last one to end decides how long it takes. What became of them
    # is told when all have ended: whoever waits goes on as soon as this does.
    for folder in folders:
        if not wait_for(folder, due):
            raise DeadlineError(f"run {folder.id} still goes on")
    call = click.get_current_context().find_object(Call) or Call()
    codes = []
    for folder in folders:
        ended = folder.fresh()
        try:
            require_end(ended)
            codes.append(ended.manifest.exit_code or 0)
        except ClusterError as error:
            codes.append(tell(error, call))
    return first(codes)


def wait_for(run: RunFolder, due: float | None) -> bool:
    """Wait until a run goes on no more, at most to ``due`` (a monotonic time); tells whether it ended."""
    import time

    from arcli.store.past import state_of

    pause = threading.Event()
    while state_of(run.fresh()) == "running":
        rest = LOOK if due is None else min(LOOK, due - time.monotonic())
        if rest <= 0:
            return False
        pause.wait(rest)
    return True
