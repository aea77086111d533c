"""When a signal, or the run's deadline, interrupts what the run is at."""

from __future__ import annotations

import signal

import pytest
from runs import wait_until

from arcli.errors import DeadlineError, Interrupted
from arcli.execution.interrupts import Interrupts


def make_interrupts(deadline: float | None = None) -> Interrupts:
    return Interrupts(lambda sentence: None, lambda answer: None, deadline)


def test_a_signal_that_comes_while_a_run_is_put_together_is_heeded_when_that_is_done() -> None:
    """A thread that is just being started would make a KeyError of what is thrown into it."""
    with make_interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert (interrupts.number, interrupts.thrown) == (signal.SIGINT, False)
        with pytest.raises(Interrupted), interrupts.heeded():
            pytest.fail("it began")


def test_a_deadline_that_passes_before_anything_has_begun_ends_the_run() -> None:
    with make_interrupts(deadline=0.0) as interrupts:
        wait_until(lambda: interrupts.deadline_passed)
        with pytest.raises(DeadlineError), interrupts.heeded():
            pytest.fail("it began")


def test_a_signal_leaves_what_heeds_it_and_is_only_noted_behind_it() -> None:
    with make_interrupts() as interrupts:
        with interrupts.heeded():
            assert not interrupts.stopping
        signal.raise_signal(signal.SIGTERM)
        assert (interrupts.stopping, interrupts.thrown) == (True, False)
    with make_interrupts() as interrupts, pytest.raises(Interrupted), interrupts.heeded():
        signal.raise_signal(signal.SIGTERM)
