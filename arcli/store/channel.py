"""The run's folder as the channel between a run and other shells, also from another host.

A state file that the run writes whole; requests to it, as files that it takes; and what its items print,
as long as somebody listens. No daemon, no port, nothing that a shared disk cannot do.

Requests appear whole, by their renaming, and are removed when the run has taken them. A listener leaves a
file in ``listeners`` and touches it; while there is one, the run puts lines into ``live.jsonl``, which
begins anew when it has grown large: it is no archive, the records have all of it. Engines that see the
folder are asked through files beside their position files (``engine.live``).
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct, to_builtins

from arcli.engine.live import STACKS, TAIL
from arcli.errors import UsageError
from arcli.record import PrintedLines
from arcli.store.files import make_private, read_as, refusing, require_own, write_whole
from arcli.timing.words import progress_words

STATE = "state.json"
"""Where the run says how it stands."""
REQUESTS = "requests"
"""The folder of what others ask of it."""
LISTENERS, LINES, ENGINES = "listeners", "live.jsonl", "engines"
TOUCH = 1.0
"""Seconds between two signs of life of a listener."""
GONE = 5.0
"""Seconds without one after which nobody listens."""
LARGEST = 4 << 20
"""Bytes of lines, after which the file begins anew."""
POLL = 0.1

# -- how a run stands ------------------------------------------------------------------------------


class Phase(StrEnum):
    """Where a run or a job is."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    VALUE = "making its value"
    FINISHING = "finishing"
    ENDED = "ended"


class JobState(Struct, frozen=True, kw_only=True):
    """A job so far: items ``done`` of ``total`` (None: unknown), ``failed`` of them not ok.

    ``rate`` is items a second, ``left`` the seconds that the rest takes at this rate, None where
    that cannot be said. ``status`` is what it came to, None until it has ended.
    """

    name: str
    kind: str
    phase: Phase = Phase.WAITING
    status: str | None = None
    total: int | None = None
    done: int = 0
    failed: int = 0
    rate: float = 0.0
    left: float | None = None


class EngineState(Struct, frozen=True, kw_only=True):
    """An engine: what it runs since when (ISO 8601 UTC), None where it is idle or not known."""

    slot: int | None
    engine_id: int
    host: str | None
    pid: int | None
    running: str | None = None
    since: str | None = None


class RunState(Struct, frozen=True, kw_only=True):
    """A run as it was at ``updated`` (ISO 8601 UTC). ``running`` counts items that are under way.

    ``stopping`` says why it is about to end, None where it is not.
    """

    run: str
    pid: int
    host: str
    phase: Phase
    updated: str
    jobs: tuple[JobState, ...] = ()
    engines: tuple[EngineState, ...] = ()
    ready: int = 0
    running: int = 0
    stopping: str | None = None


def write_state(folder: Path, state: RunState) -> None:
    """Write the state of the run in ``folder``. Raises OSError."""
    write_whole(folder / STATE, msgspec.json.encode(state), durable=False)


def read_state(folder: Path) -> RunState | None:
    """Read the state of the run in ``folder``; None where there is none, or none that is sound."""
    try:
        return read_as((folder / STATE).read_bytes(), RunState)
    except (OSError, ValueError):
        return None


def job_words(job: JobState, *, killed: bool = False) -> str:
    """Say how far a job is: ``120 of 1,000 items (12 %), 3 not ok, 34/s, about 26 s left``.

    ``killed``: its run was, so that nothing of it is left to come.
    """
    if job.phase is Phase.WAITING:
        return "waiting"
    going_on = job.phase is Phase.RUNNING and not killed
    rate, left = (job.rate, job.left) if going_on else (0.0, None)
    parts = progress_words(job.done, job.total, failed=job.failed, rate=rate, left=left)
    if job.status is not None:
        parts.append(job.status)
    elif job.phase is not Phase.RUNNING:
        parts.append(job.phase)
    return ", ".join(parts)


# -- what others ask of it -------------------------------------------------------------------------


class Cancel(Struct, frozen=True, kw_only=True):
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
    folder = run / REQUESTS
    path = folder / f"{time.time_ns()}-{socket.gethostname()}-{os.getpid()}.json"
    with refusing(path):
        make_private(folder)
        write_whole(path, msgspec.json.encode(request), durable=False)
    return path


def take(run: Path) -> Iterator[Cancel]:
    """Take what was left in a run's folder, oldest first; what is no request is only removed."""
    with suppress(OSError):
        names = sorted(entry.name for entry in os.scandir(run / REQUESTS) if entry.name.endswith(".json"))
        for name in names:
            path = run / REQUESTS / name
            if name.startswith("."):  # it is still being written
                continue
            # A file that another user has put there is not obeyed. Whatever it is, it goes: left
            # where it is, it would be read twice a second for as long as the run lasts.
            text = b""
            with suppress(OSError, UsageError):
                require_own(path)
                text = path.read_bytes()
            path.unlink(missing_ok=True)
            with suppress(ValueError):
                yield read_as(text, Cancel)


