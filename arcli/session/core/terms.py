"""What a session may do, and what it can look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from arcli.engine.protocol import Printed, Request


class Listener(Protocol):
    """Hears what items print, on the session's thread, which must not wait."""

    def streams(self, job: str) -> str:
        """Tell which streams of a job's items it listens to: ``out``, ``err``, ``both`` or none."""

    def printed(self, message: Printed) -> None:
        """Take lines of a running item."""

    def recorded(self, job: str, lines: bytes) -> None:
        """Take records, before anybody else has them."""


class NoListener:
    """See Listener: nobody listens."""

    def streams(self, job: str) -> str:
        """See Listener."""
        return ""

    def printed(self, message: Printed) -> None:
        """See Listener."""

    def recorded(self, job: str, lines: bytes) -> None:
        """See Listener."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How often engines are restarted, and how long they may take to come up, in seconds.

    ``steps`` gives the requests that prepare the engine in a slot; ``position_files`` is the folder
    of position files, by slot; ``notice`` takes sentences for people,
    ``listener`` what items print.
    """

    max_restarts: int
    start_timeout: float
    steps: Callable[[int], list[Request]]
    position_files: Path | None
    notice: Callable[[str], None]
    listener: Listener = field(default_factory=NoListener)


class Observations(Protocol):
    """What the core may look at, beside what it is told."""

    def diagnose(self) -> str:
        """Return what is known about the cluster's state, in words."""

    @property
    def host(self) -> str:
        """The name of this host."""

    @property
    def in_process(self) -> bool:
        """Whether items run in this process."""
