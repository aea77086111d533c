"""What a report tells, collected from a run's manifest and one pass over its journal."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from arcli.engine.tally import Tally
from arcli.errors import UsageError
from arcli.sinks.failures import Failures
from arcli.store import past
from arcli.store.folder import RunFolder
from arcli.store.manifest import Manifest
from arcli.store.past import State
from arcli.timing.account import Account
from arcli.timing.groups import OWN, Groups, Slow, Slowest
from arcli.timing.summary import RunSummary, summarize_job
from arcli.timing.timeline import Timeline


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked for beside the tables: groups by a key, the slowest items, a timeline."""

    by: str | None = None
    slowest: int = 0
    drawn: bool = False


@dataclass(frozen=True, kw_only=True)
class Report:
    """A run as reports show it. ``summary`` is the run's own, or what its journal adds up to.

    ``tallies`` has the items' seconds by job; ``damaged`` counts the parts of the journal that
    could not be read.
    """

    manifest: Manifest
    state: State
    began: float
    summary: RunSummary
    failures: Failures
    tallies: dict[str, Tally] = field(default_factory=dict)
    groups: Groups | None = None
    slowest: Sequence[Slow] = ()
    timeline: Timeline | None = None
    damaged: int = 0

    @property
    def exit_code(self) -> int | None:
        """The run's; None where it has none (yet)."""
        return self.manifest.exit_code

    def to_run(self) -> dict[str, Any]:
        """The ``run`` object of ``--format json``."""
        status = self.summary.status if self.state == "ended" else self.state
        return {**self.summary.to_dict(), "status": status, "exit_code": self.exit_code}


def read_report(run: RunFolder, wanted: Wanted) -> Report:
    """Read a run, lazily: memory does not grow with its items.

    Raises UsageError where no item can be grouped as asked, OutputError where the journal cannot
    be read.
    """
    state = past.state_of(run)
    said = past.summary_of(run)
    presences = past.presences(run, past.ended(run, state))
    account, failures = Account(), Failures()
    hosts = {presence.engine_id: presence.host for presence in presences}
    groups = Groups(wanted.by, hosts=hosts) if wanted.by is not None else None
    slowest = Slowest(wanted.slowest)
    timeline = Timeline(past.began(run)) if wanted.drawn else None
    damaged = Counter[str]()
    for record in past.records(run, lambda damage: damaged.update([damage.reason])):
        account.add(record)
        slowest.add(record)
        if record["status"] != "ok":
            failures.add(record)
        if groups is not None:
            groups.add(record)
        if timeline is not None:
            timeline.add(record)
    if groups is not None and not groups.jobs and (account.began < math.inf or groups.seen_keys):
        raise _no_such_key(groups)
    ended = "done" if state == "ended" else state
    ledgers = account.ledgers(presences, kinds=past.kinds(run), ended=ended)
    return Report(
        manifest=replace(run.manifest, id=run.id),
        state=state,
        began=past.began(run),
        summary=said or _summary(run, state, account, [summarize_job(each) for each in ledgers]),
        failures=failures,
        tallies={ledger.job: ledger.tally for ledger in ledgers},
        groups=groups,
        slowest=slowest.items,
        timeline=timeline,
        damaged=damaged.total(),
    )


def _summary(run: RunFolder, state: State, account: Account, jobs: Sequence[Any]) -> RunSummary:
    """What can be said of a run that has not said it itself."""
    began = past.began(run)
    until = time.time() if state == "running" else past.ended(run, state)
    return RunSummary(
        run=run.id,
        name=run.manifest.name,
        started=run.manifest.started or "",
        exit_code=run.manifest.exit_code or 0,
        startup=max(0.0, account.began - began) if account.began < math.inf else 0.0,
        wall=max(0.0, until - began),
        finish=0.0,
        engines=len({entry["slot"] for entry in run.manifest.engines}),
        jobs=tuple(jobs),
    )


def _no_such_key(groups: Groups) -> UsageError:
    keys = ", ".join(groups.seen_keys)
    return UsageError(
        f"no item has an input {groups.key!r}",
        hint=f"there are: {keys}, {', '.join(OWN)}" if keys else f"there are: {', '.join(OWN)}",
    )
