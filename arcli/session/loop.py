"""The session's own thread: it owns the queue and the clock, and carries out what the core decides.

It never waits for a source or for an output, so that neither can stop a timer.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from arcli.cluster.base import ClusterDown, EngineDown
from arcli.engine.position_file import PositionFiles
from arcli.engine.protocol import Printed
from arcli.errors import ArcliError
from arcli.session.core.core import TICK, Event, SessionCore
from arcli.session.core.job import JobRun
from arcli.session.core.messages import (
    Answered,
    Attempted,
    Early,
    Effect,
    EndJob,
    Forget,
    Interrupt,
    Kill,
    Limit,
    Moment,
    Notice,
    NotRevived,
    PendingChunk,
    PendingRequest,
    Prepare,
    Ready,
    Recall,
    Records,
    Reject,
    Release,
    Replace,
    Resolve,
    Revive,
    Send,
)
from arcli.session.core.pool import pause
from arcli.session.interfaces import Event as TransportEvent
from arcli.session.interfaces import Reply, Terms, Transport, Wake
from arcli.session.recorder import Recorder
from arcli.timing.snapshot import Snapshot

WATCHED = 5.0
"""Seconds for which somebody who has asked how things stand may ask again."""


def read_clock() -> Moment:
    """Tell the time, by the only clock that the session has."""
    return Moment(time.monotonic(), time.time())


class SessionLoop:
    """Runs on a thread of its own from ``start`` to ``close``; all else is posted to it."""

    def __init__(
        self,
        transport: Transport,
        terms: Terms,
        wake_main: Callable[[], None],
        *,
        clock: Callable[[], Moment] = read_clock,
        files: PositionFiles | None = None,
        host: str | None = None,
    ) -> None:
        self._transport = transport
        self._terms = terms
        self._wake_main = wake_main
        self._clock = clock
        self._files = files or PositionFiles(terms.position_files)
        self._core = SessionCore(terms, transport, host or socket.gethostname(), self._files.read)
        self._events: queue.SimpleQueue[Event | Reply] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="arcli-session", daemon=True)
        self._closed = False
        self._pending: dict[str, PendingRequest] = {}
        self._recorder: Recorder | None = None
        self._end: Callable[[EndJob], None] | None = None
        self._looked_at = self._snapshot_at = float("-inf")
        self._snapshot = Snapshot()
        self.ready_at: float | None = None
        """The monotonic time at which the first engine had done its setup."""

    def start(self) -> None:
        """Begin; the transport reports its engines from now on."""
        self._thread.start()
        self._transport.open(self)

    def put(self, event: TransportEvent | Event) -> None:
        """Take an event, of the transport or of the main thread. Never blocks."""
        self._events.put(event)

    def begin(self, job: JobRun, recorder: Recorder, end: Callable[[EndJob], None]) -> None:
        """Run a job whose records go to ``recorder``; ``end`` is called once, when it is over."""
        self._recorder, self._end = recorder, end
        self.put(job)

    def snapshot(self) -> Snapshot:
        """Tell how things stood a moment ago."""
        self._looked_at = self._clock().now
        return self._snapshot

    def close(self) -> None:
        """End the thread. What is under way is forgotten."""
        self._closed = True
        self.put(Wake())
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            # An event, or the time of the next timer, is waited for.
            try:
                due = self._core.due
                event: Event | Reply | None = None
                with suppress(queue.Empty):
                    event = self._events.get(
                        timeout=None if due is None else max(0.0, due - self._clock().now)
                    )
                self.turn(event)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the main thread must hear
                self._break_off(error)
        for msg_id in self._pending:
            self._transport.forget(msg_id)

    def turn(self, event: Event | Reply | None) -> None:
        """Take an event and all others that are there; then look at all timers."""
        if event is not None:
            self._take(event)
        while not self._events.empty():
            self._take(self._events.get_nowait())
        self._collect()
        self._carry_out(self._core.tick(self._clock()))
        # A snapshot takes a look at every chunk: it is renewed now and then, with what each engine is
        # at only while somebody asks.
        now = self._clock().now
        if now - self._snapshot_at >= pause(TICK, self._snapshot.engines):
            self._snapshot_at = now
            self._snapshot = self._core.snapshot(items=now - self._looked_at < WATCHED)
        if self._transport.in_process:
            self._wake_main()

    def _take(self, event: Event | Reply) -> None:
        if isinstance(event, Reply):
            request = self._pending.get(event.msg_id)
            if request is None:
                return  # nobody waits for it any more
            if not event.died:
                del self._pending[event.msg_id]
            event = Answered(request, event)
        elif isinstance(event, EngineDown | ClusterDown):
            # What an engine has published before it died counts.
            self._collect()
        self._carry_out(self._core.handle(event, self._clock()))

    def _collect(self) -> None:
        """Have the core take the records that chunks have published by now."""
        for msg_id, envelope in self._transport.early():
            request = self._pending.get(msg_id)
            if isinstance(request, PendingChunk):
                self._carry_out(self._core.handle(Early(request, envelope), self._clock()))

    def _break_off(self, error: BaseException) -> None:
        """The session cannot go on."""
        try:
            self._carry_out(self._core.break_off(error, self._clock()))
        except ArcliError as refused:  # a record cannot be written, either
            self._carry_out(self._core.break_off(refused, self._clock()))
        self._wake_main()

    def _carry_out(self, effects: list[Effect]) -> None:
        """Do all that is to be done. Raises what went wrong first, and writes no record after it."""
        # After a failed write no later record is written; all else must still be carried out.
        failure: Exception | None = None
        for effect in effects:
            if failure is not None and isinstance(effect, Records) and self._recorder is not None:
                self._recorder.leave_out(effect)
                continue
            if failure is not None and isinstance(effect, EndJob):
                effect = EndJob(effect.ledger, failure)
            try:
                self._do(effect)
            except Exception as error:  # noqa: BLE001 - whatever it is, the rest must be done
                failure = failure or error
        if failure is not None:
            raise failure

    def _do(self, effect: Effect) -> None:
        # The only place that ends or lets go of engines: what is not ours is refused here, whoever decided.
        transport = self._transport
        match effect:
            case Send(pending, request, label):
                self._sent(pending, transport.send(pending.engine_id, request, label))
            case Records():
                assert self._recorder is not None
                self._terms.listener.recorded(self._recorder.job, effect.lines)
                self._recorder.write(effect)
            case Attempted(lines):
                assert self._recorder is not None
                self._terms.listener.recorded(self._recorder.job, lines)
            case Prepare(pending):
                self._sent(pending, transport.prepare(pending.engine_id))
            case Forget(pending):
                self._pending.pop(pending.msg_id, None)
                transport.forget(pending.msg_id)
            case Kill(engine_id) if transport.owned:
                transport.kill(engine_id)
            case Kill(engine_id) | Release(engine_id):  # what is not ours is not ended: only let go
                transport.release(engine_id)
            case Replace(slot):
                transport.replace(slot)
            case Revive(reason):
                if not transport.revive():
                    self._carry_out(self._core.handle(NotRevived(reason), self._clock()))
            case Interrupt(now):
                transport.interrupt(now=now)
            case _:
                self._tell(effect)

    def _tell(self, effect: Effect) -> None:
        """Tell people, the main thread, which waits, and engines that are at an item."""
        match effect:
            case Recall(slot, chunk, position, last):
                self._files.recall(slot, chunk, position, last)
            case Limit(slot, seconds):
                self._files.limit(slot, seconds)
                self._transport.limit(seconds)
            case Notice(sentence):
                self._terms.notice(sentence)
            case Ready(engine):
                self.ready_at = self._clock().now if self.ready_at is None else self.ready_at
                self._terms.ready(engine)
            case Printed():
                self._terms.listener.printed(effect)
            case Resolve(future, value) if not future.done():
                future.set_result(value)
            case Reject(future, error) if not future.done():
                future.set_exception(error)
            case EndJob(ledger):
                assert self._end is not None
                assert self._recorder is not None
                self._recorder.settle(ledger)
                self._end(effect)

    def _sent(self, pending: PendingRequest, msg_id: str) -> None:
        pending.msg_id = msg_id
        self._pending[msg_id] = pending
