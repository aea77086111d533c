"""Sessions over each transport that there is: this process, engines of a test's own, a real cluster."""

from __future__ import annotations

import itertools
import json
import queue
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from fake_session import FakeEngine, FakeTransport

from arcli.cluster.base import ClusterOptions
from arcli.cluster.embedded.cluster import EmbeddedCluster
from arcli.engine.protocol import RunChunk, decode_request, encode_request
from arcli.engine.worker import Worker
from arcli.execution import Context, Outcome, run_jobs, setup_steps
from arcli.execution.interrupts import Interrupts
from arcli.record import Record, RecordBatch, decode
from arcli.session.core.core import TICK
from arcli.session.core.messages import Moment
from arcli.session.interfaces import NoListener, Reply, Terms
from arcli.session.loop import SessionLoop
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

FOREVER = 3600
FUNCTIONS = f'''
import os
import signal
import time


def act(item, folder):
    """Leave a byte behind for each try, and raise in the first ``fails`` of them; or as it ``does``."""
    handle = os.open(f"{{folder}}/{{item['id']}}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, b".")
    tries = os.fstat(handle).st_size
    os.close(handle)
    if item.get("does") == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if item.get("does") == "hang":
        time.sleep({FOREVER})
    if item["fails"] >= tries:
        raise ValueError(f"try {{tries}} of item {{item['id']}}")
    return [item["id"], tries]
'''


# -- a fake cluster whose engines work ----------------------------------------------------------------


class Died(BaseException):
    """An item has ended its engine, which is only said to be a process of its own."""


class Hung(BaseException):
    """An item does not return."""


class WorkingTransport(FakeTransport):
    """Engines that run what they are sent, by the engine's own code: one message at a time, in any order.

    Time leaps while none of them has anything to do.
    """

    def __init__(self, slots: int) -> None:
        super().__init__()
        self._workers: dict[int, Worker] = {}
        self._hung: set[int] = set()
        self._early: list[bytes] = []
        self._chance = random.Random(0)
        self._leapt = 0.0
        for slot in range(slots):
            self.comes(slot)

    def clock(self) -> Moment:
        return Moment(time.monotonic() + self._leapt, time.time() + self._leapt)

    def turn(self, loop: SessionLoop) -> None:
        """Do what is next, and have the session take it in."""
        for engine_id in {*self.killed, *self.released} & self.engines.keys():
            self.dies(self.engines[engine_id], "ended")
        for slot in list(self.coming):
            self.comes(slot)
        busy = [
            engine
            for engine in self.engines.values()
            if engine.queue and engine.engine_id not in self._hung
        ]
        event = None
        if busy:
            self._work(self._chance.choice(busy), loop)
        else:
            with suppress(queue.Empty):
                event = loop._events.get(timeout=0.001)
            self._leapt += TICK if event is None else 0.0
        loop.turn(event)

    def _work(self, engine: FakeEngine, loop: SessionLoop) -> None:
        msg_id, request = engine.queue[0]
        envelope = None
        try:
            if request is None:
                passing = (Died, Hung)
                self._workers[engine.engine_id] = Worker(
                    {}, self._early.append, watchdog=False, passing=passing
                )
            else:
                with patch("os.kill", _die), patch("time.sleep", _sleep):
                    envelope = self._workers[engine.engine_id].handle(encode_request(request))
        except Hung:
            self._hung.add(engine.engine_id)
            return
        except Died:
            self.dies(engine, "killed by SIGKILL")
            return
        finally:
            # What was published is there before the answer.
            self.published += [(msg_id, early) for early in self._early]
            self._early.clear()
            loop.turn(None)
        engine.queue.popleft()
        self.deliver(Reply(msg_id=msg_id, envelope=envelope))

    def close(self) -> None:
        for worker in self._workers.values():
            worker._engine.patrol.close()  # what else it leaves is this process's own


def _die(pid: int, signum: int) -> None:
    raise Died


def _sleep(seconds: float, really: Callable[[float], None] = time.sleep) -> None:
    if seconds >= FOREVER:
        raise Hung
    really(seconds)


class Inbox(queue.SimpleQueue[Any]):
    """What the main thread sleeps on: whenever it would, the session's loop is turned."""

    def __init__(self, turn: Callable[[], None]) -> None:
        super().__init__()
        self._turn = turn

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        while self.empty():
            self._turn()
        return super().get(block, timeout)


class ThreadlessSession(Session):
    """A session whose loop turns on the main thread, by the transport's clock."""

    def __init__(self, fake: WorkingTransport, transport: Any, terms: Terms, storage: RunStorage) -> None:
        super().__init__(transport, terms, storage, storage.run_id)
        self._loop = SessionLoop(transport, terms, self._wake, clock=fake.clock)
        self._inbox = Inbox(lambda: fake.turn(self._loop))

    def __enter__(self) -> Self:
        self._transport.open(self._loop)
        return self


