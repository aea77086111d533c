"""The jobs of a run, one after another: items in, records out, and a value at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, BinaryIO, Protocol

from arcli.engine.encode import from_tree
from arcli.engine.tally import Tally
from arcli.errors import (
    ArcliError,
    ClusterError,
    DeadlineError,
    InputError,
    Interrupted,
    OutputError,
    SetupError,
)
from arcli.interrupts import Interrupts
from arcli.plan.choose import pushed, sources, valued
from arcli.plan.job import JobPlan, plan_job
from arcli.plan.late import Handed, Resolver, to_engine
from arcli.plan.loading import loader
from arcli.plan.readahead import ReadAhead
from arcli.plan.sources import Source, SourceContext, build_source
from arcli.plan.texts import without_quoted
from arcli.record import RecordBatch, dump
from arcli.session.crew import Failed
from arcli.session.fold import Folded, Folder, fold_all, words
from arcli.session.jobrun import Storage, Supply
from arcli.session.results import JobResults, Value
from arcli.session.sent import to_engines as files_to_engines
from arcli.session.session import Session
from arcli.session.supply import ApplySupply, PartedSupply, SourceSupply
from arcli.spec.model import Job, Spec
from arcli.timing.ledger import Ledger
from arcli.timing.summary import JobSummary, summarize_job


class Kept(Protocol):
    """What an earlier run has already computed."""

    def take(self, job: str, key: str, *, index: int, exact: bool) -> bytes | None:
        """The record's line for this run, or None; ``exact``: only if its value is whole."""


class Consumer(Protocol):
    """Takes records; see ``arcli.sinks.base.Sink``."""

    def record(self, batch: RecordBatch) -> None:
        """Take a batch."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the jobs of a run share. ``limit`` cuts each map's items, ``stdin`` is binary.

    ``warn`` takes sentences for people.
    """

    spec: Spec
    session: Session
    storage: Storage
    sinks: Consumer
    interrupts: Interrupts
    slots: int
    stdin: BinaryIO | None = None
    kept: Kept | None = None
    limit: int | None = None
    rerun_changed: bool = False
    expect: Callable[[str, int | None], None] = lambda job, total: None
    warn: Callable[[str], None] = lambda sentence: None


@dataclass
class Outcome:
    """What a run has come to so far: summaries, values and records by job, and the errors."""

    jobs: list[JobSummary] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    folded: dict[str, Folded] = field(default_factory=dict)
    gathered: dict[str, Handed] = field(default_factory=dict)
    results: dict[str, JobResults] = field(default_factory=dict)
    errors: list[ArcliError] = field(default_factory=list)

    def summary(self, job: str) -> JobSummary | None:
        """A job's summary, None where it has not run."""
        return next((summary for summary in self.jobs if summary.name == job), None)


def run_jobs(context: Context, outcome: Outcome) -> None:
    """Run the jobs in their order. What ends one early is in ``outcome.errors``.

    A job whose needs are not met is cancelled; the others go on, unless the cluster, an output or
    the setup is what failed.
    """
    _preflight(context)
    for job in context.spec.jobs:
        unmet = _unmet(job, outcome, context)
        if unmet is not None:
            unread = _length(context, job, outcome)
            ledger = Ledger(job=job.name, kind=job.kind, ended=unmet, unread=unread)
            outcome.jobs.append(summarize_job(ledger))
            continue
        try:
            _run_job(context, job, outcome)
        except ArcliError as error:
            _locate(context.spec, job, error)
            if outcome.summary(job.name) is None:
                ledger = Ledger(job=job.name, kind=job.kind, ended=_ended(error), unread=None)
                ledger.input_error = error.message if isinstance(error, InputError) else None
                outcome.jobs.append(summarize_job(ledger))
            if not isinstance(error, InputError):
                raise
            outcome.errors.append(error)


def _preflight(context: Context) -> None:
    """Find what all jobs run on every engine, before any item is spent. Raises SetupError."""
    jobs = context.spec.jobs
    if len(jobs) < 2:
        return  # it is defined before its first item anyway
    functions = [
        (job.name, text)
        for job in jobs
        for text in (job.map, job.apply, job.reduce, job.combine, job.finish)
        if text is not None
    ]
    folder = context.spec.folder
    notebooks = [(job.name, str(folder / job.notebook)) for job in jobs if job.notebook is not None]
    context.session.prepare(
        "preflight",
        "the functions of all jobs",
        functions=functions,
        notebooks=notebooks,
        folder=str(folder),
    )


_ENDED: dict[type[ArcliError], str] = {
    InputError: "input error",
    SetupError: "setup failed",
    ClusterError: "cluster lost",
    OutputError: "output failed",
    DeadlineError: "deadline",
}


def _ended(error: ArcliError) -> str:
    """What a job ended with, in the ledger's words."""
    return _ENDED.get(type(error), "interrupted")


