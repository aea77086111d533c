"""A run as others see and steer it: its state in its folder, and their requests taken from there."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from arcli.engine.tally import Status, Tally
from arcli.errors import OutputError
from arcli.execution.context import JobWatcher
from arcli.execution.interrupts import Interrupts
from arcli.session.session import Session
from arcli.specfile.model import Spec
from arcli.store.channel import (
    Cancel,
    EngineState,
    JobState,
    Phase,
    RunState,
    job_words,
    take,
    write_state,
)
from arcli.store.folder import RunFolder
from arcli.timing.snapshot import RunningItem, Snapshot
from arcli.timing.summary import JobSummary
from arcli.timing.words import plural
from arcli.units import isoformat

LOOK = 0.25
"""Seconds between two looks for requests."""
PUBLISH = 1.0
"""Seconds between two versions of the state."""


class _JobProgress(Struct):
    """A job as it goes; written by the main thread, read by the steering one."""

    name: str
    kind: str
    phase: Phase = Phase.WAITING
    state: JobState | None = None

    def look(self, snapshot: Snapshot) -> JobState:
        """Tell how the job stands: what the session says of it, or said last."""
        # The session speaks of its present job only; of one that has ended its last word stays.
        if snapshot.job == self.name and self.phase is Phase.RUNNING:
            done = sum(snapshot.counts.values())
            ok = snapshot.counts.get(Status.OK, 0)
            self.state = JobState(
                name=self.name,
                kind=self.kind,
                phase=self.phase,
                total=snapshot.total,
                done=done,
                failed=done - ok,
                rate=snapshot.rate or 0.0,
                left=snapshot.seconds_left,
            )
        if self.state is None:
            return JobState(name=self.name, kind=self.kind, phase=self.phase)
        return replace(self.state, phase=self.phase)


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
        self._session: Session | None = None
        self._has_begun = False
        self._requested: list[Cancel] = []
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
        if self._has_begun:
            self._is_up()

    def watch(self, session: Session) -> None:
        """Ask this session how things stand from now on: the engines are being prepared."""
        self._phase, self._session = Phase.RUNNING, session

    def finishing(self, *, has_begun: bool) -> None:
        """Note that no job runs any more; ``has_begun``: there are results of some."""
        self._phase, self._has_begun = Phase.FINISHING, has_begun

    def begin(self, job: str) -> None:
        """See JobWatcher."""
        self._jobs[job].phase = Phase.RUNNING

    def make_value(self, job: str, tally: Tally) -> None:
        """See JobWatcher."""
        progress = self._jobs[job]
        progress.phase = Phase.VALUE
        progress.state = JobState(
            name=job,
            kind=progress.kind,
            phase=Phase.VALUE,
            total=tally.total,
            done=tally.total,
            failed=tally.total - tally.counts[Status.OK],
        )

    def end(self, summary: JobSummary) -> None:
        """See JobWatcher."""
        progress, counts = self._jobs[summary.name], summary.counts
        progress.phase = Phase.ENDED
        progress.state = JobState(
            name=summary.name,
            kind=summary.kind,
            phase=Phase.ENDED,
            status=summary.status,
            total=None if counts.unread is None else counts.planned + counts.unread,
            done=counts.recorded,
            failed=counts.recorded - counts.ok,  # as while it ran: not ok, for whatever reason
        )

    def words(self) -> str:
        """Say how things stand, a line a job."""
        state = self._state()
        head = f"run {state.run}, {state.phase}, {plural(state.ready, 'engine')} ready"
        return "\n".join([head, *(f"  {job.name}: {job_words(job)}" for job in state.jobs)])

    def _state(self) -> RunState:
        # Before it runs there is nobody to ask, and afterwards the jobs remember what was said last.
        running = self._session is not None and self._phase is Phase.RUNNING
        snapshot = self._session.state if self._session is not None and running else Snapshot()
        # Engines that there are, as the manifest has them; after the end there is none.
        entries = () if self._phase is Phase.ENDED else self._folder.manifest.engines
        present = [entry for entry in entries if entry["ended"] is None]
        at = {item.engine_id: item for item in snapshot.items}
        return RunState(
            run=self._folder.id,
            pid=os.getpid(),
            host=socket.gethostname(),
            phase=self._phase,
            updated=isoformat(time.time()),
            jobs=tuple(job.look(snapshot) for job in self._jobs.values()),
            engines=tuple(_engine(entry, snapshot.job, at.get(entry["engine_id"])) for entry in present),
            ready=snapshot.engines,
            running=snapshot.running,
            stopping=self._interrupts.error().message if self._interrupts.stopping else None,
        )

    def _run(self) -> None:
        published = 0.0
        while not self._closing.wait(LOOK):
            self._requested += take(self._folder.path)
            self._requested = [request for request in self._requested if not self._heeds(request)]
            # Whoever is told that it is up looks at its state next, and should find it so.
            ready = self._session is not None and self._session.state.engines > 0
            comes_up = self._up is not None and (ready or self._has_begun)
            if comes_up or time.monotonic() - published >= PUBLISH:
                published = time.monotonic()
                self._publish()
            if comes_up:
                self._is_up()

    def _heeds(self, request: Cancel) -> bool:
        """Do what a request asks; False where the session is yet to begin the job whose items it names."""
        reason = "cancelled" if request.reason is None else f"cancelled: {request.reason}"
        if request.items is None:
            self._interrupts.cancel(reason, drain=request.drain)
        elif self._session is not None and request.job in {None, self._session.state.job}:
            self._session.cancel_items(request.items, reason)
        else:  # one for items of a job that has ended comes too late
            return request.job not in self._jobs or self._jobs[request.job].phase is not Phase.RUNNING
        return True

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


def _engine(entry: Mapping[str, Any], job: str | None, at: RunningItem | None) -> EngineState:
    """Return an engine as the manifest knows it, and what the session says that it is at."""
    return EngineState(
        slot=entry["slot"],
        engine_id=entry["engine_id"],
        host=entry["host"],
        pid=entry["pid"],
        running=None if at is None else f"{job}, {at.name}",
        since=None if at is None else isoformat(time.time() - at.seconds),
    )
