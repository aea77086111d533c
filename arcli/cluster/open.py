"""From what a spec says of its cluster to a cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from arcli.cluster.base import Cluster, ClusterOptions
from arcli.cluster.connection import Connection
from arcli.cluster.cpus import usable_cpus
from arcli.cluster.supervisor_process import SupervisorProcess
from arcli.specfile.model import Cluster as Wanted

HERE = {"embedded", "local"}
"""Launchers whose engines are forks or children of a supervisor on this machine."""


def joins(wanted: Wanted) -> bool:
    """Whether a running cluster is to be joined."""
    return any((wanted.profile, wanted.cluster_id, wanted.connection_file))


def open_cluster(
    wanted: Wanted,
    *,
    engines: int | None,
    folder: Path,
    scratch: Path,
    join: str | None = None,
    helper: SupervisorProcess | None = None,
) -> Cluster:
    """A cluster that is prepared and not started yet.

    ``engines`` is how many there should be, None where nobody said; ``folder`` is the spec's, and
    ``scratch`` one that compute nodes see, too. ``join`` names a running cluster and overrides the
    spec.
    """
    options = ClusterOptions(
        engines=engines or 0,
        min_engines=min(engines or wanted.min_engines, wanted.min_engines),
        threads=wanted.threads_per_engine,
        python=wanted.python,
        spawn=wanted.launcher == "local",
        start_timeout=wanted.start_timeout,
        env=wanted.env,
    )
    cluster = _cluster(wanted, options, folder, scratch, join, helper)
    cluster.prepare()
    return cluster


def _cluster(
    wanted: Wanted,
    options: ClusterOptions,
    folder: Path,
    scratch: Path,
    join: str | None,
    helper: SupervisorProcess | None,
) -> Cluster:
    if join is not None or joins(wanted):
        from arcli.cluster.joined import JoinedCluster

        return JoinedCluster(options, lambda: _connection(wanted, folder, join))
    if wanted.launcher in HERE:
        from arcli.cluster.embedded import EmbeddedCluster

        count = options.engines or usable_cpus()
        needed = min(count, options.min_engines)
        return EmbeddedCluster(replace(options, engines=count, min_engines=needed), helper)
    from arcli.cluster.launched import LaunchedCluster

    return LaunchedCluster(wanted.launcher, options, wanted.options, scratch)


def _connection(wanted: Wanted, folder: Path, join: str | None) -> Connection:
    from arcli.cluster.named import find as named_clusters

    if join is not None:
        file = named_clusters.find(join).connection_file
    elif wanted.connection_file is not None:
        file = folder / Path(wanted.connection_file).expanduser()
    else:
        profile, cluster_id = wanted.profile or named_clusters.PROFILE, wanted.cluster_id or ""
        file = named_clusters.named(profile, cluster_id).connection_file
    return Connection.read(file)
