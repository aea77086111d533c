"""Past runs as their folders tell of them, those that go on, were killed or are damaged, too."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from arcli.engine.tally import Status
from arcli.errors import OutputError
from arcli.escape import plain
from arcli.paths import is_file
from arcli.record import KINDS
from arcli.store.channel import JobState, Phase, RunState, read_state
from arcli.store.folder import RunFolder, list_runs, list_spec_runs
from arcli.store.journal import Damage, entries
from arcli.timing.account import Presence
from arcli.timing.summary import RunSummary, run_from_dict
from arcli.units import parse_time

State = Literal["ended", "running", "killed"]


def state_of(run: RunFolder) -> State:
    """Tell how a run stands; ``killed`` is one that neither ended nor still goes on."""
    alive = run.alive  # before the manifest is read: a run that ends in between has it written
    if run.manifest.exit_code is not None:
        return "ended"
    return "running" if alive else "killed"


def current_state(run: RunFolder) -> RunState | None:
    """Return what a run told last of how it stands; of one that goes on no more, without what ran then.

    How far one that was killed came is what its journal has: its state is written only now and then.
    """
    state, how = read_state(run.path), state_of(run)
    if state is None or how == "running":
        return state
    jobs = state.jobs
    if how == "killed":
        from arcli.store.index import JournalIndex  # which loads what runs functions

        with suppress(OutputError), JournalIndex(run) as index:
            jobs = tuple(_counted(job, index.statuses(job.name)) for job in jobs)
    return replace(state, running=0, ready=0, engines=(), jobs=jobs)


def _counted(job: JobState, statuses: Counter[Status]) -> JobState:
    """Return how a job stands of which so many items are recorded."""
    done = statuses.total()
    phase = Phase.RUNNING if done and job.phase is Phase.WAITING else job.phase
    return replace(job, phase=phase, done=done, failed=done - statuses[Status.OK])


def summary_of(run: RunFolder) -> RunSummary | None:
    """Return what the run itself said at its end; None where it said nothing, or nothing sound."""
    summary = run.manifest.summary
    try:
        return run_from_dict(summary, summary["jobs"]) if isinstance(summary, dict) else None
    except (KeyError, ValueError):
        return None


def records(
    run: RunFolder, on_damage: Callable[[Damage], None] = lambda damage: None
) -> Iterator[dict[str, Any]]:
    """Yield the records of a run's journal as they came, one at a time; none where there is no journal.

    What is damaged goes to ``on_damage`` instead. Raises OutputError.
    """
    try:
        for entry in entries(run.journal, on_damage):
            yield entry.data
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"the journal {run.journal} cannot be read: {error.strerror}") from None


def presences(run: RunFolder, now: float) -> list[Presence]:
    """Return when the run's engines were there; those that have no end until ``now``."""
    # Runs of an earlier version do not say when an engine was ready: it counts from its coming.
    return [
        Presence(
            engine_id=entry["engine_id"],
            slot=entry["slot"],
            host=str(entry["host"]),
            pid=entry["pid"],
            came=(came := _time(entry["started"], -math.inf)),
            ready=_time(entry.get("ready"), came),
            went=_time(entry["ended"], now),
            reason=entry["reason"],
        )
        for entry in run.manifest.engines
    ]


def kinds(run: RunFolder) -> dict[str, str]:
    """Return the kind of each job, as far as the manifest has the spec."""
    return {
        str(job.get("name")): next((kind for kind in KINDS if job.get(kind) is not None), "map")
        for job in run.manifest.jobs
    }


def began(run: RunFolder) -> float:
    """Return when a run began, in seconds since the epoch; its id tells where the manifest does not."""
    stamp = f"{run.id[:8]}T{run.id[9:15]}Z"
    return _time(run.manifest.started, _time(stamp, 0.0))


def ended(run: RunFolder, state: State) -> float:
    """Return when it ended: now where it goes on, at its last sign of life where it was killed."""
    if state == "running":
        return time.time()
    # What a run that was killed wrote or touched last is the nearest thing to its end that there is.
    written = 0.0
    for name in ("journal.jsonl", "manifest.json", "alive"):
        with suppress(OSError):
            written = max(written, (run.path / name).stat().st_mtime)
    return max(began(run), _time(run.manifest.ended, written))


class Brief(Struct, frozen=True, kw_only=True):
    """A line about a run. ``started`` is in seconds since the epoch, ``seconds`` how long it took.

    ``ok`` and ``failed`` count items; ``exit_code`` is None where there is none (yet), ``reason`` what
    ended it early, in words.
    """

    id: str
    name: str
    spec_file: str | None
    state: State
    exit_code: int | None
    started: float
    seconds: float
    ok: int
    failed: int
    resumes: str | None
    reason: str | None
    folder: Path


def brief(run: RunFolder) -> Brief:
    """Return what is to be said of a run in one line. Reads the journal where there is no summary."""
    # A run that was killed, or goes on, has no summary: then its items are counted.
    state = state_of(run)
    summary = summary_of(run)
    if summary is not None:
        ok, failed = summary.counts.ok, summary.counts.failed
    else:
        counts = Counter[str]()
        with suppress(OutputError):  # a list of runs is no place to tell of one unreadable journal
            counts.update(record["status"] for record in records(run))
        ok = counts[Status.OK]
        failed = counts.total() - ok - counts[Status.CANCELLED]
    file = run.manifest.spec_file
    return Brief(
        id=run.id,
        name=run.manifest.name,
        spec_file=None if file is None else plain(file),
        state=state,
        exit_code=run.manifest.exit_code,
        started=began(run),
        seconds=summary.wall if summary is not None else ended(run, state) - began(run),
        ok=ok,
        failed=failed,
        resumes=run.manifest.resumes,
        reason=summary.error if summary is not None else None,
        folder=run.path,
    )


def runs_of(root: Path, spec: str | None, environ: Mapping[str, str]) -> Iterator[RunFolder]:
    """Yield the runs below ``root``, newest first.

    With ``spec`` only those of this name, or of this file wherever it was run.
    """
    if spec is not None and is_file(Path(spec)):
        yield from list_spec_runs(root, spec, environ)
        return
    for run in list_runs(root):
        if spec is None or spec in {run.manifest.name, run.manifest.spec_file}:
            yield run


def _time(text: object, otherwise: float) -> float:
    seconds = parse_time(text)
    return otherwise if seconds is None else seconds
