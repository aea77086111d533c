"""``arcli tail``: the results of a run as they come, in another shell."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

import click

from arcli.cli import complete
from arcli.cli.options import color_option, format_option
from arcli.cli.past import own_streams, pick_current, require_end
from arcli.cli.wait import wait_for
from arcli.errors import UsageError

if TYPE_CHECKING:
    from arcli.outputs.stream import Stream
    from arcli.store.folder import RunFolder


LOOK = 0.15
"""Seconds between two looks at what items have printed."""


@click.command("tail", short_help="Show the results of a run as they come.")
@click.argument("run", required=False, metavar="[RUN]", shell_complete=complete.runs)
@click.option("--item", type=click.IntRange(min=0), metavar="N", help="Only this item.")
@click.option("--failed", is_flag=True, help="Only what is not ok.")
@format_option("text", "jsonl", meaning="jsonl: the records as they are.")
@click.option("-v", "--verbose", is_flag=True, help="Show how each item travelled.")
@color_option(exposed=False)
def command(run: str | None, item: int | None, failed: bool, form: str, verbose: bool) -> None:
    """Show the results of RUN in the order in which they come, from its first one to its end.

    What its items print meanwhile goes to stderr, line by line.

    RUN is an id or its beginning; by default the newest run that goes on, else the newest. Ctrl-C
    leaves the run alone.

    \b
    Examples:
      arcli tail
      arcli tail 20261126-0915 --failed --format jsonl
    """
    from arcli.engine.tally import Status
    from arcli.outputs.base import OutputContext
    from arcli.outputs.run_end import write_end
    from arcli.outputs.target import STDOUT
    from arcli.outputs.text import TextOutput
    from arcli.record import RecordBatch
    from arcli.reports.collect import Wanted, read_report
    from arcli.store.journal import follow
    from arcli.store.past import kinds

    folder = pick_current(run)
    streams = own_streams()
    stdout = streams.stdout
    several = len(folder.manifest.jobs) > 1
    # The same output as a run's own, so that both look alike.
    shown = TextOutput(
        OutputContext(
            target=stdout.target,
            name=STDOUT,
            results=stdout,
            report=stdout,
            kinds=kinds(folder),
            verbose=verbose,
        )
    )
    shown.start()
    # The journal is in the order of completion; only whoever watches the run knows that nothing more
    # will be written to it.
    ended = threading.Event()

    def watch() -> None:
        wait_for(folder, None)
        ended.set()

    threading.Thread(target=watch, name="arcli-tail", daemon=True).start()
    found = item is None
    with nullcontext() if failed else _live(folder, streams.stderr, ended, several=several, item=item):
        for entry in follow(folder.journal, ended):
            record = entry.data
            if item is not None and record["index"] != item:
                continue
            found = True
            if failed and record["status"] == Status.OK:
                continue
            if form == "jsonl":
                stdout.target.write(entry.line)
            else:
                shown.record(RecordBatch.of_line(entry.line))
    # It ends as the run itself did, on stderr.
    over = folder.fresh()
    require_end(over)
    # Who names an item waits for it.
    if not found:
        raise UsageError(f"run {over.id} has no record of item {item}", hint="`arcli show` lists them")
    if form == "text" and item is None:
        report = read_report(over, Wanted())
        write_end(streams.stderr, report.summary, report.origin)


def _live(
    run: RunFolder, stderr: Stream, ended: threading.Event, *, several: bool, item: int | None
) -> AbstractContextManager[None]:
    """Show what running items print, on stderr, while this is open and the run goes on."""
    from arcli.outputs.live import tagged
    from arcli.store.channel import LiveReader, in_background, listening

    def show(over: threading.Event) -> None:
        # It begins before the run knows that somebody listens, or it would pass over the first lines.
        reader = LiveReader(run.path)
        # A run that is another user's, or on a disk that is full: there are the results all the same.
        with suppress(OSError), listening(run.path):
            last = False
            while not last:
                # Before it is read: a run writes all of its lines before it says that it has ended.
                last = over.wait(LOOK) or ended.is_set()
                for lines in reader.read():
                    if item is None or lines.index == item:
                        stderr.write(tagged(lines, stderr, several=several))

    # A thread of its own, since records wait for their order and printed lines for nothing.
    return in_background(show, "arcli-live")
