"""What engines are asked, as data: by somebody who waits, one of them or all; and what is under way."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from arcli.engine.protocol import Failure
from arcli.errors import DeadlineError, SetupError
from arcli.session.core.chunk import Chunk


class Moment(NamedTuple):
    """When something is handled: a monotonic time for durations, the wall clock's for stamps."""

    now: float
    wall: float


class Failed(Exception):
    """The user's code failed in a request; ``where``: on which engine, in words.

    ``items`` are the first and the last of those that were folded together, where they were.
    """

    def __init__(self, failure: Failure, where: str = "", items: tuple[int, int] | None = None) -> None:
        super().__init__(f"{failure.stage}: {failure.reason}")
        self.failure = failure
        self.where = where
        self.items = items


def setup_error(where: str, failure: Failure) -> SetupError:
    """Say what an engine could not prepare; ``where`` is the engine, in words."""
    reason, trace = failure.reason, failure.traceback.rstrip()
    if failure.type.endswith("functions.Unresolved"):  # arcli's own, whose message says it all
        reason, trace = failure.message, ""
    details = trace if "File " in trace else None  # one that says more than the message
    # A module that is missing is the most common mistake, and has a remedy.
    if failure.missing:
        message = f"{where} cannot import {failure.missing} ({failure.stage})"
        error = SetupError(message, hint=failure.hint or None, details=details)
    else:
        error = SetupError(f"{where}: {failure.stage}: {reason}", details=details)
    error.stage = failure.stage
    return error


@dataclass(kw_only=True, slots=True, eq=False)
class Call:
    """A request that somebody waits for and that any engine may answer; ``what`` it is for.

    ``due`` is the monotonic time at which nobody waits any longer, ``since`` when it was made.
    ``deaths`` counts the engines that have died of it.
    """

    request: bytes
    future: Future[bytes]
    what: str
    since: float
    due: float | None = None
    deaths: int = 0

    def failure(self, reason: str) -> Exception:
        """Say why it will not be answered."""
        return Failed(Failure(self.what, reason, "", "", ""))


@dataclass(kw_only=True, slots=True, eq=False)
class Broadcast:
    """A request that every engine answers, one a slot; engines that come up meanwhile, too.

    With ``keep`` it becomes a step of the preparation of all later engines. ``answers`` and
    ``where``, the engine in words, are by slot; ``due`` and ``since`` are as in a Call.
    """

    request: bytes
    future: Future[dict[int, bytes]]
    keep: bool
    what: str
    since: float
    due: float | None = None
    answers: dict[int, bytes] = field(default_factory=dict)
    where: dict[int, str] = field(default_factory=dict)

    def failure(self, reason: str) -> Exception:
        """Say why some engine will not answer."""
        return DeadlineError(f"{self.what}: {reason}")


@dataclass(kw_only=True, slots=True, eq=False)
class PendingRequest:
    """A request under way: a chunk, a call, a broadcast's part, or a step of a preparation.

    ``sent`` is a monotonic time, ``submitted`` the wall clock's; ``msg_id`` is filled in where it
    is sent. ``first``: nothing was sent to its engine before. ``told``: that it takes long has been
    said.
    """

    engine_id: int
    sent: float
    submitted: float
    chunk: Chunk | None = None
    call: Call | None = None
    broadcast: Broadcast | None = None
    first: bool = False
    told: bool = False
    msg_id: str = ""

    @property
    def what(self) -> str:
        """What it is for, in words."""
        if self.call is not None:
            return self.call.what
        return self.broadcast.what if self.broadcast is not None else "its setup"
