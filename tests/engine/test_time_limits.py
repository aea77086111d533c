"""The watchdog: code that holds the interpreter and never listens ends with its engine."""

from __future__ import annotations

import asyncio
import inspect
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from arcli.engine import limits
from arcli.engine.limits import UNKNOWN, TimeLimit, Timer

STUBBORN = """
import signal, time
from arcli.engine import limits
limits.GRACE = limits.REARM = 0.1
timer = limits.Timer(0.1)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
print("deaf", flush=True)
with timer.limit():
    time.sleep(600)
"""
IDLE = """
import time
from arcli.engine import limits
limits.GRACE = limits.REARM = 0.5
timer = limits.Timer(1)
with timer.limit():
    pass
timer.rest()
time.sleep(2.5)
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


def end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    timer = Timer(1e-9, watchdog=False)
    with pytest.raises(TimeLimit), timer.limit():
        time.sleep(60)


def end_with_its_item(monkeypatch: pytest.MonkeyPatch) -> None:
    alarms = [signal.SIGALRM]

    def set_late(which: int, seconds: float, interval: float = 0.0) -> tuple[float, float]:
        if not seconds and alarms:
            signal.raise_signal(alarms.pop())
        return signal.setitimer(which, seconds, interval)

    late = SimpleNamespace(**{**vars(signal), "setitimer": set_late})
    monkeypatch.setattr(limits, "signal", late)
    timer = Timer(100, watchdog=False)
    with timer.limit():
        pass
    assert not alarms
    assert not timer.fired


def end_at_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    code = inspect.unwrap(Timer.limit).__code__
    alarms = [signal.SIGALRM]
    timer = Timer(100, watchdog=False)

    def trace(frame: Any, event: str, arg: Any) -> Any:
        if ended and timer._within and event == "line" and frame.f_code is code and alarms:
            signal.raise_signal(alarms.pop())
        return trace if frame.f_code is code else None

    ended: list[bool] = []
    tracer = sys.gettrace()
    sys.settrace(trace)
    try:
        with pytest.raises(TimeLimit), timer.limit():
            ended.append(True)
    finally:
        sys.settrace(tracer)


@pytest.mark.parametrize("end", [end_at_once, end_with_its_item, end_at_its_last_line])
def test_an_alarm_at_any_moment_leaves_none_behind(
    end: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one would meet whatever the engine is doing by then."""
    before = signal.getsignal(signal.SIGALRM)
    try:
        end(monkeypatch)
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
        assert signal.getsignal(signal.SIGALRM) == before
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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
