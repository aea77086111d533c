"""What a job comes to: folded, collected or gathered, shown to people and handed to engines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from typing import Any

from arcli.cluster.base import EngineInfo
from arcli.engine.encode import decode, from_tree
from arcli.engine.protocol import Assign, Divide, Done, ElementsReply, Failure, Look, ValueReply
from arcli.engine.tally import Status
from arcli.errors import ArcliError, ClusterError, DeadlineError, InputError, Interrupted
from arcli.execution.context import Context, Outcome
from arcli.execution.engines import dealt
from arcli.inputs.pickled import PickledInput
from arcli.plan.deferred import JobValue, Resolver, scattered_values
from arcli.plan.preview import gathered_from
from arcli.record import EntryKeys, RecordBatch, TwinKeys, dump
from arcli.session.core.messages import Failed
from arcli.session.results import Folded, JobResults, Reducer, Value, words
from arcli.specfile.model import Job
from arcli.timing.ledger import End, Ledger
from arcli.timing.words import plural


class Folding:
    """Folds a job's batches as they come, where it has a reducer and they come in order."""

    def __init__(self, folder: Reducer | None, *, live: bool) -> None:
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
        """Return the value. Raises Failed, Interrupted, DeadlineError."""
        if self.failed is not None:
            raise self.failed
        assert self.folder is not None
        # Else they stand in the journal, and are folded in the items' order.
        for value in () if self._live else results.values():
            self.folder.add_value(value)
        return self.folder.finish()


def folding_of(context: Context, job: Job) -> Folding:
    """Return what folds a job's values, if anything does."""
    if not job.folds:
        return Folding(None, live=False)
    folder = Reducer(context.session, job, str(context.spec.folder), context.storage)
    return Folding(folder, live=job.ordered or job.commutative)


def conclude(
    context: Context, job: Job, results: JobResults, folding: Folding, ledger: Ledger, outcome: Outcome
) -> ArcliError | None:
    """Make the job's value: reduced, gathered or collected; and hand it to the engines, if asked for.

    Returns what ends the run meanwhile, if anything does.
    """
    try:
        # A job has one value: folded, gathered from its engines, or collected from its items.
        if folding.folder is not None:
            folded = folding.finish(results)
            outcome.folded[job.name] = folded
            outcome.values[job.name] = folded.tree
        elif job.gather is not None:
            real, shown, where = _gathered(context, job.gather)
            if (note := _lost(context, job, where)) is not None:
                ledger.value_note = note
                context.options.warn(f"job {job.name!r}: its value {note}")
            outcome.gathered[job.name], outcome.values[job.name] = real, shown
        else:
            form = job.collect or ("list" if job.kind == "apply" else "none")
            if form == "list":
                outcome.values[job.name] = [value.record["value"] for value in results.values()]
            elif form == "dict":
                labelled = _labelled(job, results)
                outcome.values[job.name] = {text: value.record["value"] for text, _, value in labelled}
            else:
                count = sum(1 for _ in results.values()) if form == "count" else None
                outcome.values[job.name] = count
        # Nobody works with a part as if it were all. A job that was to have so many has all that was asked
        # for, and counts as ok: those that use the name begin, and must find it.
        complete = ledger.ended is End.ENOUGH or ledger.tally.counts[Status.OK] == ledger.planned
        if job.push_as is not None and complete:
            value, what = handed(context, job.name, outcome), f"push_as: {job.push_as}"
            request = Assign(job.push_as, value.form, value.parts)
            context.session.ask_each(request, Done, what, keep=True)
            outcome.pushed[job.name] = value.digest
    # A reducer that raises costs this job its value, and no other job anything.
    except Failed as failed:
        ledger.value_error = words(failed)
        if context.session.due is not None and time.monotonic() > context.session.due:
            ledger.ended = End.DEADLINE
    except (Interrupted, DeadlineError, ClusterError) as error:
        ledger.value_error = error.message
        return error
    return None


def _labelled(job: Job, results: JobResults) -> Iterator[tuple[str, Any, Value]]:
    """Yield the entries of a collected dict: their key as text and as it is. Raises Failed for twins."""
    keys = EntryKeys(job.kind)
    for value in results.values():
        try:
            text, key = keys.of(value.record)
        except TwinKeys as twins:
            failure = Failure("collect: dict", str(twins), "", "", "", item=value.index)
            raise Failed(failure) from None
        yield text, key, value


