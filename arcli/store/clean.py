"""Which past runs may go, and how they go: as a whole."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from msgspec import Struct

from arcli.errors import OutputError, UsageError
from arcli.store import past
from arcli.store.folder import RUN_ID, RunFolder, ancestry, lineage, list_runs, unfinished
from arcli.units import parse_duration

_LEFT = re.compile(rf"\.{RUN_ID.pattern}\.removed")
"""What a removal that was interrupted leaves behind: no run any more."""


LARGE = 10**9
"""Bytes of all runs from which on people are told."""
LOOK = 0.2
"""Seconds that finding their size may take, and"""
AGAIN = 3600.0
"""seconds after which it is found again: with thousands of runs it takes as long as a short run."""


class Policy(Struct, frozen=True, kw_only=True):
    """What is kept: the ``keep`` newest runs of each spec, and all that are not ``older_than`` that
    many seconds; None keeps nothing. ``everything``: only runs that are alive are kept.
    """

    keep: int | None = None
    older_than: float | None = None
    everything: bool = False


USUAL = Policy(keep=10, older_than=30 * 86400.0)
"""What is done where nothing is said: little that anybody could miss."""


def removable(root: Path, policy: Policy) -> list[RunFolder]:
    """Return the runs below ``root`` that may go, newest first.

    Never one that is alive, nor one that a resumed run takes over records from while it is alive;
    nor, unless ``everything`` goes, what ``--resume`` would go on with, or what has folders of items
    that a resumed run which stays may have taken over.
    """
    # A link in place of a run may lead anywhere: what it names is not arcli's to remove.
    runs = [run for run in list_runs(root) if not run.path.is_symlink()]
    old = {run.id for run in _old(runs, policy)}
    needed: set[str] = set()
    for run in _needy(runs, old, policy):
        # Newest first, so that of a chain of resumed runs each is met once.
        needed.update(each.id for each in takewhile(lambda each: each.id not in needed, ancestry(run)))
    needed.update(_referred(run for run in runs if run.id not in old))
    return [run for run in runs if run.id in old and run.id not in needed]


def _old(runs: Iterable[RunFolder], policy: Policy) -> Iterator[RunFolder]:
    """Yield those that neither their rank nor their age keeps; ``runs`` are newest first."""
    # A rank is counted within a spec: a nightly job does not push out the one that runs once a year.
    ranks: Counter[tuple[str | None, str]] = Counter()
    now = time.time()
    for run in runs:
        spec = (run.manifest.spec_file, run.manifest.name)
        ranks[spec] += 1
        kept = policy.keep is not None and ranks[spec] <= policy.keep
        young = policy.older_than is not None and now - past.began(run) <= policy.older_than
        if policy.everything or not (kept or young):
            yield run


def _needy(runs: Sequence[RunFolder], old: Container[str], policy: Policy) -> Iterator[RunFolder]:
    """Yield the runs (newest first) whose lineage must stay."""
    yield from (run for run in runs if run.alive)
    # Of each spec the newest run that can be gone on with is kept, however old it is.
    resumable: set[str | None] = set()
    for run in () if policy.everything else unfinished(runs):
        spec = run.manifest.spec_file
        if run.id not in old or spec not in resumable:
            yield run
        resumable.add(spec)


def _referred(kept: Iterable[RunFolder]) -> Iterator[str]:
    """Yield the ids of runs that records of ``kept`` (newest first) may refer to, with those between."""
    # All else that a run takes over it has itself, by links; a folder of an item stays where it was made.
    # What lies between is needed, too: the way to that run leads through it.
    seen: set[str] = set()
    for run in kept:
        if run.id not in seen:
            chain = lineage(run)
            seen.update(each.id for each in chain)
            first = next((n for n, each in enumerate(chain) if each.holds_outdirs), len(chain))
            yield from (each.id for each in chain[first:])


def policy_from(environ: Mapping[str, str]) -> Policy | None:
    """Read ``$ARCLI_KEEP``, such as ``20``, ``30d`` or ``runs=20,age=30d``. Raises UsageError."""
    text = environ.get("ARCLI_KEEP", "").strip()
    if not text:
        return None
    # A number alone counts runs, a duration alone is an age; both may have their names.
    keep: int | None = None
    age: float | None = None
    for part in text.split(","):
        name, _, value = part.strip().rpartition("=")
        try:
            if name in {"runs", ""} and value.isdecimal() and int(value) > 0:
                keep = int(value)
            elif name in {"age", ""} and not value.isdecimal():
                age = parse_duration(value)
            else:
                raise ValueError
        except ValueError:
            hint = "such as 20, 30d, or runs=20,age=30d"
            raise UsageError(f"ARCLI_KEEP={text!r} says not what to keep", hint=hint) from None
    return Policy(keep=keep, older_than=age)


def clean_spec(root: Path, run: RunFolder, policy: Policy) -> int:
    """Remove the old runs of the spec of ``run``; returns how many. Raises OutputError."""
    spec = (run.manifest.spec_file, run.manifest.name)
    old = [
        each for each in removable(root, policy) if (each.manifest.spec_file, each.manifest.name) == spec
    ]
    removed = [each for each in old if each.id != run.id]
    for each in removed:
        remove_run(each)
    return len(removed)


def has_grown_large(root: Path) -> bool:
    """Tell, once, that a folder of runs has grown past ``LARGE``; looks now and then, for a moment.

    Raises OSError where it cannot keep what it has seen.
    """
    # What was seen last is kept beside the runs: it is told once, until they are small again.
    seen = root / ".size"
    was_large = False
    with suppress(OSError):
        if 0 <= time.time() - seen.stat().st_mtime < AGAIN:
            return False
        was_large = seen.read_text() == "large"
    is_large = _is_large(root)
    if is_large is None:  # a slow disk is not walked to its end for that
        is_large = was_large
    seen.write_text("large" if is_large else "small")
    return is_large and not was_large


def _is_large(root: Path) -> bool | None:
    """Tell whether the runs take more than ``LARGE``; None where that takes longer than ``LOOK``."""
    due, total = time.monotonic() + LOOK, 0
    for run in list_runs(root):
        total += size_of(run.path)
        if total > LARGE:
            return True
        if time.monotonic() > due:
            return None
    return False


def leftovers(root: Path) -> list[Path]:
    """Return what removals that were interrupted left behind."""
    try:
        entries = list(os.scandir(root / "runs"))
    except OSError:
        return []
    return [Path(e.path) for e in entries if _LEFT.fullmatch(e.name) and not e.is_symlink()]


def remove_run(run: RunFolder) -> None:
    """Remove a run's folder; whatever happens, no half of a run stays. Raises OutputError."""
    # Renamed first, which is done or not: from then on it is no run, however far the rest comes.
    aside = run.path.with_name(f".{run.id}.removed")
    try:
        run.path.rename(aside)
    except OSError as error:
        raise OutputError(f"{run.path} cannot be removed: {error.strerror}") from None
    remove_folder(aside)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it. Raises OutputError."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        name = error.filename or folder
        raise OutputError(f"{name} cannot be removed: {error.strerror}") from None


def size_of(folder: Path) -> int:
    """Return the bytes that go with a folder: of a file with other names elsewhere none do."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                about = (Path(place) / name).lstat()
            except OSError:
                continue
            if about.st_nlink == 1 and stat.S_ISREG(about.st_mode):
                total += about.st_size
    return total
