"""A job's results after the fact: where its records stand, and what its values are folded into.

The folding happens on engines. The user's code and the user's classes never come to the client: it
passes accumulators on as pickles that it does not open, so that any engine can take over from one
that died.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from arcli.engine.encode import from_tree
from arcli.engine.protocol import Finish, Fold, FoldReply, Initial, InitialReply, ValueParts, ValueReply
from arcli.engine.tally import Status
from arcli.inputs.pickled import PickledInput
from arcli.record import RecordBatch, decode
from arcli.session.core.messages import Failed
from arcli.session.recorder import Storage
from arcli.session.session import Session
from arcli.specfile.model import Job

BLOCK = 4_000_000
"""Bytes of records that are looked at together."""


class Value(Struct, frozen=True):
    """One item's value: JSON text where that is the whole truth, else a pickle that engines know.

    ``record`` is the decoded record that it is from.
    """

    index: int
    text: str | None
    pickled: bytes | None
    record: dict[str, Any]


class _Place(Struct, frozen=True):
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
        # Fixed-size entries by number: the file is sparse where items are missing.
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
                    yield _Place(offset, length, pickles)
                index += 1


class JobResults(Struct):
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
        self._places.append(_Place(batch.offset, len(batch.lines), batch.pickles))

    def records(self) -> Iterator[tuple[dict[str, Any], dict[int, tuple[int, int]] | None]]:
        """Yield all records, decoded, in the items' order."""
        for place in self._places if self._index is None else self._index.places():
            for line in self.storage.read(place.offset, place.length).splitlines():
                yield json.loads(line), place.pickles

    def values(self) -> Iterator[Value]:
        """Yield the values of items that are ok, in the items' order."""
        for record, pickles in self.records():
            if record["status"] == Status.OK:
                yield value_of(record, pickles, self.storage)

    def inputs(self, where: Literal["ok", "all"]) -> Iterator[Any]:
        """Yield the values as another job's inputs; with ``all``, null for each item that is not ok."""
        for record, pickles in self.records():
            # What a command that failed has as its value is its output, and no result.
            if record["status"] != Status.OK:
                if where == "all":
                    yield None
                continue
            value = value_of(record, pickles, self.storage)
            if value.text is not None:
                yield from_tree(record["value"])
            else:
                assert value.pickled is not None
                shown = json.dumps(record["value"], ensure_ascii=False)
                yield PickledInput(pickled=value.pickled, text=shown)


def value_of(record: dict[str, Any], pickles: dict[int, tuple[int, int]] | None, storage: Storage) -> Value:
    """Return the value in a decoded record."""
    place = (pickles or {}).get(record["index"])
    if place is None or record["exact"]:
        text = json.dumps(record["value"], ensure_ascii=False)
        return Value(record["index"], text, None, record)
    return Value(record["index"], None, storage.unspool(*place), record)


class _Line(Struct, gc=False):
    """What a fold needs of a record: its value as the JSON text that stands there."""

    index: int
    status: str
    exact: bool = True
    value: msgspec.Raw = msgspec.Raw(b"null")


_DECODER = msgspec.json.Decoder(_Line)
"""A reducer takes a million values, and to make trees of their records and texts of these again took ten
times as long.
"""
FOLD_ITEMS = 5000
FOLD_BYTES = 2_000_000
"""Values are folded when this many, or this much of them, are there."""
HELD_ITEMS = 20 * FOLD_ITEMS
HELD_BYTES = 4 * FOLD_BYTES
"""The most that waits while a link of the fold is under way."""


class Folded(NamedTuple):
    """What a fold ended with: the value as a JSON tree, or as a pickle where JSON is not exact."""

    tree: Any
    text: str | None
    pickled: bytes | None


class _Part(NamedTuple):
    """Items that are being folded by themselves, from the first to the last."""

    future: Future[bytes]
    first: int
    last: int


_LIST = {
    "reduce": "lambda values, value: values.append(value) or values",
    "combine": "operator:add",
    "initial": [],
}
"""What makes a list of all values, for a ``finish`` without a ``reduce``."""


