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

from arcli.record import RecordBatch
from arcli.session.jobrun import Storage
from arcli.session.pool import Failed
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


class Reducer:
    """Folds a job's values with its ``reduce``; ``combine`` joins parts that were folded apart.

    Batches must come in the items' order, unless the job is ``commutative``.
    """

    def __init__(self, session: Session, job: Job, folder: str, storage: Storage) -> None:
        assert job.reduce is not None
        self._session = session
        self._job = job
        self._folder = folder
        self._storage = storage
        self._accumulated: bytes | None = None
        self._pending: list[tuple[int, str | None, bytes | None]] = []
        self._size = 0
        self._parts: deque[_Part] = deque()
        self._start: tuple[bytes | None, bool] | None = None
        self._last = -1
        self.count = 0

    def add(self, batch: RecordBatch) -> None:
        """Take a batch of records. Raises Failed where the reducer does."""
        for line in batch.lines.splitlines():
            record = json.loads(line)
            if record["status"] == "ok":
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
        if self._job.combine is None:
            if self._accumulated is None:
                self._accumulated, _ = self._initial()
            header, (accumulated,) = self._session.call(
                "fold",
                function=self._job.reduce,
                folder=self._folder,
                accumulated=self._accumulated,
                values=values,
            )
            self._accumulated = None if header["empty"] else accumulated
            return
        initial, neutral = self._initial()
        is_first = self._last < 0
        future = self._session.submit(
            "fold",
            function=self._job.reduce,
            folder=self._folder,
            accumulated=initial if is_first or neutral else None,
            values=values,
        )
        self._last = values[-1][0]
        self._parts.append(_Part(future, values[0][0], self._last))
        while len(self._parts) > max(1, self._session.state.engines):
            self._combine()

    def _initial(self) -> tuple[bytes | None, bool]:
        """What a fold starts with, if anything, and whether every part of it may.

        Only what ``combine`` leaves as it is can be in every part and still count once.
        """
        if self._start is None and self._job.initial is None:
            self._start = None, True
        elif self._start is None:
            header, (pickled,) = self._session.call(
                "initial",
                text=json.dumps(self._job.initial),
                combine=self._job.combine,
                folder=self._folder,
            )
            self._start = pickled, header["neutral"]
        return self._start

    def _combine(self) -> None:
        part = self._parts.popleft()
        header, (pickled,) = self._session.collect(part.future)
        if header["empty"]:
            return
        if self._accumulated is None:
            self._accumulated = pickled
            return
        assert self._job.combine is not None
        try:
            _, (self._accumulated,) = self._session.call(
                "fold",
                function=self._job.combine,
                folder=self._folder,
                accumulated=self._accumulated,
                values=[(-1, None, pickled)],
                stage="combine",
            )
        except Failed as failed:
            raise Failed({**failed.details, "items": (part.first, part.last)}) from None

    def finish(self) -> Folded:
        """The value: what was accumulated, through ``finish``. Raises Failed."""
        if self._pending:
            self._fold()
        while self._parts:
            self._combine()
        if self._accumulated is None:
            self._accumulated, _ = self._initial()
        if self._accumulated is None:
            return Folded(None, "null", None)
        header, (text, pickled) = self._session.call(
            "finish",
            function=self._job.finish,
            folder=self._folder,
            accumulated=self._accumulated,
            count=self.count,
        )
        return Folded(json.loads(text), text.decode() if header["exact"] else None, pickled)


def fold_all(folder: Reducer, values: Iterable[Value]) -> Folded:
    """Fold values that stand in a journal already."""
    for value in values:
        folder.add_value(value)
    return folder.finish()


def words(failed: Failed) -> str:
    """Why a reduce failed, naming the item that it failed at."""
    index = failed.details.get("index", -1)
    at = f" at item {index}" if index >= 0 else ""
    if "items" in failed.details:
        at = " at the part of items {} to {}".format(*failed.details["items"])
    return f"{failed.details['stage']} failed{at}: {failed.details['reason']}"
