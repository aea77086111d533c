"""What running items print is told line by line, where somebody listens, and not without end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from runs import wait_until
from sessions import make_spec

from arcli.engine import threads
from arcli.engine.blank_files import BlankFiles
from arcli.engine.capture import make_capture
from arcli.engine.command import Command, CommandLine
from arcli.engine.live import (
    LOOKS,
    MOST_BYTES,
    MOST_LINES,
    MOST_OF_A_LINE,
    TAIL,
    GrowingFile,
    Live,
    Patrol,
    PrintedText,
    pause,
)
from arcli.engine.protocol import Hello, JobDefinition, Printed, RunChunk, decode_reply
from arcli.engine.threads import EngineThread
from arcli.execution import setup_steps


@pytest.mark.parametrize(
    ("engines", "seconds"), [(1, 0.1), (32, 0.1), (64, 0.2), (256, 0.8), (320, 1.0), (10_000, 1.0)]
)
def test_the_more_engines_there_are_the_rarer_each_looks(engines: int, seconds: float) -> None:
    assert pause(engines, LOOKS) == pytest.approx(seconds)


def test_engines_look_seldom_while_nobody_listens(tmp_path: Path) -> None:
    live = Live(lambda reply: None)
    patrol = Patrol(live)
    patrol.engines = 64
    live.attend(str(tmp_path / "position"))
    assert patrol.pause == pytest.approx(0.8)
    (tmp_path / TAIL).touch()
    live.look()
    assert patrol.pause == pytest.approx(0.2)


def test_each_engine_is_told_how_many_share_the_machine_with_it(tmp_path: Path) -> None:
    hello = setup_steps(make_spec(tmp_path), 64, None)(3)[0]
    assert hello == Hello(slot=3, position_file=None, engines=64)


def no_room(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize(
    ("kind", "method", "act", "words"),
    [
        (EngineThread, "_bootstrap", lambda thread: None, "a thread has not begun"),
        (threading.Thread, "start", no_room, "can't start new thread"),
    ],
)
def test_a_thread_that_the_engine_has_no_memory_for_is_an_error_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, kind: type, method: str, act: Callable[..., None], words: str
) -> None:
    heard = Heard("both")
    # Python itself would wait for ever for a thread that has ended before it began.
    monkeypatch.setattr(threads, "BEGIN", 0.01)
    monkeypatch.setattr(kind, method, act)
    with pytest.raises(RuntimeError, match=f"{words}: .*ulimit -v"), heard.patrol.over(Quiet()):
        pass
    heard.patrol.close()


def test_an_engine_that_can_have_no_thread_ends() -> None:
    code = """
from arcli.engine import threads
threads.BEGIN = 0.01
threads.EngineThread._bootstrap = lambda self: None
threads.EngineThread(print, "one", ours=True).start()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == os.EX_OSERR
    assert "a thread has not begun: no memory or no threads are left" in done.stderr


class Quiet:
    """What an item prints nothing to."""

    def look(self, live: Live) -> None:
        """There is nothing to see."""


class Heard:
    """A listener, and what was published to it."""

    def __init__(self, tail: str) -> None:
        self.messages: list[Printed] = []
        self.live = Live(self._take)
        self.marks = [0, 0, 0]
        chunk = RunChunk("job", 1, 2, [5, 6], b"", None, {}, tail=tail)
        self.live.begin(chunk, self.marks)
        self.patrol = Patrol(self.live)

    def _take(self, raw: bytes) -> None:
        message = decode_reply(raw)
        assert isinstance(message, Printed)
        self.messages.append(message)

    def lines(self, item: int, stream: str = "out") -> list[str]:
        """The lines of an item, once they are numbered without a gap."""
        mine = [m for m in self.messages if (m.item, m.stream) == (item, stream)]
        at = 0
        for message in mine:
            assert message.first == at
            at += message.total
        return [line for message in mine for line in message.lines]


PRINTERS: dict[str, Callable[[str], Any]] = {
    "print": lambda text: print(text, flush=True),
    "descriptor": lambda text: os.write(1, f"{text}\n".encode()),
    "child": lambda text: subprocess.run(["echo", text], check=True),
}


