"""What a cluster's client and the process that has started it for the client say to each other.

Lines of JSON on a pair of sockets; the supervisor of an embedded cluster and the launcher process
speak it alike. The wire between client and engines is ``arcli.engine.protocol``.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

# -- commands, from the client ---------------------------------------------------------------------


class StartEngine(NamedTuple):
    """Have the supervisor start an engine for a slot."""

    slot: int


class KillEngine(NamedTuple):
    """Have the supervisor end an engine and what it started."""

    pid: int


class StartCluster(NamedTuple):
    """Have the launcher process start a cluster: the fields of an ``IpyparallelConfig``."""

    config: dict[str, Any]


class StartEngines(NamedTuple):
    """Have the launcher process start more engines, which are known as a group."""

    group: int
    engines: int


class Stop(NamedTuple):
    """End the cluster."""


Command = StartEngine | KillEngine | StartCluster | StartEngines | Stop

# -- events, for the client ------------------------------------------------------------------------


class ControllerStarted(NamedTuple):
    """The controller can be reached; ``info`` is what clients need to do so."""

    info: dict[str, Any]


class ControllerEnded(NamedTuple):
    """There is no controller any more."""

    reason: str


class EngineStarted(NamedTuple):
    """An engine's process runs, and will register."""

    pid: int
    engine_id: int
    slot: int
    uuid: str


class EngineEnded(NamedTuple):
    """An engine's process has ended."""

    pid: int
    engine_id: int
    slot: int
    reason: str


class GroupEnded(NamedTuple):
    """The launcher of a group of engines has ended, or could not start them: ``missing`` is its command."""

    group: int
    reason: str
    missing: str | None = None


class StartFailed(NamedTuple):
    """There will be no cluster; ``usage`` where what was asked for makes no sense."""

    message: str
    hint: str | None
    usage: bool


class Left(NamedTuple):
    """A part of the cluster could not be stopped, in words; the end of the connection follows."""

    what: str


Event = ControllerStarted | ControllerEnded | EngineStarted | EngineEnded | GroupEnded | StartFailed | Left
Message = Command | Event
_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(StartEngine, KillEngine, StartCluster, StartEngines, Stop),
        *(ControllerStarted, ControllerEnded, EngineStarted, EngineEnded, GroupEnded, StartFailed, Left),
    )
}


def encode(message: Message) -> bytes:
    """Write a message as a line."""
    return json.dumps([type(message).__name__, *message]).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read a message. Raises ValueError where the line is none."""
    try:
        kind, *fields = json.loads(line)
        message: Message = _KINDS[kind](*fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{line[:80]!r} is no message: {error}") from None
    return message


class Reader:
    """Reads messages out of what comes in, however it is cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that are whole with this data."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [decode(line) for line in lines]
