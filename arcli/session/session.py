"""A session: engines that are set up, and jobs that run on them one after another.

This is the main thread's side. It hands out records as they may go out, in order or as they come;
the deciding happens on a thread of its own (``loop``), by plain objects (``core``).
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from arcli.cluster.base import EngineInfo
from arcli.engine.protocol import Define, Done, Failure, Fold, Reply, Request, decode_reply, encode_request
from arcli.plan.job import JobPlan
from arcli.record import RecordBatch
from arcli.session.core.job import JobRun
from arcli.session.core.messages import Broadcast, Call, CancelItems, EndJob, Failed, Stop, setup_error
from arcli.session.interfaces import Supply, Terms, Transport, Wake
from arcli.session.loop import SessionLoop
from arcli.session.recorder import Recorder, Storage
from arcli.timing.ledger import Ledger
from arcli.timing.snapshot import Snapshot

HELD_BYTES = 16_000_000
"""Records that wait in memory for a slow consumer; beyond it they wait in the journal."""

R = TypeVar("R", bound=Reply)


class Session:
    """Engines behind ``transport`` on ``terms``; records go to ``storage`` before anyone sees them."""

    def __init__(self, transport: Transport, terms: Terms, storage: Storage, run_id: str) -> None:
        self._transport = transport
        self._storage = storage
        self._run_id = run_id
        self._inbox: queue.SimpleQueue[RecordBatch | EndJob | None] = queue.SimpleQueue()
        self._meanwhile: deque[RecordBatch | EndJob] = deque()
        self._emitted = 0
        self._consumed = 0
        self._loop = SessionLoop(transport, terms, self._wake)
        self.ledgers: dict[str, Ledger] = {}
        self.due: float | None = None
        """The monotonic time at which the current job's deadline passes."""

    def __enter__(self) -> Self:
        self._loop.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.close()

    @property
    def state(self) -> Snapshot:
        """How things stood a moment ago. Safe to read from any thread."""
        return self._loop.snapshot()

    @property
    def ready_at(self) -> float | None:
        """The monotonic time at which the first engine had done its setup, None before."""
        return self._loop.ready_at

    def wake(self) -> None:
        """A source has items, or has ended. Safe to call from any thread."""
        self._loop.put(Wake())

    def stop(self, stop: Stop) -> None:
        """Stop the current job. Safe to call from any thread and from a signal handler."""
        self._loop.put(stop)

    def cancel_items(self, indices: Iterable[int], reason: str) -> None:
        """End items of the current job by their numbers. Safe to call from any thread."""
        self._loop.put(CancelItems(frozenset(indices), reason))

    def _wake(self) -> None:
        self._inbox.put(None)

    def ask(self, request: Request, kind: type[R]) -> R:
        """Have an engine answer a request, by a reply of this kind. Raises as ``collect`` does."""
        return self.collect(self.submit(request), kind)

    def submit(self, request: Request) -> Future[bytes]:
        """Have an engine answer a request, and go on: ``collect`` has the answer."""
        future: Future[bytes] = Future()
        what = "reduce" if isinstance(request, Fold) else type(request).__name__.lower()
        # Encoded on the main thread: the loop's must not wait for a large value to be pickled.
        call = Call(request=encode_request(request), future=future, what=what, due=self.due)
        self._loop.put(call)
        return future

    def collect(self, future: Future[bytes], kind: type[R]) -> R:
        """Wait for the answer to what was submitted.

        Raises Failed where the user's code did, took too long or cost its engines; ClusterError,
        SetupError; Interrupted and DeadlineError where the run is stopped.
        """
        return _expected(self._wait(future), kind, "")

    def ask_aside(self, request: Request, kind: type[R]) -> R:
        """As ``ask``, from another thread than the main one, which goes on. Raises Failed."""
        return _expected(self.submit(request).result(), kind, "")

    def ask_each(
        self, request: Request, kind: type[R], what: str, *, keep: bool = False
    ) -> dict[EngineInfo, R]:
        """Have every engine answer a request: their replies, by slots. Raises as ``collect`` does.

        ``what`` it is, in words. With ``keep`` engines that replace others later do it, too.
        """
        future: Future[dict[int, bytes]] = Future()
        broadcast = Broadcast(
            request=encode_request(request), future=future, keep=keep, what=what, due=self.due
        )
        # The loop's thread asks; this one waits, and is the one that a signal reaches.
        self._loop.put(broadcast)
        replies = self._wait(future)
        answered = [(broadcast.where[slot], reply) for slot, reply in replies.items()]
        return {engine: _expected(reply, kind, engine.words) for engine, reply in answered}

    def define(self, plan: JobPlan) -> None:
        """Teach every engine a job, before any item is spent. Raises SetupError."""
        self.prepare(Define(plan.definition), f"the function of job {plan.name!r}", keep=True)

    def prepare(self, request: Request, what: str, *, keep: bool = False) -> None:
        """Have every engine do what no item can do without. Raises SetupError."""
        try:
            self.ask_each(request, Done, what, keep=keep)
        except Failed as failed:
            raise setup_error(failed.where, failed.failure) from None

    def _wait(self, future: Future[Any]) -> Any:
        """Wait on the main thread, which is where an in-process transport runs its items."""
        # The inbox is what the main thread sleeps on, so the answer knocks there.
        future.add_done_callback(lambda _: self._wake())
        while not future.done():
            # Records that come meanwhile are not lost: they are the beginning of what ``records`` yields.
            if (got := self._next()) is not None:
                self._meanwhile.append(got)
        return future.result()

    def _next(self) -> RecordBatch | EndJob | None:
        """Wait for what the loop's thread hands over; None is a knock without news.

        An in-process transport uses that to run what it was sent, on this very thread.
        """
        got = self._inbox.get()
        if got is None and self._transport.in_process:
            self._transport.run_pending()
        return got

    def records(self, plan: JobPlan, supply: Supply, replay: list[Any]) -> Iterator[RecordBatch]:
        """Run a job: each item's record exactly once, in the items' order if ``ordered``.

        The job's ledger is in ``ledgers`` afterwards. Raises what ended the job early, after the
        records of everything that was read: ClusterError, SetupError, InputError, OutputError.
        """
        # All that the loop's thread will touch is made here and handed over whole.
        # On engines that are not arcli's own, items that are under way would outlive a client that is gone.
        overlap = self._transport.owned and not self._transport.in_process
        began = time.monotonic()
        job = JobRun(plan, self._run_id, supply, replay, began=began, due=self.due, overlap=overlap)
        recorder = Recorder(
            self._storage,
            plan.name,
            self._emit,
            ordered=plan.job.ordered,
            keep_values=plan.definition.keep_opaque,
        )
        self._loop.begin(job, recorder, self._inbox.put)
        while True:
            got = self._meanwhile.popleft() if self._meanwhile else self._next()
            if isinstance(got, RecordBatch):
                # What the consumer was too slow for was left in the journal, and is read from there.
                if got.lines:
                    self._consumed += got.length
                else:
                    got.lines = self._storage.read(got.offset, got.length)
                yield got
            elif isinstance(got, EndJob):
                self.ledgers[plan.name] = got.ledger
                if got.error is not None:
                    raise got.error
                return

    def _emit(self, batch: RecordBatch) -> None:
        # A consumer that is slow, a pipe to less, say, finds the lines in the journal instead of in memory.
        if self._emitted - self._consumed > HELD_BYTES:
            batch.lines = b""
        elif batch.lines:
            self._emitted += batch.length
        self._inbox.put(batch)


def _expected(raw: bytes, kind: type[R], where: str) -> R:
    """Decode a reply of the kind that was asked for. Raises Failed."""
    reply = decode_reply(raw)
    if isinstance(reply, Failure):
        raise Failed(reply, where)
    if not isinstance(reply, kind):
        raise ValueError(f"a {type(reply).__name__} where a {kind.__name__} was expected")
    return reply
