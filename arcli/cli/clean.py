"""``arcli clean``: make room, without asking and without taking what is still of use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from arcli.cli.options import DURATION

if TYPE_CHECKING:
    from arcli.store.clean import Policy


class Waste(NamedTuple):
    """A folder that may go, what it is, and how it goes."""

    folder: Path
    what: str
    remove: Callable[[], None]


@click.command("clean", short_help="Remove the folders of old runs.")
@click.option(
    "--keep", type=click.IntRange(min=0), metavar="N", help="Keep the N newest runs of each spec."
)
@click.option("--older-than", type=DURATION, help="Keep all that are younger, such as 30d.")
@click.option("--all", "everything", is_flag=True, help="Keep only the runs that still go on.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def command(keep: int | None, older_than: float | None, everything: bool, dry_run: bool) -> int:
    """Remove the folders of old runs, and what clusters left behind that are gone.

    Without options: all but the 10 newest runs of each spec and those of the last 30 days. With
    both --keep and --older-than a run stays if either keeps it. Runs that still go on always stay;
    what --resume would go on with does, too, unless --all is given.

    \b
    Examples:
      arcli clean
      arcli clean --keep 20 --older-than 30d
    """
    from arcli.errors import ExitCode, OutputError, UsageError
    from arcli.escape import plain
    from arcli.store.clean import USUAL, Policy, size_of
    from arcli.units import format_bytes

    if everything and (keep is not None or older_than is not None):
        raise UsageError("--all keeps no past run", hint="leave out --keep and --older-than, or --all")
    policy = Policy(everything=everything, keep=keep, older_than=older_than)
    if policy == Policy():
        policy = USUAL
    verb = "would remove" if dry_run else "removed"
    folders = total = failed = 0
    # One folder that cannot be removed (a mount, another user's file in it) keeps no other from going.
    for waste in _waste(policy):
        size = size_of(waste.folder)
        try:
            if not dry_run:
                waste.remove()
        except OutputError as error:
            click.echo(f"arcli: {plain(error.message)}", err=True)
            failed += 1
            continue
        click.echo(f"{verb} {plain(waste.what)}, {format_bytes(size)}")
        folders, total = folders + 1, total + size
    if folders != 1:
        click.echo(f"{verb} {folders or 'no'} folders" + (f", {format_bytes(total)}" * bool(total)))
    return ExitCode.OUTPUT if failed else ExitCode.OK


def _waste(policy: Policy) -> Iterator[Waste]:
    """Yield what may go: old runs, the rest of some that were being removed, and of killed clusters."""
    from arcli.cluster.embedded.private_folder import Stale, bases, end_processes, find_stale
    from arcli.reports.runlist import friendly_time
    from arcli.store.clean import leftovers, removable, remove_folder, remove_run
    from arcli.store.folder import run_root
    from arcli.store.past import began

    # One after another and not as a list: what is shown as removed is gone by then.
    root = run_root(os.environ)
    for run in removable(root, policy):
        name = run.manifest.name or "a run without a name"
        what = f"{run.id}: {name}, {friendly_time(began(run))}"
        yield Waste(run.path, what, partial(remove_run, run))
    # An arcli that was killed while it removed a run has left it under a name that no run has.
    for folder in leftovers(root):
        yield Waste(folder, f"the rest of run {folder.name[1:21]}", partial(remove_folder, folder))
    # Its processes go before its folder, by which alone they can be found.
    for stale in find_stale(bases()):
        processes = len(stale.processes)
        also = f", and {processes} processes that it has left" if processes else ""

        def remove(stale: Stale = stale) -> None:
            end_processes(stale)
            remove_folder(stale.folder)

        yield Waste(stale.folder, f"{stale.folder} of a cluster that is gone{also}", remove)