def _locate(spec: Spec, job: Job, error: ArcliError) -> None:
    """Say where in the spec the input, the setup or the function stands that is wrong."""
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
    """How many items a job that does not run would have had, None where nobody knows."""
    if list(valued(job)):
        return None
    try:
        source = _source(context, job, outcome)
        if source is None:
            return len(_targets(job, context.slots) or [0])
    except InputError:
        return None
    if source.length is None or context.limit is None:
        return source.length
    return min(source.length, context.limit)


def _unmet(job: Job, outcome: Outcome, context: Context) -> str | None:
    """Why a job cannot begin: ``needs NAME``, or what stops the whole run."""
    if context.interrupts.stopping:
        return "interrupted" if context.interrupts.number is not None else "deadline"
    for name in [*job.needs, *valued(job), *pushed(job, context.spec)]:
        summary = outcome.summary(name)
        if summary is None or not summary.ok:
            return f"needs {name}"
    for name in sources(job.over):
        summary = outcome.summary(name)
        if summary is None or summary.ended != "done":
            return f"needs {name}"
    return None


def _empty(context: Context, job: Job) -> InputError | None:
    """What is to be said of a job that had no items."""
    if not job.allow_empty:
        return InputError("there are no items", hint="allow_empty: true makes that a warning")
    context.warn(f"job {job.name!r} has no items")
    return None


def _run_job(context: Context, job: Job, outcome: Outcome) -> None:
    session = context.session
    session.due = None if job.deadline is None else time.monotonic() + job.deadline
    source = _source(context, job, outcome)
    plan = plan_job(
        context.spec,
        job,
        resolve=Resolver(context.slots, lambda name: _handed(context, name, outcome)),
        unpack=_unpack(job, source),
        rerun_changed=context.rerun_changed,
        keep_opaque=_needs_values(job, context.spec),
        copies=context.storage.copies(job.name),
    )
    session.define(plan)
    in_order = job.ordered or not _reads_results(job, context.spec)
    results = outcome.results[job.name] = JobResults(context.storage, in_order)
    folder = _folder(context, job)
    failure: ArcliError | None = None
    taken, began = Tally(), time.monotonic()
    with _supply(context, plan, source) as (supply, replay):
        context.expect(job.name, supply.left)
        try:
            for batch in session.records(plan, supply, replay):
                taken.merge(batch.tally)
                context.sinks.record(batch)
                results.add(batch)
                folder.take(batch)
        except ArcliError as error:
            failure = error
    ledger = session.ledgers.get(job.name)
    if ledger is None:  # an output failed, or somebody asked for an end at once
        ledger = Ledger(job=job.name, kind=job.kind, planned=taken.total, unread=None, tally=taken)
        ledger.wall = time.monotonic() - began
    if failure is None and ledger.ended == "done" and not ledger.planned:
        failure = _empty(context, job)
    if failure is not None and ledger.ended == "done":
        ledger.ended = _ended(failure)
    if isinstance(failure, InputError):
        ledger.input_error, ledger.unread = failure.message, None
    if ledger.ended == "done":
        failure = _conclude(context, job, results, folder, ledger, outcome)
    outcome.jobs.append(summarize_job(ledger))
    if failure is not None:
        raise failure


class _Folding:
    """Folds a job's batches as they come, where it has a reducer and they come in order."""

    def __init__(self, folder: Folder | None, *, live: bool) -> None:
        self.folder = folder
        self._live = live
        self.failed: Failed | ArcliError | None = None

    def take(self, batch: RecordBatch) -> None:
        """Fold a batch now, if that can be done now."""
        if self.folder is None or not self._live or self.failed is not None:
            return
        try:
            self.folder.add(batch)
        except (Failed, Interrupted, DeadlineError) as failed:
            self.failed = failed  # the records go on: each has its last word

    def finish(self, results: JobResults) -> Folded:
        """The value. Raises Failed, Interrupted, DeadlineError."""
        if self.failed is not None:
            raise self.failed
        assert self.folder is not None
        return self.folder.finish() if self._live else fold_all(self.folder, results.values())


def _folder(context: Context, job: Job) -> _Folding:
    if job.reduce is None:
        return _Folding(None, live=False)
    folder = Folder(context.session, job, str(context.spec.folder), context.storage)
    return _Folding(folder, live=job.ordered or job.commutative)