# -- what its items print --------------------------------------------------------------------------


class LiveFile:
    """The run's end. Nothing that goes wrong with it costs the run."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._seen: dict[str, tuple[float, float]] = {}
        self._listening = False

    def listening(self) -> bool:
        """Tell whether anybody listens now; tells the engines when that changes.

        Clocks of hosts differ: a listener is alive as long as its file's time changes.
        """
        now = time.monotonic()
        # A folder that is not there yet is one that nobody listens in; a file that goes meanwhile is one
        # listener's less, and no other's.
        files: dict[str, float] = {}
        with suppress(OSError), os.scandir(self._run / LISTENERS) as entries:
            for entry in entries:
                with suppress(OSError):
                    files[entry.name] = entry.stat().st_mtime
        for name, touched in files.items():
            if name not in self._seen or self._seen[name][0] != touched:
                self._seen[name] = touched, now
        alive = any(now - self._seen[name][1] < GONE for name in files)
        # Engines look for one file: while nobody listens, not a line leaves them.
        if alive != self._listening:
            self._listening = alive
            request = self._run / ENGINES / TAIL
            with suppress(OSError):
                request.touch(0o600) if alive else request.unlink()
        return alive

    def write(self, lines: list[PrintedLines]) -> None:
        """Put lines where listeners look."""
        text = "".join(json.dumps(to_builtins(each)) + "\n" for each in lines)
        path = self._run / LINES
        # Listeners know by the file's inode that it has begun anew: it is replaced, not cut.
        with suppress(OSError):
            if path.exists() and path.stat().st_size > LARGEST:
                write_whole(path, b"", durable=False)
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with open(handle, "a", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
                file.write(text)


@contextmanager
def in_background(work: Callable[[threading.Event], None], name: str) -> Iterator[None]:
    """Do ``work`` on a thread of its own while this is open; the event that it gets tells of the end."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=[over], name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def listening(run: Path) -> Iterator[None]:
    """Listen to a run while this is open. Raises OSError where its folder cannot be written to."""
    folder = run / LISTENERS
    make_private(folder)
    path = folder / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    path.touch(0o600)

    def keep(over: threading.Event) -> None:
        while not over.wait(TOUCH):
            with suppress(OSError):
                path.touch()

    # A thread of its own keeps it touched, since whoever listens may block in writing to a slow
    # terminal. A listener that was killed leaves its file, which grows old.
    try:
        with in_background(keep, "arcli-listener"):
            yield
    finally:
        path.unlink(missing_ok=True)


class LiveReader:
    """A listener's end: reads what is there, from the moment at which it begins."""

    def __init__(self, run: Path) -> None:
        self._path = run / LINES
        self._inode: int | None = None
        self._at = 0
        with suppress(OSError):
            about = self._path.stat()
            self._inode, self._at = about.st_ino, about.st_size

    def read(self) -> list[PrintedLines]:
        """Return the lines that have come since the last call."""
        try:
            with self._path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode:  # the file has begun anew
                    self._inode, self._at = inode, 0
                file.seek(self._at)
                raw = file.read()
        except OSError:
            return []
        # A line that is still being written is read the next time, when it is whole.
        end = raw.rfind(b"\n") + 1
        self._at += end
        # A disk that was full may have taken a part of a line, to which the next one was added.
        printed = []
        for line in raw[:end].split(b"\n"):
            with suppress(ValueError, msgspec.ValidationError):
                printed.append(msgspec.convert(json.loads(line), PrintedLines))
        return printed


def ask_stacks(run: Path, slots: list[int], patience: float) -> dict[int, str]:
    """Ask engines where in the user's code their main threads are, for some seconds.

    A stack is as Python prints it; it is empty where a command runs. Who does not answer is left out.
    An engine does not answer on a disk that it does not see, between chunks, and while its item is in
    code that keeps the interpreter to itself. Raises OSError.
    """
    # Answers that are there already are somebody else's, or from before: the token tells.
    token = secrets.token_hex(8)
    folder = run / ENGINES
    write_whole(folder / STACKS, token.encode(), durable=False)
    answers: dict[int, str] = {}
    end = time.monotonic() + patience
    while len(answers) < len(slots) and time.monotonic() < end:
        for slot in slots:
            with suppress(OSError):
                first, _, rest = (folder / f"{slot}.stack").read_text("utf-8", "replace").partition("\n")
                if first == token:
                    answers[slot] = rest
        time.sleep(POLL)  # the answer is a file
    return answers
