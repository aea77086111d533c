"""The jobs in their order: which may run, and each from its first item to its value."""

from __future__ import annotations

import time

from arcli.engine.protocol import Preflight
from arcli.engine.tally import Status, Tally
from arcli.errors import ArcliError, ClusterError, DeadlineError, InputError, OutputError, SetupError
from arcli.execution.context import Context, Outcome
from arcli.execution.items import Explanation, source_of, supply_of, targets_of
from arcli.execution.values import conclude, folding_of, handed
from arcli.plan.deferred import Resolver
from arcli.plan.job import plan_job
from arcli.plan.preview import is_gathered, needs_values, pushed, sources, valued
from arcli.session.results import JobResults
from arcli.specfile.model import Job, Spec
from arcli.timing.failures import Failures
from arcli.timing.ledger import End, Ledger


def run_jobs(context: Context, outcome: Outcome) -> None:
    """Run the jobs in their order. What ends one early is in ``outcome.errors``.

    A job whose needs are not met is cancelled; the others go on, unless the cluster, an output or
    the setup is what failed.
    """
    _preflight(context, outcome)
    for job in context.spec.jobs:
        # A job that cannot begin has a place in the summary, too, with its reason.
        unmet = _unmet(job, outcome, context)
        if unmet is not None:
            unread = _length(context, job, outcome)
            end, reason = unmet
            ledger = Ledger(job=job.name, kind=job.kind, ended=end, reason=reason, unread=unread)
            context.end(outcome, ledger)
            continue
        try:
            _run_job(context, job, outcome)
        except ArcliError as error:
            # An error before the job began leaves no ledger: it gets one, so that no job is missing.
            _locate(context.spec, job, error)
            if outcome.summary(job.name) is None:
                ledger = Ledger(job=job.name, kind=job.kind, ended=_end_by(error), unread=None)
                ledger.input_error = error.message if isinstance(error, InputError) else None
                context.end(outcome, ledger)
            # A bad input concerns its job alone; the cluster, an output and the setup are everybody's.
            if not isinstance(error, InputError):
                raise
            outcome.errors.append(error)


def _preflight(context: Context, outcome: Outcome) -> None:
    """Find what all jobs run on every engine, before any item is spent. Raises SetupError."""
    jobs = context.spec.jobs
    if len(jobs) < 2:
        return  # it is defined before its first item anyway
    functions = [
        (job.name, text, field == "map" and job.concurrency > 1)
        for job in jobs
        for field, text in job.functions.items()
    ]
    folder = context.spec.folder
    notebooks = [(job.name, str(folder / job.notebook)) for job in jobs if job.notebook is not None]
    request = Preflight(functions, notebooks, str(folder))
    began = time.monotonic()
    context.session.prepare(request, "the functions of all jobs")
    _book(context, outcome, began)


def _book(context: Context, outcome: Outcome, began: float) -> None:
    """Book the time since ``began``: engines did their setup, then they loaded functions."""
    ready = max(began, context.session.ready_at or began)
    outcome.setup += ready - began
    outcome.loading += time.monotonic() - ready


_ENDS: dict[type[ArcliError], End] = {
    InputError: End.INPUT_ERROR,
    SetupError: End.SETUP_FAILED,
    ClusterError: End.CLUSTER_LOST,
    OutputError: End.OUTPUT_FAILED,
    DeadlineError: End.DEADLINE,
}


def _end_by(error: ArcliError) -> End:
    """Tell how a job ended by an error."""
    return _ENDS.get(type(error), End.INTERRUPTED)


def _locate(spec: Spec, job: Job, error: ArcliError) -> None:
    """Say where in the spec the input, the setup or the function stands that is wrong."""
    # An error knows what failed in the words of where it arose; people look for it in their file.
    path: tuple[str | int, ...] = ("jobs", job.name)
    if isinstance(error, InputError):
        error.at(f"job {job.name!r}")
        below = ("targets",) if job.over is None else ("over", *(error.path or (job.over.kind,)))
        path = (*path, *below)
    elif isinstance(error, SetupError):
        first = error.stage.partition(" ")[0]
        path = (*path, {"function": job.kind, "reducer": "reduce"}.get(first, ""))
        if first in {"files", "import", "push", "run"}:
            path = ("setup", "imports" if first == "import" else first)
    else:
        return
    error.at(spec.places.problem("", *path).place)


def _length(context: Context, job: Job, outcome: Outcome) -> int | None:
    """Tell how many items a job that does not run would have had, None where nobody knows."""
    if list(valued(job)):
        return None
    try:
        source = source_of(context, job, outcome)
        if source is None:
            return len(targets_of(job, context.slots) or [0])
    except InputError:
        return None
    if source.length is None or context.options.limit is None:
        return source.length
    return min(source.length, context.options.limit)


