"""What the core hears of, and what it wants done; what engines are asked, as data.

The loop carries effects out, in their order, and decides nothing.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, NamedTuple

from msgspec import Struct, field

from arcli.cluster.base import EngineInfo
from arcli.engine.encode import ArrayFile
from arcli.engine.protocol import Failure, Printed
from arcli.engine.tally import Tally
from arcli.errors import ArcliError, DeadlineError, SetupError
from arcli.session.core.chunk import Chunk
from arcli.session.interfaces import Reply
from arcli.timing.ledger import End, Ledger


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
    # The traceback is shown only where it has frames of the user's: else it repeats the message.
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


class Call(Struct, kw_only=True, eq=False):
    """A request that somebody waits for and that any engine may answer; ``what`` it is for.

    ``due`` is the monotonic time at which nobody waits any longer; ``deaths`` counts the engines that
    have died of it.
    """

    request: bytes
    future: Future[bytes]
    what: str
    due: float | None = None
    deaths: int = 0

    def failure(self, reason: str) -> Exception:
        """Say why it will not be answered."""
        return Failed(Failure(self.what, reason, "", "", ""))


class Broadcast(Struct, kw_only=True, eq=False):
    """A request that every engine answers, one a slot; engines that come up meanwhile, too.

    With ``keep`` it becomes a step of the preparation of all later engines. ``answers`` and
    ``where``, the engine, are by slot; ``due`` is as in a Call.
    """

    request: bytes
    future: Future[dict[int, bytes]]
    keep: bool
    what: str
    due: float | None = None
    answers: dict[int, bytes] = field(default_factory=dict)
    where: dict[int, EngineInfo] = field(default_factory=dict)

    def failure(self, reason: str) -> Exception:
        """Say why some engine will not answer."""
        return DeadlineError(f"{self.what}: {reason}")


class PendingRequest(Struct, eq=False):
    """A request under way: what somebody has ``asked``, or a step of a preparation.

    ``sent`` is a monotonic time, ``submitted`` the wall clock's; ``msg_id`` is filled in where it
    is sent. ``first``: nothing was sent to its engine before. ``is_told``: that it takes long has been
    said.
    """

    engine_id: int
    sent: float
    submitted: float
    asked: Call | Broadcast | None = None
    first: bool = False
    is_told: bool = False
    msg_id: str = ""

    @property
    def what(self) -> str:
        """What it is for, in words."""
        return "its setup" if self.asked is None else self.asked.what


class PendingChunk(PendingRequest, kw_only=True, eq=False):
    """A chunk under way.

    ``ended`` items have ended while it was, ``own`` are their seconds, one after the other, ``computed``
    those of its engine's time in which any of them ran.
    """

    chunk: Chunk
    ended: int = 0
    own: float = 0.0
    computed: float = 0.0


class Prepare(Struct, frozen=True):
    """Bring arcli's code to an engine."""

    pending: PendingRequest


class Send(Struct, frozen=True):
    """Send an encoded request to an engine; ``label`` is what ipyparallel's own tools show."""

    pending: PendingRequest
    request: bytes
    label: str | None = None


class Ready(Struct, frozen=True):
    """An engine has done its setup, and takes items from now on."""

    engine: EngineInfo


class Forget(Struct, frozen=True):
    """Nobody waits for this request any more."""

    pending: PendingRequest


class Kill(Struct, frozen=True):
    """End an engine at once, whatever it does. Refused for one that is not ours: it is let go."""

    engine_id: int


class Release(Struct, frozen=True):
    """Have no more of what an engine runs."""

    engine_id: int


class Replace(Struct, frozen=True):
    """Start a new engine for a slot."""

    slot: int


class Revive(Struct, frozen=True):
    """Start all engines anew, after the cluster was lost for this reason."""

    reason: str


class Interrupt(Struct, frozen=True):
    """In this process: begin no further item of what was sent, and ``now``: leave this one."""

    now: bool


class Notice(Struct, frozen=True):
    """A sentence for people."""

    sentence: str


class Recall(Struct, frozen=True):
    """Have the engine in a slot begin nothing from a position of a chunk on, up to ``last``."""

    slot: int
    chunk: int
    position: int
    last: int


class Limit(Struct, frozen=True):
    """Have an engine end items after ``seconds`` that were sent before their limit was known."""

    slot: int
    seconds: float


class IndexedPickle(Struct, frozen=True):
    """A value that JSON does not hold exactly: where its pickle stands among a chunk's.

    ``saved``: the record names a file for it; ``file`` says how that is made of the pickle, where it
    is not the pickle itself.
    """

    index: int
    saved: bool
    offset: int
    length: int
    file: ArrayFile | None = None


class Records(Struct, frozen=True, kw_only=True):
    """Records of runs ``(first index, count)`` of items: to the journal, then on their way out.

    ``lines`` has one line a record, in the order of ``spans``; ``tally`` is what they add up to.
    ``shared`` is as in a RecordBatch.
    """

    spans: list[tuple[int, int]]
    lines: bytes
    tally: Tally
    values: list[IndexedPickle] = field(default_factory=list)
    pickles: bytes = b""
    shared: bytes = b""


class Attempted(Struct, frozen=True):
    """For who listens: records of attempts that have printed something, of items to be tried again."""

    lines: bytes


class Resolve(Struct, frozen=True):
    """Give somebody who waits what was asked for."""

    future: Future[Any]
    value: Any


class Reject(Struct, frozen=True):
    """Tell somebody who waits that there is no answer."""

    future: Future[Any]
    error: BaseException


class EndJob(Struct, frozen=True):
    """The job is over: its account, and what ended it early, if anything did."""

    ledger: Ledger
    error: BaseException | None


Effect = (
    Prepare | Send | Ready | Forget | Kill | Release | Replace | Revive | Interrupt | Notice
    | Recall | Limit | Printed | Attempted | Records | Resolve | Reject | EndJob
)  # fmt: skip


class Answered(Struct, frozen=True):
    """A request has been answered."""

    pending: PendingRequest
    reply: Reply


class Early(Struct, frozen=True):
    """Records that a chunk has published while it goes on."""

    pending: PendingChunk
    envelope: bytes


class NotRevived(Struct, frozen=True):
    """A cluster that was lost cannot be started anew."""

    reason: str


class Stop(Struct, frozen=True, kw_only=True):
    """Stop the current job. ``grace``: seconds for what runs, None: until it ends.

    With None that is a drain. ``reason`` stands in the records, ``ended`` in the ledger. ``error``
    is given where the whole run is to stop: what everybody who waits then gets.
    """

    reason: str
    ended: End
    grace: float | None
    error: ArcliError | None = None


class CancelItems(Struct, frozen=True):
    """End items of the current job by their numbers, wherever they are; no other one is touched."""

    indices: frozenset[int]
    reason: str
