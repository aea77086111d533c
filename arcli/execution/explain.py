"""Why a resumed run keeps which items, and runs which: told a job at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from arcli.errors import ArcliError, InputError
from arcli.execution.context import History
from arcli.plan.deferred import Resolver
from arcli.plan.job import JobPlan, plan_job
from arcli.plan.preview import preview
from arcli.session.supply import SourceSupply
from arcli.specfile.model import Spec

GLANCE = 1000


@dataclass
class Explanation:
    """Counts a job's items by what becomes of them, and says it in a sentence."""

    history: History
    plan: JobPlan
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def note(self, key: str, *, kept: bool) -> None:
        """Count an item by its key."""
        if kept:
            self.kept += 1
        else:
            self.reasons[self.history.why(self.plan.name, key)] += 1

    def sentence(self) -> str:
        """Say how many items are kept, how many run, and why."""
        before, running = self.history.parts(self.plan.name), self.reasons.total()
        changed = [name for name, part in self.plan.parts.items() if before.get(name, part) != part]
        source = changed == ["source"] or (self.kept and "source" in changed)
        job = f"{self.plan.name}: {_count(self.kept, 'item')} kept, {running:,} to run"
        if source and self.kept:
            job += "; the function's file has changed, which --rerun-changed minds"
        if not running:
            return job
        if changed and not source:
            return f"{job}: {' and '.join(f'the {name}' for name in changed)} changed"
        return f"{job}: {', '.join(f'{count:,} {why}' for why, count in self.reasons.most_common())}"


def explain(
    spec: Spec, history: History, *, slots: int | None, limit: int | None, rerun_changed: bool
) -> Iterator[str]:
    """Say for each job what a resumed run would keep and run; reads inputs, and runs nothing."""

    def unknown(name: str) -> Any:
        raise InputError(f"the value of job {name!r} is known in the run only")

    for found in preview(spec, slots=slots):
        job, source = found.job, found.source
        try:
            if source is None or (job.over is not None and job.over.only_in_runs):
                raise InputError("its items are known in the run only")
            plan = plan_job(
                spec,
                job,
                resolve=Resolver(slots or 1, unknown),
                unpack=job.unpack or source.unpack,
                rerun_changed=rerun_changed,
            )
        except InputError as error:
            yield f"{job.name}: {error.message}"
            continue
        explanation = Explanation(history, plan)
        supply = SourceSupply(
            _Directly(source, limit),
            length=source.length,
            distinct=source.distinct,
            hasher=plan.hasher(),
            kept=_counting(explanation),
            replay=lambda index, line: None,
        )
        while not supply.exhausted:
            supply.take(GLANCE)
        yield explanation.sentence()


class _Directly:
    """Reads a source where its items are asked for (see ``supply.Reader``)."""

    error: ArcliError | None = None

    def __init__(self, source: Iterable[Any], limit: int | None) -> None:
        self._items = iter(islice(source, limit))
        self.exhausted = False

    def take(self, n: int) -> list[Any]:
        """See Reader."""
        items = list(islice(self._items, n))
        self.exhausted = len(items) < n
        return items


def _counting(explanation: Explanation) -> Callable[[str, int], bytes | None]:
    """Look up items for a supply that only counts them."""

    def lookup(key: str, index: int) -> bytes | None:
        kept = explanation.history.is_kept(explanation.plan.name, key)
        explanation.note(key, kept=kept)
        return b"" if kept else None

    return lookup


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
