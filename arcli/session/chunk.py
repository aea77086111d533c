"""Items on their way: a chunk's worth of them, and how it falls apart when an engine dies."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from arcli.engine.tally import Status


@dataclass(frozen=True, kw_only=True, slots=True)
class PickledInput:
    """An input that only engines can decode: a pickle, and the JSON text that its record shows.

    As a part of another input it travels with it, and is itself again where that is unpickled.
    """

    pickled: bytes
    text: str

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return pickle.loads, (self.pickled,)


@dataclass(kw_only=True, slots=True, eq=False)
class Chunk:
    """Items that travel together in one chunk.

    ``attempt`` counts from 1 and is the same for all of them. ``pinned`` is the slot that must run
    them. ``alone`` says that they may have killed an engine, so nothing else waits beside them.
    ``chunk`` is the number of the chunk once it is sent, ``done`` how many of its first items are
    accounted for by early records.
    """

    indices: Sequence[int]
    inputs: list[Any]
    occurrences: list[int] | None = None
    attempt: int = 1
    pinned: int | None = None
    alone: bool = False
    chunk: int = 0
    done: int = 0

    def __len__(self) -> int:
        return len(self.indices)

    def part(self, positions: Sequence[int], *, attempt: int, alone: bool) -> Chunk:
        """The items at these positions, as work of their own that is not yet sent."""
        kept = self.occurrences
        return Chunk(
            indices=[self.indices[position] for position in positions],
            inputs=[self.inputs[position] for position in positions],
            occurrences=None if kept is None else [kept[position] for position in positions],
            attempt=attempt,
            pinned=self.pinned,
            alone=alone,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientRecord:
    """The end of an item that no engine could write a record for."""

    index: int
    input: Any
    occurrence: int
    attempt: int
    status: Status
    reason: str


def verdicts(work: Chunk, positions: Sequence[int], status: Status, reason: str) -> list[ClientRecord]:
    """The same verdict for the items at these positions."""
    return [
        ClientRecord(
            index=work.indices[position],
            input=work.inputs[position],
            occurrence=work.occurrences[position] if work.occurrences is not None else 0,
            attempt=work.attempt,
            status=status,
            reason=reason,
        )
        for position in positions
    ]
