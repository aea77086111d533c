"""The line: spec -> cluster -> session -> records -> sinks -> summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from arcli.cluster.base import ClusterEvent
from arcli.cluster.cpus import usable_cpus
from arcli.errors import ArcliError, DeadlineError, Interrupted, ReaderGone
from arcli.interrupts import Interrupts
from arcli.jobs import Context, Kept, Outcome, run_jobs, setup_steps
from arcli.session.actor import Terms
from arcli.session.session import Session
from arcli.sinks.group import Sinks
from arcli.sinks.progress import Progress
from arcli.spec.model import Cluster, Spec
from arcli.store.storage import RunStorage
from arcli.timing.expect import Expectation, check, fail_on
from arcli.timing.figures import measured
from arcli.timing.outcome import decide
from arcli.timing.summary import RunSummary
from arcli.units import isoformat

if TYPE_CHECKING:
    from arcli.cluster.embedded import EmbeddedCluster


AT_ONCE = (Interrupted, DeadlineError, ReaderGone)
"""After these nothing more is written: whoever reads has gone, or does not read."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a spec is to be run. ``began`` is when the process did (a monotonic time).

    ``notice`` takes sentences for people.
    """

    began: float
    notice: Callable[[str], None]
    engines: int | None = None
    inline: bool = False
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
    """What a run ended with; ``told``: whether a document on stdout tells of the errors."""

    summary: RunSummary
    errors: list[ArcliError]
    told: bool


def execute(
    spec: Spec,
    options: Options,
    storage: RunStorage,
    sinks: Sinks,
    cluster: EmbeddedCluster | None = None,
) -> Finished:
    """Run a spec: every item's record to the journal and to all sinks, then the summary.

    ``cluster`` is one that has been prepared. Nothing that it started outlives this call.
    """
    outcome = Outcome()
    clock = _Clock()
    started = isoformat(time.time())
    slots = engine_count(spec.cluster, options)
    with Interrupts(options.notice, options.deadline) as interrupts:
        try:
            sinks.start()
            with _session(spec, options, storage, slots, cluster) as session:
                clock.ready = time.monotonic()
                if options.progress is not None:
                    options.progress.watch(lambda: session.state)
                context = Context(
                    spec=spec,
                    session=session,
                    storage=storage,
                    sinks=sinks,
                    interrupts=interrupts,
                    slots=slots,
                    stdin=options.stdin,
                    kept=options.kept,
                    limit=options.limit,
                    rerun_changed=options.rerun_changed,
                    warn=options.notice,
                    expect=options.progress.expect if options.progress else lambda job, total: None,
                )
                run_jobs(context, outcome)
                clock.finishing = time.monotonic()
        except ArcliError as error:
            outcome.errors.append(error)
        finally:
            if cluster is not None:
                cluster.stop()
        return _finish(spec, options, storage, sinks, outcome, interrupts, clock, started, slots)


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
            error=str(outcome.errors[0]) if outcome.errors else None,
        )

    if options.expectations and not outcome.errors:
        unmet = fail_on(check(options.expectations, measured(summed_up(), {})))
    try:
        storage.sync()
        if any(isinstance(error, AT_ONCE) for error in outcome.errors):
            sinks.abort()  # an output may be what everything is waiting for
        else:
            sinks.finish(summed_up(), outcome.values)
    except ArcliError as error:
        outcome.errors.append(error)
    summary = summed_up()
    storage.finish(summary)
    errors = outcome.errors if unmet is None else [*outcome.errors, unmet]
    return Finished(summary, errors, sinks.told)


def engine_count(cluster: Cluster, options: Options) -> int:
    """How many engines a run is to have."""
    if options.inline or cluster.launcher == "inline":
        return 1
    if options.engines is not None:
        return options.engines
    return usable_cpus() if cluster.engines == "auto" else cluster.engines


@contextmanager
def _session(
    spec: Spec,
    options: Options,
    storage: RunStorage,
    slots: int,
    cluster: EmbeddedCluster | None,
) -> Iterator[Session]:
    crumbs = storage.crumbs(slots)
    terms = Terms(
        max_restarts=spec.cluster.max_restarts,
        start_timeout=spec.cluster.start_timeout,
        steps=setup_steps(spec, slots, str(crumbs)),
        crumbs=crumbs,
        notice=options.notice,
    )
    if cluster is None:
        from arcli.session.inline import InlineFleet

        with Session(InlineFleet(), terms, storage, storage.run_id) as session:
            yield session
        return
    from arcli.session.engines import EngineFleet

    fleet = EngineFleet(cluster)

    def on_event(event: ClusterEvent) -> None:
        storage.note_event(event)
        fleet.on_event(event)

    cluster.start(on_event)
    with Session(fleet, terms, storage, storage.run_id) as session:
        yield session
