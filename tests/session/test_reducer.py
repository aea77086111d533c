"""The client's side of a fold: when it sends values, and when it waits."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any, cast

import pytest

from arcli.engine.protocol import Fold, FoldReply, Request, ValueReply
from arcli.engine.tally import Tally
from arcli.record import RecordBatch
from arcli.session.recorder import Storage
from arcli.session.results import FOLD_ITEMS, HELD_ITEMS, Reducer
from arcli.session.session import Session
from arcli.specfile.model import Job


class Engine:
    """A session with one engine, which has something else to do until it is asked to fold."""

    def __init__(self) -> None:
        self.links: list[tuple[Fold, Future[bytes]]] = []
        self.folded: list[int] = []
        self.waited = 0

    def submit(self, request: Request) -> Future[bytes]:
        assert isinstance(request, Fold)
        assert all(future.done() for _, future in self.links)  # each link needs the one before it
        self.links.append((request, Future()))
        return self.links[-1][1]

    def fold(self) -> None:
        """Answer what has been sent."""
        request, future = self.links[-1]
        self.folded += [index for index, _, _ in request.values]
        future.set_result(b"")

    def collect(self, future: Future[bytes], kind: type) -> Any:
        if not future.done():
            self.waited += 1
            self.fold()
        return FoldReply(False, b"a pickle")

    def ask(self, request: Request, kind: type) -> Any:
        return ValueReply(True, False, json.dumps(len(self.folded)).encode(), b"")


def batch(first: int, count: int) -> RecordBatch:
    numbers = range(first, first + count)
    records = [{"index": index, "status": "ok", "exact": True, "value": index} for index in numbers]
    lines = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    return RecordBatch(
        job="a", first=first, count=count, offset=0, length=len(lines), tally=Tally(), lines=lines
    )


@pytest.mark.parametrize("batches", [3, 2 * HELD_ITEMS // FOLD_ITEMS + 1])
def test_items_go_on_while_a_link_of_the_fold_is_under_way(batches: int) -> None:
    engine = Engine()
    job = Job(name="a", map="abs", reduce="operator:add")
    reducer = Reducer(cast("Session", engine), job, ".", cast("Storage", None))
    for number in range(batches):
        reducer.add(batch(number * FOLD_ITEMS, FOLD_ITEMS))
    # Only what would be too much to hold is waited for.
    assert engine.waited == batches * FOLD_ITEMS // HELD_ITEMS
    assert reducer.finish().tree == batches * FOLD_ITEMS
    assert engine.folded == list(range(batches * FOLD_ITEMS))


def test_a_link_is_sent_as_soon_as_the_one_before_it_is_there() -> None:
    engine = Engine()
    job = Job(name="a", map="abs", reduce="operator:add")
    reducer = Reducer(cast("Session", engine), job, ".", cast("Storage", None))
    for number in range(4):
        reducer.add(batch(number * FOLD_ITEMS, FOLD_ITEMS))
        engine.fold()
    assert [len(request.values) for request, _ in engine.links] == [FOLD_ITEMS] * 4
    assert engine.waited == 0
