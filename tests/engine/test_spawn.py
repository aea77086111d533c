"""Programs as children: alike whichever call starts them, and waited for without being reaped."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from arcli.engine.spawn import Child, Exits, Streams, inheritable, start

SHELL = "/bin/sh"


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Streams]:
    files = [
        os.open(tmp_path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC) for name in ("in", "out", "err")
    ]
    yield Streams(*files)
    for file in files:
        os.close(file)


def begin(
    argv: list[str], streams: Streams, way: str, environment: dict[bytes, bytes] | None = None
) -> Child:
    """Start it by one of the two calls: the system's knows of no folder."""
    cwd = os.getcwd() if way == "Popen" else None  # noqa: PTH109
    return start(argv, argv[0], {**os.environb, **(environment or {})}, streams, cwd, inheritable())


both = pytest.mark.parametrize("way", ["posix_spawn", "Popen"])


@both
def test_a_child_has_a_session_its_streams_its_environment_and_nothing_else(
    way: str, streams: Streams, tmp_path: Path
) -> None:
    (tmp_path / "in").write_text("read")
    leaked = os.dup(streams.stdin)
    os.set_inheritable(leaked, True)
    code = (
        "import os, signal, sys\n"
        "open_ = [int(name) for name in os.listdir('/proc/self/fd')]\n"
        "print(os.getsid(0) == os.getpid(), sys.stdin.read(), os.environ['N'], max(open_) <= 3,\n"
        "      {signal.SIGPIPE, signal.SIGINT} & signal.pthread_sigmask(0, ()))\n"
    )
    try:
        assert leaked in inheritable()
        child = begin([sys.executable, "-S", "-c", code], streams, way, {b"N": b"7"})
        assert os.waitpid(child.pid, 0)[1] == 0
    finally:
        os.close(leaked)
    assert (tmp_path / "out").read_text() == "True read 7 True set()\n"


@both
def test_a_program_that_python_ignores_a_signal_for_is_ended_by_it(way: str, streams: Streams) -> None:
    child = begin([SHELL, "-c", "kill -PIPE $$; echo here"], streams, way)
    assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == -13


@both
def test_what_is_not_there_is_named(way: str, streams: Streams, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        begin([f"{tmp_path}/nothing"], streams, way)
    assert os.fsdecode(raised.value.filename) == f"{tmp_path}/nothing"


def test_each_end_is_told_and_children_stay_to_be_reaped(streams: Streams) -> None:
    exits = Exits()

    async def end_one_by_one() -> None:
        pipes = [os.pipe() for _ in range(3)]
        children = [
            begin([SHELL, "-c", "read go; exit 3"], streams._replace(stdin=reading), "posix_spawn")
            for reading, _ in pipes
        ]
        waits = [asyncio.ensure_future(exits.of(child.pid)) for child in children]
        for place in (2, 0, 1):
            os.write(pipes[place][1], b"now\n")
            await waits[place]
            ended = os.wait4(children[place].pid, os.WNOHANG)[1]
            assert os.waitstatus_to_exitcode(ended) == 3
        for pipe in pipes:
            for file in pipe:
                os.close(file)

    for _ in range(2):  # each in a loop of its own
        asyncio.run(end_one_by_one())


def watched() -> int:
    """How many processes this one holds a descriptor of; those of other threads are none."""
    found = 0
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # another thread's, which is closed by now
            found += "pidfd" in str(file.readlink())
    return found


def test_who_waits_no_more_leaves_no_descriptor(streams: Streams) -> None:
    exits = Exits()
    child = begin([SHELL, "-c", "exec sleep 60"], streams, "posix_spawn")

    async def give_up() -> tuple[int, int]:
        await exits.of(gone.pid)
        before = watched()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(exits.of(child.pid), 0.01)
        return before, watched()

    gone = begin([SHELL, "-c", "exit"], streams, "posix_spawn")
    before, after = asyncio.run(give_up())
    assert before == after
    os.kill(child.pid, 9)
    for each in (child, gone):
        os.waitpid(each.pid, 0)
