"""A run's folder, ``.arcli/runs/ID/``: the manifest, the journal, values that JSON cannot hold."""

from __future__ import annotations

import heapq
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, replace

from arcli.cluster.base import EngineInfo
from arcli.errors import OutputError, UsageError
from arcli.paths import is_file, is_folder
from arcli.record import decode, dump
from arcli.store.files import (
    ELSEWHERE,
    disk_time,
    every_root,
    make_private,
    make_root,
    refusing,
    require_own,
    roots_of,
    write_whole,
)
from arcli.store.lock import Lock, holder_of, is_held
from arcli.store.manifest import Manifest
from arcli.units import isoformat

RESULTS = "results.json"
PARTS = "keys.json"
SILENT = 20.0
"""Seconds without a sign of life after which a run that is not seen from here counts as killed."""
NOTED = 1.0
"""Seconds between two versions of the manifest while engines come and go."""
RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
DONE = {0, 5}
"""Exit codes of runs that left no item undone."""


class RunFolder:
    """The folder of one run, past or under way. Its methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.id = path.name
        self._writing = threading.Lock()
        self._alive: Lock | None = None
        self._noted: float | None = None
        self._unwritten = False

    @classmethod
    def create(cls, root: Path, about: Manifest) -> RunFolder:
        """Make the folder of a new run below ``root`` (``.arcli``). Raises OutputError.

        It counts as alive until ``finish``, ``close`` or the end of this process.
        """
        # Below a folder of another user's nothing is written: what is read back from there is believed.
        root = root.absolute()
        try:
            make_root(root)
            runs = root / "runs"
            make_private(runs)
            folder = None
            while folder is None:
                path = runs / run_id(time.time())
                with suppress(FileExistsError):  # another run was made in the same 15 µs
                    path.mkdir(mode=0o700)
                    folder = cls(path)
            require_own(root)
        except OSError as error:
            raise OutputError(
                f"no run folder can be made in {root}: {error.strerror}", hint=ELSEWHERE
            ) from None
        # The lock is had before anything tells of the run, so that nobody takes it for a dead one.
        folder._alive = Lock.hold(folder.path / "alive", f"run {folder.id}", wait=True)
        started = isoformat(time.time())
        folder._write(replace(about, id=folder.id, started=started), durable=True)
        return folder

    def fresh(self) -> RunFolder:
        """The same run, to be read anew: it may have gone on."""
        return RunFolder(self.path)

    @property
    def journal(self) -> Path:
        """Where its records are."""
        return self.path / "journal.jsonl"

    @property
    def alive(self) -> bool:
        """Whether its process still runs: it holds its lock.

        From another host, and where the file system has no locks: it has given a sign of life.
        """
        # A lock that is held says it all. That it is not held says so only on the host of the run:
        # some shared disks keep locks to the host that took them.
        path = self.path / "alive"
        held = is_held(path)
        if held:
            return True
        holder = holder_of(path)
        if holder is None or (held is False and holder.host == socket.gethostname()):
            return False
        with suppress(OSError):
            return disk_time(self.path) - path.stat().st_mtime < SILENT
        return False

    @property
    def has_lock(self) -> bool:
        """Whether others can see by a lock that this run goes on."""
        return self._alive is not None and self._alive.works

    def beat(self) -> None:
        """Give a sign of life, and write what is new in the manifest. Raises OutputError."""
        with suppress(OSError):  # a full or read-only disk will be told of by the journal
            os.utime(self.path / "alive")
        with self._writing:
            if self._unwritten:
                self._write(self.manifest, durable=False)

    @cached_property
    def manifest(self) -> Manifest:
        """What is known of the run; of one that was killed at birth, or is damaged, only its id."""
        try:
            return Manifest.from_json((self.path / "manifest.json").read_bytes())
        except (OSError, ValueError):
            return Manifest(id=self.id)

    @property
    def finished(self) -> bool:
        """Whether it ended with nothing left to do."""
        return self.manifest.exit_code in DONE

    def note_git(self, state: Mapping[str, Any] | None) -> None:
        """Put down which commit the spec is from."""
        with self._writing:
            if state is not None:
                self._note(replace(self.manifest, git=state))

    def note_engines(self, engines: Iterable[EngineInfo]) -> None:
        """Put down engines that have come up; those that are known already stay as they are."""
        # By uuid, since ids and slots come again: a replacement is an engine of its own here.
        with self._writing:
            noted = {entry["uuid"] for entry in self.manifest.engines}
            now = isoformat(time.time())
            new = {"started": now, "ready": None, "ended": None, "reason": None}
            fresh = [{**asdict(engine), **new} for engine in engines if engine.uuid not in noted]
            if fresh:
                self._note(replace(self.manifest, engines=(*self.manifest.engines, *fresh)))

    def note_engine_ready(self, engine_id: int) -> None:
        """Put down that an engine has done its setup."""
        now = isoformat(time.time())
        self._note_engine(engine_id, lambda entry: {**entry, "ready": now})

    def note_engine_gone(self, engine_id: int, reason: str) -> None:
        """Put down the end of an engine, and why; one that never came up is nothing to note."""
        self._note_engine(engine_id, lambda entry: _ended(entry, reason))

    def note_engine_back(self, engine: EngineInfo) -> None:
        """Put down that an engine that was let go is there once more, maybe in another slot."""
        present = {**asdict(engine), "ended": None, "reason": None}
        self._note_engine(engine.engine_id, lambda entry: {**entry, **present})

    def _note_engine(self, engine_id: int, change: Callable[[Any], dict[str, Any]]) -> None:
        with self._writing:
            engines = tuple(
                change(entry) if entry["engine_id"] == engine_id else entry
                for entry in self.manifest.engines
            )
            if engines != self.manifest.engines:
                self._note(replace(self.manifest, engines=engines))

    def finish(self, exit_code: int, summary: Any) -> None:
        """Put down how the run ended, its summary (JSON-able) included. Raises OutputError."""
        # The one write that has to survive a power failure: by its exit code a run is known to have
        # ended, and what it said then is not computed anew.
        with self._writing:
            manifest = replace(
                self.manifest,
                engines=tuple(_ended(entry, None) for entry in self.manifest.engines),
                ended=isoformat(time.time()),
                exit_code=int(exit_code),
                summary=summary,
            )
            self._write(manifest, durable=True)
        self.close()

    def close(self) -> None:
        """The run is no longer alive. May be called more than once. Raises OutputError."""
        if self._alive is None:
            return
        try:
            with self._writing:
                if self._unwritten:
                    self._write(self.manifest, durable=False)
        finally:
            self._alive.release()

    def save_value(self, job: str, index: int, content: bytes, suffix: str = "pkl") -> None:
        """Keep a value that a record does not hold. Raises OutputError."""
        path = self.value_path(job, index, suffix)
        with refusing(path):
            make_private(path.parent)
            write_whole(path, content, durable=False)

    def note_parts(self, job: str, parts: Mapping[str, str]) -> None:
        """Keep the hashes of what a job's keys are made of. Raises OutputError."""
        self._save(PARTS, {**self.parts(), job: dict(parts)})

    def parts(self) -> dict[str, dict[str, str]]:
        """What ``note_parts`` kept, by job; nothing where that is not there or damaged."""
        return {job: parts for job, parts in self._saved(PARTS).items() if isinstance(parts, dict)}

    def save_results(self, values: Mapping[str, Any]) -> None:
        """Keep what jobs came to, where that cannot be told from the records. Raises OutputError."""
        self._save(RESULTS, values)

    def results(self) -> dict[str, Any]:
        """What ``save_results`` kept, by job; nothing where that is not there or damaged."""
        return self._saved(RESULTS)

    def value_path(self, job: str, index: int, suffix: str = "pkl") -> Path:
        """Where ``save_value`` puts a value: a pickle (``pkl``), or an array (``npy``)."""
        return self.path / "values" / job / f"{index}.{suffix}"

    def notebook_path(self, job: str, index: int) -> Path:
        """Where engines put the executed copy of an item's notebook."""
        return self.path / "notebooks" / job / f"{index}.ipynb"

    @property
    def holds_outdirs(self) -> bool:
        """Whether items have their folders in it (``outdir: true``), which records name by their path."""
        return (self.path / "outdir").is_dir()

    def _save(self, name: str, tree: Mapping[str, Any]) -> None:
        path = self.path / name
        with refusing(path):
            write_whole(path, dump(tree), durable=False)

    def _saved(self, name: str) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            return decode((self.path / name).read_bytes())
        return {}

    def _note(self, manifest: Manifest) -> None:
        """Put down what may be lost by a power failure: at once, or soon after the last time."""
        # With 256 engines, each rewriting the whole file as it comes up, the start would be quadratic:
        # what is noted meanwhile is written by the next sign of life.
        now = time.monotonic()
        if self._noted is not None and now - self._noted < NOTED:
            self.manifest, self._unwritten = manifest, True
            return
        self._noted = now
        self._write(manifest, durable=False)

    def _write(self, manifest: Manifest, *, durable: bool) -> None:
        path = self.path / "manifest.json"
        with refusing(path):
            write_whole(path, manifest.to_json(), durable=durable)
        self.manifest, self._unwritten = manifest, False