class Reducer:
    """Folds a job's values with its ``reduce``; ``combine`` joins parts that were folded apart.

    Batches must come in the items' order, unless the job is ``commutative``.
    """

    def __init__(self, session: Session, job: Job, folder: str, storage: Storage) -> None:
        self._session = session
        self._listed = job.reduce is None
        # Without a reducer the values are put into a list, in parts side by side.
        self._job = job.model_copy(update=_LIST) if self._listed else job
        self._folder = folder
        self._storage = storage
        self._accumulated: bytes | None = None
        self._pending: ValueParts = []
        self._size = 0
        self._parts: deque[_Part] = deque()
        self._link: Future[bytes] | None = None
        self._start: tuple[bytes | None, bool] | None = None
        self._last = -1
        self.count = 0

    def add(self, batch: RecordBatch) -> None:
        """Take a batch of records. Raises Failed where the reducer does."""
        pickles = batch.pickles or {}
        try:
            lines = _DECODER.decode_lines(batch.lines)
        except msgspec.MsgspecError:  # half of a surrogate pair, which only the slow reader takes
            for line in batch.lines.splitlines():
                record = json.loads(line)
                if record["status"] == Status.OK:
                    self.add_value(value_of(record, pickles, self._storage))
            return
        for each in lines:
            if each.status != Status.OK:
                continue
            place = None if each.exact else pickles.get(each.index)
            if place is None:
                self._take(each.index, bytes(each.value).decode(), None)
            else:
                self._take(each.index, None, self._storage.unspool(*place))

    def add_value(self, value: Value) -> None:
        """Take one value. Raises Failed where the reducer does."""
        self._take(value.index, value.text, value.pickled)

    def _take(self, index: int, text: str | None, pickled: bytes | None) -> None:
        self.count += 1
        self._pending.append((index, text, pickled))
        self._size += len(text or pickled or "")
        if len(self._pending) < FOLD_ITEMS and self._size < FOLD_BYTES:
            return
        # An engine that has a chunk answers when that is done: who waited for each answer would fall behind
        # the items. What has come meanwhile is the next link, however long it is, while there is room.
        under_way = self._link is not None and not self._link.done()
        if not under_way or len(self._pending) >= HELD_ITEMS or self._size >= HELD_BYTES:
            self._fold()

    def _fold(self) -> None:
        """Fold what is pending: here and now, or side by side where parts can be combined."""
        values, self._pending, self._size = self._pending, [], 0
        assert self._job.reduce is not None
        # Without combine the fold is one chain, each link waiting for the one
        # before it.
        if self._job.combine is None:
            self._join_link()
            if self._accumulated is None:
                self._accumulated, _ = self._initial()
            request = Fold(self._job.reduce, self._folder, self._accumulated, values)
            self._link = self._session.submit(request)
            return
        initial, neutral = self._initial()
        # The initial value may count only once, unless it changes nothing.
        is_first = self._last < 0
        start = initial if is_first or neutral else None
        future = self._session.submit(Fold(self._job.reduce, self._folder, start, values))
        self._last = values[-1][0]
        self._parts.append(_Part(future, values[0][0], self._last))
        # As many parts side by side as there are engines; the oldest is joined
        # first, to keep the order.
        while len(self._parts) > max(1, self._session.state.engines):
            self._combine()

    def _join_link(self) -> None:
        """Wait for the link that is under way, if one is. Raises Failed."""
        if self._link is None:
            return
        link, self._link = self._link, None
        reply = self._session.collect(link, FoldReply)
        self._accumulated = None if reply.empty else reply.accumulated

    def _initial(self) -> tuple[bytes | None, bool]:
        """Return what a fold starts with, if anything, and whether every part of it may.

        Only what ``combine`` leaves as it is can be in every part and still count once.
        """
        if self._start is None and self._job.initial is None:
            self._start = None, True
        elif self._start is None:
            request = Initial(json.dumps(self._job.initial), self._job.combine, self._folder)
            reply = self._session.ask(request, InitialReply)
            self._start = reply.pickled, reply.neutral
        return self._start

    def _combine(self) -> None:
        part = self._parts.popleft()
        folded = self._session.collect(part.future, FoldReply)
        if folded.empty:
            return
        # The first part is what all others are joined to.
        if self._accumulated is None:
            self._accumulated = folded.accumulated
            return
        assert self._job.combine is not None
        try:
            values: ValueParts = [(-1, None, folded.accumulated)]
            request = Fold(self._job.combine, self._folder, self._accumulated, values, "combine")
            self._accumulated = self._session.ask(request, FoldReply).accumulated
        except Failed as failed:
            raise Failed(failed.failure, items=(part.first, part.last)) from None

    def finish(self) -> Folded:
        """Return the value: what was accumulated, through ``finish``. Raises Failed."""
        if self._pending:
            self._fold()
        self._join_link()
        while self._parts:
            self._combine()
        # No items: the initial value is the result, if there is one.
        if self._accumulated is None:
            self._accumulated, _ = self._initial()
        if self._accumulated is None:
            return Folded(None, "null", None)
        count = None if self._listed else self.count
        request = Finish(self._job.finish, self._folder, self._accumulated, count)
        reply = self._session.ask(request, ValueReply)
        text = reply.text.decode() if reply.exact else None
        return Folded(json.loads(reply.text), text, reply.pickled)


def words(failed: Failed) -> str:
    """Tell why a reduce failed, naming the item that it failed at."""
    failure = failed.failure
    at = f" at item {failure.item}" if failure.item >= 0 else ""
    if failed.items is not None:
        at = " at the part of items {} to {}".format(*failed.items)
    return f"{failure.stage} failed{at}: {failure.reason}"
