"""Private folders and files, there as a whole or not at all; and where runs are found again.

Runs are kept below the folder that arcli was called from; two shells, or two cron jobs, in different
folders mean the same spec all the same. So each spec has a small file in the user's state folder
(https://specifications.freedesktop.org/basedir-spec) with the folders that it was run in.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import orjson

from arcli.errors import OutputError, UsageError
from arcli.paths import is_file

T = TypeVar("T")
ELSEWHERE = "choose another place for run folders with ARCLI_DIR"
_OURS = {"runs", "locks"}


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into an OutputError that names the file."""
    try:
        yield
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise OutputError(message, hint=ELSEWHERE) from None


def make_root(root: Path) -> None:
    """Make the folder of all runs, private and never committed. Raises OSError."""
    make_private(root)
    ignored = root / ".gitignore"
    # A folder that has other things in it is somebody else's, who may well want to commit them.
    if not ignored.exists() and {entry.name for entry in root.iterdir()} <= _OURS:
        ignored.write_text("*\n")


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner alone. Raises OSError."""
    # `Path.mkdir(parents=True)` gives its mode to the last one only; those above would be open.
    if folder.is_dir():
        return
    make_private(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            why = os.strerror(errno.ENOTDIR)
            raise NotADirectoryError(errno.ENOTDIR, why, str(folder)) from None


def require_own(path: Path) -> None:
    """Refuse what another user could have forged: root is trusted, too. Raises UsageError, OSError."""
    owner = path.lstat().st_uid
    if owner not in {0, os.geteuid()}:
        raise UsageError(
            f"{path} belongs to another user (uid {owner}), and what it holds would be believed",
            hint=ELSEWHERE,
        )


def disk_time(folder: Path) -> float:
    """Tell what time it is by the clock that stamps the files of a folder, in seconds since the epoch.

    On a shared disk that is the server's; where nothing can be written, this host's.
    """
    probe = folder / ".time"
    try:
        probe.touch(mode=0o600)
        return probe.stat().st_mtime
    except OSError:
        return time.time()


def read_as(text: bytes, kind: type[T]) -> T:
    """Return JSON that anybody may have written as a structure of this kind. Raises ValueError."""
    # orjson has a limit to what is nested, where msgspec runs into Python's own.
    try:
        return msgspec.convert(orjson.loads(text), kind)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def write_whole(path: Path, data: bytes, *, durable: bool) -> None:
    """Write a private file; ``durable``: it survives a power failure, too. Raises OSError."""
    # Whoever reads sees the old file or the new one, and two writers never share the one beside it.
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor, for the file's mode
            file.write(data)
            if durable:
                file.flush()
                os.fsync(fd)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


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
    if folder is None or not is_file(Path(spec_file)):
        return
    path = folder / "specs" / spec_key(spec_file)
    with suppress(OSError):
        # The newest is last, and once: the oldest ones are forgotten when there are too many.
        newest = str(root.absolute())
        roots = [*(line for line in _lines(path) if line != newest), newest][-MOST_ROOTS:]
        make_private(path.parent)
        write_whole(path, os.fsencode("".join(f"{line}\n" for line in roots)), durable=False)


def roots_of(spec_file: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders below which a spec was run."""
    folder = state_folder(environ)
    if folder is not None:
        yield from map(Path, _lines(folder / "specs" / spec_key(spec_file)))


def every_root(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders below which anything was run."""
    folder = state_folder(environ)
    if folder is not None:
        with suppress(OSError):
            lines = {line for path in sorted((folder / "specs").iterdir()) for line in _lines(path)}
            yield from map(Path, sorted(lines))


def _lines(path: Path) -> list[str]:
    with suppress(OSError, UsageError):
        require_own(path)
        return os.fsdecode(path.read_bytes()).splitlines()
    return []
