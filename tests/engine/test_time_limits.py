"""The watchdog: code that holds the interpreter and never listens ends with its engine."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

from arcli.engine.limits import UNKNOWN, TimeLimit, Timer

STUBBORN = """
import signal, time
from arcli.engine import limits
limits.GRACE = limits.REARM = 0.1
timer = limits.Timer(0.1)
with timer.limit():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    print("deaf", flush=True)
    time.sleep(600)
"""
IDLE = """
import time
from arcli.engine import limits
limits.GRACE = limits.REARM = 0.1
timer = limits.Timer(0.1)
with timer.limit():
    pass
timer.rest()
time.sleep(1)
print("alive")
"""


def python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )


def test_an_item_that_cannot_be_interrupted_ends_its_engine() -> None:
    run = python(STUBBORN)
    assert run.stdout == "deaf\n"
    assert run.returncode != 0
    assert "Timeout" in run.stderr


def test_an_idle_engine_is_left_alone() -> None:
    run = python(IDLE)
    assert (run.returncode, run.stdout) == (0, "alive\n")


def test_a_timer_without_a_limit_does_nothing() -> None:
    timer = Timer(None)
    with timer.limit():
        pass
    timer.rest()
    assert not timer.fired


def test_a_timer_says_that_it_fired() -> None:
    timer = Timer(1e-9, watchdog=False)
    with pytest.raises(TimeLimit), timer.limit():
        time.sleep(60)
    assert timer.fired
    with Timer(100, watchdog=False).limit():
        pass


def test_a_limit_that_is_told_while_an_item_runs_ends_it() -> None:
    answers = [UNKNOWN, UNKNOWN, 0.01]
    timer = Timer(UNKNOWN, watchdog=False, told=lambda: answers.pop(0))
    with pytest.raises(TimeLimit), timer.limit():
        time.sleep(600)
    assert timer.fired
    assert timer.seconds == 0.01
    assert answers == []


def test_a_limit_that_is_told_ends_one_of_those_that_run_side_by_side() -> None:
    answers = [UNKNOWN, 0.01]
    timer = Timer(UNKNOWN, told=lambda: answers.pop(0))

    async def item() -> bool:
        with timer.beside() as limit:
            try:
                async with limit:
                    await asyncio.sleep(600)
            except TimeoutError:
                return limit.expired()
        return False

    assert asyncio.run(item())


def test_an_item_may_end_before_anybody_knows_its_limit() -> None:
    timer = Timer(UNKNOWN, watchdog=False)
    for _ in range(2):
        with timer.limit():
            pass
    assert not timer.fired
