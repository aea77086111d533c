"""What a run tells of itself while it goes on, in ``state.json``; written whole, read from anywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import orjson

from arcli.store.files import write_whole
from arcli.units import format_seconds

FILE = "state.json"


class Phase(StrEnum):
    """Where a run or a job is."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    VALUE = "making its value"
    FINISHING = "finishing"
    ENDED = "ended"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobState:
    """A job so far: items ``done`` of ``total`` (None: unknown), ``failed`` of them not ok.

    ``rate`` is items a second, ``left`` the seconds that the rest takes at this rate, None where
    that cannot be said. ``status`` is what it came to, None until it has ended.
    """

    name: str
    kind: str
    phase: Phase = Phase.WAITING
    status: str | None = None
    total: int | None = None
    done: int = 0
    failed: int = 0
    rate: float = 0.0
    left: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineState:
    """An engine: what it runs since when (ISO 8601 UTC), None where it is idle or not known."""

    slot: int | None
    engine_id: int
    host: str | None
    pid: int | None
    running: str | None = None
    since: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """A run as it was at ``updated`` (ISO 8601 UTC). ``running`` counts items that are under way.

    ``stopping`` says why it is about to end, None where it is not.
    """

    run: str
    pid: int
    host: str
    phase: Phase
    updated: str
    jobs: tuple[JobState, ...] = ()
    engines: tuple[EngineState, ...] = ()
    ready: int = 0
    running: int = 0
    stopping: str | None = None


def write_state(folder: Path, state: RunState) -> None:
    """Write the state of the run in ``folder``. Raises OSError."""
    write_whole(folder / FILE, orjson.dumps(state), durable=False)


def read_state(folder: Path) -> RunState | None:
    """Read the state of the run in ``folder``; None where there is none, or none that is sound."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(RunState).validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def without_engines(state: RunState) -> RunState:
    """Show a state that its run has left behind: nothing runs any more."""
    return replace(state, running=0, ready=0, engines=())


def job_words(job: JobState) -> str:
    """Say how far a job is: ``120 of 1,000 items (12 %), 3 not ok, 34/s, about 26 s left``."""
    if job.phase is Phase.WAITING:
        return "waiting"
    items = f"{job.done:,} items"
    if job.total is not None:
        items = f"{job.done:,} of {job.total:,} items"
        items += f" ({job.done * 100 // job.total} %)" if job.total else ""
    parts = [items]
    if job.failed:
        parts.append(f"{job.failed:,} not ok")
    if job.phase is Phase.RUNNING and job.rate:
        parts.append(f"{job.rate:,.3g}/s")
    if job.left:
        parts.append(f"about {format_seconds(job.left)} left")
    if job.status is not None:
        parts.append(job.status)
    elif job.phase is not Phase.RUNNING:
        parts.append(job.phase)
    return ", ".join(parts)
