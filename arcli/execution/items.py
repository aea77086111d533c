"""The items of a job, numbered: which of them an earlier run has computed, and why the others run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO

from arcli.engine.encode import from_tree
from arcli.engine.tally import Status
from arcli.errors import ArcliError, InputError
from arcli.execution.context import Context, History, Outcome
from arcli.execution.values import as_input, elements_of
from arcli.inputs import Source, SourceContext
from arcli.inputs.python import loader
from arcli.plan.deferred import Resolver, without_quoted
from arcli.plan.job import JobPlan, plan_job
from arcli.plan.outdirs import with_distinct_folders
from arcli.plan.preview import Preview, is_gathered, needs_values, preview, pushed, sources
from arcli.plan.readahead import ReadAhead
from arcli.session.interfaces import Supply
from arcli.session.supply import ApplySupply, PartedSupply, Parts, SourceSupply
from arcli.specfile.model import Job, Spec


def source_of(context: Context, job: Job, outcome: Outcome) -> Source | None:
    """Return where a job's items come from, None for an apply. Raises InputError.

    The first job's is the one that was opened when the spec was checked. A later job's is opened
    now, since an earlier one may have written the files that it reads.
    """
    if job.over is None:
        return None
    spec = context.spec
    source = spec.sources.get(job.name) if job.name == spec.jobs[0].name else None
    if source is None:
        source = job.open_items(
            SourceContext(
                folder=spec.folder,
                stdin=context.options.stdin,
                jobs={name: results.inputs for name, results in outcome.results.items()},
                resolve=Resolver(context.slots, lambda name: as_input(context, name, outcome)),
                load_callable=loader(spec.folder, spec.setup.path),
                python=spec.cluster.python,
                elements=lambda value: elements_of(context, value),
                texts=job.kind == "command",
            )
        )
    # Both look at each item as it is read, since what is in it is known to nobody before.
    source = with_distinct_folders(source, job, spec.folder)
    return without_quoted(source, job) if job.command is not None else source


@contextmanager
def supply_of(
    context: Context, plan: JobPlan, source: Source | None, explanation: Explanation | None = None
) -> Iterator[tuple[Supply, list[tuple[int, bytes]]]]:
    """Open the job's items, numbered, and where those go that an earlier run has computed.

    Raises InputError.
    """
    replay: list[tuple[int, bytes]] = []
    kept = context.options.kept
    lookup = None
    if kept is not None:
        name, exact = plan.name, plan.definition.keep_opaque

        def lookup(key: str, index: int) -> bytes | None:
            slot = None if owner is None else owner(index)
            line = None if plan.gathered else kept.take(name, key, index=index, exact=exact, slot=slot)
            if explanation is not None:
                explanation.note(key, kept=line is not None, slot=slot)
            return line

    def replayed(index: int, line: bytes) -> None:
        replay.append((index, line))

    hasher, owner = plan.hasher(), None
    if source is None:
        slots = targets_of(plan.job, context.slots)
        yield ApplySupply(slots, hasher=hasher, kept=lookup, replay=replayed), replay
        return
    length = source.length
    if context.options.limit is not None and length is not None:
        length = min(length, context.options.limit)
    owner = _owner(context.spec, plan.job, context.slots, length)
    # A source is the user's code or file: it is read on a thread of its own, so that a slow one stops
    # no timer.
    reader = ReadAhead(source, notify=context.session.wake, limit=context.options.limit)
    supply = SourceSupply(
        reader, length=length, distinct=source.distinct, hasher=hasher, kept=lookup, replay=replayed
    )
    try:
        # Items that belong to engines are dealt out by number, so that a resumed run deals them alike.
        slots = _dealt_to(plan.job, context.slots)
        if slots is not None:
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


def _dealt_to(job: Job, slots: int) -> list[int] | None:
    """Return the slots that a job's items are dealt out to, None: any of them goes anywhere."""
    dealt = job.view == "direct" or isinstance(job.targets, list)
    return targets_of(job, slots) if dealt else None


def _owner(spec: Spec, job: Job, slots: int, length: int | None) -> Callable[[int], int] | None:
    """Return what tells the slot whose part of a sequence decides an item's value, by the item's number."""
    dealt = _dealt_to(job, slots)
    if not spec.setup.scatter or dealt is None or length is None:
        return None
    return Parts(dealt, length).slot_of


def targets_of(job: Job, slots: int) -> list[int] | None:
    """Return the slots that must do something each; None: any engine. Raises InputError."""
    if job.targets == "any":
        return None
    if isinstance(job.targets, list):
        missing = [slot for slot in job.targets if not 0 <= slot < slots]
        if missing:
            raise InputError(f"there is no engine {missing[0]}; there are {slots}, from 0 on")
        return list(job.targets)
    return list(range(slots))


GLANCE = 1000


