"""The line: spec -> cluster -> session -> records -> outputs -> summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from arcli.cluster.base import Cluster, ClusterEvent
from arcli.errors import ArcliError, Interrupted, OutputError, ReaderGone
from arcli.execution import Context, Kept, Outcome, run_jobs, setup_steps
from arcli.execution.context import History
from arcli.execution.interrupts import Interrupts
from arcli.execution.notify import Notifier
from arcli.execution.steering import Steering
from arcli.outputs.all_outputs import Outputs
from arcli.outputs.progress import Progress
from arcli.session.core.terms import Listener, NoListener, Terms
from arcli.session.session import Session
from arcli.session.setup_files import setup_files
from arcli.specfile.model import Spec
from arcli.store.storage import RunStorage
from arcli.timing.exit_code import decide
from arcli.timing.metrics import measured
from arcli.timing.summary import RunSummary
from arcli.timing.thresholds import Expectation, check, fail_on
from arcli.units import isoformat


def at_once(error: ArcliError) -> bool:
    """Whether nothing more should be written: whoever reads has gone, or does not want it."""
    return isinstance(error, ReaderGone) or (isinstance(error, Interrupted) and error.at_once)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a spec is to be run. ``began`` is when the process did (a monotonic time).

    ``notice`` takes sentences for people, and never blocks, ``warn`` those that are told to who
    wants quiet, too; ``stuck`` tells for how many seconds
    a write to stdout or stderr has been blocked. ``whole_output`` keeps all that commands print.
    ``up`` is called, on another thread, when the cluster is up. ``passing`` are exceptions of items in
    this process that end the run where they were raised, for a debugger.
    ``listener`` hears what items print while they run.
    """

    began: float
    notice: Callable[[str], None]
    warn: Callable[[str], None] = lambda sentence: None
    stuck: Callable[[], float] = lambda: 0.0
    limit: int | None = None
    deadline: float | None = None
    stdin: BinaryIO | None = None
    kept: Kept | None = None
    history: History | None = None
    rerun_changed: bool = False
    whole_output: bool = False
    progress: Progress | None = None
    listener: Listener = field(default_factory=NoListener)
    expectations: Sequence[Expectation] = ()
    up: Callable[[], None] = lambda: None
    passing: tuple[type[Exception], ...] = ()


@dataclass
class Finished:
    """What a run ended with; ``told``: whether a document on stdout tells of the errors.

    ``stopped``: a signal or the deadline ended it.
    """

    summary: RunSummary
    errors: list[ArcliError]
    told: bool
    stopped: bool


def execute(
    spec: Spec,
    options: Options,
    storage: RunStorage,
    outputs: Outputs,
    cluster: Cluster | None = None,
) -> Finished:
    """Run a spec: every item's record to the journal and to all outputs, then the summary.

    ``cluster`` is one that has been prepared. Nothing that it started outlives this call.
    """
    with (
        Interrupts(options.notice, options.warn, options.deadline, options.stuck) as interrupts,
        Steering(spec, storage.folder, interrupts, options.up) as steering,
    ):
        slots = cluster.slots if cluster else 1
        notifier = Notifier(spec, storage.run_id, options.warn)
        run = _Run(spec, options, storage, outputs, interrupts, steering, notifier, slots)
        try:
            outputs.start()
            with (
                notifier.watching(),
                setup_files(spec),
                _session(spec, options, storage, cluster) as session,
                interrupts.watch(session),
            ):
                run.jobs(session, cluster.slots if cluster else 1)
        except ArcliError as error:
            run.outcome.errors.append(error)
        with interrupts.finishing():
            if cluster is not None:
                cluster.stop()
            return run.finish()


