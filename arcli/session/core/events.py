"""What the core hears of: the transport's events, and what the main thread asks for."""

from __future__ import annotations

from dataclasses import dataclass

from arcli.errors import ArcliError
from arcli.session.core.job import JobRun
from arcli.session.core.pending import Broadcast, Call, PendingRequest
from arcli.session.transport.base import Broken, Coming, Down, Lost, Up, Wake
from arcli.timing.ledger import End


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """A request's answer: an envelope, or why there is none. ``died``: its engine is gone."""

    pending: PendingRequest
    envelope: bytes | None = None
    error: str | None = None
    died: bool = False


@dataclass(frozen=True, slots=True)
class Early:
    """Records that a chunk has published while it goes on."""

    pending: PendingRequest
    envelope: bytes


@dataclass(frozen=True, slots=True)
class NotRevived:
    """A cluster that was lost cannot be started anew."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Have one engine answer a request."""

    call: Call


@dataclass(frozen=True, slots=True)
class AskAll:
    """Have every engine answer a request."""

    broadcast: Broadcast


@dataclass(frozen=True, slots=True)
class Begin:
    """Run a job."""

    job: JobRun


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """Stop the current job. ``grace``: seconds for what runs, None: until it ends.

    With None that is a drain. ``reason`` stands in the records, ``ended`` in the ledger. ``error``
    is given where the whole run is to stop: what everybody who waits then gets.
    """

    reason: str
    ended: End
    grace: float | None
    error: ArcliError | None = None


@dataclass(frozen=True, slots=True)
class CancelItems:
    """End items of the current job by their numbers, wherever they are; no other one is touched."""

    indices: frozenset[int]
    reason: str


Command = Ask | AskAll | Begin | Stop | CancelItems
Event = Up | Coming | Down | Lost | Broken | Wake | Answered | Early | NotRevived | Command
