"""What a report tells, collected from a run's manifest and one pass over its journal."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from arcli.engine.tally import Status, Tally
from arcli.errors import UsageError
from arcli.escape import plain
from arcli.outputs.base import RunOrigin
from arcli.reports.plots import Plots
from arcli.store import past
from arcli.store.folder import RunFolder
from arcli.store.manifest import Manifest
from arcli.store.past import State
from arcli.timing.account import Account, Presence
from arcli.timing.failures import describe, input_label
from arcli.timing.groups import OWN, Groups, Slow, Slowest, as_label
from arcli.timing.ledger import End, Ledger
from arcli.timing.summary import JobSummary, RunSummary, summarize_job
from arcli.timing.timeline import Timeline

_UNENDED = {"running": "the run still goes on", "killed": "the run was killed before its end"}
"""What is wrong with the records of such a run, whatever they look like."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What is asked for beside the tables: groups by a key, the slowest items, a timeline, tallies.

    Where none of it is, a run that ended tells all that is needed in its manifest.
    """

    by: tuple[str, ...] = ()
    slowest: int = 0
    drawn: bool = False
    tallies: bool = False
    items: int = 0


class ItemRow(NamedTuple):
    """An item in the page's table: its ``input`` and ``result`` as people name them."""

    job: str
    item: int
    input: str
    status: str
    seconds: float | None
    result: str


def item_row(record: Mapping[str, Any]) -> ItemRow:
    """Return an item's row: its value as people read it, or what went wrong."""
    ok, value = record["status"] == Status.OK, record.get("value")
    result = ("" if value is None else as_label(value)) if ok else describe(record)
    return ItemRow(
        job=record["job"],
        item=record["index"],
        input=input_label(record.get("input"), record["index"], longest=120),
        status=str(record["status"]),
        seconds=record.get("seconds"),
        result=plain(result[:200]),
    )


class Report(Struct, frozen=True, kw_only=True):
    """A run as reports show it. ``summary`` is the run's own, or what its journal adds up to.

    ``tallies`` has the items' seconds by job; ``damaged`` counts the parts of the journal that
    could not be read.
    """

    manifest: Manifest
    state: State
    began: float
    summary: RunSummary
    tallies: dict[str, Tally] = field(default_factory=dict)
    groups: Groups = field(default_factory=Groups)
    slowest: Sequence[Slow] = ()
    timeline: Timeline | None = None
    plots: Plots | None = None
    items: Sequence[ItemRow] = ()
    damaged: int = 0

    @property
    def exit_code(self) -> int | None:
        """The run's; None where it has none (yet)."""
        return self.manifest.exit_code

    @property
    def origin(self) -> RunOrigin:
        """What the run was started from."""
        about = self.manifest
        return RunOrigin(
            spec=about.spec_file or "",
            host=about.host or "",
            argv=about.argv,
            past=True,
            stdin=about.reads_stdin,
        )

    def group_name(self, job: str) -> str:
        """What the groups of a job are called: the job is named where there are several."""
        return f"{job}, {self.groups.key}" if len(self.summary.jobs) > 1 else self.groups.key


def read_report(run: RunFolder, wanted: Wanted) -> Report:
    """Read a run, lazily: memory does not grow with its items.

    Raises UsageError where no item can be grouped as asked, OutputError where the journal cannot
    be read.
    """
    state = past.state_of(run)
    presences = past.presences(run, past.ended(run, state))
    collected = _Collected(wanted, past.began(run), presences)
    damaged = Counter[str]()
    summary = past.summary_of(run)
    # The summary of a run that ended has the tables; only what goes beyond them needs every record.
    if summary is None or wanted != Wanted():
        for record in past.records(run, lambda damage: damaged.update([damage.reason])):
            collected.add(record)
    collected.check_key()
    # A run that goes on, or that was killed, has no summary: it is made of the records that there are.
    ended = {"running": End.RUNNING, "killed": End.KILLED}.get(state, End.DONE)
    kinds = past.kinds(run)
    ledgers = collected.account.ledgers(presences, kinds=kinds, ended=ended)
    # Without a record it is not one of which all went well, either.
    if not ledgers and state != "ended":
        ledgers = [
            Ledger(job=job, kind=kind, ended=ended, unread=None) for job, kind in islice(kinds.items(), 1)
        ]
    return Report(
        manifest=replace(run.manifest, id=run.id),
        state=state,
        began=past.began(run),
        summary=summary or _summary(run, state, collected.account, map(summarize_job, ledgers)),
        tallies={ledger.job: ledger.tally for ledger in ledgers},
        groups=collected.groups,
        slowest=collected.slowest.items,
        timeline=collected.timeline,
        plots=collected.plots,
        items=collected.items,
        damaged=damaged.total(),
    )


class _Collected:
    """What one pass over the records collects."""

    def __init__(self, wanted: Wanted, began: float, presences: Sequence[Presence]) -> None:
        hosts = {each.engine_id: each.host for each in presences}
        self.account = Account()
        self.slowest = Slowest(wanted.slowest)
        self.groups = Groups(*wanted.by, hosts=hosts)
        self.timeline = Timeline(began, presences) if wanted.drawn else None
        self.plots = Plots(began) if wanted.drawn else None
        groups = self.groups if wanted.by else None
        every = (self.account, self.slowest, groups, self.timeline, self.plots)
        self._parts = [part for part in every if part is not None]
        self._most_items = wanted.items
        self.items: list[ItemRow] = []
        self._empty = True

    def add(self, record: dict[str, Any]) -> None:
        """Take a record; what is kept of it does not grow with how many there are."""
        self._empty = False
        for part in self._parts:
            part.add(record)
        if len(self.items) < self._most_items:
            self.items.append(item_row(record))

    def check_key(self) -> None:
        """Raises UsageError where there are items and none has what they are to be grouped by."""
        if self.groups.keys and not (self.groups.jobs or self._empty):
            # A key that is called as one of these is asked for as the input's.
            keys = [f"input.{key}" if key in OWN else key for key in self.groups.seen_keys]
            hint = f"there are: {', '.join([*(keys or ['input']), *OWN])}"
            raise UsageError(f"no item has an input {self.groups.key!r}", hint=hint)


def _summary(run: RunFolder, state: State, account: Account, jobs: Iterable[JobSummary]) -> RunSummary:
    """Return what can be said of a run that has not said it itself."""
    began = past.began(run)
    until = time.time() if state == "running" else past.ended(run, state)
    return RunSummary(
        run=run.id,
        name=run.manifest.name,
        started=run.manifest.started or "",
        exit_code=run.manifest.exit_code,
        error=_UNENDED.get(state),
        startup=max(0.0, account.began - began) if account.began < math.inf else 0.0,
        wall=max(0.0, until - began),
        finish=0.0,
        engines=len({entry["slot"] for entry in run.manifest.engines}),
        jobs=tuple(jobs),
    )