def _conclude(
    context: Context,
    job: Job,
    results: JobResults,
    folding: _Folding,
    ledger: Ledger,
    outcome: Outcome,
) -> ArcliError | None:
    """The job's value: reduced, gathered or collected; and handed to the engines, if asked for.

    Returns what ends the run meanwhile, if anything does.
    """
    try:
        if folding.folder is not None:
            folded = folding.finish(results)
            outcome.folded[job.name] = folded
            outcome.values[job.name] = folded.tree
        elif job.gather is not None:
            real, shown = _gathered(context, job.gather)
            outcome.gathered[job.name], outcome.values[job.name] = real, shown
        else:
            outcome.values[job.name] = _collected(job, results)
        whole = ledger.tally.counts.get("ok", 0) == ledger.planned
        if job.push_as is not None and whole:  # nobody works with a part as if it were all
            value, what = _handed(context, job.name, outcome), f"push_as: {job.push_as}"
            context.session.call_each(
                "assign", what, keep=True, name=job.push_as, form=value.form, parts=value.parts
            )
    except Failed as failed:
        ledger.value_error = words(failed)
        if context.session.due is not None and time.monotonic() > context.session.due:
            ledger.ended = "deadline"
    except (Interrupted, DeadlineError, ClusterError) as error:
        ledger.value_error = error.message
        return error
    return None


def _collected(job: Job, results: JobResults) -> Any:
    form = job.collect or ("list" if job.kind == "apply" else "none")
    if form == "list":
        return [value.record["value"] for value in results.values()]
    if form == "dict":
        return {text: value.record["value"] for text, _, value in _labelled(job, results)}
    return sum(1 for _ in results.values()) if form == "count" else None


def _labelled(job: Job, results: JobResults) -> Iterator[tuple[str, Any, Value]]:
    """The entries of a collected dict: their key as text and as it is. Raises Failed for twins."""
    seen: dict[Any, int] = {}
    for value in results.values():
        key = _label(job, value.record)
        text = key if isinstance(key, str) else dump(key).decode()
        first = min(seen.setdefault(name, value.index) for name in (key, ("", text)))
        if first != value.index:
            reason = f"item {first} has the key {text!r}, too; collect: list keeps all values"
            raise Failed({"stage": "collect: dict", "index": value.index, "reason": reason})
        yield text, key, value


def _label(job: Job, record: Mapping[str, Any]) -> Any:
    """What a collected dict has as the key: the engine's id of an apply, a map's input or index."""
    if job.kind == "apply":
        return record["engine_id"]
    given = record["input"]
    return given if isinstance(given, str | int | float) else record["index"]


def _handed(context: Context, name: str, outcome: Outcome) -> Handed:
    """An earlier job's value as it is, for engines: JSON is only what can be shown of it."""
    job = next(job for job in context.spec.jobs if job.name == name)
    if name in outcome.gathered:
        return outcome.gathered[name]
    if (folded := outcome.folded.get(name)) is not None:
        return Handed("one", [(None, folded.text, folded.pickled)])
    if job.collect == "count":
        return Handed("one", [(None, json.dumps(outcome.values[name]), None)])
    results = outcome.results[name]
    form = "dict" if job.collect == "dict" else "list"
    labelled = _labelled(job, results) if form == "dict" else _unlabelled(results)
    return Handed(form, [(key, value.text, value.pickled) for _, key, value in labelled])


def _unlabelled(results: JobResults) -> Iterator[tuple[str, Any, Value]]:
    for value in results.values():
        yield "", None, value


def _as_input(context: Context, name: str, outcome: Outcome) -> Any:
    """An earlier job's value for the source of another's items. Raises InputError.

    A list may have elements that only engines can open; a value that is none must be all there.
    """
    value, tree = _handed(context, name, outcome), outcome.values[name]
    if value.form == "list":
        return list(outcome.results[name].inputs("ok"))
    exact = all(text is not None for _, text, _ in value.parts)
    if isinstance(tree, list | dict) and not exact:
        raise InputError(
            f"the value of job {name!r} is not all there outside of the engines",
            hint="JSON does not hold it exactly: let finish make a list of it, or use from:",
        )
    return from_tree(tree)


def _gathered(context: Context, name: str) -> tuple[Handed, list[Any]]:
    """A scattered sequence, put together again in the order of the slots; and as JSON shows it.

    Parts are lists, but for those of one element that were flattened to it.
    """
    scatter = context.spec.setup.scatter.get(name)
    alone: set[int] = set()
    if scatter is not None and scatter.flatten:
        values = Resolver(context.slots, lambda job: None)(scatter.values)
        sizes = [len(part) for part in _dealt(values, context.slots)]
        alone = {slot for slot, size in enumerate(sizes) if size == 1}
    parts: list[tuple[Any, str | None, bytes | None]] = []
    whole: list[Any] = []
    looked = context.session.call_each("look", f"gather: {name}", name=name)
    for slot, (header, (text, pickled)) in looked.items():
        part = json.loads(text)
        many = slot not in alone and header["many"]
        parts.append((many, text.decode() if header["exact"] else None, pickled))
        whole += part if many and isinstance(part, list) else [part]
    return Handed("joined", parts), whole


