"""The exit code of a run, decided in one place."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from arcli.errors import ArcliError, ExitCode
from arcli.timing.ledger import End
from arcli.timing.summary import JobSummary

PRIORITY = (
    ExitCode.BUG,
    ExitCode.HANGUP,
    ExitCode.INTERRUPTED,
    ExitCode.TERMINATED,
    ExitCode.BROKEN_PIPE,
    ExitCode.OUTPUT,
    ExitCode.NO_CLUSTER,
    ExitCode.USAGE,
    ExitCode.LOCKED,
    ExitCode.SETUP,
    ExitCode.DEADLINE,
    ExitCode.ITEMS_FAILED,
    ExitCode.EXPECTATION,
    ExitCode.OK,
)
"""Where several hold, the first one is said."""

_ENDED = {
    End.DEADLINE: ExitCode.DEADLINE,
    End.CLUSTER_LOST: ExitCode.NO_CLUSTER,
    End.INPUT_ERROR: ExitCode.USAGE,
}


def decide(
    jobs: Iterable[JobSummary] = (),
    *,
    errors: Iterable[BaseException] = (),
    signal: int | None = None,
    deadline: bool = False,
    expectation_failed: bool = False,
) -> ExitCode:
    """Return the exit code for what happened.

    ``errors`` are those that ended the run or an output, ``signal`` the number of the signal that
    stopped it, ``deadline`` whether the run's own passed.
    """
    held = {code_of_job(job) for job in jobs} | {code_of_error(error) for error in errors}
    if signal is not None:
        held.add(code_of_signal(signal))
    if deadline:
        held.add(ExitCode.DEADLINE)
    if expectation_failed:
        held.add(ExitCode.EXPECTATION)
    return first(held)


def first(codes: Collection[int]) -> ExitCode:
    """Of several exit codes the one that is said."""
    return next((code for code in PRIORITY if code in codes), ExitCode.OK)


def code_of_job(job: JobSummary) -> ExitCode:
    """Return what one job says by itself."""
    if job.ended in _ENDED:
        return _ENDED[job.ended]
    return ExitCode.OK if job.ok else ExitCode.ITEMS_FAILED


def code_of_error(error: BaseException) -> ExitCode:
    """Return what one error says; what arcli did not raise on purpose is a bug in it."""
    if isinstance(error, ArcliError):
        return error.exit_code
    return ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else ExitCode.BUG


def code_of_signal(number: int) -> ExitCode:
    """128 + the number for SIGHUP, SIGINT and SIGTERM; any other signal counts as SIGTERM."""
    known = (ExitCode.HANGUP, ExitCode.INTERRUPTED)
    return next((code for code in known if code == 128 + number), ExitCode.TERMINATED)
