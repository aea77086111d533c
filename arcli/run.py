"""The line: spec -> cluster -> session -> records -> sinks -> summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from arcli.cluster.cpus import usable_cpus
from arcli.errors import ArcliError, OutputError, ReaderGone
from arcli.interrupts import Interrupts
from arcli.jobs import Context, Kept, Outcome, run_jobs, setup_steps
from arcli.record import RecordBatch
from arcli.session.actor import State, Terms
from arcli.session.session import Session
from arcli.sinks.base import Sink
from arcli.spec.model import Cluster, Spec
from arcli.store.storage import RunStorage
from arcli.timing.outcome import decide
from arcli.timing.summary import RunSummary
from arcli.units import isoformat

if TYPE_CHECKING:
    from arcli.cluster.embedded import EmbeddedCluster


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a spec is to be run. ``began`` is when the process did (a monotonic time).

    ``notice`` takes sentences for people, ``watch`` the session's state for a progress display.
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
    watch: Callable[[Callable[[], State]], None] | None = None


@dataclass
class _Clock:
    """When the parts of a run began, monotonic."""

    ready: float | None = None
    finishing: float | None = None


@dataclass
class Finished:
    """What a run ended with; ``errors`` are those that people have not been told of yet."""

    summary: RunSummary
    errors: list[ArcliError] = field(default_factory=list)


def execute(
    spec: Spec,
    options: Options,
    storage: RunStorage,
    sinks: Sequence[Sink],
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
        out = _Outputs(sinks)
        try:
            with ExitStack() as stack:
                out.start()
                session = stack.enter_context(_session(spec, options, storage, slots, cluster))
                clock.ready = time.monotonic()
                if options.watch is not None:
                    options.watch(lambda: session.state)
                context = Context(
                    spec=spec,
                    session=session,
                    storage=storage,
                    sinks=out,
                    interrupts=interrupts,
                    slots=slots,
                    stdin=options.stdin,
                    kept=options.kept,
                    limit=options.limit,
                    rerun_changed=options.rerun_changed,
                )
                run_jobs(context, outcome)
                clock.finishing = time.monotonic()
        except ArcliError as error:
            outcome.errors.append(error)
        finally:
            if cluster is not None:
                cluster.stop()
        return _finish(spec, options, storage, out, outcome, interrupts, clock, started, slots)


def _finish(
    spec: Spec,
    options: Options,
    storage: RunStorage,
    out: _Outputs,
    outcome: Outcome,
    interrupts: Interrupts,
    clock: _Clock,
    started: str,
    slots: int,
) -> Finished:
    now = time.monotonic()

    def summed_up() -> RunSummary:
        code = decide(
            outcome.jobs,
            errors=outcome.errors,
            signal=interrupts.number,
            deadline=interrupts.deadline_passed,
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

    try:
        storage.sync()
        out.finish(summed_up(), outcome.values)
    except ArcliError as error:
        outcome.errors.append(error)
    return Finished(summed_up(), outcome.errors)


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
    cluster.start(fleet.on_event)
    storage.note_engines(cluster.engines())
    with Session(fleet, terms, storage, storage.run_id) as session:
        yield session


class _Outputs:
    """All sinks of a run: one that fails is given up, and the others still get everything."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)

    def start(self) -> None:
        """Prove that all outputs can be made. Raises OutputError."""
        for sink in self._sinks:
            sink.start()

    def record(self, batch: RecordBatch) -> None:
        """Hand a batch to all. Raises OutputError."""
        for sink in self._sinks:
            self._try(sink, lambda sink=sink: sink.record(batch))  # type: ignore[misc]

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """Complete all. Raises the first OutputError."""
        failed: ArcliError | None = None
        for sink in list(self._sinks):
            try:
                sink.finish(summary, values)
            except OutputError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _try(self, sink: Sink, action: Callable[[], None]) -> None:
        try:
            action()
        except (OutputError, ReaderGone):
            self._sinks.remove(sink)
            sink.abort()
            raise


def run_root(environ: dict[str, str]) -> Path:
    """The folder that holds past runs: ``$ARCLI_DIR``, or ``.arcli`` in the working directory."""
    return Path(environ.get("ARCLI_DIR") or ".arcli")
