"""Reduce over map results, without holding them: the folding itself happens on engines.

The user's code and the user's classes never come to the client: it passes accumulators on as
pickles that it does not open, so that any engine can take over from one that died.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, NamedTuple

from arcli.engine.protocol import Finish, Fold, FoldReply, Initial, InitialReply, ValueParts, ValueReply
from arcli.engine.tally import Status
from arcli.record import RecordBatch
from arcli.session.core.pending import Failed
from arcli.session.recorder import Storage
from arcli.session.results import Value, value_of
from arcli.session.session import Session
from arcli.specfile.model import Job

FOLD_ITEMS = 5000
FOLD_BYTES = 2_000_000
"""Values are folded when this many, or this much of them, are there."""


class Folded:
    """What a fold ended with: the value as a JSON tree, or as a pickle where JSON is not exact."""

    def __init__(self, tree: Any, text: str | None, pickled: bytes | None) -> None:
        self.tree = tree
        self.text = text
        self.pickled = pickled


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
        self._start: tuple[bytes | None, bool] | None = None
        self._last = -1
        self.count = 0

    def add(self, batch: RecordBatch) -> None:
        """Take a batch of records. Raises Failed where the reducer does."""
        for line in batch.lines.splitlines():
            record = json.loads(line)
            if record["status"] == Status.OK:
                self.add_value(value_of(record, batch.pickles, self._storage))

    def add_value(self, value: Value) -> None:
        """Take one value. Raises Failed where the reducer does."""
        self.count += 1
        self._pending.append((value.index, value.text, value.pickled))
        self._size += len(value.text or value.pickled or "")
        if len(self._pending) >= FOLD_ITEMS or self._size >= FOLD_BYTES:
            self._fold()

    def _fold(self) -> None:
        """Fold what is pending: here and now, or side by side where parts can be combined."""
        values, self._pending, self._size = self._pending, [], 0
        assert self._job.reduce is not None
        # Without combine the fold is one chain, each link waiting for the one
        # before it.
        if self._job.combine is None:
            if self._accumulated is None:
                self._accumulated, _ = self._initial()
            request = Fold(self._job.reduce, self._folder, self._accumulated, values)
            reply = self._session.ask(request, FoldReply)
            self._accumulated = None if reply.empty else reply.accumulated
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


def fold_all(folder: Reducer, values: Iterable[Value]) -> Folded:
    """Fold values that stand in a journal already."""
    for value in values:
        folder.add_value(value)
    return folder.finish()


def words(failed: Failed) -> str:
    """Tell why a reduce failed, naming the item that it failed at."""
    failure = failed.failure
    at = f" at item {failure.item}" if failure.item >= 0 else ""
    if failed.items is not None:
        at = " at the part of items {} to {}".format(*failed.items)
    return f"{failure.stage} failed{at}: {failure.reason}"
