"""The folders of a job's items: no two items may have the same one, or one inside of another's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from arcli.engine.template import BadTemplate, Names, filled
from arcli.errors import InputError
from arcli.inputs.base import Fixed, Source, Stream
from arcli.placeholders import compiled
from arcli.specfile.model import Job

MOST_WALKED = 200_000
"""Items whose folders are looked at before the run; of more, while they are read."""


class Folders:
    """The folders that have been given out; a few bytes each."""

    def __init__(self, pattern: str) -> None:
        self._template = compiled(pattern)
        self._own: dict[bytes, int] = {}
        self._parents: dict[bytes, int] = {}

    def add(self, index: int, item: Any) -> str | None:
        """Give an item its folder. Returns what is wrong with that, if something is.

        A folder that cannot be named is the item's own error, when it runs.
        """
        try:
            name = os.path.normpath(filled(self._template, Names(item, index)))
        except BadTemplate:
            return None
        # Hashes, not paths: a million items are held here at a few bytes each. A folder may not be
        # another item's, nor lie above or below of one, for it is renamed into place as a whole.
        paths = [os.fsencode(path) for path in (name, *map(str, PurePath(name).parents))]
        own, *parents = [hashlib.blake2b(path, digest_size=12).digest() for path in paths]
        twin = self._own.get(own, self._parents.get(own))
        if twin is None:
            twin = next((self._own[parent] for parent in parents if parent in self._own), None)
        if twin is not None:
            return f"items {twin} and {index} have one folder, {name}, or one inside of the other's"
        self._own[own] = index
        self._parents.update((parent, index) for parent in parents)
        return None


def problem_of(job: Job, source: Source) -> str | None:
    """Return what is wrong with the folders of items that can be looked at before the run."""
    if _is_distinct(job) or not isinstance(source, Fixed) or source.length > MOST_WALKED:
        return None
    folders = Folders(str(job.outdir))
    return next(filter(None, (folders.add(index, item) for index, item in enumerate(source))), None)


def with_distinct_folders(source: Source, job: Job) -> Source:
    """Return the source of a job, which breaks at an item whose folder an earlier one has."""
    if _is_distinct(job) or (isinstance(source, Fixed) and source.length <= MOST_WALKED):
        return source

    # What is too long to be walked before the run, or comes from a pipe, is looked at on its way.
    def read() -> Iterator[Any]:
        folders = Folders(str(job.outdir))
        for index, item in enumerate(source):
            problem = folders.add(index, item)
            if problem is not None:
                raise InputError(problem, hint=HINT)
            yield item

    return Stream(read, source.length, source.distinct, source.unpack)


HINT = "name what tells the items apart, or {index}"


def _is_distinct(job: Job) -> bool:
    """Tell whether no two items can have one folder, or there are none."""
    if not isinstance(job.outdir, str):
        return True
    return PurePath(job.outdir).name == "{index}"
