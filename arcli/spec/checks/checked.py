"""What is checked: the parts of a spec that have the right shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arcli.spec import functions
from arcli.spec.model import Cluster, Job, Output, Setup


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """The parts of a spec that have the right shape, by their place; ``names``: of all jobs."""

    folder: Path
    names: Sequence[str]
    jobs: Mapping[int, Job]
    cluster: Cluster
    setup: Setup | None
    outputs: Mapping[int, Output]

    def engine_names(self) -> set[str] | None:
        """Names in the engines' namespace; None where they cannot be known."""
        joined = self.cluster.profile or self.cluster.cluster_id or self.cluster.connection_file
        if self.setup is None or joined or len(self.jobs) < len(self.names):
            return None
        pushed = [job.push_as for job in self.jobs.values() if job.push_as]
        return functions.engine_names(self.setup, pushed)
