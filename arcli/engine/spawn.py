"""Programs as children of this process, each in a session of its own: how they begin, and when they end."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

LOOK = 0.005
"""Seconds between two looks at a child whose end nothing tells of."""
_BY_DEFAULT = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python ignores, and a program may not."""


class Streams(NamedTuple):
    """Descriptors that are a child's first three."""

    stdin: int
    stdout: int
    stderr: int


class Child:
    """A program that was started: its process, and its exit status once that was asked for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None


def start(
    argv: list[str],
    program: str | None,
    environment: Mapping[bytes, bytes],
    streams: Streams,
    cwd: str | None,
    inherited: Sequence[int] = (),
) -> Child:
    """Start a program; where ``program`` does not say where it is, the system looks for it.

    It gets no other descriptors, as long as ``inherited`` are those that it would (``inheritable``).
    Raises OSError, and ValueError for words that no argument can hold.
    """
    # By the system's own call, at a third of the cost. It knows of no folder, and of no streams that stand
    # where others are to go.
    if sys.platform == "linux" and program is not None and cwd is None and min(streams) > 2:
        actions: list[tuple[int, ...]] = [
            (os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(streams)
        ]
        actions += [(os.POSIX_SPAWN_CLOSE, file) for file in inherited]
        spawned = os.posix_spawn(
            program, argv, environment, file_actions=actions, setsid=True, setsigdef=_BY_DEFAULT
        )
        return Child(spawned)
    stdin, stdout, stderr = streams
    child = subprocess.Popen(
        argv,
        executable=program,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=environment,
        start_new_session=True,
    )
    child.returncode = 0  # whoever has started it reaps it
    return Child(child.pid)


def inheritable() -> list[int]:
    """Return what this process has open that programs would inherit, but for the first three.

    Nothing of Python's own (PEP 446), but what this process was started with, and what C code has
    opened. Empty where the system does not list it.
    """
    found: list[int] = []
    with suppress(OSError):
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - nothing heavier on an engine
            with suppress(OSError):  # that of the listing is closed
                if (file := int(name)) > 2 and os.get_inheritable(file):
                    found.append(file)
    return found


class Exits:
    """Waits for the ends of children in an event loop. They are not reaped by that.

    Once a child is reaped, nobody knows any more what it has used.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def of(self, pid: int) -> None:
        """Wait for the end of a child.

        https://man7.org/linux/man-pages/man2/pidfd_open.2.html; where there is none, by looking.
        """
        try:
            file = os.pidfd_open(pid)
        except (AttributeError, OSError):
            while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                await asyncio.sleep(LOOK)
            return
        loop = asyncio.get_running_loop()
        # All of them stand behind one descriptor: to have the loop look at each and forget it again takes
        # longer than all else that is done here.
        if self._loop is not loop:
            self._loop, self._ends = loop, select.epoll()
            loop.add_reader(self._ends, self._look)
        self._waiting[file] = ended = loop.create_future()
        try:
            self._ends.register(file, select.EPOLLIN | select.EPOLLONESHOT)
            await ended
        finally:
            del self._waiting[file]
            os.close(file)

    def _look(self) -> None:
        for file, _ in self._ends.poll(0):
            ended = self._waiting.get(file)
            if ended is not None and not ended.done():
                ended.set_result(None)
