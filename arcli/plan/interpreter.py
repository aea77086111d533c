"""The interpreter of engines on this machine: asked before they are started with it."""

from __future__ import annotations

import subprocess

from arcli import launchers
from arcli.errors import ClusterError
from arcli.specfile.model import Spec

PATIENCE = 60.0
"""Seconds that an interpreter has to start."""
_ASK = "import sys, importlib.util as u; print(sys.version_info[:2], u.find_spec('ipyparallel'))"


def require_ipyparallel(spec: Spec) -> None:
    """Raise ClusterError where ``cluster: python`` cannot run engines, saying what it said."""
    python = spec.python
    cluster = spec.cluster
    launcher = launchers.named(cluster.launcher)
    joined = cluster.profile or cluster.cluster_id or cluster.connection_file
    # Whether another host has it, only that host can tell.
    if python is None or joined or launcher is None or not launcher.own:
        return
    try:
        asked = subprocess.run(
            [python, "-c", _ASK], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"no cluster: {python} cannot be started: {error}") from None
    # A program that is no Python at all may end well, and say something.
    version, _, origin = asked.stdout.strip().partition(") ")
    if asked.returncode or not version.startswith("("):
        answer = (asked.stderr.strip() or asked.stdout.strip() or "nothing").splitlines()[-1]
        status = f"it ended with {asked.returncode} and said: {answer}"
        raise ClusterError(
            f"no cluster: {python} is not a Python that works: {status}",
            hint="cluster: python is the interpreter that engines are started with",
        )
    if origin == "None":
        raise ClusterError(
            f"no cluster: {python} cannot import ipyparallel",
            hint=f"{python} -m pip install ipyparallel",
        )