def handed(context: Context, name: str, outcome: Outcome) -> JobValue:
    """Return an earlier job's value as it is, for engines: JSON is only what can be shown of it."""
    job = next(job for job in context.spec.jobs if job.name == name)
    # What is one value already is handed on whole; results of items are brought together only now.
    if name in outcome.gathered:
        return outcome.gathered[name]
    if (folded := outcome.folded.get(name)) is not None:
        return JobValue("one", [(None, folded.text, folded.pickled)])
    if job.collect == "count":
        return JobValue("one", [(None, json.dumps(outcome.values[name]), None)])
    results = outcome.results[name]
    form = "dict" if job.collect == "dict" else "list"
    if form == "dict":
        entries = [(key, value) for _, key, value in _labelled(job, results)]
    else:
        entries = [(None, value) for value in results.values()]
    return JobValue(form, [(key, value.text, value.pickled) for key, value in entries])


def as_input(context: Context, name: str, outcome: Outcome) -> Any:
    """Return an earlier job's value for the source of another's items. Raises InputError.

    It may have elements that only engines can open; what is no list is divided by one of them.
    """
    value, tree = handed(context, name, outcome), outcome.values[name]
    if value.form == "list":
        return list(outcome.results[name].inputs("ok"))
    # A number that JSON does not hold exactly (a member of an enumeration) has no elements either:
    # sources take what it comes to.
    exact = all(text is not None for _, text, _ in value.parts)
    if exact or isinstance(tree, int | float):
        return from_tree(tree)
    return _elements(context.session.ask, Divide(value.form, value.parts), f"the value of job {name!r}")


def elements_of(context: Context, value: Any) -> list[Any]:
    """Return the elements of an earlier job's value, on the thread that reads items. Raises InputError."""
    if isinstance(value, list):
        return value
    if not isinstance(value, PickledInput):
        shown = dump(value).decode(errors="replace")[:80]
        raise InputError(f"from: each: {shown} has no elements to be items")
    request = Divide("one", [(None, None, value.pickled)])
    return _elements(context.session.ask_aside, request, "from: each")


def _elements(
    ask: Callable[[Divide, type[ElementsReply]], ElementsReply], request: Divide, what: str
) -> list[Any]:
    """Have an engine divide a value, which is called ``what``. Raises InputError."""
    try:
        reply = ask(request, ElementsReply)
    except Failed as failed:
        raise InputError(f"{what}: {failed.failure.reason}") from None
    # The pickles of those that JSON does not hold come one after another.
    ends = list(accumulate(reply.lengths, initial=0))
    return [
        PickledInput(pickled=reply.pickles[start:end], text=text) if start < end else decode(text)
        for text, (start, end) in zip(reply.texts, pairwise(ends), strict=True)
    ]


def _gathered(context: Context, name: str) -> tuple[JobValue, list[Any], list[EngineInfo]]:
    """Put a scattered sequence together again, in the order of the slots; also as JSON shows it, and the
    engines that have it.

    Parts are lists, but for those of one element that were flattened to it.
    """
    scatter = context.spec.setup.scatter.get(name)
    alone: set[int] = set()
    # A part of one element was scattered as that element, and is joined as one.
    if scatter is not None and scatter.flatten:
        values = scattered_values(scatter, context.spec.folder, Resolver(context.slots, lambda job: None))
        sizes = [len(part) for part in dealt(values, context.slots)]
        alone = {slot for slot, size in enumerate(sizes) if size == 1}
    parts: list[tuple[Any, str | None, bytes | None]] = []
    shown: list[Any] = []
    looked = context.session.ask_each(Look(name), ValueReply, f"gather: {name}")
    for engine, reply in looked.items():
        part = json.loads(reply.text)
        many = engine.slot not in alone and reply.many
        parts.append((many, reply.text.decode() if reply.exact else None, reply.pickled))
        shown += part if many and isinstance(part, list) else [part]
    return JobValue("joined", parts), shown, list(looked)


def _lost(context: Context, job: Job, where: list[EngineInfo]) -> str | None:
    """Say what is not in a value that was gathered from these engines; None where all is."""
    # A replacement begins as the setup left the one before it.
    ledgers, there = context.session.ledgers, {engine.engine_id for engine in where}
    uses = [
        use
        for name in gathered_from(job, context.spec)
        if name in ledgers
        for use in ledgers[name].engines.values()
    ]
    items = sum(use.items for use in uses if use.engine_id not in there)
    missing = sorted({*range(context.slots)} - {engine.slot for engine in where})
    lacking = [f"what {plural(items, 'item')} did on engines that were lost"] if items else []
    if missing:
        lacking.append(f"the part of slot{'s' * (len(missing) > 1)} {', '.join(map(str, missing))}")
    return f"lacks {' and '.join(lacking)}" if lacking else None
