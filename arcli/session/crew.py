"""The engines that a session works with: who is ready, who is being prepared, what each one has."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from arcli.errors import SetupError
from arcli.session.fleet import Up
from arcli.session.work import Work


def setup_error(where: str, failed: dict[str, Any]) -> SetupError:
    """What an engine could not prepare: ``where`` in words, ``failed`` as the worker has it."""
    stage, found = failed["stage"], failed["error"]
    reason, trace = failed["reason"], found["traceback"].rstrip()
    if found["type"].endswith("functions.Unresolved"):  # arcli's own, whose message says it all
        reason, trace = found["message"], ""
    details = trace if "File " in trace else None  # one that says more than the message
    if missing := failed.get("missing"):
        hint = "install it for the engines' Python, or name its folder under setup: path"
        message = f"{where} cannot import {missing} ({stage})"
        error = SetupError(message, hint=hint, details=details)
    else:
        error = SetupError(f"{where}: {stage}: {reason}", details=details)
    error.stage = stage
    return error


def request(operation: str, **arguments: Any) -> bytes:
    """A request to an engine's worker, as it travels."""
    return pickle.dumps((operation, arguments), protocol=4)


@dataclass(kw_only=True, slots=True)
class Call:
    """A request that somebody waits for: any engine may answer it, or only one slot's."""

    request: bytes
    future: Future[bytes]
    slot: int | None = None
    deaths: int = 0


@dataclass(kw_only=True, slots=True)
class Roll:
    """A request that every engine answers, one a slot; engines that come up meanwhile, too.

    With ``keep`` it becomes a step of the preparation of all later engines. ``where`` has the
    engines that answered, in words.
    """

    request: bytes
    future: Future[dict[int, bytes]]
    keep: bool
    got: dict[int, bytes] = field(default_factory=dict)
    where: dict[int, str] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)
class Ticket:
    """A request under way: a chunk's work, a call, a roll's, or a step of an engine's preparation.

    ``sent`` is a monotonic time, ``submitted`` the wall clock's.
    """

    msg_id: str
    sent: float
    submitted: float
    work: Work | None = None
    call: Call | None = None
    roll: Roll | None = None


@dataclass(kw_only=True, slots=True)
class Member:
    """One engine. ``steps`` are what it must still be sent before it is ready."""

    up: Up
    since: float
    steps: deque[bytes] = field(default_factory=deque)
    ready: bool = False
    tickets: dict[str, Ticket] = field(default_factory=dict)
    doomed: str | None = None
    """Why arcli itself is ending this engine, where it is."""

    @property
    def words(self) -> str:
        """The engine, in words."""
        return f"engine {self.up.engine_id} on host {self.up.host}"

    @property
    def chunks(self) -> list[Ticket]:
        """The chunks that the engine has, the running one first."""
        return [ticket for ticket in self.tickets.values() if ticket.work is not None]


class Crew:
    """All engines, by id, and the slots whose next engine is on its way."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}
        self.coming: dict[int, float] = {}
        self._owner: dict[str, Member] = {}

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self.members.values()))

    def ready(self) -> list[Member]:
        """The engines that can take work."""
        return [m for m in self.members.values() if m.ready and m.doomed is None]

    @property
    def slots(self) -> set[int]:
        """The slots that have an engine, or will."""
        return {member.up.slot for member in self.members.values()} | set(self.coming)

    @property
    def hopeless(self) -> bool:
        """Whether there is no engine, and none will come."""
        return not self.members and not self.coming

    def admit(self, up: Up, now: float) -> Member:
        """An engine has come up."""
        self.coming.pop(up.slot, None)
        member = Member(up=up, since=now)
        self.members[up.engine_id] = member
        return member

    def peek_member(self, engine_id: int) -> Member | None:
        """An engine by its id."""
        return self.members.get(engine_id)

    def dismiss(self, engine_id: int) -> Member | None:
        """An engine is gone; its tickets go with it."""
        member = self.members.pop(engine_id, None)
        if member is not None:
            for msg_id in member.tickets:
                self._owner.pop(msg_id, None)
        return member

    def hand(self, member: Member, ticket: Ticket) -> None:
        """A request has been sent to an engine."""
        member.tickets[ticket.msg_id] = ticket
        self._owner[ticket.msg_id] = member

    def settle(self, msg_id: str) -> tuple[Member, Ticket] | None:
        """A request is answered; None where nobody knows it (any more)."""
        member = self._owner.pop(msg_id, None)
        return None if member is None else (member, member.tickets.pop(msg_id))

    def peek(self, msg_id: str) -> Member | None:
        """Whose request this is."""
        return self._owner.get(msg_id)
