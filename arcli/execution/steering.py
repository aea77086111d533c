"""A run as others see and steer it: its state in its folder, and their requests taken from there."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, Self

from arcli.errors import OutputError
from arcli.execution.context import JobWatcher
from arcli.execution.interrupts import Interrupts
from arcli.outputs.progress import Count
from arcli.record import RecordBatch
from arcli.specfile.model import Spec
from arcli.store.folder import RunFolder
from arcli.store.requests import Cancel, take
from arcli.store.state import EngineState, JobState, Phase, RunState, write_state
from arcli.timing.summary import JobSummary
from arcli.units import isoformat

LOOK = 0.25
"""Seconds between two looks for requests."""
PUBLISH = 1.0
"""Seconds between two versions of the state."""


class SessionState(Protocol):
    """What is wanted of a session's state."""

    @property
    def engines(self) -> int:
        """Engines that are ready."""

    @property
    def running(self) -> int:
        """Items that are under way."""


@dataclass(slots=True)
class _JobProgress:
    """A job as it goes; written by the main thread, read by the steering one."""

    name: str
    kind: str
    phase: Phase = Phase.WAITING
    status: str | None = None
    count: Count | None = None

    def state(self, now: float) -> JobState:
        count = self.count
        running = count is not None and self.phase is Phase.RUNNING
        return JobState(
            name=self.name,
            kind=self.kind,
            phase=self.phase,
            status=self.status,
            total=None if count is None else count.total,
            done=0 if count is None else count.done,
            failed=0 if count is None else count.failed,
            rate=count.rate(now) if count is not None and running else 0.0,
            left=count.left(now) if count is not None and running else None,
        )


class Steering(JobWatcher):
    """Publishes the state of a run and takes requests, on a thread of its own while it is entered.

    ``up`` is called once, when the first engine is ready or the run has jobs to show for. Nothing that
    goes wrong with the state's file costs the run: the journal will tell of a disk that is full.
    """

    def __init__(
        self, spec: Spec, folder: RunFolder, interrupts: Interrupts, up: Callable[[], None]
    ) -> None:
        self._folder = folder
        self._interrupts = interrupts
        self._up: Callable[[], None] | None = up
        self._jobs = {job.name: _JobProgress(job.name, job.kind) for job in spec.jobs}
        self._phase = Phase.STARTING
        self._session: Callable[[], SessionState] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arcli-steering", daemon=True)

    def __enter__(self) -> Self:
        self._interrupts.describe = self.words
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._thread.join()
        self._phase = Phase.ENDED
        self._publish()

    def watch(self, session: Callable[[], SessionState]) -> None:
        """The engines are being prepared, and this is how to ask for the session's state."""
        self._session, self._phase = session, Phase.RUNNING

    def finishing(self, *, has_begun: bool) -> None:
        """No job runs any more; ``has_begun``: there are results of some."""
        self._phase = Phase.FINISHING
        if has_begun:
            self._is_up()

    def begin(self, job: str, total: int | None) -> None:
        """See JobWatcher."""
        progress = self._jobs[job]
        progress.count, progress.phase = Count(job, total, time.monotonic()), Phase.RUNNING

    def count(self, batch: RecordBatch) -> None:
        """See JobWatcher."""
        count = self._jobs[batch.job].count
        assert count is not None
        count.add(batch)

    def make_value(self, job: str) -> None:
        """See JobWatcher."""
        self._jobs[job].phase = Phase.VALUE

    def end(self, summary: JobSummary) -> None:
        """See JobWatcher."""
        progress = self._jobs[summary.name]
        progress.phase, progress.status = Phase.ENDED, summary.status

    def words(self) -> str:
        """Say how things stand, a line a job."""
        now = time.monotonic()
        head = f"run {self._folder.id}, {self._phase}, {self._state().ready} engines ready"
        jobs = [
            f"  {job.count.words(now)}"
            for job in self._jobs.values()
            if job.count is not None and job.phase is not Phase.ENDED
        ]
        return "\n".join([head, *jobs])

    def _state(self) -> RunState:
        now = time.monotonic()
        session = self._session() if self._session is not None else None
        return RunState(
            run=self._folder.id,
            pid=os.getpid(),
            host=socket.gethostname(),
            phase=self._phase,
            updated=isoformat(time.time()),
            jobs=tuple(job.state(now) for job in self._jobs.values()),
            engines=tuple(
                EngineState(
                    slot=entry["slot"], engine_id=entry["engine_id"], host=entry["host"], pid=entry["pid"]
                )
                for entry in self._folder.manifest.engines
                if entry["ended"] is None and self._phase is not Phase.ENDED
            ),
            ready=session.engines if session is not None and self._phase is Phase.RUNNING else 0,
            running=session.running if session is not None and self._phase is Phase.RUNNING else 0,
            stopping=self._interrupts.error().message if self._interrupts.stopping else None,
        )

    def _run(self) -> None:
        published = 0.0
        while not self._closing.wait(LOOK):
            for request in take(self._folder.path):
                self._obey(request)
            if self._session is not None and self._session().engines:
                self._is_up()
            if time.monotonic() - published >= PUBLISH:
                published = time.monotonic()
                self._publish()

    def _obey(self, request: Cancel) -> None:
        reason = "cancelled" if request.reason is None else f"cancelled: {request.reason}"
        self._interrupts.cancel(reason, drain=request.drain)

    def _publish(self) -> None:
        # The heart beats first: it needs no room on the disk.
        with suppress(OSError, OutputError):
            self._folder.beat()
        with suppress(OSError):
            write_state(self._folder.path, self._state())

    def _is_up(self) -> None:
        if (up := self._up) is not None:
            self._up = None
            up()
