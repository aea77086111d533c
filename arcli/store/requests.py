"""Requests to a run from elsewhere: files in its folder, taken by the run in their order.

A file appears whole, by its renaming, and is removed when the run has taken it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from arcli.store.files import make_private, refusing, require_own, write_whole

FOLDER = "requests"
SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancel:
    """Stop: as SIGTERM does; ``drain``: let what runs end; ``items``: only these, by their numbers.

    ``job`` is the job whose items are meant, None for the one that runs. ``reason`` stands in records
    and the manifest.
    """

    reason: str | None = None
    drain: bool = False
    items: tuple[int, ...] | None = None
    job: str | None = None


def post(run: Path, request: Cancel) -> Path:
    """Leave a request in a run's folder; the file is gone when the run has taken it.

    Raises OutputError.
    """
    folder = run / FOLDER
    path = folder / f"{time.time_ns()}-{socket.gethostname()}-{os.getpid()}{SUFFIX}"
    with refusing(path):
        make_private(folder)
        write_whole(path, orjson.dumps(request), durable=False)
    return path


def take(run: Path) -> Iterator[Cancel]:
    """Take what was left in a run's folder, oldest first; what is no request is only removed."""
    from arcli.errors import UsageError

    with suppress(OSError):
        names = sorted(entry.name for entry in os.scandir(run / FOLDER) if entry.name.endswith(SUFFIX))
        for name in names:
            path = run / FOLDER / name
            if name.startswith("."):
                continue
            text = b""
            with suppress(OSError, UsageError):
                require_own(path)
                text = path.read_bytes()
            path.unlink(missing_ok=True)
            request = _read(text)
            if request is not None:
                yield request


def _read(text: bytes) -> Cancel | None:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Cancel).validate_json(text)
    except ValidationError:
        return None
