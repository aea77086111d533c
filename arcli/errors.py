"""Every error that arcli raises on purpose, and the exit code that each one ends a process with.

The error knows its exit code; only ``arcli.cli.error_boundary`` turns it into a message and an exit.
"""

from __future__ import annotations

import signal
from enum import IntEnum
from typing import Self

from msgspec import Struct


class ExitCode(IntEnum):
    """What a process of arcli says about its run, by cause."""

    OK = 0
    ITEMS_FAILED = 1
    USAGE = 2
    NO_CLUSTER = 3
    OUTPUT = 4
    EXPECTATION = 5
    SETUP = 6
    BUG = 70
    LOCKED = 75
    DEADLINE = 124
    HANGUP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


class ArcliError(Exception):
    """Something that went wrong for a reason that a user can act on.

    ``message`` is one sentence that names the thing; ``hint``, where there is one, says what to do
    next. ``details`` are lines that tell more, such as the traceback of a user's code.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, *, hint: str | None = None, details: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def at(self, place: str) -> Self:
        """Return the same error, at a place: ``file:line:column``."""
        self.message = f"{place}: {self.message}"
        self.args = (self.message,)
        return self


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong in a file: what, where (1-based), and what to do about it."""

    message: str
    file: str
    line: int | None = None
    column: int | None = None
    source: str | None = None
    hint: str | None = None

    @property
    def place(self) -> str:
        """``file:line:column``, as far as it is known."""
        parts = [self.file, self.line, self.column]
        return ":".join(str(part) for part in parts if part is not None)


class UsageError(ArcliError):
    """A flag or an argument that makes no sense, alone or together with others."""

    exit_code = ExitCode.USAGE


class SpecError(ArcliError):
    """A spec that is not valid; carries every problem found, not only the first."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: list[Problem]) -> None:
        count = len(problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the spec")
        self.problems = problems


class InputError(ArcliError):
    """An input of a job that cannot be read: a missing file, a bad row, unequal lengths.

    ``path`` leads to the part of ``over`` that it is about.
    """

    exit_code = ExitCode.USAGE

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        details: str | None = None,
        path: tuple[str | int, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.path = path


class ClusterError(ArcliError):
    """No cluster could be had, or the one that there was is lost for good."""

    exit_code = ExitCode.NO_CLUSTER


class ExpectationError(ArcliError):
    """What was asked of the figures of a run is not so, though every item is ok."""

    exit_code = ExitCode.EXPECTATION


class SetupError(ArcliError):
    """The spec's setup, an import or the function itself failed on an engine.

    ``stage`` is what failed, in the worker's words.
    """

    exit_code = ExitCode.SETUP
    stage = ""


class OutputError(ArcliError):
    """An output could not be written."""

    exit_code = ExitCode.OUTPUT


class LockedError(ArcliError):
    """Another run of the same spec goes on, and ``--no-overlap`` asks for none."""

    exit_code = ExitCode.LOCKED


class ReaderGone(ArcliError):
    """Whoever read stdout went away (``| head``): nothing that needs a message."""

    exit_code = ExitCode.BROKEN_PIPE


class Interrupted(ArcliError):
    """A signal, by its ``number``, asked arcli to end; ``at_once``: it was not the first one.

    ``reason`` is given where somebody elsewhere asked for it.
    """

    def __init__(self, number: int, *, at_once: bool = False, reason: str | None = None) -> None:
        super().__init__(reason or f"stopped by {signal.Signals(number).name}")
        self.number = number
        self.at_once = at_once
        self.exit_code = ExitCode(128 + number)


class DeadlineError(ArcliError):
    """A deadline passed where there were no items that could be cancelled."""

    exit_code = ExitCode.DEADLINE
