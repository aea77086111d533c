"""The contract of a session: each planned index exactly once, and in order where that is asked."""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arcli.cluster.base import ClusterOptions
from arcli.cluster.embedded.cluster import EmbeddedCluster
from arcli.engine.chunk import PUBLISH_EVERY
from arcli.execution import Context, Outcome, run_jobs, setup_steps
from arcli.execution.interrupts import Interrupts
from arcli.record import Record, RecordBatch
from arcli.session.interfaces import Terms
from arcli.session.session import Session
from arcli.session.transport.inline import InlineTransport
from arcli.session.transport.ipyparallel import IpyparallelTransport
from arcli.specfile.compose import compose
from arcli.specfile.model import Spec
from arcli.specfile.tree import Places, Text
from arcli.store.folder import RunFolder
from arcli.store.manifest import Manifest
from arcli.store.storage import RunStorage
from arcli.timing.ledger import Ledger

FUNCTIONS = '''
import os


def act(item, folder):
    """Leave a byte behind for each try, and raise in the first ``fails`` of them."""
    handle = os.open(f"{folder}/{item['id']}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, b".")
    tries = os.fstat(handle).st_size
    os.close(handle)
    if item["fails"] >= tries:
        raise ValueError(f"try {tries} of item {item['id']}")
    return [item["id"], tries]
'''


@dataclass
class Consumer:
    """Keeps the records of one job as they come, and looks at the batches they come in."""

    records: list[Record] = field(default_factory=list)
    batches: int = 0

    def record(self, batch: RecordBatch) -> None:
        records = list(batch)
        assert [r.index for r in records] == [*range(batch.first, batch.first + batch.count)]
        assert batch.tally.total == batch.count
        self.records += records
        self.batches += 1


@dataclass
class House:
    """An open session, which runs one job after another."""

    session: Session
    storage: RunStorage
    folder: Path
    slots: int
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self, fails: list[int], **job: Any) -> tuple[list[Record], Ledger]:
        """Run one item for each of ``fails``, which is how often it raises."""
        consumer, ledger = self.consume(fails, **job)
        return consumer.records, ledger

    def consume(self, fails: list[int], **job: Any) -> tuple[Consumer, Ledger]:
        """The same, with what the consumer has seen."""
        name = f"job-{next(self.numbers)}"
        tries = self.folder / name
        tries.mkdir()
        items = [{"id": number, "fails": times} for number, times in enumerate(fails)]
        described = {
            "name": name,
            "map": "acting.py:act",
            "over": items,
            "kwargs": {"folder": str(tries)},
            **job,
        }
        spec = make_spec(self.folder, described)
        consumer = Consumer()
        context = Context(
            spec=spec,
            session=self.session,
            storage=self.storage,
            outputs=consumer,
            interrupts=Interrupts(lambda sentence: None, lambda answer: None),
            slots=self.slots,
        )
        outcome = Outcome()
        run_jobs(context, outcome)
        assert outcome.errors == []
        return consumer, self.session.ledgers[name]

    def tries(self, job: str) -> dict[int, int]:
        """How often each item was called."""
        return {int(path.name): path.stat().st_size for path in (self.folder / job).iterdir()}


def make_spec(folder: Path, *jobs: dict[str, Any]) -> Spec:
    return Spec.model_validate(
        {
            "name": "contract",
            "jobs": list(jobs),
            "file": "contract.yaml",
            "folder": folder,
            "places": Places(compose(Text("contract.yaml", "{}"))),
        }
    )


@contextmanager
def opened(engines: int | None) -> Iterator[House]:
    """A session on so many engines of an embedded cluster; None: in this process."""
    slots = engines or 1
    with ExitStack() as stack:
        stack.callback(sys.path.__setitem__, slice(None), sys.path[:])
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        (folder / "acting.py").write_text(FUNCTIONS)
        stack.callback(sys.modules.pop, "acting", None)
        storage = RunStorage(RunFolder.create(folder / ".arcli", Manifest()))
        stack.callback(storage.close)
        position_files = storage.position_files(slots)
        terms = Terms(
            max_restarts=0,
            start_timeout=120.0,
            steps=setup_steps(make_spec(folder), slots, str(position_files)),
            position_files=position_files,
            notice=lambda sentence: None,
        )
        transport: Any = InlineTransport()
        if engines is not None:
            cluster = EmbeddedCluster(ClusterOptions(engines=engines, start_timeout=120.0))
            stack.callback(cluster.stop)
            transport = IpyparallelTransport(cluster)
            cluster.start(transport.on_event)
        session = stack.enter_context(Session(transport, terms, storage, storage.run_id))
        yield House(session, storage, folder, slots)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(None, id="inline"),
        pytest.param(2, id="cluster", marks=pytest.mark.cluster),
    ],
)
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    with opened(request.param) as session:
        yield session


