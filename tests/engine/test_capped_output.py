"""What items print: caught wherever it comes from, and never more of it than fits."""

from __future__ import annotations

import gc
import io  # noqa: F401 - what items do
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcli.engine.capture import CAP, MARK, Capture, FdCapture, NoCapture, SysCapture, make_capture
from arcli.engine.live import Live, Patrol

LIVE = Live(None)
PATROL = Patrol(LIVE)


def test_nothing_printed_is_nothing() -> None:
    with FdCapture(PATROL) as caught:
        assert caught.take() == ("", "", False)


def test_python_c_code_and_children_are_caught() -> None:
    with FdCapture(PATROL) as caught:
        print("python", end=" ")
        sys.stdout.flush()
        os.write(1, b"descriptor ")
        subprocess.run(["sh", "-c", "echo child; echo error >&2"], check=True)
        assert caught.take() == ("python descriptor child\n", "error\n", False)
        assert caught.take() == ("", "", False)


def test_what_is_not_flushed_is_caught_too() -> None:
    with FdCapture(PATROL) as caught:
        for write in (sys.stdout.write, lambda text: sys.stdout.writelines([text]), sys.stderr.write):
            write("no newline")
            assert "no newline" in caught.take()
            assert caught.take() == ("", "", False)
        sys.stdout.buffer.write(b"bytes")
        assert caught.take()[0] == "bytes"


def test_what_is_printed_to_something_that_takes_no_more_is_an_error_and_not_half_of_it() -> None:
    reading, writing = os.pipe2(os.O_NONBLOCK)
    with FdCapture(PATROL) as caught:
        os.dup2(writing, 1)
        with pytest.raises(BlockingIOError):
            print("x" * CAP)
        assert len(os.read(reading, CAP)) < CAP
        caught.take()
        print("by ours")
        assert caught.take()[0] == "by ours\n"
    os.close(reading)
    os.close(writing)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_make_text(parts: list[bytes]) -> None:
    with FdCapture(PATROL) as caught:
        for part in parts:
            os.write(1, part)
            text = caught.take()[0]
            assert text == part.decode("utf-8", "backslashreplace")
            text.encode()  # JSON can hold it


def test_surrogates_are_printed_as_escapes() -> None:
    with FdCapture(PATROL) as caught:
        print("\udcff")
        assert caught.take()[0] == "\\udcff\n"


@pytest.mark.parametrize("size", [CAP - 1, CAP, CAP + 1, 3 * CAP])
def test_output_is_capped(size: int) -> None:
    with FdCapture(PATROL) as caught:
        sys.stdout.write("x" * size)
        print("short", file=sys.stderr)
        out, err, cut = caught.take()
        assert set(out) == {"x"}
        assert len(out) == min(size, CAP)
        assert (err, cut) == ("short\n", size > CAP)
        print("the next item", end="")
        assert caught.take() == ("the next item", "", False)


def test_the_disk_does_not_fill_with_what_an_item_prints_without_end() -> None:
    with FdCapture(PATROL) as caught:
        end = time.monotonic() + 60
        for _ in range(50):
            os.write(1, b"y" * CAP)
        while (size := os.fstat(1).st_size) > CAP + MARK and time.monotonic() < end:
            time.sleep(0.01)  # a poll's pause, not a wait
        assert size <= CAP + MARK
        out, _, cut = caught.take()
        assert (len(out), cut) == (CAP, True)
        assert caught.take() == ("", "", False)


def test_a_stream_or_descriptor_that_an_item_closed_is_mended() -> None:
    with FdCapture(PATROL) as caught:
        sys.stdout.close()
        assert caught.take()[0] == ""
        print("after close")
        assert caught.take()[0] == "after close\n"
        os.close(1)
        assert caught.take()[0] == ""
        os.write(1, b"after os.close")
        assert caught.take()[0] == "after os.close"


def test_a_stream_that_an_item_replaced_is_put_back() -> None:
    with FdCapture(PATROL) as caught:
        ours = sys.stdout
        with open(os.devnull, "w") as elsewhere:  # noqa: PTH123 - what items do
            sys.stdout = elsewhere
            print("lost")
            caught.take()
        assert sys.stdout is ours
        print("back")
        assert caught.take()[0] == "back\n"


@pytest.mark.parametrize("take_apart", ["sys.stdout.buffer", "sys.stdout.detach()"])
def test_what_an_item_prints_by_a_stream_of_its_own_on_our_bytes_is_its_own(take_apart: str) -> None:
    with FdCapture(PATROL) as caught:
        exec(f"sys.stdout = io.TextIOWrapper({take_apart}, encoding='utf-8')")
        print("by its own")
        assert caught.take()[0] == "by its own\n"
        gc.collect()  # its stream is let go of, and closes what it wraps
        print("by ours")
        assert caught.take()[0] == "by ours\n"