def _needs_values(job: Job, spec: Spec) -> bool:
    """Whether something will work with the job's real values, and not only show them."""
    if job.reduce is not None or job.push_as is not None:
        return True
    return any(job.name in {*sources(other.over), *valued(other)} for other in spec.jobs)


def _reads_results(job: Job, spec: Spec) -> bool:
    """Whether the records will be looked at again, in the items' order."""
    if job.reduce is not None:
        return not job.commutative
    collected = job.collect in {"list", "dict"} or (job.kind == "apply" and job.collect is None)
    return collected or _needs_values(job, spec)


def _unpack(job: Job, source: Source | None) -> Any:
    if source is None:
        return "nothing"
    return job.unpack or source.unpack


def _source(context: Context, job: Job, outcome: Outcome) -> Source | None:
    if job.over is None:
        return None
    resolve = Resolver(context.slots, lambda name: _as_input(context, name, outcome))
    jobs = {name: results.inputs for name, results in outcome.results.items()}
    source = build_source(
        job.over,
        SourceContext(
            folder=context.spec.folder,
            stdin=context.stdin,
            jobs=jobs,
            resolve=resolve,
            load_callable=loader(context.spec),
            python=context.spec.cluster.python,
        ),
    )
    return without_quoted(source, job) if job.command is not None else source


@contextmanager
def _supply(
    context: Context, plan: JobPlan, source: Source | None
) -> Iterator[tuple[Supply, list[tuple[int, bytes]]]]:
    """The job's items, numbered; and where those go that an earlier run has computed."""
    replay: list[tuple[int, bytes]] = []
    kept = context.kept
    lookup = None
    if kept is not None:
        exact = plan.definition["keep_opaque"]

        def lookup(key: str, index: int) -> bytes | None:
            return kept.take(plan.name, key, index=index, exact=exact)

    def replayed(index: int, line: bytes) -> None:
        replay.append((index, line))

    hasher = plan.hasher()
    if source is None:
        slots = _targets(plan.job, context.slots)
        yield ApplySupply(slots, hasher=hasher, kept=lookup, replay=replayed), replay
        return
    length = source.length
    if context.limit is not None and length is not None:
        length = min(length, context.limit)
    reader = ReadAhead(source, notify=context.session.wake, limit=context.limit)
    supply = SourceSupply(
        reader,
        length=length,
        distinct=source.distinct,
        hasher=hasher,
        kept=lookup,
        replay=replayed,
    )
    try:
        pinned = plan.job.view == "direct" or isinstance(plan.job.targets, list)
        slots = _targets(plan.job, context.slots)
        if pinned and slots is not None:
            if length is None:
                raise InputError(
                    "view: direct deals the items out before it starts, and how many there are is "
                    "not known",
                    hint="use view: load_balanced, or a source whose length is known",
                )
            yield PartedSupply(supply, slots, length), replay
        else:
            yield supply, replay
    finally:
        reader.close()


def _targets(job: Job, slots: int) -> list[int] | None:
    """The slots that must do something each; None: any engine."""
    if job.targets == "any":
        return None
    if isinstance(job.targets, list):
        missing = [slot for slot in job.targets if not 0 <= slot < slots]
        if missing:
            raise InputError(f"there is no engine {missing[0]}; there are {slots}, from 0 on")
        return list(job.targets)
    return list(range(slots))


def setup_steps(spec: Spec, slots: int, crumbs: str | None) -> Callable[[int], list[bytes]]:
    """The requests that prepare the engine in a slot: who it is, and the spec's setup."""
    from arcli.session.crew import request

    resolve = Resolver(slots, lambda name: None)
    setup = spec.setup
    path = [str(spec.folder), *(str((spec.folder / part).resolve()) for part in setup.path)]
    push = to_engine(resolve(setup.push))
    parts = {
        name: [
            part[0] if scatter.flatten and len(part) == 1 else part
            for part in _dealt(resolve(scatter.values), slots)
        ]
        for name, scatter in setup.scatter.items()
    }
    files = files_to_engines(spec)

    def steps(slot: int) -> list[bytes]:
        dealt = {name: part[slot] for name, part in parts.items()}
        crumb = None if crumbs is None else f"{crumbs}/{slot}"
        return [
            request("hello", slot=slot, breadcrumb=crumb),
            request(
                "setup",
                path=path,
                imports=setup.imports,
                push={**push, **dealt},
                run=setup.run,
                files=files,
            ),
        ]

    return steps


def _dealt(values: Sequence[Any], slots: int) -> list[Sequence[Any]]:
    """A sequence dealt out in contiguous parts, the first ones one longer, as ipyparallel does."""
    size, longer = divmod(len(values), slots)
    starts = [slot * size + min(slot, longer) for slot in range(slots + 1)]
    return [values[start:end] for start, end in pairwise(starts)]