@dataclass
class Explanation:
    """Counts a job's items by what becomes of them, and says it in a sentence.

    ``owner`` tells the slot that decides an item's value, by the item's number; None: none does.
    """

    history: History
    plan: JobPlan
    owner: Callable[[int], int] | None = None
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)

    def note(self, key: str, *, kept: bool, slot: int | None) -> None:
        """Count an item by its key, and by the slot that it belongs to."""
        if kept:
            self.kept += 1
        elif self.plan.gathered:
            self.reasons["whose effect on an engine is gathered"] += 1
        else:
            self.reasons[self.history.why(self.plan.name, key, slot=slot)] += 1

    def look_up(self, key: str, index: int) -> bytes | None:
        """Count an item for a supply that only counts them; a line, if an empty one, of what is kept."""
        exact = self.plan.definition.keep_opaque
        slot = None if self.owner is None else self.owner(index)
        kept = not self.plan.gathered and self.history.is_kept(self.plan.name, key, exact=exact, slot=slot)
        self.note(key, kept=kept, slot=slot)
        # Later jobs read whole values only, which is when they have to be kept exactly.
        if kept and exact:
            self.keys.append(key)
        return b"" if kept else None

    def values(self, where: str) -> Iterator[Any]:
        """Yield the values that are kept, as a later job's inputs (see ``JobResults.inputs``)."""
        for key in self.keys:
            record = self.history.record(self.plan.name, key)
            if record["status"] == Status.OK:
                yield from_tree(record["value"])
            elif where == "all":
                yield None

    def sentence(self) -> str:
        """Say how many items are kept, how many run, and why."""
        before, running = self.history.parts(self.plan.name), self.reasons.total()
        changed = [name for name, part in self.plan.parts.items() if before.get(name, part) != part]
        # Another function, which may be written in the spec itself, has another source.
        if "function" in changed and "source" in changed:
            changed.remove("source")
        # A changed file makes no item a new one, unless that was asked for: kept ones show that.
        source = changed == ["source"] or (self.kept and "source" in changed)
        job = f"{self.plan.name}: {self.kept:,} item{'s' * (self.kept != 1)} kept, {running:,} to run"
        if source and self.kept:
            job += "; the function's file has changed, which --rerun-changed minds"
        if not running:
            return job
        if changed and not source:
            return f"{job}: {' and '.join(f'the {name}' for name in changed)} changed"
        return f"{job}: {', '.join(f'{count:,} {why}' for why, count in self.reasons.most_common())}"


def explain(
    spec: Spec, history: History, *, slots: int | None, limit: int | None, stdin: BinaryIO | None
) -> Iterator[str]:
    """Say for each job what a resumed run would keep and run; reads inputs, and runs nothing."""

    def unknown(name: str) -> Any:
        raise InputError(f"the value of job {name!r} is known in the run only")

    explanations: dict[str, Explanation] = {}
    for previewed in preview(spec, slots=slots, stdin=stdin):
        job = previewed.job
        resolve = Resolver(slots or 1, unknown)
        try:
            if spec.setup.scatter and slots is None:
                raise InputError("which part of a sequence an engine has is known in the run only")
            source = _known_items(spec, previewed, resolve, explanations, stdin)
            plan = plan_job(
                spec,
                job,
                resolve=resolve,
                pushed={name: unknown(name) for name in pushed(job, spec)},
                gathered=is_gathered(job, spec),
                unpack=job.unpack or source.unpack,
                keep_opaque=needs_values(job, spec),
                slots=slots or 1,
            )
        # What cannot be told of one job does not keep the others from being explained.
        except InputError as error:
            yield f"{job.name}: {error.message}"
            continue
        history.compare(job.name, plan.parts)
        length = source.length if limit is None or source.length is None else min(source.length, limit)
        owner = _owner(spec, job, slots or 1, length)
        explanation = explanations[job.name] = Explanation(history, plan, owner)
        # Keys are given as in a run, since equal inputs are told apart by how often they have come.
        supply = SourceSupply(
            _Directly(source, limit),
            length=source.length,
            distinct=source.distinct,
            hasher=plan.hasher(),
            kept=explanation.look_up,
            replay=lambda index, line: None,
        )
        while not supply.exhausted:
            supply.take(GLANCE)
        yield explanation.sentence()


def _known_items(
    spec: Spec,
    previewed: Preview,
    resolve: Resolver,
    explanations: Mapping[str, Explanation],
    stdin: BinaryIO | None,
) -> Source:
    """Return a job's items, as far as they are known without a run. Raises InputError that says why not."""
    job, source = previewed.job, previewed.source
    if job.over is None or source is None:
        raise InputError("its items are known in the run only")
    # To call it would be to run the user's code, which an explanation promises not to do.
    if any(part.kind == "python" for _, part in job.over.walk()):
        raise InputError("its items are what a generator yields, which only a run calls")
    if not job.over.only_in_runs:
        return source
    # An earlier job's values are known where none of its items would run again.
    for name in sources(job.over):
        earlier = explanations.get(name)
        if earlier is None:
            raise InputError(f"its items are values of {name}, which are known in the run only")
        if running := earlier.reasons.total():
            again = f"{running:,} item{'s run' if running > 1 else ' runs'} again"
            raise InputError(f"its items are values of {name}, of which {again}: known in the run only")
    values = {name: explanation.values for name, explanation in explanations.items()}
    texts = job.kind == "command"
    return job.open_items(
        SourceContext(
            folder=spec.folder, stdin=stdin, jobs=values, resolve=resolve, elements=_listed, texts=texts
        )
    )


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise InputError("its items are elements of a value that is no list, and known in the run only")
    return value


class _Directly:
    """Reads a source where its items are asked for (see ``supply.Reader``)."""

    error: ArcliError | None = None

    def __init__(self, source: Iterable[Any], limit: int | None) -> None:
        self._items = iter(islice(source, limit))
        self.left: int | None = None

    def take(self, n: int) -> list[Any]:
        """See Reader."""
        items = list(islice(self._items, n))
        self.left = 0 if len(items) < n else None
        return items