def test_a_stream_whose_flush_fails_costs_the_next_item_nothing() -> None:
    class Broken:
        def flush(self) -> None:
            raise KeyError("mine")

    with FdCapture(PATROL) as caught:
        sys.stdout = cast("Any", Broken())
        assert caught.take()[0] == ""
        print("by ours")
        assert caught.take()[0] == "by ours\n"


@pytest.mark.parametrize("make", [FdCapture, lambda patrol: SysCapture(LIVE, patrol)], ids=["fd", "sys"])
def test_a_log_that_one_item_opens_is_every_later_ones_too(make: Callable[[Patrol], Capture]) -> None:
    capture = make(PATROL)
    with capture:
        handler = logging.StreamHandler(sys.stdout)
        for number in range(3):
            handler.emit(logging.makeLogRecord({"msg": f"item {number}"}))
            assert capture.take()[0] == f"item {number}\n"
    with capture:  # the next chunk
        handler.emit(logging.makeLogRecord({"msg": "item 3"}))
        assert capture.take()[0] == "item 3\n"


def test_a_stream_that_an_item_deleted_is_there_for_the_next_one() -> None:
    for capture in (FdCapture(PATROL), SysCapture(LIVE, PATROL)):
        with capture as caught:
            del sys.stdout
            assert caught.take() == ("", "", False)
            print("back")
            assert caught.take()[0] == "back\n"


def test_what_an_item_prints_to_a_closed_descriptor_is_not_its_neighbours() -> None:
    with FdCapture(PATROL) as caught:
        os.close(1)
        with suppress(OSError):
            print("mine")
        caught.take()
        print("the next one's")
        assert caught.take()[0] == "the next one's\n"


def test_bytes_are_refused_where_they_are_written() -> None:
    with SysCapture(LIVE, PATROL) as caught:
        with pytest.raises(TypeError, match="must be str, not bytes"):
            sys.stdout.write(cast("Any", b"bytes"))
        print("text")
        assert caught.take()[0] == "text\n"


def test_a_descriptor_that_an_item_pointed_elsewhere_is_put_back() -> None:
    with FdCapture(PATROL) as caught:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
        print("lost")
        caught.take()
        print("back")
        assert caught.take()[0] == "back\n"


def test_an_item_may_cut_off_its_own_output() -> None:
    with FdCapture(PATROL) as caught:
        print("unsaid")
        os.ftruncate(1, 0)
        assert caught.take() == ("", "", False)
        print("said")
        assert caught.take()[0] == "said\n"


def test_afterwards_everything_is_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr, os.fstat(1).st_ino, os.fstat(2).st_ino
    with FdCapture(PATROL):
        assert os.fstat(1).st_ino != before[2]
    assert (sys.stdout, sys.stderr, os.fstat(1).st_ino, os.fstat(2).st_ino) == before
    print("mine again")
    assert capfd.readouterr().out == "mine again\n"


def test_a_capture_can_be_entered_again() -> None:
    capture = FdCapture(PATROL)
    for round_ in range(3):
        with capture:
            print(round_)
            assert capture.take()[0] == f"{round_}\n"


def test_pythons_streams_alone() -> None:
    before = sys.stdout
    with SysCapture(LIVE, PATROL) as capture:
        assert isinstance(capture, SysCapture)
        print("a")
        print("b", file=sys.stderr)
        assert capture.take() == ("a\n", "b\n", False)
        sys.stdout.write("x" * (CAP + 1))
        out, _, cut = capture.take()
        assert (len(out), cut) == (CAP, True)
        sys.stdout.close()
        print("after close \ud800")
        assert capture.take() == ("after close \\ud800\n", "", False)
        sys.stdout = before
        capture.take()
        print("c")
        assert capture.take()[0] == "c\n"
    assert sys.stdout is before


def test_no_capture(capsys: pytest.CaptureFixture[str]) -> None:
    with make_capture("none", LIVE, PATROL) as capture:
        print("seen")
        assert capture.take() == ("", "", False)
    assert capsys.readouterr().out == "seen\n"


def test_modes() -> None:
    kinds = {mode: type(make_capture(mode, LIVE, PATROL)) for mode in ("fd", "sys", "none")}
    assert kinds == {"fd": FdCapture, "sys": SysCapture, "none": NoCapture}
