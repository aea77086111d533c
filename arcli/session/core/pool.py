"""The engines that a session works with: who is ready, who is being prepared, what each one has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from arcli.session.core.chunk import Chunk
from arcli.session.core.effects import Effect, Kill, Send
from arcli.session.core.pending import Broadcast, Call, Moment, PendingRequest
from arcli.session.transport.base import Up


@dataclass(kw_only=True, slots=True, eq=False)
class PooledEngine:
    """One engine. ``steps`` counts what it has yet to answer before it is ready.

    ``position_file`` says that it writes down which item it is at, where the client can read it,
    ``local`` that it reads there, too, being on this host; ``doomed`` why arcli itself is ending it.
    ``answered`` is when it last answered anything.
    """

    up: Up
    since: float
    steps: int = 0
    ready: bool = False
    position_file: bool = False
    local: bool = False
    doomed: str | None = None
    answered: float = 0.0
    pending: list[PendingRequest] = field(default_factory=list)

    @property
    def words(self) -> str:
        """The engine, in words."""
        return f"engine {self.up.engine_id} on host {self.up.host}"

    @property
    def chunks(self) -> list[PendingRequest]:
        """The chunks that the engine has, the running one first."""
        return [pending for pending in self.pending if pending.chunk is not None]

    @property
    def usable(self) -> bool:
        """Whether it can take work."""
        return self.ready and self.doomed is None


class Pool:
    """All engines, by id, and the slots whose next engine is on its way.

    ``coming`` has the monotonic times at which those engines must be there; ``abandoned`` the slots
    that will have none, and why.
    """

    def __init__(self) -> None:
        self.engines: dict[int, PooledEngine] = {}
        self.coming: dict[int, float] = {}
        self.abandoned: dict[int, str] = {}

    def __iter__(self) -> Iterator[PooledEngine]:
        return iter(list(self.engines.values()))

    def ready(self) -> list[PooledEngine]:
        """Return the engines that can take work."""
        return [engine for engine in self.engines.values() if engine.usable]

    @property
    def slots(self) -> set[int]:
        """The slots that have an engine, or will."""
        return {engine.up.slot for engine in self.engines.values()} | set(self.coming)

    @property
    def width(self) -> int:
        """How many engines there are, those that come included."""
        return len(self.engines) + len(self.coming)

    @property
    def busy(self) -> bool:
        """Whether anything is under way, engines that come included."""
        return bool(self.coming) or any(engine.pending for engine in self.engines.values())

    @property
    def hopeless(self) -> bool:
        """Whether there is no engine, and none will come."""
        return not self.engines and not self.coming

    def admit(self, up: Up, now: float) -> PooledEngine:
        """Take in an engine that has come up."""
        self.coming.pop(up.slot, None)
        self.abandoned.pop(up.slot, None)
        engine = PooledEngine(up=up, since=now)
        self.engines[up.engine_id] = engine
        return engine

    def dismiss(self, engine_id: int) -> None:
        """Let go of an engine that is gone, and of what it was asked."""
        self.engines.pop(engine_id, None)

    def pend(
        self,
        engine: PooledEngine,
        moment: Moment,
        *,
        chunk: Chunk | None = None,
        call: Call | None = None,
        broadcast: Broadcast | None = None,
    ) -> PendingRequest:
        """Note that an engine is asked something now."""
        pending = PendingRequest(
            engine_id=engine.up.engine_id,
            sent=moment.now,
            submitted=moment.wall,
            chunk=chunk,
            call=call,
            broadcast=broadcast,
        )
        engine.pending.append(pending)
        return pending

    def send(
        self,
        engine: PooledEngine,
        request: bytes,
        moment: Moment,
        *,
        chunk: Chunk | None = None,
        call: Call | None = None,
        broadcast: Broadcast | None = None,
        label: str | None = None,
    ) -> Send:
        """Ask an engine something."""
        pending = self.pend(engine, moment, chunk=chunk, call=call, broadcast=broadcast)
        return Send(engine.up.engine_id, pending, request, label)

    def doom(self, engine: PooledEngine, why: str) -> list[Effect]:
        """End an engine on purpose."""
        if engine.doomed is not None:
            return []
        engine.doomed = why
        return [Kill(engine.up.engine_id)]

    def settle(self, pending: PendingRequest) -> PooledEngine | None:
        """Take an answered request off its engine; None where nobody waits for it (any more)."""
        engine = self.engines.get(pending.engine_id)
        if engine is None or pending not in engine.pending:
            return None
        engine.pending.remove(pending)
        return engine
