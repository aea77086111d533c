"""The line: spec -> cluster -> session -> records -> sinks -> summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from arcli.cluster.base import Cluster, ClusterEvent
from arcli.errors import ArcliError, Interrupted, OutputError, ReaderGone
from arcli.interrupts import Interrupts
from arcli.jobs import Context, Kept, Outcome, run_jobs, setup_steps
from arcli.session.actor import Terms
from arcli.session.sent import sent_files
from arcli.session.session import Session
from arcli.sinks.group import Sinks
from arcli.sinks.progress import Progress
from arcli.spec.model import Spec
from arcli.store.storage import RunStorage
from arcli.timing.expect import Expectation, check, fail_on
from arcli.timing.figures import measured
from arcli.timing.outcome import decide
from arcli.timing.summary import RunSummary
from arcli.units import isoformat


def at_once(error: ArcliError) -> bool:
    """Whether nothing more should be written: whoever reads has gone, or does not want it."""
    return isinstance(error, ReaderGone) or (isinstance(error, Interrupted) and error.at_once)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a spec is to be run. ``began`` is when the process did (a monotonic time).

    ``notice`` takes sentences for people, and never blocks; ``stuck`` tells for how many seconds
    a write to stdout or stderr has been blocked.
    """

    began: float
    notice: Callable[[str], None]
    stuck: Callable[[], float] = lambda: 0.0
    limit: int | None = None
    deadline: float | None = None
    stdin: BinaryIO | None = None
    kept: Kept | None = None
    rerun_changed: bool = False
    progress: Progress | None = None
    expectations: Sequence[Expectation] = ()


@dataclass
class _Clock:
    """When the parts of a run began, monotonic."""

    ready: float | None = None
    finishing: float | None = None


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
    sinks: Sinks,
    cluster: Cluster | None = None,
) -> Finished:
    """Run a spec: every item's record to the journal and to all sinks, then the summary.

    ``cluster`` is one that has been prepared. Nothing that it started outlives this call.
    """
    outcome = Outcome()
    clock = _Clock()
    started = isoformat(time.time())
    with Interrupts(options.notice, options.deadline, options.stuck) as interrupts:
        try:
            sinks.start()
            with (
                sent_files(spec),
                _session(spec, options, storage, cluster) as session,
                interrupts.watch(session),
            ):
                clock.ready = time.monotonic()
                if options.progress is not None:
                    options.progress.watch(lambda: session.state)
                context = Context(
                    spec=spec,
                    session=session,
                    storage=storage,
                    sinks=sinks,
                    interrupts=interrupts,
                    slots=cluster.slots if cluster is not None else 1,
                    stdin=options.stdin,
                    kept=options.kept,
                    limit=options.limit,
                    rerun_changed=options.rerun_changed,
                    warn=options.notice,
                    expect=options.progress.expect if options.progress else lambda job, total: None,
                )
                try:
                    run_jobs(context, outcome)
                finally:
                    clock.finishing = time.monotonic()
        except ArcliError as error:
            outcome.errors.append(error)
        with interrupts.finishing():
            if cluster is not None:
                cluster.stop()
            slots = cluster.slots if cluster is not None else 1
            return _finish(
                spec, options, storage, sinks, outcome, interrupts, clock, started, slots
            )


def _finish(
    spec: Spec,
    options: Options,
    storage: RunStorage,
    sinks: Sinks,
    outcome: Outcome,
    interrupts: Interrupts,
    clock: _Clock,
    started: str,
    slots: int,
) -> Finished:
    now = time.monotonic()
    unmet: ArcliError | None = None

    def summed_up() -> RunSummary:
        code = decide(
            outcome.jobs,
            errors=outcome.errors,
            signal=interrupts.number,
            deadline=interrupts.deadline_passed,
            expectation_failed=unmet is not None,
        )
        return RunSummary(
            run=storage.run_id,
            name=spec.name,
            started=started,
            exit_code=code,
            startup=(clock.ready or now) - options.began,
            wall=now - options.began,
            finish=now - (clock.finishing or now),
            engines=slots,
            jobs=tuple(outcome.jobs),
            error=_ended_by(outcome, interrupts),
        )

    if options.expectations and not outcome.errors:
        unmet = fail_on(check(options.expectations, measured(summed_up(), {})))
    try:
        storage.sync()
        if any(map(at_once, outcome.errors)):
            sinks.abort()
        else:
            sinks.finish(summed_up(), outcome.values)
    except ArcliError as error:
        outcome.errors.append(error)
    summary = summed_up()
    storage.finish(summary)
    errors = outcome.errors if unmet is None else [*outcome.errors, unmet]
    return Finished(summary, errors, sinks.told, interrupts.stopping)


def _ended_by(outcome: Outcome, interrupts: Interrupts) -> str | None:
    """What ended a run early, in words."""
    stopped = [interrupts.error()] if interrupts.stopping else []
    return next((str(error) for error in [*stopped, *outcome.errors]), None)


@contextmanager
def _session(
    spec: Spec, options: Options, storage: RunStorage, cluster: Cluster | None
) -> Iterator[Session]:
    if cluster is None:
        from arcli.session.inline import InlineFleet

        terms = _terms(spec, options, storage, cluster)
        with Session(InlineFleet(), terms, storage, storage.run_id) as session:
            yield session
        return
    from arcli.session.engines import EngineFleet

    fleet = EngineFleet(cluster)

    def on_event(event: ClusterEvent) -> None:
        fleet.on_event(event)
        try:
            storage.note_event(event)
        except OutputError as error:
            fleet.fail(error)

    cluster.start(on_event)
    try:
        terms = _terms(spec, options, storage, cluster)
        with Session(fleet, terms, storage, storage.run_id) as session:
            yield session
    finally:
        fleet.leave()


def _terms(spec: Spec, options: Options, storage: RunStorage, cluster: Cluster | None) -> Terms:
    slots = cluster.slots if cluster is not None else 1
    crumbs = storage.crumbs(slots)
    return Terms(
        max_restarts=spec.cluster.max_restarts if cluster is None or cluster.owned else 0,
        start_timeout=spec.cluster.start_timeout,
        steps=setup_steps(spec, slots, str(crumbs)),
        crumbs=crumbs,
        notice=options.notice,
    )
