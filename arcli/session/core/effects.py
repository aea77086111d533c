"""What the core wants done. The loop carries it out, in this order, and decides nothing."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from arcli.engine.encode import ArrayFile
from arcli.engine.protocol import Printed
from arcli.engine.tally import Tally
from arcli.session.core.pending import PendingRequest
from arcli.timing.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Prepare:
    """Bring arcli's code to an engine."""

    engine_id: int
    pending: PendingRequest


@dataclass(frozen=True, slots=True)
class Send:
    """Send an encoded request to an engine; ``label`` is what ipyparallel's own tools show."""

    engine_id: int
    pending: PendingRequest
    request: bytes
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody waits for this request any more."""

    pending: PendingRequest


@dataclass(frozen=True, slots=True)
class Kill:
    """End an engine at once, whatever it does. Refused for one that is not ours: it is let go."""

    engine_id: int


@dataclass(frozen=True, slots=True)
class Release:
    """Have no more of what an engine runs."""

    engine_id: int


@dataclass(frozen=True, slots=True)
class Replace:
    """Start a new engine for a slot."""

    slot: int


@dataclass(frozen=True, slots=True)
class Revive:
    """Start all engines anew, after the cluster was lost for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Interrupt:
    """In this process: begin no further item of what was sent, and ``now``: leave this one."""

    now: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for people."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Recall:
    """Have the engine in a slot begin nothing from a position of a chunk on, up to ``last``."""

    slot: int
    chunk: int
    position: int
    last: int


@dataclass(frozen=True, slots=True)
class Print:
    """Lines that a running item has printed, for whoever listens."""

    printed: Printed


@dataclass(frozen=True, slots=True)
class IndexedPickle:
    """A value that JSON does not hold exactly: where its pickle stands among a chunk's.

    ``saved``: the record names a file for it; ``file`` says how that is made of the pickle, where it
    is not the pickle itself.
    """

    index: int
    saved: bool
    offset: int
    length: int
    file: ArrayFile | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """Records of runs ``(first index, count)`` of items: to the journal, then on their way out.

    ``lines`` has one line a record, in the order of ``spans``; ``tally`` is what they add up to.
    """

    spans: list[tuple[int, int]]
    lines: bytes
    tally: Tally
    values: list[IndexedPickle] = field(default_factory=list)
    pickles: bytes = b""


@dataclass(frozen=True, slots=True)
class Resolve:
    """Give somebody who waits what was asked for."""

    future: Future[Any]
    value: Any


@dataclass(frozen=True, slots=True)
class Reject:
    """Tell somebody who waits that there is no answer."""

    future: Future[Any]
    error: BaseException


@dataclass(frozen=True, slots=True)
class EndJob:
    """The job is over: its account, and what ended it early, if anything did."""

    ledger: Ledger
    error: BaseException | None


Effect = (
    Prepare | Send | Forget | Kill | Release | Replace | Revive | Interrupt | Notice
    | Recall | Print | Records | Resolve | Reject | EndJob
)  # fmt: skip
