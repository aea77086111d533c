"""Items that are not functions alone: programs outside of this process, and items with a folder.

A folder is made beside its final name, and renamed into place when the item is ok.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from .flock import locked
from .protocol import JobDefinition
from .template import Names, Template, filled


class Program(Protocol):
    """Runs outside for one item at a time.

    ``usage`` has what the last run cost, if known, ``printed`` its stdout, its stderr, and whether
    they were cut. Whoever takes them leaves nothing there.
    """

    usage: dict[str, float | None] | None
    printed: tuple[str, str, bool]

    def run(self, item: Any, index: int, attempt: int = 1, outdir: str | None = None) -> Any:
        """Run one item for the ``attempt``-th time, from 1, in its folder. Returns its value.

        Raises ProgramFailed, and whatever starting it raises.
        """


class Shown:
    """What can be said of a value that is not here."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (self._text,)


class ProgramFailed(Exception):
    """A program ended in a way that is not ok. ``value`` is what the record keeps all the same.

    ``trace`` is the traceback that it left, if it did.
    """

    trace = ""

    def __init__(self, message: str, value: Any = None) -> None:
        super().__init__(message)
        self.value = value


class NotStarted(ProgramFailed):
    """A program that the system does not start as it is called."""


def not_started(error: OSError | ValueError, argv: Sequence[str]) -> NotStarted:
    """Say what kept a program from being started with these words: no code is to blame, so no traceback."""
    if isinstance(error, ValueError):
        null = any("\0" in word for word in argv)
        message = "an argument has a NUL, which none can hold" if null else str(error)
        hint = "; items that NULs separate are read by stdin: nul, or arcli map -0" if null else ""
    else:
        # Where the folder to start in is missing, the error has its name, as empty as it may be.
        name = argv[0] if error.filename is None else error.filename
        name = name or f"the empty name of a {'folder' if argv[0] else 'program'}"
        message = f"{name}: {error.strerror}"
        longest = max(len(os.fsencode(word)) for word in argv)
        long = error.errno == errno.E2BIG
        hint = f", the longest one has {longest:,} bytes: command_stdin takes any length" if long else ""
    return NotStarted(f"not started: {message}{hint}")


class BadInput(ProgramFailed):
    """An item whose input is not there: it could not be read or sent, or does not load."""


PARTIAL, FAILED = ".partial", ".failed"
"""What the names end with of the folder that an item works in, and of what is left of one that failed."""
NUMBER = "arcli.index"
"""What ``outdir`` may call an item's number, which ``{index}`` is only where no key of the item is."""
MARKER = ".arcli-item.json"
"""In every folder that arcli makes: which item it is of. A folder without it is never replaced."""
VARIABLE = "ARCLI_OUTDIR"


class ArtifactMissing(ProgramFailed):
    """A file that an item had to make, and did not."""


class FolderTaken(ProgramFailed):
    """A folder of an item's name that arcli did not make, or that another run works in."""


class MadeFolder:
    """Where an item works, if anywhere, and what it comes to."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.value: Any = None


def folder_of(outdir: Template, item: Any, index: int, batch: int = 0) -> str:
    """Return the path of the folder that an item has once it is ok. Raises BadTemplate."""
    return os.path.abspath(filled(outdir, Names(item, index, {NUMBER: index}, batch=batch)))  # noqa: PTH100


class ItemFolder:
    """The folders of a job's items, one after the other.

    ``NAME.partial`` is what an item works in, ``NAME.failed`` what is left of the last attempt that
    failed, ``NAME`` a folder that is whole. ``variable``: functions find it in their environment, too.
    """

    def __init__(self, job: JobDefinition, *, variable: bool = True) -> None:
        self._job = job
        self._around = _variable if variable else contextlib.nullcontext
        self._ended: dict[str, Any] | None = None

    @contextlib.contextmanager
    def around(self, item: Any, index: int, attempt: int) -> Iterator[MadeFolder]:
        """Make an empty folder for an item, and put it in its place once the item has its value.

        Raises ArtifactMissing, FolderTaken, BadTemplate, OSError.
        """
        self._ended = None
        final = folder_of(self._job.outdir, item, index, self._job.batch)
        part, failed = final + PARTIAL, final + FAILED
        for path in (final, part, failed):
            if os.path.lexists(path) and not _is_ours(path):
                hint = "name another outdir, or remove it"
                raise FolderTaken(f"{path} is there already, and arcli did not make it: {hint}")
        run = os.path.basename(self._job.run_folder)  # noqa: PTH119
        marker = {"run": run, "job": self._job.name, "index": index, "attempt": attempt}
        process = os.getpid()
        held = _claimed(part, run)
        folder = MadeFolder(part)
        try:
            _empty(part)
            _mark(part, marker)
            with self._around(part):
                yield folder
            if os.getpid() != process:  # a fork of the item's, which is about to end
                return
            artifacts = [*self._artifacts(part, folder.value)]
            _mark(part, marker)
            _remove(final)
            os.rename(part, final)  # noqa: PTH104
            _remove(failed)
        except BaseException:
            if os.getpid() == process:
                _remove(failed)
                with contextlib.suppress(FileNotFoundError):  # the item has removed it
                    _mark(part, marker)
                    os.rename(part, failed)  # noqa: PTH104
                    self._ended = {"outdir": failed, "artifacts": []}
            raise
        finally:
            if os.getpid() == process:  # what the item has forked may live on, and has it open, too
                with contextlib.suppress(OSError):
                    fcntl.flock(held, fcntl.LOCK_UN)
            os.close(held)
        self._ended = {"outdir": final, "artifacts": artifacts}

    def taken(self) -> dict[str, Any] | None:
        """Return the record's keys of the last item, once: where its folder is, and what is in it."""
        ended, self._ended = self._ended, None
        return ended

    def _artifacts(self, part: str, value: Any) -> Iterator[dict[str, Any]]:
        """Yield each file that a pattern matches, with its size in bytes and its SHA-256."""
        seen = set()
        for pattern, required, steps in self._job.artifacts:
            files = matching(part, steps)
            if required and not files:
                raise ArtifactMissing(f"it did not make {pattern}", value)
            for path in files:
                if path not in seen:
                    seen.add(path)
                    with open(os.path.join(part, path), "rb") as file:  # noqa: PTH123, PTH118
                        digest = hashlib.file_digest(file, "sha256").hexdigest()
                        yield {"path": path, "size": file.tell(), "sha256": digest}


