"""The items of a job, numbered, without those that an earlier run has computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from arcli.errors import (
    InputError,
)
from arcli.execution.context import Context, Outcome
from arcli.execution.explain import Explanation
from arcli.execution.values import as_input, elements_of
from arcli.inputs import Source, SourceContext
from arcli.inputs.loading import loader
from arcli.plan.deferred import Resolver
from arcli.plan.job import JobPlan
from arcli.plan.outdirs import with_distinct_folders
from arcli.plan.readahead import ReadAhead
from arcli.plan.texts import without_quoted
from arcli.session.core.job import Supply
from arcli.session.parted import PartedSupply
from arcli.session.supply import ApplySupply, SourceSupply
from arcli.specfile.model import Job


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
        source = job.over.open(
            SourceContext(
                folder=spec.folder,
                stdin=context.stdin,
                jobs={name: results.inputs for name, results in outcome.results.items()},
                resolve=Resolver(context.slots, lambda name: as_input(context, name, outcome)),
                load_callable=loader(spec.folder, spec.setup.path),
                python=spec.cluster.python,
                elements=lambda value: elements_of(context, value),
                texts=job.kind == "command",
            )
        )
    source = with_distinct_folders(source, job)
    return without_quoted(source, job) if job.command is not None else source


@contextmanager
def supply_of(
    context: Context, plan: JobPlan, source: Source | None, explanation: Explanation | None = None
) -> Iterator[tuple[Supply, list[tuple[int, bytes]]]]:
    """The job's items, numbered; and where those go that an earlier run has computed."""
    replay: list[tuple[int, bytes]] = []
    kept = context.kept
    lookup = None
    if kept is not None:
        exact = plan.definition.keep_opaque

        def lookup(key: str, index: int) -> bytes | None:
            line = kept.take(plan.name, key, index=index, exact=exact)
            if explanation is not None:
                explanation.note(key, kept=line is not None)
            return line

    def replayed(index: int, line: bytes) -> None:
        replay.append((index, line))

    hasher = plan.hasher()
    if source is None:
        slots = targets_of(plan.job, context.slots)
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
        slots = targets_of(plan.job, context.slots)
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


def targets_of(job: Job, slots: int) -> list[int] | None:
    """The slots that must do something each; None: any engine."""
    if job.targets == "any":
        return None
    if isinstance(job.targets, list):
        missing = [slot for slot in job.targets if not 0 <= slot < slots]
        if missing:
            raise InputError(f"there is no engine {missing[0]}; there are {slots}, from 0 on")
        return list(job.targets)
    return list(range(slots))
