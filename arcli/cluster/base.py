"""What every cluster looks like to the rest of arcli, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct, field

LOG_LINES = 15


class ClusterOptions(Struct, frozen=True, kw_only=True):
    """What a cluster is to be: ``engines`` many, of this interpreter, with these limits.

    ``start_timeout`` is in seconds; ``threads`` caps the thread pools of numerical libraries on
    each engine, where ``env`` does not say otherwise (see ``thread_limits``). ``insecure`` does without
    encryption where its engines could be elsewhere.
    """

    engines: int
    min_engines: int = 1
    threads: int | None = None
    python: str | None = None
    spawn: bool = False
    start_timeout: float = 60.0
    env: Mapping[str, str] = field(default_factory=dict)
    insecure: bool = False


class EngineInfo(Struct, frozen=True, kw_only=True):
    """One engine. ``slot`` is its place, which its replacement inherits; ids are never reused."""

    engine_id: int
    slot: int
    pid: int | None
    host: str
    uuid: str

    @property
    def words(self) -> str:
        """The engine, in words."""
        return f"engine {self.engine_id} on host {self.host}"


class EngineUp(Struct, frozen=True):
    """An engine is registered."""

    info: EngineInfo


class EngineDown(Struct, frozen=True, kw_only=True):
    """An engine is gone, or one could not be started (then it has no id)."""

    engine_id: int | None
    slot: int
    reason: str


class ClusterDown(Struct, frozen=True):
    """The controller or what supervises it is gone."""

    reason: str


ClusterEvent = EngineUp | EngineDown | ClusterDown
OnEvent = Callable[[ClusterEvent], None]


class Cluster(Protocol):
    """A started cluster. Events come on a thread of the cluster's own."""

    client: Any
    """An ``ipyparallel.Client``, connected."""
    owned: bool
    """Whether its engines are arcli's own: ended with the run, and replaced when they die."""
    patient: bool
    """Whether its engines have time to end by themselves, with open files written and ``atexit``."""
    slots: int
    """How many places for engines there are, once it is started."""

    @property
    def forked(self) -> bool:
        """Whether its engines are forks of arcli's own process, and so have the code for engines."""

    @property
    def exposed(self) -> str | None:
        """What others could do with it, in words; None where it is encrypted or out of reach."""

    def prepare(self) -> None:
        """Begin with what takes long and needs nothing. Costs little and can be abandoned."""

    def start(self, on_event: OnEvent) -> None:
        """Have an engine at least. Raises ClusterError where that fails.

        Where ``min_engines`` do not come up in time, a ClusterDown follows.

        Events go to ``on_event`` from now on, those of the first engines included.
        """

    def coming(self) -> set[int]:
        """Return the slots whose first engine is on its way, and will come or be reported as down."""

    def engines(self) -> list[EngineInfo]:
        """Return the engines that are registered now."""

    def kill(self, engine_id: int) -> None:
        """End an engine, and what it started, at once; an EngineDown follows."""

    def release(self, engine_id: int) -> None:
        """Have no more of what an engine runs; an EngineDown follows.

        It is ended if it is arcli's own, and otherwise not used until it answers again.
        """

    def replace(self, slot: int) -> None:
        """Start a new engine for a slot; an EngineUp or an EngineDown follows."""

    def revive(self) -> bool:
        """After a ClusterDown: start all of it anew, if it is arcli's own; False where it is not.

        An EngineUp for each slot follows, or another ClusterDown; ids are not used twice.
        """

    def diagnose(self) -> str:
        """Return what is known of the processes, in words."""

    def stop(self) -> list[str]:
        """End all of it. Returns in words what may go on. May be called more than once; never hangs."""


def log_tails(logs: Iterable[Path], begin: int = 0) -> list[str]:
    """Return the ends of logs, each line behind the name of its log; those that cannot be read aside.

    What stands before the byte ``begin`` is left out.
    """
    tails: list[str] = []
    for path in sorted(logs):
        with suppress(OSError):
            lines = path.read_bytes()[begin:].decode("utf-8", "replace").splitlines()[-LOG_LINES:]
            tails += [f"{path.stem}: {line}" for line in lines]
    return tails