fails = st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 9]), max_size=60)
chunksizes = st.sampled_from(["auto", 1, 2, 3, 7, 50])
generously = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@generously
@given(
    fails=fails,
    chunksize=chunksizes,
    ordered=st.booleans(),
    retries=st.integers(0, 2),
    retry_delay=st.sampled_from([0.0, 0.001]),
    view=st.sampled_from(["load_balanced", "direct"]),
)
def test_each_planned_index_comes_exactly_once(
    house: House, fails: list[int], ordered: bool, retries: int, **job: Any
) -> None:
    records, ledger = house.run(fails, ordered=ordered, retries=retries, **job)
    indices = [record.index for record in records]
    assert (indices if ordered else sorted(indices)) == list(range(len(fails)))
    called = house.tries(ledger.job)
    for record in records:
        times = fails[record.index]
        assert record.input == {"id": record.index, "fails": times}
        assert record.attempt == called[record.index] == min(times, retries) + 1
        if times <= retries:
            assert (record.status, record.value) == ("ok", [record.index, times + 1])
        else:
            assert (record.status, record.value) == ("error", None)
            assert record.error is not None
            assert record.error.message == f"try {retries + 1} of item {record.index}"
    assert (ledger.ended, ledger.planned, ledger.unread) == ("done", len(fails), 0)
    assert ledger.tally.total == len(fails)


@generously
@given(
    fails=fails,
    chunksize=chunksizes,
    ordered=st.booleans(),
    retries=st.integers(0, 1),
    max_failures=st.integers(1, 4),
)
def test_a_halt_leaves_no_planned_index_without_its_record(
    house: House, fails: list[int], ordered: bool, retries: int, **job: Any
) -> None:
    records, ledger = house.run(fails, ordered=ordered, retries=retries, halt="soon", **job)
    indices = [record.index for record in records]
    assert (indices if ordered else sorted(indices)) == list(range(ledger.planned))
    assert ledger.planned + (ledger.unread or 0) == len(fails)
    failed = sum(record.status == "error" for record in records)
    if ledger.ended == "done":
        assert ledger.planned == len(fails)
    else:
        assert ledger.ended == "halt"
        assert failed >= job["max_failures"]
    for record in records:
        if record.status != "cancelled":
            assert (record.status == "ok") == (fails[record.index] <= retries)
        else:
            assert ledger.ended == "halt"


@pytest.mark.parametrize("ordered", [True, False])
def test_records_of_a_chunk_that_goes_on_come_early_and_once(house: House, ordered: bool) -> None:
    slowly = f"lambda item: __import__('time').sleep({PUBLISH_EVERY} / 4) or item"
    got, _ = house.consume([], map=slowly, over=[*range(12)], kwargs={}, ordered=ordered, chunksize=12)
    assert [(record.index, record.value) for record in got.records] == [(i, i) for i in range(12)]
    if house.slots > 1:  # in this process everything is at once
        assert got.batches > 1


def test_equal_items_are_told_apart_and_an_item_that_differs_in_type_is_another(
    house: House,
) -> None:
    records, _ = house.run([], map="repr", over=[1, 1, 1.0, True, "1", 1], kwargs={})
    assert [record.value for record in records] == ["1", "1", "1.0", "True", "'1'", "1"]
    first, second, *others, third = (record.key for record in records)
    assert (second, third) == (f"{first}-1", f"{first}-2")
    assert len({first, *others}) == 4


def test_records_say_who_ran_them(house: House) -> None:
    records, ledger = house.run([0] * 40, chunksize=1)
    engines = {record.engine_id for record in records}
    assert engines <= set(range(house.slots))
    assert set(ledger.engines) >= engines
    assert sum(use.items for use in ledger.engines.values()) == 40
    assert len({record.msg_id for record in records}) == 40
