"""Where a spec was run: one small file a spec in the user's state folder, so that it can be found again.

Runs are kept below the folder that arcli was called from; two shells, or two cron jobs, in different
folders mean the same spec all the same. See https://specifications.freedesktop.org/basedir-spec.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from arcli.store.files import make_private, require_own, write_whole

MOST_ROOTS = 50
"""Folders that are remembered of a spec, the newest ones."""


def state_folder(environ: Mapping[str, str]) -> Path | None:
    """Find ``$XDG_STATE_HOME/arcli``; None where the user has no home."""
    with suppress(RuntimeError):
        base = environ.get("XDG_STATE_HOME")
        return (Path(base) if base else Path.home() / ".local" / "state") / "arcli"
    return None


def spec_key(spec_file: str) -> str:
    """Name a spec by its real path, however it is written."""
    real = os.path.realpath(spec_file)
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", Path(real).stem)[:40]
    return f"{stem}-{hashlib.sha256(os.fsencode(real)).hexdigest()[:16]}"


def note_root(spec_file: str, root: Path, environ: Mapping[str, str]) -> None:
    """Remember that a spec was run below ``root``; where that cannot be kept, it is not."""
    folder = state_folder(environ)
    if folder is None or not Path(spec_file).is_file():
        return
    path = folder / "specs" / spec_key(spec_file)
    with suppress(OSError):
        here = str(root.absolute())
        roots = [line for line in _lines(path) if line != here]
        make_private(path.parent)
        write_whole(
            path, "".join(f"{line}\n" for line in [*roots, here][-MOST_ROOTS:]).encode(), durable=False
        )


def roots_of(spec_file: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """The folders below which a spec was run."""
    folder = state_folder(environ)
    if folder is not None:
        yield from map(Path, _lines(folder / "specs" / spec_key(spec_file)))


def every_root(environ: Mapping[str, str]) -> Iterator[Path]:
    """The folders below which anything was run."""
    folder = state_folder(environ)
    if folder is not None:
        with suppress(OSError):
            lines = {line for path in sorted((folder / "specs").iterdir()) for line in _lines(path)}
            yield from map(Path, sorted(lines))


def _lines(path: Path) -> list[str]:
    from arcli.errors import UsageError

    with suppress(OSError, UsageError, UnicodeDecodeError):
        require_own(path)
        return path.read_text("utf-8").splitlines()
    return []
