"""Items on their way: a chunk's worth of them, and how it falls apart when an engine dies."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from arcli.engine.encode import fingerprint, item_key
from arcli.engine.errors import safe_repr
from arcli.engine.tally import Status
from arcli.record import ItemError


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
    """Items that travel together.

    ``attempt`` counts from 1 and is the same for all of them. ``pinned`` is the slot that must run
    them. ``alone`` says that they may have killed an engine, so nothing else waits beside them.
    ``number`` counts chunks that were sent, from 1; ``done`` is how many of its first items are
    accounted for by early records, ``size`` the bytes of its request; ``deaths`` how many engines
    have died of it, or of what it was a part of, without a trace of which item did it. ``unfit`` are
    slots where what its function depends on is not there.
    """

    indices: Sequence[int]
    inputs: list[Any]
    occurrences: list[int] | None = None
    attempt: int = 1
    pinned: int | None = None
    alone: bool = False
    number: int = 0
    done: int = 0
    deaths: int = 0
    size: int = 0
    unfit: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.indices)

    def cut(self, count: int) -> None:
        """Keep the first so many items only."""
        self.indices, self.inputs = self.indices[:count], self.inputs[:count]
        self.occurrences = None if self.occurrences is None else self.occurrences[:count]

    def part(self, positions: Sequence[int], *, attempt: int, alone: bool) -> Chunk:
        """Make a chunk of the items at these positions, which is not yet sent."""
        occurrences = self.occurrences
        return Chunk(
            indices=[self.indices[position] for position in positions],
            inputs=[self.inputs[position] for position in positions],
            occurrences=None if occurrences is None else [occurrences[position] for position in positions],
            attempt=attempt,
            pinned=self.pinned,
            alone=alone,
            deaths=self.deaths,
            unfit=self.unfit,
        )


def packed(
    items: list[Any],
) -> tuple[bytes, dict[int, bytes], dict[int, tuple[str, str]]]:
    """Pickle inputs for their journey: a list, single ones by their positions, and what cannot go.

    All of a chunk travel in one pickle, so that what they share does. Only where that fails, each
    is looked at: one that cannot be pickled must not cost the others.
    """
    opaque = {
        position: item.pickled for position, item in enumerate(items) if isinstance(item, PickledInput)
    }
    inputs = (
        [None if position in opaque else item for position, item in enumerate(items)] if opaque else items
    )
    try:
        return pickled(inputs), opaque, {}
    except Exception:  # noqa: BLE001 - __reduce__ and the like are the user's
        inputs, unsent = list(inputs), {}
    for position, item in enumerate(inputs):
        try:
            pickled([item])
        except Exception as error:  # noqa: BLE001 - as above
            inputs[position] = None
            reason = f"{type(item).__module__}.{type(item).__qualname__}: {error}"
            unsent[position] = safe_repr(item), reason.partition("\n")[0]
    return pickled(inputs), opaque, unsent


def pickled(inputs: list[Any]) -> bytes:
    """Pickle inputs; by value where their classes cannot be imported elsewhere."""
    try:
        return pickle.dumps(inputs, protocol=4)
    except (pickle.PicklingError, AttributeError, TypeError):
        import cloudpickle

        travelling: bytes = cloudpickle.dumps(inputs, protocol=4)
        return travelling


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientRecord:
    """The end of an item that no engine could write a record for."""

    index: int
    input: Any
    occurrence: int
    attempt: int
    status: Status
    reason: str
    error: ItemError | None = None


def client_records(
    chunk: Chunk,
    positions: Sequence[int],
    status: Status,
    reason: str,
    error: ItemError | None = None,
) -> list[ClientRecord]:
    """End the items at these positions in the same way."""
    return [
        ClientRecord(
            index=chunk.indices[position],
            input=chunk.inputs[position],
            occurrence=chunk.occurrences[position] if chunk.occurrences is not None else 0,
            attempt=chunk.attempt,
            status=status,
            reason=reason,
            error=error,
        )
        for position in positions
    ]


def fingerprint_of(item: Any) -> bytes:
    """Give the ``fingerprint`` of an item that may be opaque to arcli itself."""
    return item.pickled if isinstance(item, PickledInput) else fingerprint(item)


def key_of(hasher: Any, item: Any, occurrence: int) -> str:
    """Give the ``item_key`` of an item that may be opaque: then no earlier run can have it."""
    return "opaque" if isinstance(item, PickledInput) else item_key(hasher, item, occurrence)
