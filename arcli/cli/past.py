"""What the verbs about past runs share: which run is meant, and where a report goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arcli.outputs.stream import Stream
    from arcli.store.folder import RunFolder


def pick_run(word: str) -> RunFolder:
    """The run that ``latest``, ``previous``, an id or its beginning means, or the newest of a spec's
    file. Raises UsageError.
    """
    from itertools import islice

    from arcli.errors import UsageError
    from arcli.store.folder import find_run, list_runs, list_spec_runs, run_root

    root = run_root(os.environ)
    # The newest two runs have names of their own; anything else is an id or its
    # beginning.
    place = {"latest": 0, "previous": 1}.get(word)
    if place is None and Path(word).is_file():
        newest = next(list_spec_runs(root, word, os.environ), None)
        if newest is None:
            raise UsageError(f"there is no run of {word}", hint=f"`arcli run {word}` makes one")
        return newest
    if place is None:
        return find_run(root, word, os.environ)
    run = next(islice(list_runs(root), place, None), None)
    if run is None:
        what = "no run" if place == 0 else "no run before the latest one"
        raise UsageError(
            f"there is {what} in {root}", hint="`arcli run SPEC` makes one; $ARCLI_DIR is where"
        )
    return run


def pick_current(word: str | None) -> RunFolder:
    """The run that a word means as in ``pick_run``; None: the newest that goes on, else the newest.

    Raises UsageError.
    """
    from arcli.store.folder import list_runs, run_root
    from arcli.store.past import state_of

    if word is not None:
        return pick_run(word)
    alive = (run for run in list_runs(run_root(os.environ)) if state_of(run) == "running")
    return next(alive, None) or pick_run("latest")


@contextmanager
def output_page(output: str | None) -> Iterator[Stream]:
    """A page on stdout, or on a file that appears when all is written. Raises OutputError."""
    from arcli.outputs.stream import Stream, standard_streams
    from arcli.outputs.target import FileTarget

    if output in {None, "-"}:
        yield standard_streams(sys.stdout, sys.stderr, os.environ).stdout
        return
    assert output is not None
    # A report is there whole or not at all: it is written beside its name and
    # renamed.
    page = Stream(target=FileTarget(Path(output)))
    try:
        page.target.open()
        yield page
        page.target.commit()
    except BaseException:
        page.target.discard()
        raise


def require_end(run: RunFolder) -> None:
    """Tell of a run that ended without having said so. Raises ClusterError."""
    from arcli.errors import ClusterError
    from arcli.store.past import state_of

    if state_of(run) == "killed":
        raise ClusterError(f"run {run.id} was killed before its end", hint=resume_command(run))


def resume_command(run: RunFolder) -> str:
    """The command that goes on with a run."""
    import shlex

    spec = run.manifest.spec_file
    return f"arcli run {shlex.quote(spec) if spec else 'SPEC'} --resume --run {run.id}"
