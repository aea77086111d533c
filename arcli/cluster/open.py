"""From what a spec says of its cluster to a cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from arcli import launchers
from arcli.cluster.base import Cluster, ClusterOptions
from arcli.cluster.connection import Connection
from arcli.cluster.embedded.supervisor_process import SupervisorProcess, usable_cpus
from arcli.errors import ClusterError, UsageError
from arcli.specfile.model import Cluster as Wanted
from arcli.specfile.model import Spec


def joins(wanted: Wanted) -> bool:
    """Tell whether a running cluster is to be joined."""
    return any((wanted.profile, wanted.cluster_id, wanted.connection_file))


def open_cluster(
    wanted: Wanted,
    *,
    engines: int | None,
    folder: Path,
    scratch: Path,
    join: str | None,
    helper: SupervisorProcess | None,
) -> Cluster:
    """Return a cluster that is not prepared yet.

    ``engines`` is how many there should be, None where nobody said; ``folder`` is the spec's, and
    ``scratch`` one that compute nodes see, too. ``join`` names a running cluster and overrides the
    spec.
    """
    # A flag goes before the spec; where neither says, what is there decides.
    options = ClusterOptions(
        engines=engines or slots(wanted) or 0,
        min_engines=min(engines or wanted.min_engines, wanted.min_engines),
        threads=wanted.threads_per_engine,
        python=wanted.python,
        spawn=wanted.launcher == "local",
        start_timeout=wanted.start_timeout,
        env=wanted.env,
        insecure=wanted.insecure,
    )
    # Likewise: the same spec can be run on a cluster that is there.
    if join is not None or joins(wanted):
        from arcli.cluster.joined import JoinedCluster

        return JoinedCluster(options, lambda: _connection(wanted, folder, join))
    launcher = launchers.named(wanted.launcher)
    assert launcher is not None  # the spec was checked
    # Only what is used is imported: ipyparallel's launchers cost more than an
    # embedded cluster.
    if launcher.own:
        from arcli.cluster.embedded.cluster import EmbeddedCluster

        needed = min(options.engines, options.min_engines)
        return EmbeddedCluster(replace(options, min_engines=needed), helper)
    from arcli.cluster.launched.cluster import LaunchedCluster

    options = replace(options, engines=engine_count(launcher, options.engines, wanted.options))
    return LaunchedCluster(launcher, options, wanted.options, scratch)


def engine_count(launcher: launchers.Launcher, asked: int | None, options: Mapping[str, Any]) -> int:
    """Return how many engines a launcher of ipyparallel's is to start where so many were asked for.

    Raises UsageError where nobody says it.
    """
    # The hosts say how many engines each of them has, which bounds what can be
    # asked for.
    try:
        on_hosts = launchers.engines_on_hosts(launcher, options)
    except ValueError as error:
        raise UsageError(f"{launcher.hosts}: {error}") from None
    if not (count := asked or on_hosts):
        raise UsageError(
            f"how many engines? launcher: {launcher.name} has them elsewhere",
            hint="-n 8, or cluster: {engines: 8}: the CPUs of this machine say nothing of it",
        )
    return min(count, on_hosts or count)


def unused_keys(wanted: Wanted) -> list[str]:
    """Return the keys of a spec that mean something to engines, and nothing to those of others."""
    return [name for name in ("python", "env", "threads_per_engine") if getattr(wanted, name)]


def slots(wanted: Wanted) -> int | None:
    """Return how many engines a spec's cluster has where ``-n`` does not say; None where nobody knows.

    ``auto`` is what this machine can keep busy, where the engines are on it.
    """
    launcher = launchers.named(wanted.launcher)
    if wanted.engines != "auto":
        return wanted.engines
    if launcher is None or joins(wanted):
        return None
    return usable_cpus() if launcher.local else launchers.engines_on_hosts(launcher, wanted.options)


def _connection(wanted: Wanted, folder: Path, join: str | None) -> Connection:
    from arcli.cluster import named

    # By a name, by the file itself, or as ipyparallel's own clients find one.
    if join is not None:
        file = named.find(join).connection_file
    elif wanted.connection_file is not None:
        file = folder / Path(wanted.connection_file).expanduser()
    else:
        profile, cluster_id = wanted.profile or named.PROFILE, wanted.cluster_id or ""
        file = named.named(profile, cluster_id).connection_file
    return Connection.read(file)


PATIENCE = 60.0
"""Seconds that an interpreter has to start."""
_ASK = "import sys, importlib.util as u; print(sys.version_info[:2], u.find_spec('ipyparallel'))"


_ANSWER = re.compile(r"^\((\d+), (\d+)\) (.+)$", re.MULTILINE)


def require_ipyparallel(spec: Spec) -> None:
    """Raise ClusterError where ``cluster: python`` cannot run engines, saying what it said."""
    python = spec.python
    cluster = spec.cluster
    launcher = launchers.named(cluster.launcher)
    # Whether another host has it, only that host can tell.
    if python is not None and not joins(cluster) and launcher is not None and launcher.own:
        check_python(python)


def check_python(python: str) -> None:
    """Raise ClusterError where an interpreter of this host cannot run engines, saying what it said."""
    import subprocess

    try:
        asked = subprocess.run(
            [python, "-c", _ASK],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"no cluster: {python} cannot be started: {error}") from None
    # A program that is no Python at all may end well, and say something; one that sets up an environment
    # may say that before.
    answer = _ANSWER.search(asked.stdout)
    if asked.returncode or answer is None:
        last = (asked.stderr.strip() or asked.stdout.strip() or "nothing").splitlines()[-1]
        status = f"it ended with {asked.returncode} and said: {last}"
        raise ClusterError(
            f"no cluster: {python} is not a Python that works: {status}",
            hint="cluster: python is the interpreter that engines are started with",
        )
    major, minor, origin = int(answer[1]), int(answer[2]), answer[3]
    if (major, minor) < (3, 11):
        raise ClusterError(
            f"no cluster: {python} is Python {major}.{minor}, and engines need 3.11 or newer",
            hint="cluster: python is the interpreter that engines are started with",
        )
    if origin == "None":
        raise ClusterError(
            f"no cluster: {python} cannot import ipyparallel", hint=f"{python} -m pip install ipyparallel"
        )
