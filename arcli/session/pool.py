"""The engines that a session works with: who is ready, who is being prepared, what each one has."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from arcli.engine.protocol import Failure
from arcli.errors import DeadlineError, SetupError
from arcli.session.chunk import Chunk
from arcli.session.transport.base import Up


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
    if failure.missing:
        hint = "install it for the engines' Python, or name its folder under setup: path"
        message = f"{where} cannot import {failure.missing} ({failure.stage})"
        error = SetupError(message, hint=hint, details=details)
    else:
        error = SetupError(f"{where}: {failure.stage}: {reason}", details=details)
    error.stage = failure.stage
    return error


@dataclass(kw_only=True, slots=True)
class Call:
    """A request that somebody waits for and that any engine may answer; ``what`` it is for.

    ``due`` is the monotonic time at which nobody waits any longer.
    """

    request: bytes
    future: Future[bytes]
    what: str
    due: float | None = None
    deaths: int = 0

    def fail(self, reason: str) -> None:
        """It will not be answered."""
        if not self.future.done():
            self.future.set_exception(Failed(Failure(self.what, reason, "", "", "")))


@dataclass(kw_only=True, slots=True)
class Broadcast:
    """A request that every engine answers, one a slot; engines that come up meanwhile, too.

    With ``keep`` it becomes a step of the preparation of all later engines. ``where`` has the
    engines that answered, in words; ``due`` is as in a Call.
    """

    request: bytes
    future: Future[dict[int, bytes]]
    keep: bool
    what: str
    due: float | None = None
    got: dict[int, bytes] = field(default_factory=dict)
    where: dict[int, str] = field(default_factory=dict)

    def fail(self, reason: str) -> None:
        """Some engine did not answer."""
        if not self.future.done():
            self.future.set_exception(DeadlineError(f"{self.what}: {reason}"))


@dataclass(kw_only=True, slots=True)
class PendingRequest:
    """A request under way: a chunk's work, a call, a roll's, or a step of an engine's preparation.

    ``sent`` is a monotonic time, ``submitted`` the wall clock's. ``first``: nothing was sent to
    its engine before. ``told``: that it takes long has been said.
    """

    msg_id: str
    sent: float
    submitted: float
    work: Chunk | None = None
    call: Call | None = None
    roll: Broadcast | None = None
    first: bool = False
    told: bool = False

    @property
    def what(self) -> str:
        """What it is for, in words."""
        if self.call is not None:
            return self.call.what
        return self.roll.what if self.roll is not None else "its setup"


@dataclass(kw_only=True, slots=True)
class PooledEngine:
    """One engine. ``steps`` counts what it has yet to answer before it is ready."""

    up: Up
    since: float
    steps: int = 0
    ready: bool = False
    tickets: dict[str, PendingRequest] = field(default_factory=dict)
    doomed: str | None = None
    """Why arcli itself is ending this engine, where it is."""

    @property
    def words(self) -> str:
        """The engine, in words."""
        return f"engine {self.up.engine_id} on host {self.up.host}"

    @property
    def chunks(self) -> list[PendingRequest]:
        """The chunks that the engine has, the running one first."""
        return [ticket for ticket in self.tickets.values() if ticket.work is not None]


class Pool:
    """All engines, by id, and the slots whose next engine is on its way."""

    def __init__(self) -> None:
        self.members: dict[int, PooledEngine] = {}
        self.coming: dict[int, float] = {}
        self._owner: dict[str, PooledEngine] = {}

    def __iter__(self) -> Iterator[PooledEngine]:
        return iter(list(self.members.values()))

    def ready(self) -> list[PooledEngine]:
        """The engines that can take work."""
        return [m for m in self.members.values() if m.ready and m.doomed is None]

    @property
    def slots(self) -> set[int]:
        """The slots that have an engine, or will."""
        return {member.up.slot for member in self.members.values()} | set(self.coming)

    @property
    def busy(self) -> bool:
        """Whether anything is under way, engines that come included."""
        return bool(self.coming or self._owner)

    @property
    def hopeless(self) -> bool:
        """Whether there is no engine, and none will come."""
        return not self.members and not self.coming

    def admit(self, up: Up, now: float) -> PooledEngine:
        """An engine has come up."""
        self.coming.pop(up.slot, None)
        member = PooledEngine(up=up, since=now)
        self.members[up.engine_id] = member
        return member

    def peek_member(self, engine_id: int) -> PooledEngine | None:
        """An engine by its id."""
        return self.members.get(engine_id)

    def dismiss(self, engine_id: int) -> PooledEngine | None:
        """An engine is gone; its tickets go with it."""
        member = self.members.pop(engine_id, None)
        if member is not None:
            for msg_id in member.tickets:
                self._owner.pop(msg_id, None)
        return member

    def hand(self, member: PooledEngine, ticket: PendingRequest) -> None:
        """A request has been sent to an engine."""
        member.tickets[ticket.msg_id] = ticket
        self._owner[ticket.msg_id] = member

    def settle(self, msg_id: str) -> tuple[PooledEngine, PendingRequest] | None:
        """A request is answered; None where nobody knows it (any more)."""
        member = self._owner.pop(msg_id, None)
        return None if member is None else (member, member.tickets.pop(msg_id))

    def peek(self, msg_id: str) -> PooledEngine | None:
        """Whose request this is."""
        return self._owner.get(msg_id)
