"""What a session stands between: engines and their events below it, its terms, and who listens."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct, field

from arcli.cluster.base import ClusterEvent, EngineInfo
from arcli.engine.protocol import Printed, Request
from arcli.errors import ArcliError
from arcli.session.core.chunk import Chunk

SHAKE = signal.SIGUSR2
"""Its handler makes the main thread leave whatever it is in (``arcli.execution.interrupts``)."""


class Coming(Struct, frozen=True):
    """The first engine for a slot is on its way; an EngineUp or an EngineDown follows."""

    slot: int


class Broken(Struct, frozen=True):
    """The run cannot go on: what it needs beside engines has failed."""

    error: ArcliError


class Reply(Struct, frozen=True, kw_only=True):
    """A request's answer: an envelope, or why there is none. ``died``: its engine is gone."""

    msg_id: str
    envelope: bytes | None = None
    error: str | None = None
    died: bool = False


class Wake(Struct, frozen=True, kw_only=True):
    """Something else may have changed: a source has items, or a chunk has published records."""


Event = ClusterEvent | Coming | Broken | Reply | Wake


class Events(Protocol):
    """Where a transport puts what happens; safe to call from any thread."""

    def put(self, event: Event) -> None:
        """Hand over an event."""


class Observations(Protocol):
    """What the core may look at, beside what it is told: of a transport, that which does nothing."""

    def diagnose(self) -> str:
        """Return what is known about the cluster's state, in words."""

    @property
    def in_process(self) -> bool:
        """Whether items run in this process, on its main thread."""


class Transport(Observations, Protocol):
    """Engines behind one face, whether they are ipyparallel's or this very process."""

    @property
    def owned(self) -> bool:
        """Whether the engines are arcli's own, so that they may be ended."""

    def open(self, events: Events) -> None:
        """Start to report events; an EngineUp for each engine that is there already."""

    def prepare(self, engine_id: int) -> str:
        """Bring arcli's code to an engine; answered by a Reply without an envelope."""

    def send(self, engine_id: int, request: bytes, label: str | None = None) -> str:
        """Send a request, answered by a Reply; returns the message's id.

        ``label`` is what ipyparallel's own tools show beside it.
        """

    def early(self) -> list[tuple[str, bytes]]:
        """Envelopes that engines have published since the last call, each with its request's id."""

    def forget(self, msg_id: str) -> None:
        """Nobody waits for this request any more."""

    def kill(self, engine_id: int) -> None:
        """End an engine at once; an EngineDown follows."""

    def release(self, engine_id: int) -> None:
        """Have no more of what an engine runs, and no more than that; an EngineDown follows."""

    def replace(self, slot: int) -> None:
        """Start a new engine for a slot; an EngineUp or an EngineDown follows."""

    def revive(self) -> bool:
        """After a ClusterDown: start all engines anew; False where that cannot be done.

        An EngineUp for each slot follows, or another ClusterDown.
        """

    def interrupt(self, *, now: bool) -> None:
        """In this process: begin no further item of what was sent, and ``now``: leave this one.

        Where engines are other processes, do nothing: they are ended instead.
        """

    def limit(self, seconds: float) -> None:
        """In this process: end items after ``seconds`` that were sent before their limit was known.

        Other processes are told by their position files.
        """

    def run_pending(self) -> Any:
        """In this process: run what was sent. Called on the main thread."""


class Listener(Protocol):
    """Hears what items print, on the session's thread, which must not wait."""

    def streams(self, job: str) -> str:
        """Tell which streams of a job's items it listens to: ``out``, ``err``, ``both`` or none."""

    def printed(self, message: Printed) -> None:
        """Take lines of a running item."""

    def recorded(self, job: str, lines: bytes) -> None:
        """Take records, before anybody else has them; also those of attempts that nobody else gets."""

    def close(self) -> None:
        """Bring all of it to where it goes, where that takes seconds at most; the session has ended."""


class NoListener:
    """See Listener: nobody listens."""

    def streams(self, job: str) -> str:
        """See Listener."""
        return ""

    def printed(self, message: Printed) -> None:
        """See Listener."""

    def recorded(self, job: str, lines: bytes) -> None:
        """See Listener."""

    def close(self) -> None:
        """See Listener."""


class Terms(Struct, frozen=True, kw_only=True):
    """How often engines are restarted, and how long they may take to come up, in seconds.

    ``max_restarts`` is None where they are somebody else's, and none is.
    ``steps`` gives the requests that prepare the engine in a slot; ``position_files`` is the folder
    of position files, by slot; ``notice`` takes sentences for people, ``ready`` each engine that
    has done its setup, ``listener`` what items print.
    """

    max_restarts: int | None
    start_timeout: float
    steps: Callable[[int], list[Request]]
    position_files: Path | None
    notice: Callable[[str], None]
    ready: Callable[[EngineInfo], None] = lambda engine: None
    listener: Listener = field(default_factory=NoListener)


class Supply(Protocol):
    """Where numbered items come from."""

    def take(self, count: int, slot: int | None) -> Chunk | None:
        """Up to ``count`` items that are there now and may run in ``slot``, or None; never blocks.

        An item that another slot must run may be among them where that is rare.
        """

    def give_up(self, slot: int | None) -> list[Chunk]:
        """Return items that were numbered and nobody has taken: of this slot, or of all. They are gone."""

    @property
    def dealt(self) -> bool:
        """Whether each slot has items of its own."""

    @property
    def count(self) -> int:
        """Items that were numbered."""

    @property
    def left(self) -> int | None:
        """How many items are still to come, None where nobody knows."""

    @property
    def exhausted(self) -> bool:
        """Whether no item will come any more."""

    @property
    def unread(self) -> int | None:
        """Items that were never numbered, None where nobody knows."""

    @property
    def error(self) -> ArcliError | None:
        """What stopped the source, if anything did."""