def matching(folder: str, steps: Sequence[str]) -> list[str]:
    """Return the files in a folder whose paths match the steps of a pattern (JobDefinition), sorted.

    A link to a file is that file. One to a folder is followed where a step of its own names it: under any
    folders, one that leads back up would be followed without an end.
    """
    paths: set[str] = set()
    rest = [("", tuple(steps))]
    while rest:
        place, (step, *more) = rest.pop()
        if not step and more:  # no folder is one of any folders, too
            rest.append((place, tuple(more)))
        with contextlib.suppress(OSError), os.scandir(os.path.join(folder, place)) as entries:  # noqa: PTH118
            for entry in entries:
                path = os.path.join(place, entry.name)  # noqa: PTH118
                if not step:
                    hidden = entry.name.startswith(".")
                    if not hidden and entry.is_dir(follow_symlinks=False):
                        rest.append((path, (step, *more)))
                    matches = not hidden and not more
                else:
                    matches = re.match(step, entry.name) is not None
                    if matches and more and entry.is_dir():
                        rest.append((path, tuple(more)))
                if matches and not more and entry.is_file():
                    paths.add(path)
    return sorted(paths)


@contextlib.contextmanager
def _variable(part: str) -> Iterator[None]:
    """Set the variable of the environment for functions and their children while they run."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = part
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


def _claimed(part: str, run: str) -> int:
    """Make a folder, and lock it as long as the descriptor is open that is returned.

    Two runs in one folder would leave one that looks whole, with some files of each. Raises FolderTaken,
    OSError.
    """
    while True:
        os.makedirs(part, exist_ok=True)  # noqa: PTH103 - nothing heavier on an engine
        held = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        taken = locked(held) is False
        # Whoever had it may have put it in its place meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if not taken and os.path.samestat(os.stat(part), os.fstat(held)):  # noqa: PTH116
                return held
        os.close(held)
        if taken:
            # Of this run it is an engine that was given up; another run is left alone.
            if (other := _run_of(part)) != run:
                raise FolderTaken(f"another run, {other}, works in {part}: wait for its end")
            _remove(part)


def _empty(folder: str) -> None:
    # The mark goes last: where this is cut short, the folder is still one that arcli has made.
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name == MARKER):
        shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)  # noqa: PTH108


def _mark(folder: str, marker: dict[str, Any]) -> None:
    """Write down which item a folder is of, unless it says so; the item may have emptied it."""
    path = os.path.join(folder, MARKER)  # noqa: PTH118
    with contextlib.suppress(FileExistsError), open(path, "x", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(marker, file)


def _run_of(folder: str) -> str:
    """Return the id of the run that made a folder, as far as it says so."""
    path = os.path.join(folder, MARKER)  # noqa: PTH118
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), open(path, "rb") as file:  # noqa: PTH123
        return str(json.load(file)["run"])
    return "just begun"


def _is_ours(folder: str) -> bool:
    """Tell whether a folder is one that arcli made, or empty."""
    if os.path.islink(folder) or not os.path.isdir(folder):  # noqa: PTH112, PTH114
        return False
    names = []
    with contextlib.suppress(FileNotFoundError):  # another run has just put it in its place
        names = os.listdir(folder)  # noqa: PTH208
    return not names or MARKER in names


def _remove(folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