@pytest.mark.parametrize("how", PRINTERS)
def test_a_line_is_told_while_its_item_runs(how: str) -> None:
    heard = Heard("both")
    with make_capture("fd", heard.live, heard.patrol) as caught:
        PRINTERS[how]("one")
        os.write(1, b"not whole")
        wait_until(lambda: heard.lines(5) == ["one"])
        assert caught.take()[0] == "one\nnot whole"
        heard.marks[1] = 1
        PRINTERS[how]("of the next")
        print("of another stream", file=sys.stderr)
        wait_until(lambda: heard.lines(6) == ["of the next"])
        wait_until(lambda: heard.lines(6, "err") == ["of another stream"])
        assert caught.take()[0] == "of the next\n"
    assert [message.attempt for message in heard.messages] == [2, 2, 2]


def test_lines_of_streams_that_python_captures_are_told() -> None:
    heard = Heard("out")
    with make_capture("sys", heard.live, heard.patrol) as caught:
        print("one\nand", end=" ")
        wait_until(lambda: heard.lines(5) == ["one"])
        print("two")
        wait_until(lambda: heard.lines(5) == ["one", "and two"])
        assert caught.take()[0] == "one\nand two\n"


def test_lines_of_commands_are_told(tmp_path: Path) -> None:
    heard = Heard("err")
    # It ends when its first line has been told, for then the test makes the file.
    text = "echo quiet; echo one >&2; until [ -e told ]; do sleep 0.01; done; echo two >&2"
    job = JobDefinition("job", "command", shell=[text], cwd=[str(tmp_path)])
    command = Command(CommandLine(job), {}, BlankFiles(), heard.patrol)
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(command.run, 1, 6, 2)
        wait_until(lambda: heard.lines(6, "err") == ["one"])
        (tmp_path / "told").touch()
        assert ended.result()["stderr"] == "one\ntwo\n"
    assert heard.lines(6, "out") == []


def test_nobody_listens_and_nothing_is_told() -> None:
    heard = Heard("")
    with make_capture("fd", heard.live, heard.patrol) as caught:
        print("one")
        caught.look(heard.live)  # type: ignore[attr-defined]
        assert caught.take()[0] == "one\n"
    assert heard.messages == []


@pytest.mark.parametrize(
    ("line", "count"), [("x", MOST_LINES), ("y" * 2 * MOST_OF_A_LINE, MOST_BYTES // MOST_OF_A_LINE)]
)
def test_more_than_is_good_is_counted_and_left_out(line: str, count: int) -> None:
    heard = Heard("out")
    printed = PrintedText("out")
    printed.write(f"{line}\n" * 1000)
    printed.look(heard.live, 5, 1)
    (message,) = heard.messages
    assert message.total == 1000
    assert count - 1 <= len(message.lines) <= count
    assert max(map(len, message.lines)) <= MOST_OF_A_LINE + 2


def test_a_line_without_an_end_costs_no_more_than_is_told_of_it() -> None:
    heard, printed = Heard("out"), PrintedText("out")
    for _ in range(100_000):
        printed.write("\N{SNOWMAN}")
    tracemalloc.start()
    try:
        for _ in range(100):
            printed.write("x" * 1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000
    printed.write("\nnext\n")
    printed.look(heard.live, 5, 1)
    (message,) = heard.messages
    assert (message.total, message.lines[1]) == (2, "next")
    assert message.lines[0].startswith("\N{SNOWMAN}" * MOST_OF_A_LINE)


@pytest.fixture
def printed(tmp_path: Path) -> Iterator[BinaryIO]:
    """A file that an item prints to."""
    with (tmp_path / "printed").open("ab+", buffering=0) as file:
        yield file


def test_what_is_cut_has_been_told_however_soon_after_the_last_time(printed: BinaryIO) -> None:
    heard = Heard("out")
    growing = GrowingFile(printed.fileno, "out", start=0, cap=10)
    # A program that collects what it prints writes it in parts that end within lines.
    for number in range(20):
        printed.write(f"step {number}\nst".encode())
        growing.look(heard.live, 5, 1)
        assert os.fstat(printed.fileno()).st_size <= 10
        printed.write(b"ep\n")
    growing.look(heard.live, 5, 1)
    assert heard.lines(5) == [line for number in range(20) for line in (f"step {number}", "step")]
    assert growing.cut


def test_of_more_than_is_looked_at_at_once_all_is_counted(printed: BinaryIO) -> None:
    heard = Heard("out")
    growing = GrowingFile(printed.fileno, "out", start=0, cap=10)
    printed.write(b"short\n" + b"z" * (3 << 20) + b"\n" + b"short\n" * (1 << 20))
    growing.look(heard.live, 5, 1)
    (message,) = heard.messages
    assert message.total == 2 + (1 << 20)
    assert [len(line) for line in message.lines[:3]] == [5, MOST_OF_A_LINE + 2, 5]