def run_root(environ: Mapping[str, str]) -> Path:
    """Return the folder that holds past runs: ``$ARCLI_DIR``, or ``.arcli`` in the working directory."""
    return Path(environ.get("ARCLI_DIR") or ".arcli")


def list_runs(root: Path) -> Iterator[RunFolder]:
    """Yield the runs below ``root``, newest first; none where there is no such folder."""
    # Ids begin with the time at which a run began, so that their names order them.
    try:
        names = [entry.name for entry in os.scandir(root / "runs") if entry.is_dir()]
    except OSError:
        return
    for name in sorted(filter(RUN_ID.fullmatch, names), reverse=True):
        yield RunFolder(root / "runs" / name)


def list_spec_runs(root: Path, spec_file: str, environ: Mapping[str, str]) -> Iterator[RunFolder]:
    """Yield the runs of a spec's file, newest first, below ``root`` and wherever else it was run."""
    path = spec_path(spec_file)
    roots = dict.fromkeys([root.absolute(), *roots_of(spec_file, environ)])
    merged = heapq.merge(*map(list_runs, roots), key=lambda run: run.id, reverse=True)
    yield from (run for run in merged if run.manifest.spec_file == path)


def find_run(root: Path, run_id: str, environ: Mapping[str, str]) -> RunFolder:
    """Return the run with this id, or with the one id that begins like this, below ``root``, else anywhere.

    Raises UsageError.
    """
    # What is nearest counts: a beginning of an id that is unique here may be no longer elsewhere.
    runs = [run for run in list_runs(root) if run.id.startswith(run_id)]
    if not runs:
        others = (run for other in every_root(environ) for run in list_runs(other))
        runs = list({run.path: run for run in others if run.id.startswith(run_id)}.values())
    if len(runs) == 1:
        return runs[0]
    what = f"{len(runs)} runs begin with" if runs else "there is no run"
    raise UsageError(f"{what} {run_id!r} in {root}", hint="`arcli runs` lists them")