def _unmet(job: Job, outcome: Outcome, context: Context) -> tuple[End, str | None] | None:
    """Tell why a job cannot begin, None where it can: the end that it has, and its reason."""
    if context.interrupts.stopping:
        stop = context.interrupts.error()
        return _end_by(stop), stop.message
    # Where a value is used, all items must be ok: a sum that lacks some is a wrong number.
    for name in [*job.needs, *valued(job), *pushed(job, context.spec)]:
        summary = outcome.summary(name)
        if summary is None or not summary.ok:
            return End.NEEDS, name
    # Where items are used, those that are there are enough.
    for name in sources(job.over):
        summary = outcome.summary(name)
        if summary is None or not summary.ended.is_reached:
            return End.NEEDS, name
    return None


def _empty(context: Context, job: Job) -> InputError | None:
    """Say that a job had no items: as an error that is returned, or as a warning."""
    # Its source was not looked at, which may have some.
    if context.options.limit == 0:
        context.options.notice(f"job {job.name!r} runs none of its items, since --limit is 0")
        return None
    reason = job.over.nothing() if job.over is not None else "there are no items"
    if not job.allow_empty:
        return InputError(reason, hint="allow_empty: true allows that")
    written = "allow_empty" in job.model_fields_set
    tell = context.options.notice if written else context.options.warn
    tell(f"job {job.name!r} has no items: {reason}")
    return None


def _run_job(context: Context, job: Job, outcome: Outcome) -> None:
    """Run a job from its first item to its value. Raises ArcliError for what it ended by."""
    session, options = context.session, context.options
    session.due = None if job.deadline is None else time.monotonic() + job.deadline
    source = source_of(context, job, outcome)
    plan = plan_job(
        context.spec,
        job,
        resolve=Resolver(context.slots, lambda name: handed(context, name, outcome)),
        pushed={name: outcome.pushed[name] for name in pushed(job, context.spec)},
        gathered=is_gathered(job, context.spec),
        unpack="nothing" if source is None else job.unpack or source.unpack,
        keep_opaque=needs_values(job, context.spec),
        run_folder=context.storage.path,
        whole_output=options.whole_output,
        at_once=options.at_once,
        slots=context.slots,
    )
    parts = plan.parts if options.kept is None else options.kept.compare(job.name, plan.parts)
    context.note_parts(job.name, parts)
    began = time.monotonic()
    session.define(plan)
    _book(context, outcome, began)
    explanation = None if options.history is None else Explanation(options.history, plan)
    # Records are kept in the items' order where something will look at them again in it: a reducer to
    # which the order matters, a collected value, or another job.
    collected = job.collect in {"list", "dict"} or (job.kind == "apply" and job.collect is None)
    read_again = not job.commutative if job.folds else collected or needs_values(job, context.spec)
    in_order = job.ordered or not read_again
    results = outcome.results[job.name] = JobResults(context.storage, in_order)
    folder = folding_of(context, job)
    failure: ArcliError | None = None
    taken, failures, began = Tally(), Failures(), time.monotonic()
    # An output that fails or a signal ends the job, and what it has done until then still counts.
    with supply_of(context, plan, source, explanation) as (supply, replay):
        if options.progress is not None:
            options.progress.expect(job.name, _expected(job, supply.left, outcome))
        context.watcher.begin(job.name)
        try:
            for batch in session.records(plan, supply, replay):
                taken.merge(batch.tally)
                if batch.tally.counts[Status.OK] < batch.count:
                    failures.add_lines(batch.lines)
                context.outputs.record(batch)
                results.add(batch)
                folder.take(batch)
        except ArcliError as error:
            failure = error
    if explanation is not None:
        options.notice(explanation.sentence())
    # The session's ledger has the times of engines and chunks; without it, what was seen is all there is.
    ledger = session.ledgers.get(job.name)
    if ledger is None:  # an output failed, or somebody asked for an end at once
        unread = None if supply.unread is None else max(0, supply.count + supply.unread - taken.total)
        ledger = Ledger(job=job.name, kind=job.kind, planned=taken.total, unread=unread, tally=taken)
        ledger.wall = time.monotonic() - began
    ledger.failures = failures.groups()
    if failure is None and ledger.ended is End.DONE and not ledger.planned:
        failure = _empty(context, job)
    if failure is not None and ledger.ended is End.DONE:
        ledger.ended = _end_by(failure)
    if isinstance(failure, InputError):
        ledger.input_error, ledger.unread = failure.message, None
    if ledger.ended.is_reached:
        context.watcher.make_value(job.name, taken)
        failure = conclude(context, job, results, folder, ledger, outcome)
    context.end(outcome, ledger)
    if failure is not None:
        raise failure


def _expected(job: Job, left: int | None, outcome: Outcome) -> int | None:
    """Return how many items a job will have: of values of an earlier job there are as many as it had."""
    source = None if job.over is None or job.over.kind != "from" else job.over
    if left is not None or source is None or source.model_fields_set - {"from_", "shuffle"}:
        return left
    from arcli.inputs.values import FromJob

    assert isinstance(source.input, FromJob)
    earlier = outcome.summary(source.input.job)
    if earlier is None or source.input.each:
        return None
    number = earlier.counts.ok if source.input.where == "ok" else earlier.counts.recorded
    return -(-number // (job.batch or 1))
