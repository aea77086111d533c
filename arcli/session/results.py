"""A job's results after the fact: where its records stand, and what its value is made of."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from arcli.engine.encode import from_tree
from arcli.engine.tally import Status
from arcli.record import RecordBatch, decode
from arcli.session.core.chunk import PickledInput
from arcli.session.recorder import Storage

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


class _Index:
    """Where each item's record and its pickle stand, in a file by the items' numbers.

    For records that come in no order, of which any number may come: memory stays flat.
    """

    _ENTRY = struct.Struct("<4Q")

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the results

    def add(self, batch: RecordBatch) -> None:
        """A batch has gone out."""
        offset = batch.offset
        for line in batch.lines.splitlines(keepends=True):
            index = decode(line)["index"]
            pickled = (batch.pickles or {}).get(index, (0, 0))
            entry = self._ENTRY.pack(offset, len(line), *pickled)
            os.pwrite(self._file.fileno(), entry, index * self._ENTRY.size)
            offset += len(line)

    def places(self) -> Iterator[_Place]:
        """Yield one place for each record, in the items' order."""
        self._file.seek(0)
        index = 0
        while entries := self._file.read(4096 * self._ENTRY.size):
            for offset, length, *pickled in self._ENTRY.iter_unpack(entries):
                if length:
                    pickles = {index: (pickled[0], pickled[1])} if pickled[1] else None
                    yield _Place(index, offset, length, pickles)
                index += 1


@dataclass
class JobResults:
    """Remembers a few numbers for each batch of a job's records; reads them again on demand.

    ``ordered``: batches come in the items' order, or nobody minds.
    """

    storage: Storage
    ordered: bool = True
    _places: list[_Place] = field(default_factory=list)
    _index: _Index | None = None

    def add(self, batch: RecordBatch) -> None:
        """A batch has gone out."""
        if not self.ordered:
            self._index = self._index or _Index()
            self._index.add(batch)
            return
        # Neighbours in the journal are read at once later, so they are remembered
        # as one.
        last = self._places[-1] if self._places else None
        if (
            last is not None
            and not (last.pickles or batch.pickles)
            and last.offset + last.length == batch.offset
            and last.length < BLOCK
        ):
            self._places[-1] = replace(last, length=last.length + len(batch.lines))
            return
        self._places.append(_Place(batch.first, batch.offset, len(batch.lines), batch.pickles))

    def records(self) -> Iterator[tuple[dict[str, Any], dict[int, tuple[int, int]] | None]]:
        """Yield all records, decoded, in the items' order."""
        for place in self._places if self._index is None else self._index.places():
            for line in self.storage.read(place.offset, place.length).splitlines():
                yield json.loads(line), place.pickles

    def values(self, where: Literal["ok", "all"] = "ok") -> Iterator[Value]:
        """Yield the items' values, in the items' order; those that are not ok are null."""
        for record, pickles in self.records():
            if record["status"] == Status.OK or where == "all":
                yield value_of(record, pickles, self.storage)

    def inputs(self, where: Literal["ok", "all"]) -> Iterator[Any]:
        """Yield the values as another job's inputs."""
        for value in self.values(where):
            if value.text is not None:
                yield from_tree(value.record["value"])
            else:
                assert value.pickled is not None
                shown = json.dumps(value.record["value"], ensure_ascii=False)
                yield PickledInput(pickled=value.pickled, text=shown)


def value_of(record: dict[str, Any], pickles: dict[int, tuple[int, int]] | None, storage: Storage) -> Value:
    """Return the value in a decoded record."""
    place = (pickles or {}).get(record["index"])
    if place is None or record["exact"]:
        text = json.dumps(record["value"], ensure_ascii=False)
        return Value(record["index"], text, None, record)
    return Value(record["index"], None, storage.unspool(*place), record)
