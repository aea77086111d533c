"""What a run's items print, for other shells, and where its items are: through files of its folder.

A listener leaves a file in ``listeners`` and touches it. While there is one, the run puts lines into
``live.jsonl``, which begins anew when it has grown large: it is no archive, the records have all of it.
Engines that see the folder are asked through files beside their position files (``engine.live``).
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from arcli.engine.live import STACKS, TAIL
from arcli.record import PrintedLines
from arcli.store.files import make_private, write_whole

LISTENERS, LINES, ENGINES = "listeners", "live.jsonl", "engines"
TOUCH = 1.0
"""Seconds between two signs of life of a listener."""
GONE = 5.0
"""Seconds without one after which nobody listens."""
LARGEST = 4 << 20
"""Bytes of lines, after which the file begins anew."""
POLL = 0.1


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
        try:
            files = {entry.name: entry.stat().st_mtime for entry in os.scandir(self._run / LISTENERS)}
        except OSError:
            files = {}
        for name, touched in files.items():
            if name not in self._seen or self._seen[name][0] != touched:
                self._seen[name] = touched, now
        alive = any(now - self._seen[name][1] < GONE for name in files)
        if alive != self._listening:
            self._listening = alive
            self._ask_engines(alive)
        return alive

    def _ask_engines(self, wanted: bool) -> None:
        word = self._run / ENGINES / TAIL
        with suppress(OSError):
            word.touch(0o600) if wanted else word.unlink()

    def write(self, lines: list[PrintedLines]) -> None:
        """Put lines where listeners look."""
        text = "".join(json.dumps(asdict(each)) + "\n" for each in lines)
        path = self._run / LINES
        with suppress(OSError):
            if path.exists() and path.stat().st_size > LARGEST:
                write_whole(path, b"", durable=False)
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with open(handle, "a", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
                file.write(text)


@contextmanager
def listening(run: Path) -> Iterator[None]:
    """Listen to a run while this is open. Raises OSError where its folder cannot be written to."""
    folder = run / LISTENERS
    make_private(folder)
    path = folder / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    path.touch(0o600)
    over = threading.Event()

    def keep() -> None:
        while not over.wait(TOUCH):
            with suppress(OSError):
                path.touch()

    thread = threading.Thread(target=keep, name="arcli-listener", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
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
                if inode != self._inode:
                    self._inode, self._at = inode, 0
                file.seek(self._at)
                raw = file.read()
        except OSError:
            return []
        end = raw.rfind(b"\n") + 1
        self._at += end
        return [PrintedLines(**json.loads(line)) for line in raw[:end].splitlines()]


def ask_stacks(run: Path, slots: list[int], patience: float) -> dict[int, str]:
    """Ask engines where in the user's code their main threads are, for some seconds.

    A stack is as Python prints it; it is empty where a command runs. Who does not answer is left out.
    An engine does not answer on a disk that it does not see, between chunks, and while its item is in
    code that keeps the interpreter to itself. Raises OSError.
    """
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