def latest_to_resume(root: Path, spec_file: str, environ: Mapping[str, str]) -> RunFolder | None:
    """Find the run of a spec to go on with, None where there is none.

    It is the newest of those that are ``unfinished``; where there is none, the newest of all: its inputs
    may have grown. Runs that are still going on, and those without any record, are passed over.
    """
    run = next(unfinished(list_spec_runs(root, spec_file, environ)), None)
    if run is not None:
        return run
    runs = list_spec_runs(root, spec_file, environ)
    return next((run for run in runs if has_records(run) and not run.alive), None)


def unfinished(runs: Iterable[RunFolder]) -> Iterator[RunFolder]:
    """Yield those of ``runs`` (newest first) that left something to do, have records, and go on no more.

    One that a later run has completed left nothing: by going on with it, or by doing the same anew.
    """
    # Newest first, so that a run that was completed later is known to be when it is reached.
    completed: set[str | None] = set()
    done: set[bytes] = set()
    for run in runs:
        about = run.manifest
        if run.finished:
            done.add(about.items_hash())
        if run.finished or run.id in completed or about.items_hash() in done:
            completed.add(about.resumes)
        elif has_records(run) and not run.alive:
            yield run


def spec_path(spec_file: str) -> str:
    """Return how manifests name the file of a spec, however it was given; ``-`` stays as it is."""
    return os.path.realpath(spec_file) if is_file(Path(spec_file)) else spec_file


def lineage(run: RunFolder) -> list[RunFolder]:
    """Return the runs that ``run`` went on with, oldest first, itself last; as far as they still exist."""
    return [*ancestry(run)][::-1]


def ancestry(run: RunFolder) -> Iterator[RunFolder]:
    """Yield ``run`` and the runs that it went on with, newest first; as far as they still exist."""
    # A manifest may name anything: only an id that is older is followed, so that it ends.
    yield run
    spec_file = run.manifest.spec_file or ""
    while (earlier := run.manifest.resumes) is not None:
        if not RUN_ID.fullmatch(earlier) or earlier >= run.id:
            break
        # Runs of one spec may be in the folders of several shells.
        folders = [
            run.path.parent,
            *(root / "runs" for root in roots_of(spec_file, os.environ)),
        ]
        path = next((folder / earlier for folder in folders if is_folder(folder / earlier)), None)
        if path is None:
            break
        run = RunFolder(path)
        yield run


def has_records(run: RunFolder) -> bool:
    """Tell whether there is anything in its journal."""
    with suppress(OSError):
        return run.journal.stat().st_size > 0
    return False


def run_id(now: float) -> str:
    """Make a run's id of its start (seconds since the epoch): UTC, then a 65536th of the second."""
    second = int(now)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(second))
    return f"{stamp}-{int((now - second) * 65536):04x}"


def _ended(entry: Any, reason: str | None) -> dict[str, Any]:
    if entry["ended"] is not None:
        return dict(entry)
    return {**entry, "ended": isoformat(time.time()), "reason": reason}
