"""How a cluster of ipyparallel's launchers is stopped, whatever its parts and its batch system do."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import traceback
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from typing import Any

STOPS = 20.0
"""Seconds that ipyparallel has to stop a part of a cluster."""


async def stop_parts(cluster: Any) -> list[str]:
    """Stop an ``ipyparallel.Cluster``: its engines and its controller, each whatever becomes of the others.

    Returns in words what may go on.
    """
    from ipyparallel.cluster.launcher import BatchSystemLauncher

    left = []
    for name, engines in [*cluster.engines.items()]:
        job = None
        if isinstance(engines, BatchSystemLauncher):
            if not (job := engines.job_id):
                continue  # it was refused
            _limit(engines)
        if problem := await _problem(cluster.stop_engines(name)):
            what = f"job {job} may still be in the queue" if job else "engines may go on"
            left.append(f"{what}: {problem}")
    if problem := await _problem(cluster.stop_controller()):
        left.append(f"the controller may go on: {problem}")
    return left


async def _problem(stop: Awaitable[None]) -> str | None:
    """Say what kept a part of a cluster from being stopped; None where nothing did."""
    try:
        await asyncio.wait_for(stop, STOPS)
    except Exception as error:  # noqa: BLE001 - launchers raise whatever they meet
        return words(error)
    return None


def _limit(batch: Any) -> None:
    """Have the command that cancels a job ended where it hangs, and what it says kept for the words.

    ipyparallel runs it without a limit, while nothing else of its event loop goes on
    (https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/cluster/launcher.py, ``_run_command``).
    """
    run = batch._run_command  # noqa: SLF001 - there is no setting for it
    batch._run_command = partial(run, timeout=STOPS, stderr=subprocess.STDOUT)  # noqa: SLF001


def words(error: Exception) -> str:
    """Put an error of a launcher's into words."""
    if (command := missing_command(error)) is not None:
        return f"there is no command {command!r}"
    if isinstance(error, subprocess.CalledProcessError):
        said = (error.output or b"").decode("utf-8", "replace").strip()
        last = f" and said: {said.splitlines()[-1]}" if said else ""
        return f"`{_command(error.cmd)}` exited with status {error.returncode}{last}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"`{_command(error.cmd)}` did not end within {error.timeout:g} s"
    # Where the controller does not come up, the files that were waited for say nothing.
    return str(error).partition(" while waiting for ")[0] or type(error).__name__


def missing_command(error: Exception) -> str | None:
    """Return the command that a launcher has not found; None where that is not what went wrong."""
    if not isinstance(error, FileNotFoundError):
        return None
    # A file that cannot be opened, such as a template, is the same error.
    frames = traceback.extract_tb(error.__traceback__)
    return error.filename if frames and frames[-1].filename == subprocess.__file__ else None


def _command(command: Any) -> str:
    return command if isinstance(command, str) else " ".join(map(str, command))


def remove_profiles(folder: Path) -> None:
    """Remove the profiles of a run's cluster: the keys are in them."""
    for profile in folder.glob("profile*"):
        shutil.rmtree(profile, ignore_errors=True)
