"""The line: spec -> cluster -> session -> records -> outputs -> summary."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from arcli.cluster.base import Cluster
from arcli.errors import ArcliError, Interrupted, ReaderGone
from arcli.execution.context import Context, Options, Outcome
from arcli.execution.engines import open_session, setup_files, stop_cluster
from arcli.execution.interrupts import Interrupts
from arcli.execution.line import run_jobs
from arcli.execution.notify import Notifier
from arcli.execution.steering import Steering
from arcli.outputs.base import Outputs
from arcli.specfile.model import Spec
from arcli.store.storage import RunStorage
from arcli.timing.exit_code import decide
from arcli.timing.summary import RunSummary
from arcli.timing.thresholds import check, fail_on, measured
from arcli.units import isoformat


@dataclass
class Finished:
    """What a run ended with; ``reported``: whether a document on stdout tells of the errors.

    ``stopped``: a signal or the deadline ended it.
    """

    summary: RunSummary
    errors: list[ArcliError]
    reported: bool
    stopped: bool


def execute(
    spec: Spec, options: Options, storage: RunStorage, outputs: Outputs, cluster: Cluster | None = None
) -> Finished:
    """Run a spec: every item's record to the journal and to all outputs, then the summary.

    ``cluster`` is one that has been prepared. Nothing that it started outlives this call.
    """
    interrupts = Interrupts(options.notice, options.warn, options.deadline, options.stuck)
    account = _Account(spec.name, storage.run_id, options.began, interrupts, cluster)
    outcome = account.outcome
    notifier = Notifier(spec, storage.run_id, options.warn)
    with (
        interrupts,
        Steering(spec, storage.folder, interrupts, options.up) as steering,
        ExitStack() as files,
    ):
        try:
            with interrupts.heeded():
                outputs.start()
                files.enter_context(setup_files(spec))
                with (
                    notifier.watching(),
                    open_session(spec, options, storage, cluster) as session,
                    interrupts.watch(session),
                ):
                    slots = account.engines_are_ready()
                    steering.watch(session)
                    if options.progress is not None:
                        options.progress.watch(lambda: session.state)
                    context = Context(
                        spec=spec,
                        session=session,
                        storage=storage,
                        outputs=outputs,
                        interrupts=interrupts,
                        slots=slots if cluster is not None else options.slots,
                        options=options,
                        watcher=steering,
                        note_parts=storage.folder.note_parts,
                    )
                    try:
                        run_jobs(context, outcome)
                    finally:
                        account.finishing = time.monotonic()
                        steering.finishing(has_begun=any(job.counts.planned for job in outcome.jobs))
        except ArcliError as error:
            outcome.errors.append(error)
        except Exception:
            # A signal's exception may come out of foreign code as another one: pyzmq's import makes it an
            # ImportError (https://github.com/zeromq/pyzmq/blob/v27.3.0/zmq/backend/select.py).
            if not interrupts.thrown:
                raise
            outcome.errors.append(interrupts.error())
        # Here a first signal is only noted: it should not cost what has been computed. The last records go
        # to the disk while processes end.
        storage.sync_soon()
        if cluster is not None:
            stop_cluster(cluster, options)
        # Only now: an engine that came late would have brought them again.
        files.close()
        account.stopped = time.monotonic()
        return _finish(spec, options, storage, outputs, account, notifier)


def _finish(
    spec: Spec,
    options: Options,
    storage: RunStorage,
    outputs: Outputs,
    account: _Account,
    notifier: Notifier,
) -> Finished:
    """Complete the outputs, tell who wants to know, and put down how the run ended."""
    outcome, errors = account.outcome, account.outcome.errors
    # Outputs and hooks are told the exit code: what they take themselves cannot decide it any more.
    if options.expectations and not errors:
        figures = measured(account.summary(), {})
        account.unmet = fail_on(check(options.expectations, figures))
    try:
        # Whoever follows the run elsewhere looks for lines until the manifest says that it has ended.
        options.listener.close()
        storage.sync()
        # Values that cannot be told from the records are kept beside them.
        names = {*outcome.folded, *outcome.gathered}
        names |= {job.name for job in spec.jobs if job.collect == "count"}
        values = {name: value for name, value in outcome.values.items() if name in names}
        if values:
            storage.folder.save_results(values)
        if any(map(at_once, errors)):
            outputs.abort()
        else:
            if options.progress is not None:
                options.progress.writing()
            outputs.finish(account.summary(), outcome.values)
    except ArcliError as error:
        errors.append(error)
    try:
        notifier.ended(account.summary())
    except ArcliError as error:  # a required hook failed, or a second signal came
        errors.append(error)
    # Only now is it known how long outputs and hooks took: what is kept has that, too.
    summary = account.summary()
    storage.finish(summary)
    shown = errors if account.unmet is None else [*errors, account.unmet]
    # Where no job began there is no verdict either, which would say that it was stopped.
    if account.interrupts.stopping and not shown and not summary.began:
        shown = [account.interrupts.error()]
    return Finished(summary, shown, outputs.told, account.interrupts.stopping)


def at_once(error: ArcliError) -> bool:
    """Tell whether nothing more should be written: whoever reads has gone, or does not want it."""
    return isinstance(error, ReaderGone) or (isinstance(error, Interrupted) and error.at_once)


@dataclass
class _Account:
    """Sums up what a run has come to so far, and where its time went.

    No job runs any more from ``finishing`` on (a monotonic time), and outputs are all that is left to do
    from ``stopped`` on.
    """

    name: str
    run_id: str
    began: float
    interrupts: Interrupts
    cluster: Cluster | None
    outcome: Outcome = field(default_factory=Outcome)
    unmet: ArcliError | None = None
    finishing: float | None = None
    stopped: float | None = None

    def __post_init__(self) -> None:
        self._started = isoformat(time.time())
        self._opened = time.monotonic()
        self._slots = self.cluster.slots if self.cluster is not None else 1
        self._ready: float | None = None

    def engines_are_ready(self) -> int:
        """Note that jobs can begin. Returns how many engines there are, which joining told only now."""
        self._ready = time.monotonic()
        if self.cluster is not None:
            self._slots = self.cluster.slots
        return self._slots

    def summary(self) -> RunSummary:
        """Sum the run up as it stands now, in the middle of it or at its end."""
        outcome, now = self.outcome, time.monotonic()
        # A part that has not ended, or never began, ends with the one after it: so the parts always
        # add up to the whole.
        ready = self._ready or self.stopped or now
        finishing = self.finishing or ready
        stopped = self.stopped or now
        stops = [self.interrupts.error()] if self.interrupts.stopping else []
        unmet = [self.unmet] if self.unmet is not None else []
        return RunSummary(
            run=self.run_id,
            name=self.name,
            started=self._started,
            exit_code=decide(
                outcome.jobs,
                errors=outcome.errors,
                signal=self.interrupts.number,
                deadline=self.interrupts.deadline_passed,
                expectation_failed=self.unmet is not None,
            ),
            reading=self._opened - self.began,
            startup=ready - self.began,
            setup=outcome.setup,
            loading=outcome.loading,
            stopping=stopped - finishing,
            writing=now - stopped,
            finish=now - finishing,
            wall=now - self.began,
            engines=self._slots,
            jobs=tuple(outcome.jobs),
            error=next((str(error) for error in [*stops, *outcome.errors, *unmet]), None),
        )
