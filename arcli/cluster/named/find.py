"""The clusters that a user has, as ipyparallel's files in IPython's profiles tell.

A controller writes connection files; ``ipcluster`` and ``arcli cluster start`` also write a cluster
file, which ``ipyparallel.Cluster.from_file`` reads. Files can outlive their cluster.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcli.errors import ClusterError

PROFILE = "default"
_CONNECTION = re.compile(r"ipcontroller(?:-(.+))?-client\.json")
_CLUSTER = re.compile(r"cluster-(.*)\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A cluster that has left files: it may run, or have ended without tidying up."""

    profile: str
    cluster_id: str
    security: Path

    @property
    def name(self) -> str:
        """As ``--cluster`` takes it: ``ID`` in the default profile, or ``PROFILE:ID``."""
        if self.profile == PROFILE and self.cluster_id:
            return self.cluster_id
        return f"{self.profile}:{self.cluster_id}"

    @property
    def connection_file(self) -> Path:
        """What the controller wrote for clients."""
        middle = f"-{self.cluster_id}" if self.cluster_id else ""
        return self.security / f"ipcontroller{middle}-client.json"

    @property
    def cluster_file(self) -> Path:
        """What whoever started the cluster wrote, for stopping it later."""
        return self.security / f"cluster-{self.cluster_id}.json"

    @property
    def launcher(self) -> str | None:
        """How its engines were started; None where no cluster file tells."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            cluster: dict[str, Any] = json.loads(self.cluster_file.read_bytes())
            return str(cluster["engines"]["class"])
        return None


def profile_folder(profile: str) -> Path:
    """Tell where IPython keeps a profile, whether it is there or not."""
    from IPython.paths import get_ipython_dir

    return Path(get_ipython_dir()) / f"profile_{profile}"


def known(profile: str | None = None) -> list[Known]:
    """Return all clusters of the user, or those of one profile, by name."""
    folder = profile_folder(PROFILE).parent
    names = [profile] if profile is not None else [PROFILE, *_profiles(folder)]
    clusters = {
        Known(profile=name, cluster_id=cluster_id, security=profile_folder(name) / "security")
        for name in dict.fromkeys(names)
        for cluster_id in _ids(profile_folder(name) / "security")
    }
    return sorted(clusters, key=lambda one: (one.profile != PROFILE, one.name))


def _profiles(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix("profile_") for path in folder.glob("profile_*"))


def _ids(security: Path) -> Iterator[str]:
    for path in security.glob("*.json"):
        for pattern in (_CLUSTER, _CONNECTION):
            if match := pattern.fullmatch(path.name):
                yield match[1] or ""


def find(name: str) -> Known:
    """Return the cluster that ``ID`` (of the default profile) or ``PROFILE:ID`` names.

    Raises ClusterError with those that are known where there is none.
    """
    profile, colon, cluster_id = name.rpartition(":")
    return named(profile if colon else PROFILE, cluster_id)


def named(profile: str, cluster_id: str) -> Known:
    """Return the same, its parts given."""
    one = Known(profile=profile, cluster_id=cluster_id, security=profile_folder(profile) / "security")
    if one.connection_file.is_file() or one.cluster_file.is_file():
        return one
    others = ", ".join(other.name for other in known())
    raise ClusterError(
        f"there is no cluster {one.name!r}: {one.connection_file} does not exist",
        hint=f"known are: {others}" if others else "`arcli cluster start` starts one",
    )
