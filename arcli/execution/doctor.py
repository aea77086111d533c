"""What works on this machine, and what to do about what does not: looked at, and tried."""

from __future__ import annotations

import fcntl
import importlib.metadata
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from arcli import launchers
from arcli.cluster import private_folder
from arcli.cluster.base import ClusterOptions
from arcli.cluster.embedded import EmbeddedCluster
from arcli.cluster.named import find
from arcli.cluster.named.manage import clocks
from arcli.cluster.stale import find_stale
from arcli.errors import ArcliError
from arcli.installation import how_to_add
from arcli.units import format_bytes

ENGINES = 2
PATIENCE = 60.0
"""Seconds that two engines have to start and to answer."""
NEEDED = ("ipyparallel", "ipykernel", "pyzmq", "pydantic", "orjson", "click", "rich")
EXTRAS = {
    "pyarrow": "-o results.parquet",
    "papermill": "notebooks",
    "mpi4py": "launcher: mpi",
    "numpy": "arrays",
}
"""What is used where it is there, and for what."""
SCARCE = 256
"""Open files: a controller has some for each engine, in each of its schedulers."""
LITTLE_DISK = 1_000_000_000
SKEW = 1.0
"""Seconds between two hosts' clocks from which on stamps of records mislead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at: ``ok``, or what to ``do``. ``needed``: no run without it."""

    what: str
    ok: bool
    detail: str
    do: str | None = None
    needed: bool = False


def examine(root: Path, cluster: str | None = None) -> Iterator[Finding]:
    """Yield findings as they are made. ``root`` is the folder of all runs, ``cluster`` one to look at."""
    yield Finding(what="python", ok=True, detail=f"{platform.python_version()}, {sys.executable}")
    yield from _packages()
    yield from _files()
    yield from _sockets()
    yield _engines()
    yield from _launchers()
    yield from _runs(root)
    yield from _stale()
    if cluster is not None:
        yield from _clocks(cluster)


def _packages() -> Iterator[Finding]:
    for name in NEEDED:
        version = _version(name)
        yield Finding(
            what=name,
            ok=version is not None,
            detail=version or "is not installed",
            do=None if version else how_to_add(name),
            needed=True,
        )
    for name, use in EXTRAS.items():
        version = _version(name)
        detail = version or f"is not installed: needed for {use}"
        do = None if version else how_to_add(name)
        yield Finding(what=name, ok=version is not None, detail=detail, do=do)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _files() -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= SCARCE
    yield Finding(
        what="open files",
        ok=enough,
        detail=f"at most {soft} a process",
        do=None if enough else f"ulimit -n {SCARCE}, or few engines",
    )


def _sockets() -> Iterator[Finding]:
    problems = {base: private_folder.unfit(base) for base in private_folder.bases()}
    fit = [base for base, problem in problems.items() if problem is None]
    detail = str(fit[0]) if fit else "; ".join(f"{base}: {problem}" for base, problem in problems.items())
    do = None if fit else "TMPDIR may name a folder with a short path that others cannot write to"
    yield Finding(what="sockets", ok=bool(fit), detail=detail, do=do, needed=True)


def _engines() -> Finding:
    """Start two engines, and have both answer."""
    began = time.monotonic()
    cluster = EmbeddedCluster(ClusterOptions(engines=ENGINES, min_engines=ENGINES, start_timeout=PATIENCE))
    try:
        cluster.start(lambda event: None)
        while cluster.coming() and time.monotonic() - began < PATIENCE:
            time.sleep(0.02)  # there is no event to wait for outside of a session
        answered = len(cluster.identities(PATIENCE))
    except ArcliError as error:
        return Finding(what="engines", ok=False, detail=error.message, do=error.hint, needed=True)
    finally:
        cluster.stop()
    seconds = time.monotonic() - began
    return Finding(
        what="engines",
        ok=answered == ENGINES,
        detail=f"{answered} of {ENGINES} started and answered, in {seconds:.1f} s",
        do=None if answered == ENGINES else "is the machine very busy? try again",
        needed=True,
    )


def _launchers() -> Iterator[Finding]:
    for launcher in launchers.LAUNCHERS:
        if launcher.program is None:
            continue
        path = shutil.which(launcher.program)
        yield Finding(
            what=f"launcher {launcher.name}",
            ok=path is not None,
            detail=path or f"there is no {launcher.program} on PATH",
            do=None if path else f"only for launcher: {launcher.name}",
        )


def _runs(root: Path) -> Iterator[Finding]:
    """Whether runs can be kept, with room and with locks."""
    existing = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    probe = existing / ".arcli-doctor"
    try:
        with probe.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locks = True
            except OSError:
                locks = False
        probe.unlink()
    except OSError as error:
        why = f"{existing}: {error.strerror}"
        yield Finding(what="run folder", ok=False, detail=why, do="ARCLI_DIR may name another", needed=True)
        return
    yield Finding(
        what="run folder",
        ok=free > LITTLE_DISK,
        detail=f"{root.absolute()}, {format_bytes(free)} are free",
        do=None if free > LITTLE_DISK else "arcli clean",
    )
    yield Finding(
        what="locks",
        ok=locks,
        detail="work there" if locks else "do not work there: --no-overlap has no effect",
        do=None if locks else "ARCLI_DIR may name a folder on another file system",
    )


def _stale() -> Iterator[Finding]:
    stale = find_stale(private_folder.bases())
    processes = sum(len(one.processes) for one in stale)
    detail = f"{len(stale)} folders and {processes} processes are left" if stale else "none is left"
    do = "arcli clean" if stale else None
    yield Finding(what="clusters that are gone", ok=not stale, detail=detail, do=do)


def _clocks(name: str) -> Iterator[Finding]:
    """How far the clocks of a running cluster's engines are from this host's."""
    try:
        skews = clocks(find.find(name))
    except ArcliError as error:
        yield Finding(what=f"cluster {name}", ok=False, detail=error.message, do=error.hint, needed=True)
        return
    for engine_id, skew in sorted(skews.items()):
        yield Finding(
            what=f"clock of engine {engine_id}",
            ok=abs(skew) < SKEW,
            detail=f"{skew:+.2f} s from this host's",
            do=None if abs(skew) < SKEW else "set both by NTP: times of records compare badly",
        )
