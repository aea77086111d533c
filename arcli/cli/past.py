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
    """The run that ``latest``, ``previous``, an id or its beginning means. Raises UsageError."""
    from itertools import islice

    from arcli.errors import UsageError
    from arcli.store.folder import find_run, list_runs, run_root

    root = run_root(os.environ)
    place = {"latest": 0, "previous": 1}.get(word)
    if place is None:
        return find_run(root, word)
    run = next(islice(list_runs(root), place, None), None)
    if run is None:
        what = "no run" if place == 0 else "no run before the latest one"
        raise UsageError(
            f"there is {what} in {root}", hint="`arcli run SPEC` makes one; $ARCLI_DIR is where"
        )
    return run


@contextmanager
def output_page(output: str | None) -> Iterator[Stream]:
    """A page on stdout, or on a file that appears when all is written. Raises OutputError."""
    from arcli.outputs.stream import Stream, standard_streams
    from arcli.outputs.target import FileTarget

    if output in {None, "-"}:
        yield standard_streams(sys.stdout, sys.stderr, os.environ).stdout
        return
    assert output is not None
    page = Stream(target=FileTarget(Path(output)))
    try:
        page.target.open()
        yield page
        page.target.commit()
    except BaseException:
        page.target.discard()
        raise
