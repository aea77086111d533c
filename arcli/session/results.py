"""A job's results after the fact: where its records stand, and what its value is made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from arcli.engine.encode import from_tree
from arcli.record import RecordBatch
from arcli.session.jobrun import Storage
from arcli.session.work import Opaque

BLOCK = 4_000_000
"""Bytes of records that are looked at together."""


@dataclass(frozen=True, slots=True)
class Value:
    """One item's value: JSON text where that is the whole truth, else a pickle that engines know.

    ``record`` is the decoded record that it is from.
    """

    index: int
    text: str | None
    pickled: bytes | None
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Place:
    first: int
    offset: int
    length: int
    pickles: dict[int, tuple[int, int]] | None


@dataclass
class JobResults:
    """Remembers a few numbers for each batch of a job's records; reads them again on demand."""

    storage: Storage
    _places: list[_Place] = field(default_factory=list)

    def add(self, batch: RecordBatch) -> None:
        """A batch has gone out."""
        last = self._places[-1] if self._places else None
        if (
            last is not None
            and not (last.pickles or batch.pickles)
            and last.offset + last.length == batch.offset
            and last.length < BLOCK
            and last.first < batch.first
        ):
            self._places[-1] = replace(last, length=last.length + len(batch.lines))
            return
        self._places.append(_Place(batch.first, batch.offset, len(batch.lines), batch.pickles))

    def records(self) -> Iterator[tuple[dict[str, Any], dict[int, tuple[int, int]] | None]]:
        """All records, decoded, in the items' order."""
        for place in sorted(self._places, key=lambda place: place.first):
            for line in self.storage.read(place.offset, place.length).splitlines():
                yield json.loads(line), place.pickles

    def values(self, where: Literal["ok", "all"] = "ok") -> Iterator[Value]:
        """The items' values, in the items' order; those that are not ok are null."""
        for record, pickles in self.records():
            if record["status"] == "ok" or where == "all":
                yield value_of(record, pickles, self.storage)

    def inputs(self, where: Literal["ok", "all"]) -> Iterator[Any]:
        """The values as another job's inputs."""
        for value in self.values(where):
            if value.text is not None:
                yield from_tree(value.record["value"])
            else:
                assert value.pickled is not None
                shown = json.dumps(value.record["value"], ensure_ascii=False)
                yield Opaque(pickled=value.pickled, text=shown)


def value_of(
    record: dict[str, Any], pickles: dict[int, tuple[int, int]] | None, storage: Storage
) -> Value:
    """The value in a decoded record."""
    place = (pickles or {}).get(record["index"])
    if place is None or record["exact"]:
        text = json.dumps(record["value"], ensure_ascii=False)
        return Value(record["index"], text, None, record)
    return Value(record["index"], None, storage.unspool(*place), record)
