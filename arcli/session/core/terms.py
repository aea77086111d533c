"""What a session may do, and what it can look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from arcli.engine.position_file import Position
from arcli.engine.protocol import Request


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How often engines are restarted, and how long they may take to come up, in seconds.

    ``steps`` gives the requests that prepare the engine in a slot; ``position_files`` is the folder
    of position files, by slot; ``notice`` takes sentences for people.
    """

    max_restarts: int
    start_timeout: float
    steps: Callable[[int], list[Request]]
    position_files: Path | None
    notice: Callable[[str], None]


class Observations(Protocol):
    """What the core may look at, beside what it is told."""

    def position(self, slot: int) -> Position | None:
        """Where the engine in a slot is, by its position file."""

    def diagnose(self) -> str:
        """What is known about the cluster's state, in words."""

    @property
    def in_process(self) -> bool:
        """Whether items run in this process."""
