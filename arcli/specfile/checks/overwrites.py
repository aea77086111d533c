"""Outputs that would overwrite what the run reads: the spec, its inputs, its code."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from arcli.engine.functions import kind_of
from arcli.specfile.model import Job

_Identity = tuple[int, int]
ELSEWHERE = "results go to a file of their own"


def files_read(jobs: Iterable[Job], file: str, folder: Path) -> Iterator[tuple[Path | int, str]]:
    """Yield the files that a run reads, each with words for what it is; an int is a descriptor."""
    if file != "-":
        yield Path(file), "the spec itself"
    for job in jobs:
        for text in (job.map, job.apply, job.reduce, job.combine, job.finish):
            if text is not None and kind_of(text) == "file":
                yield folder / text.strip().rpartition(":")[0], f"code of job {job.name!r}"
        if job.notebook is not None:
            yield folder / job.notebook, f"the notebook of job {job.name!r}"
        for _, part in job.over.walk() if job.over is not None else ():
            words = f"an input of job {job.name!r}"
            for path in part.input.reads(folder):
                yield path, words
            if part.input.reads_stdin and sys.stdin is not None:
                yield sys.stdin.fileno(), words


def overwritten(outputs: Mapping[Path, str], reads: Iterable[tuple[Path | int, str]]) -> dict[str, str]:
    """Return those of ``outputs`` (paths, and what they are called) that are read, and what they are.

    Files are compared by what they are, and not by their names: links lead to the same file.
    """
    existing: dict[_Identity, list[str]] = {}
    for path, name in outputs.items():
        if (identity := _identity(path)) is not None:
            existing.setdefault(identity, []).append(name)
    conflicts: dict[str, str] = {}
    # What is not there yet cannot be an input; patterns are not matched again for nothing.
    for read, words in reads if existing else ():
        for name in existing.get(_identity(read) or (-1, -1), ()):
            conflicts.setdefault(name, words)
    return conflicts


def _identity(file: Path | int) -> _Identity | None:
    """Return what is the same for all names of a regular file, None for anything else."""
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None