# -- what all have in common ------------------------------------------------------------------------


class Witness:
    """Stands before a transport, and keeps which chunks are sent: ``late`` are those after an end."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.over = True
        self.late: list[RunChunk] = []
        self.sending: Callable[[], None] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def send(self, engine_id: int, request: bytes, label: str | None = None) -> str:
        chunk = decode_request(request)
        msg_id: str = self._transport.send(engine_id, request, label)
        if isinstance(chunk, RunChunk):
            self.late += [chunk] if self.over else []
            self.sending()
        return msg_id

    def interrupt(self, *, now: bool) -> None:
        self.over = True
        self._transport.interrupt(now=now)


class Listener(NoListener):
    """Does something, once, when the next records are there, before anybody else has them."""

    def __init__(self) -> None:
        self.then: Callable[[], None] | None = None

    def recorded(self, job: str, lines: bytes) -> None:
        then, self.then = self.then, None
        if then is not None:
            then()


@dataclass
class Consumer:
    """Keeps the records of one job as they come, and looks at the batches they come in."""

    records: list[Record] = field(default_factory=list)
    batches: int = 0

    def record(self, batch: RecordBatch) -> None:
        records = list(batch)
        assert [r.index for r in records] == [*range(batch.first, batch.first + batch.count)]
        assert batch.tally.total == batch.count
        shared = decode(batch.shared) if batch.shared else {}
        assert all(shared.items() <= json.loads(record.to_line()).items() for record in records)
        self.records += records
        self.batches += 1


@dataclass
class OpenSession:
    """An open session of some kind, which runs one job after another."""

    kind: str
    session: Session
    storage: RunStorage
    folder: Path
    slots: int
    witness: Witness
    listener: Listener
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
        consumer = Consumer()
        context = Context(
            spec=make_spec(self.folder, described),
            session=self.session,
            storage=self.storage,
            outputs=consumer,
            interrupts=Interrupts(lambda sentence: None, lambda answer: None),
            slots=self.slots,
        )
        outcome = Outcome()
        self.witness.over = False
        run_jobs(context, outcome)
        self.witness.over = True
        assert outcome.errors == []
        assert self.witness.late == []
        return consumer, self.session.ledgers[name]

    def tries(self, job: str) -> dict[int, int]:
        """How often each item was called."""
        return {int(path.name): path.stat().st_size for path in (self.folder / job).iterdir()}

    def check(
        self, records: list[Record], ledger: Ledger, *, total: int, ordered: bool = True
    ) -> Counter[str]:
        """Each planned index has one record, whatever became of the job; return how many of each status."""
        indices = [record.index for record in records]
        assert (indices if ordered else sorted(indices)) == list(range(ledger.planned))
        assert ledger.planned + (ledger.unread or 0) == total
        assert ledger.tally.total == ledger.planned
        counts = Counter(str(record.status) for record in records)
        assert counts == Counter(ledger.tally.counts)
        return counts


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
def opened(kind: str) -> Iterator[OpenSession]:
    """A session in this process (``inline``), or on two engines of a ``fake`` or of a real ``cluster``."""
    slots = 1 if kind == "inline" else 2
    with ExitStack() as stack:
        stack.callback(sys.path.__setitem__, slice(None), sys.path[:])
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        (folder / "acting.py").write_text(FUNCTIONS)
        stack.callback(sys.modules.pop, "acting", None)
        storage = RunStorage(RunFolder.create(folder / ".arcli", Manifest()))
        stack.callback(storage.close)
        position_files = storage.position_files(slots)
        listener = Listener()
        terms = Terms(
            max_restarts=10,
            start_timeout=120.0,
            steps=setup_steps(make_spec(folder), slots, str(position_files)),
            position_files=position_files,
            notice=lambda sentence: None,
            listener=listener,
        )
        session: Session
        if kind == "fake":
            fake = WorkingTransport(slots)
            stack.callback(fake.close)
            witness = Witness(fake)
            session = ThreadlessSession(fake, witness, terms, storage)
        elif kind == "inline":
            witness = Witness(InlineTransport())
            session = Session(witness, terms, storage, storage.run_id)
        else:
            cluster = EmbeddedCluster(ClusterOptions(engines=slots, start_timeout=120.0))
            stack.callback(cluster.stop)
            transport = IpyparallelTransport(cluster)
            cluster.start(transport.on_event)
            witness = Witness(transport)
            session = Session(witness, terms, storage, storage.run_id)
        stack.enter_context(session)
        yield OpenSession(kind, session, storage, folder, slots, witness, listener)
