"""Say what works on this machine, and what to do about what does not: looked at, and tried."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from msgspec import Struct, to_builtins

from arcli.cli.options import format_option
from arcli.engine.flock import locked
from arcli.errors import ArcliError, ExitCode
from arcli.escape import plain
from arcli.units import format_bytes


@click.command("doctor", short_help="Say what works on this machine.")
@click.option("--cluster", metavar="NAME", help="Also look at the clocks of its engines.")
@format_option("text", "json", meaning="json: one document.")
def command(cluster: str | None, form: str) -> int:
    """Look at what arcli needs, start two engines, and say what to do about what does not work.

    Exit 0 where runs work, 3 where they do not; what only some specs need is told and changes nothing.

    \b
    Examples:
      arcli doctor
      arcli doctor --format json
    """
    from arcli.store.folder import run_root

    findings = []
    # Each is shown as soon as it is made: starting engines takes seconds, and a machine that is ill
    # may take a minute.
    for finding in examine(run_root(os.environ), cluster):
        findings.append(finding)
        if form == "text":
            mark = "ok" if finding.ok else "NO" if finding.needed else "--"
            click.echo(plain(f"{mark}  {finding.what:<24} {finding.detail}"))
            if finding.do:
                click.echo(plain(f"    {'':<24} {finding.do}"))
    if form == "json":
        click.echo(json.dumps([to_builtins(finding) for finding in findings]))
    broken = any(finding.needed and not finding.ok for finding in findings)
    return ExitCode.NO_CLUSTER if broken else ExitCode.OK


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
"""Open files: a controller has some for each engine."""
LITTLE_DISK = 1_000_000_000
SKEW = 1.0
"""Seconds between two hosts' clocks from which on stamps of records mislead."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at: ``ok``, or what to ``do``. ``needed``: no run without it."""

    what: str
    ok: bool
    detail: str
    do: str | None = None
    needed: bool = False


def _finding(what: str, ok: bool, detail: str, do: str | None, *, needed: bool = False) -> Finding:
    """Return a finding; there is something to ``do`` only about what is not ok."""
    return Finding(what=what, ok=ok, detail=detail, do=None if ok else do, needed=needed)


def examine(root: Path, cluster: str | None = None) -> Iterator[Finding]:
    """Yield findings as they are made. ``root`` is the folder of all runs, ``cluster`` one to look at."""
    yield _finding("python", True, f"{platform.python_version()}, {sys.executable}", None)
    yield from packages()
    yield open_files()
    yield sockets()
    yield engines()
    yield from batch_systems()
    yield from run_folder(root)
    yield stale_clusters()
    if cluster is not None:
        yield from clocks(cluster)


def packages() -> Iterator[Finding]:
    """Look for what arcli needs, and for what it uses where it is there."""
    from arcli.suggest import how_to_add

    # What is needed decides the exit code; an extra that is missing is only said, with what it is for.
    for name, use in {**dict.fromkeys(NEEDED, ""), **EXTRAS}.items():
        version = _version(name)
        detail = version or "is not installed" + (f": needed for {use}" if use else "")
        yield _finding(name, version is not None, detail, how_to_add(name), needed=name in NEEDED)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def open_files() -> Finding:
    """Compare the limit on open files with what a controller of a few engines has open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= SCARCE
    return _finding(
        "open files", enough, f"at most {soft} a process", f"ulimit -n {SCARCE}, or few engines"
    )


def sockets() -> Finding:
    """Look for a folder that sockets of an embedded cluster can be in: private, its path short."""
    from arcli.cluster.embedded import private_folder

    problems = {base: private_folder.unfit(base) for base in private_folder.bases()}
    fit = [base for base, problem in problems.items() if problem is None]
    detail = str(fit[0]) if fit else "; ".join(f"{base}: {problem}" for base, problem in problems.items())
    do = "TMPDIR may name a folder with a short path that others cannot write to"
    return _finding("sockets", bool(fit), detail, do, needed=True)


def engines() -> Finding:
    """Start two engines, and have both answer."""
    from arcli.cluster.base import ClusterOptions
    from arcli.cluster.embedded.cluster import EmbeddedCluster

    # As a run does it, since forks, sockets and limits fail in ways that no look at the machine tells.
    began = time.monotonic()
    cluster = EmbeddedCluster(ClusterOptions(engines=ENGINES, min_engines=ENGINES, start_timeout=PATIENCE))
    try:
        cluster.start(lambda event: None)
        while cluster.coming() and time.monotonic() - began < PATIENCE:
            time.sleep(0.02)  # there is no event to wait for outside of a session
        answered = len(cluster.identities(PATIENCE))
    except ArcliError as error:
        return _finding("engines", False, error.message, error.hint, needed=True)
    finally:
        cluster.stop()
    detail = f"{answered} of {ENGINES} started and answered, in {time.monotonic() - began:.1f} s"
    do = "is the machine very busy? try again"
    return _finding("engines", answered == ENGINES, detail, do, needed=True)


def batch_systems() -> Iterator[Finding]:
    """Look for the programs that ipyparallel's launchers submit engines by."""
    from arcli import launchers

    # Only those that submit by a program of their own: the others need nothing beside Python.
    for launcher in launchers.LAUNCHERS:
        if launcher.program is None:
            continue
        path = shutil.which(launcher.program)
        detail, do = (
            path or f"there is no {launcher.program} on PATH",
            f"only for launcher: {launcher.name}",
        )
        yield _finding(f"launcher {launcher.name}", path is not None, detail, do)


def run_folder(root: Path) -> Iterator[Finding]:
    """Tell whether runs can be kept in ``root``, with room and with locks."""
    # It may not be there yet: what counts is the folder that it would be made in.
    existing = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    # Some network file systems take a lock and do nothing, and some refuse: only trying tells.
    probe = existing / ".arcli-doctor"
    try:
        with probe.open("w") as file:
            locks = bool(locked(file.fileno()))
        probe.unlink()
    except OSError as error:
        why = f"{existing}: {error.strerror}"
        yield _finding("run folder", False, why, "ARCLI_DIR may name another", needed=True)
        return
    detail = f"{root.absolute()}, {format_bytes(free)} are free"
    yield _finding("run folder", free > LITTLE_DISK, detail, "arcli clean")
    detail = "work there" if locks else "do not work there: --no-overlap has no effect"
    yield _finding("locks", locks, detail, "ARCLI_DIR may name a folder on another file system")


def stale_clusters() -> Finding:
    """Look for what clusters have left behind that were killed with all of their supervisors."""
    from arcli.cluster.embedded.private_folder import bases, find_stale

    stale = find_stale(bases())
    processes = sum(len(one.processes) for one in stale)
    detail = f"{len(stale)} folders and {processes} processes are left" if stale else "none is left"
    return _finding("clusters that are gone", not stale, detail, "arcli clean")


def clocks(name: str) -> Iterator[Finding]:
    """Measure how far the clocks of a running cluster's engines are from this host's."""
    from arcli.cluster import asked, named

    try:
        skews = asked.clocks(named.find(name))
    except ArcliError as error:
        yield _finding(f"cluster {name}", False, error.message, error.hint, needed=True)
        return
    # Start and end of an item are the engine's clock, submission and receipt this one's: a difference
    # shows up as time that nobody spent.
    for engine_id, skew in sorted(skews.items()):
        detail, do = f"{skew:+.2f} s from this host's", "set both by NTP: times of records compare badly"
        yield _finding(f"clock of engine {engine_id}", abs(skew) < SKEW, detail, do)
