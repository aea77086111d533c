"""The exit code: each cause alone, and the first of several."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli import errors
from arcli.engine.tally import Tally
from arcli.errors import ArcliError, ExitCode
from arcli.timing.exit_code import PRIORITY, decide
from arcli.timing.ledger import End, Ledger
from arcli.timing.summary import JobSummary, summarize_job


def job(status: str = "ok", ended: End = End.DONE) -> JobSummary:
    tally = Tally()
    tally.add(status, 1.0)
    return summarize_job(Ledger(job="j", planned=1, tally=tally, ended=ended))


@pytest.mark.parametrize(
    ("code", "held"),
    [
        (0, {}),
        (0, {"jobs": [job(), job()]}),
        (1, {"jobs": [job(), job("error")]}),
        (1, {"jobs": [job("cancelled", End.HALT)]}),
        (1, {"jobs": [job("ok", End.NEEDS)]}),
        (2, {"errors": [errors.UsageError("x")]}),
        (2, {"errors": [errors.InputError("x")]}),
        (2, {"errors": [errors.SpecError([])]}),
        (3, {"errors": [errors.ClusterError("x")]}),
        (3, {"jobs": [job("lost", End.CLUSTER_LOST)]}),
        (4, {"errors": [errors.OutputError("x")], "jobs": [job("error")]}),
        (5, {"jobs": [job()], "expectation_failed": True}),
        (6, {"errors": [errors.SetupError("x")], "deadline": True}),
        (70, {"errors": [KeyError("x")], "signal": signal.SIGTERM}),
        (70, {"errors": [ArcliError("x")]}),
        (75, {"errors": [errors.LockedError("x")]}),
        (124, {"jobs": [job("cancelled", End.DEADLINE)]}),
        (124, {"jobs": [job("error")], "deadline": True}),
        (129, {"signal": signal.SIGHUP}),
        (130, {"signal": signal.SIGINT, "errors": [errors.OutputError("x")]}),
        (130, {"errors": [KeyboardInterrupt()]}),
        (141, {"errors": [errors.ReaderGone("x")], "jobs": [job("error")]}),
        (143, {"signal": signal.SIGTERM}),
        (143, {"signal": signal.SIGXCPU}),
        (1, {"jobs": [job("error")], "expectation_failed": True}),
    ],
)
def test_cause(code: int, held: dict[str, object]) -> None:
    assert decide(**held) == code  # type: ignore[arg-type]


def test_every_code_has_its_rank() -> None:
    assert sorted(PRIORITY) == sorted(ExitCode)


class _Holding(ArcliError):
    def __init__(self, code: ExitCode) -> None:
        super().__init__("held")
        self.exit_code = code


@given(st.lists(st.sampled_from(ExitCode), min_size=1))
def test_the_first_in_rank_is_said_whatever_the_order(codes: list[ExitCode]) -> None:
    said = decide(errors=[_Holding(code) for code in codes])
    assert said in codes
    assert all(PRIORITY.index(said) <= PRIORITY.index(code) for code in codes)
