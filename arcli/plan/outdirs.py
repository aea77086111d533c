"""The folders of a job's items: no two items may have the same one, or one inside of another's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from arcli.engine.program import FAILED, PARTIAL, folder_of
from arcli.engine.template import BadTemplate, Template
from arcli.errors import InputError
from arcli.inputs.base import Fixed, Source, Stream
from arcli.placeholders import words_in_braces
from arcli.plan.job import outdir_of
from arcli.specfile.model import Job

NUMBERS = ("index", "number")
"""What an outdir can tell items apart by, unless it is a key of theirs that means something else."""
MOST_WALKED = 200_000
"""Items whose folders are looked at before the run; of more, while they are read."""


class Folders:
    """The folders that have been given out; a few bytes each."""

    def __init__(self, outdir: Template, batch: int = 0) -> None:
        self._outdir = outdir
        self._batch = batch
        # Hashes, not paths: a million items are held here. What lies above of a folder is never one itself.
        self._own: dict[bytes, int] = {}
        self._parents: dict[bytes, int] = {}

    def add(self, index: int, item: Any) -> str | None:
        """Give an item its folder. Returns what is wrong with that, if something is.

        A folder that cannot be named is the item's own error, when it runs.
        """
        try:
            name = folder_of(self._outdir, item, index, self._batch)
        except BadTemplate:
            return None
        # A folder may not be another item's, nor lie above or below of one, for it is renamed into place
        # as a whole.
        twin = self._beside(name)
        parents: list[bytes] = []
        for parent in map(str, PurePath(name).parents):
            digest = _digest(parent)
            # All that is above of a parent which is there already has been looked at with it.
            if twin is not None or digest in self._parents:
                break
            parents.append(digest)
            twin = self._at(parent)
        if twin is not None:
            return f"items {twin} and {index} have one folder, {name}, or one inside of the other's"
        self._own[_digest(name)] = index
        self._parents.update(dict.fromkeys(parents, index))
        return None

    def _beside(self, name: str) -> int | None:
        """Return the item that has a folder, works in it, leaves one there, or has one inside of it."""
        digests = [_digest(name + suffix) for suffix in ("", PARTIAL, FAILED)]
        held = (
            known[digest] for digest in digests for known in (self._own, self._parents) if digest in known
        )
        return next(held, self._at(name))

    def _at(self, path: str) -> int | None:
        """Return the item whose folder this is, also while it runs or once it has failed."""
        names = {path, path.removesuffix(PARTIAL), path.removesuffix(FAILED)}
        return next((self._own[digest] for digest in map(_digest, names) if digest in self._own), None)


def _digest(path: str) -> bytes:
    return hashlib.blake2b(os.fsencode(path), digest_size=12).digest()


def problem_of(job: Job, source: Source, folder: Path) -> str | None:
    """Return what is wrong with the folders of items that can be looked at before the run.

    ``folder`` is the spec's.
    """
    if _is_distinct(job, source) or not isinstance(source, Fixed) or source.length > MOST_WALKED:
        return None
    folders = _folders(job, folder)
    return next(filter(None, (folders.add(index, item) for index, item in enumerate(source))), None)


def with_distinct_folders(source: Source, job: Job, folder: Path) -> Source:
    """Return the source of a job, which breaks at an item whose folder an earlier one has.

    ``folder`` is the spec's.
    """
    if _is_distinct(job, source):
        return source

    # Not all could be walked before the run: what is too long, comes from a pipe or an earlier job, and
    # files that one has written. For a folder that is made this costs little, also the second time.
    def read() -> Iterator[Any]:
        folders = _folders(job, folder)
        for index, item in enumerate(source):
            problem = folders.add(index, item)
            if problem is not None:
                raise InputError(problem, hint=hint(job))
            yield item

    return Stream(read, source.length, source.distinct, source.unpack)


def hint(job: Job) -> str:
    """Say what gives each item a folder of its own; a number that does not is a key of the items."""
    hidden = {place.name for place in words_in_braces(str(job.outdir))}
    number = next((f", or {{{name}}}" for name in NUMBERS if name not in hidden), "")
    return f"name what tells the items apart{number}"


def _folders(job: Job, folder: Path) -> Folders:
    return Folders(outdir_of(job, folder, ""), job.batch or 0)


def _is_distinct(job: Job, source: Source) -> bool:
    """Tell whether no two items can have one folder, or there are none."""
    if not isinstance(job.outdir, str):
        return True
    # The number tells them apart where it is all that differs, and no key of an item hides it.
    names = [place.name for place in words_in_braces(job.outdir)]
    if len(names) != 1 or names[0] not in NUMBERS or PurePath(job.outdir).name != f"{{{names[0]}}}":
        return False
    keys = () if job.batch is not None or job.over is None else job.over.input.keys(source)
    return keys is not None and names[0] not in keys