class _Run:
    """One execution of a spec, and what it has come to so far. Times are monotonic."""

    def __init__(
        self,
        spec: Spec,
        options: Options,
        storage: RunStorage,
        outputs: Outputs,
        interrupts: Interrupts,
        steering: Steering,
        notifier: Notifier,
        slots: int,
    ) -> None:
        self._spec = spec
        self._options = options
        self._storage = storage
        self._sinks = outputs
        self._interrupts = interrupts
        self._steering = steering
        self._notifier = notifier
        self._slots = slots
        self._started = isoformat(time.time())
        self._opened = time.monotonic()
        self._ready: float | None = None
        self._finishing: float | None = None
        self._stopped: float | None = None
        self._unmet: ArcliError | None = None
        self.outcome = Outcome()

    def jobs(self, session: Session, slots: int) -> None:
        """Run the jobs on ``slots`` engines. Raises ArcliError for what ends the run early."""
        self._ready, self._slots = time.monotonic(), slots
        options = self._options
        self._steering.watch(session)
        if options.progress is not None:
            options.progress.watch(lambda: session.state)
        context = Context(
            spec=self._spec,
            session=session,
            storage=self._storage,
            outputs=self._sinks,
            interrupts=self._interrupts,
            watcher=self._steering,
            slots=slots,
            stdin=options.stdin,
            kept=options.kept,
            history=options.history,
            note_parts=self._storage.folder.note_parts,
            limit=options.limit,
            rerun_changed=options.rerun_changed,
            whole_output=options.whole_output,
            notice=options.notice,
            warn=options.warn,
            expect=options.progress.expect if options.progress else lambda job, total: None,
        )
        try:
            run_jobs(context, self.outcome)
        finally:
            self._finishing = time.monotonic()
            self._steering.finishing(has_begun=any(job.counts.planned for job in self.outcome.jobs))

    def finish(self) -> Finished:
        """Complete the outputs, and put down how it ended."""
        self._stopped, errors = time.monotonic(), self.outcome.errors
        if self._options.expectations and not errors:
            figures = measured(self._summary(), {})
            self._unmet = fail_on(check(self._options.expectations, figures))
        try:
            self._storage.sync()
            self._save_results()
            if any(map(at_once, errors)):
                self._sinks.abort()
            else:
                if self._options.progress is not None:
                    self._options.progress.writing()
                self._sinks.finish(self._summary(), self.outcome.values)
        except ArcliError as error:
            errors.append(error)
        try:
            self._notifier.ended(self._summary())
        except ArcliError as error:  # a required hook failed, or a second signal came
            errors.append(error)
        # Only now is it known how long outputs and hooks took: what is kept has that, too.
        summary = self._summary()
        self._storage.finish(summary)
        told = errors if self._unmet is None else [*errors, self._unmet]
        return Finished(summary, told, self._sinks.told, self._interrupts.stopping)

    def _save_results(self) -> None:
        """Keep the values that cannot be told from the records. Raises OutputError."""
        names = {*self.outcome.folded, *self.outcome.gathered}
        names |= {job.name for job in self._spec.jobs if job.collect == "count"}
        values = {name: value for name, value in self.outcome.values.items() if name in names}
        if values:
            self._storage.folder.save_results(values)

    def _summary(self) -> RunSummary:
        now = time.monotonic()
        ready = self._ready or self._stopped or now
        finishing = self._finishing or ready
        stopped = self._stopped or now
        code = decide(
            self.outcome.jobs,
            errors=self.outcome.errors,
            signal=self._interrupts.number,
            deadline=self._interrupts.deadline_passed,
            expectation_failed=self._unmet is not None,
        )
        return RunSummary(
            run=self._storage.run_id,
            name=self._spec.name,
            started=self._started,
            exit_code=code,
            reading=self._opened - self._options.began,
            startup=ready - self._options.began,
            loading=self.outcome.loading,
            stopping=stopped - finishing,
            writing=now - stopped,
            finish=now - finishing,
            wall=now - self._options.began,
            engines=self._slots,
            jobs=tuple(self.outcome.jobs),
            error=_ended_by(self.outcome, self._interrupts),
        )


def _ended_by(outcome: Outcome, interrupts: Interrupts) -> str | None:
    """What ended a run early, in words."""
    stopped = [interrupts.error()] if interrupts.stopping else []
    return next((str(error) for error in [*stopped, *outcome.errors]), None)


@contextmanager
def _session(
    spec: Spec, options: Options, storage: RunStorage, cluster: Cluster | None
) -> Iterator[Session]:
    if cluster is None:
        from arcli.session.transport.inline import InlineTransport

        terms = _terms(spec, options, storage, cluster)
        with Session(InlineTransport(options.passing), terms, storage, storage.run_id) as session:
            yield session
        return
    from arcli.session.transport.ipyparallel import IpyparallelTransport

    transport = IpyparallelTransport(cluster)

    def on_event(event: ClusterEvent) -> None:
        transport.on_event(event)
        try:
            storage.note_event(event)
        except OutputError as error:
            transport.fail(error)

    cluster.start(on_event)
    if cluster.exposed is not None:
        options.notice(cluster.exposed)
    try:
        terms = _terms(spec, options, storage, cluster)
        with Session(transport, terms, storage, storage.run_id) as session:
            yield session
    finally:
        transport.leave()


def _terms(spec: Spec, options: Options, storage: RunStorage, cluster: Cluster | None) -> Terms:
    slots = cluster.slots if cluster is not None else 1
    position_files = storage.position_files(slots)
    return Terms(
        max_restarts=spec.cluster.max_restarts if cluster is None or cluster.owned else 0,
        start_timeout=spec.cluster.start_timeout,
        steps=setup_steps(spec, slots, str(position_files)),
        position_files=position_files,
        notice=options.notice,
        listener=options.listener,
    )
