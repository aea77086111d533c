"""``arcli cancel``: stop a run from elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from arcli.cli import complete
from arcli.cli.options import NUMBERS
from arcli.cli.past import pick_current, require_end

if TYPE_CHECKING:
    from arcli.store.channel import JobState
    from arcli.store.folder import RunFolder

HEARD = 10.0
"""Seconds in which a run takes a request, half a second as a rule."""
LOOK = 0.05
MOST_SPANS = 10
"""Spans of numbers that a message has."""


@click.command("cancel", short_help="Stop a run.")
@click.argument("run", required=False, metavar="[RUN]", shell_complete=complete.runs)
@click.option("--drain", is_flag=True, help="Start nothing new, and let what runs end.")
@click.option("--items", type=NUMBERS, metavar="3,7-9", help="Only these items of the job that runs.")
@click.option("--reason", metavar="TEXT", help="Why; it stands in the records and in `arcli runs`.")
def command(run: str | None, drain: bool, items: tuple[int, ...] | None, reason: str | None) -> None:
    """Stop RUN as SIGTERM does, from any shell and any host that sees its folder.

    RUN is an id or its beginning; by default the newest run that goes on. What has ended is kept:
    `arcli run SPEC --resume` goes on. With --items those that wait are cancelled, and those that run
    are ended with their engines, which are replaced.

    \b
    Examples:
      arcli cancel --reason 'the disk is needed'
      arcli cancel 20261126-0915 --drain
      arcli cancel --items 3,7-9 --reason 'do not converge'
    """
    from arcli.errors import ClusterError, UsageError
    from arcli.store.channel import Cancel, post
    from arcli.store.past import state_of
    from arcli.timing.words import plural

    folder = pick_current(run)
    require_end(folder)
    if state_of(folder) == "ended":
        raise UsageError(f"run {folder.id} has ended already, with exit code {folder.manifest.exit_code}")
    if drain and items is not None:
        raise UsageError("--drain is for the whole run, and --items for some of it; give one of them")
    job, how = None, "what runs may end, nothing new is started" if drain else "it stops"
    if items is not None:
        state = _job_of(folder)
        job, asked = state.name, sorted(set(items))
        items, others = _left(folder, state, asked)
        if not items:
            raise UsageError(
                f"run {folder.id} has no item to be cancelled: {others}",
                hint=f"`arcli status {folder.id}` shows how it stands",
            )
        how = f"{plural(len(items), 'item')} of {job} to be cancelled{others and f'; {others}'}"
    # The folder is the channel: the run takes the request away as soon as it sees it, from any host.
    path = post(folder.path, Cancel(reason=reason, drain=drain, items=items, job=job))
    due, pause = time.monotonic() + HEARD, threading.Event()
    while path.exists():
        # Nobody takes it: it must not stop a run that wakes up in an hour.
        if time.monotonic() > due:
            path.unlink(missing_ok=True)
            require_end(folder.fresh())
            raise ClusterError(
                f"run {folder.id} does not take requests",
                hint=f"`arcli status {folder.id}` shows how it stands",
            )
        pause.wait(LOOK)
    click.echo(f"run {folder.id}: {how}", err=True)


def _job_of(folder: RunFolder) -> JobState:
    """Return how the job of a run stands whose items run. Raises UsageError where there is none."""
    from arcli.errors import UsageError
    from arcli.store.channel import Phase, read_state

    state = read_state(folder.path)
    for job in state.jobs if state is not None else ():
        if job.phase is Phase.RUNNING:
            return job
    raise UsageError(
        f"no items of run {folder.id} run now", hint=f"`arcli status {folder.id}` shows how it stands"
    )


def _left(folder: RunFolder, job: JobState, asked: Sequence[int]) -> tuple[tuple[int, ...], str]:
    """Return those of the items that have not ended, as far as is known; and say what the others are."""
    from arcli.store.index import JournalIndex
    from arcli.timing.words import plural

    with JournalIndex(folder) as index:
        recorded = set(index.numbers(job.name))
    # How many there are is not known of every source.
    ended = [number for number in asked if number in recorded]
    absent = [number for number in asked if job.total is not None and number >= job.total]
    gone = {*ended, *absent}
    others = []
    if ended:
        others.append(f"{_spans(ended)} {'has' if len(ended) == 1 else 'have'} ended")
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        there = plural(job.total or 0, "item")
        others.append(f"{_spans(absent)} {verb} not there: {job.name} has {there}")
    return tuple(number for number in asked if number not in gone), ", ".join(others)


def _spans(numbers: Sequence[int]) -> str:
    """Write numbers in their order as ``3,7-9``."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1] = spans[-1][0], number
        else:
            spans.append((number, number))
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in spans[:MOST_SPANS]]
    return ",".join([*shown, *(["…"] if len(spans) > MOST_SPANS else [])])
