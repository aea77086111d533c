"""What launches engines: one table, which the spec, its checks, the commands and the cluster ask.

A launcher that ipyparallel knows by an entry point needs no line here: it is used by its name.
https://ipyparallel.readthedocs.io/en/latest/tutorial/process.html
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from msgspec import Struct

ENTRY_POINTS = "ipyparallel.engine_launchers"


class Launcher(Struct, frozen=True, kw_only=True):
    """What there is to know of a launcher.

    ``own``: arcli brings up its engines itself, and ipyparallel's traits mean nothing to it.
    ``local``: its engines are on this machine. ``batch``: a queue may hold them back.
    ``shared_disk``: its engines see the run's folder, so that no key need travel to them.
    ``program`` is what must be installed where arcli runs, ``hosts`` the option with the hosts, and
    how many engines each has.
    """

    name: str
    own: bool = False
    local: bool = False
    batch: bool = False
    shared_disk: bool = True
    program: str | None = None
    hosts: str | None = None


LAUNCHERS = (
    Launcher(name="embedded", own=True, local=True),
    Launcher(name="local", own=True, local=True),
    Launcher(name="inline", own=True, local=True),
    Launcher(name="mpi", local=True, program="mpiexec"),
    Launcher(name="slurm", batch=True, program="sbatch"),
    Launcher(name="pbs", batch=True, program="qsub"),
    Launcher(name="sge", batch=True, program="qsub"),
    Launcher(name="lsf", batch=True, program="bsub"),
    Launcher(name="htcondor", batch=True, program="condor_submit"),
    Launcher(name="ssh", shared_disk=False, program="ssh", hosts="SSHEngineSetLauncher.engines"),
)
_BY_NAME = {launcher.name: launcher for launcher in LAUNCHERS}


def named(name: str) -> Launcher | None:
    """Return the launcher of a name; None where neither arcli nor ipyparallel knows it."""
    launcher = _BY_NAME.get(name)
    if launcher is None and name in _installed():
        # Nothing is known of it: a queue may hold its engines back, and they may be anywhere.
        return Launcher(name=name, batch=True, shared_disk=False)
    return launcher


def engines_on_hosts(launcher: Launcher, options: Mapping[str, Any]) -> int | None:
    """Return how many engines the options start on all hosts together, None where they do not say.

    A host has a number, or a mapping with the number as ``n``. Raises ValueError where it has not.
    """
    if launcher.hosts is None or launcher.hosts not in options:
        return None
    # ipyparallel counts this machine's CPUs where it cannot read the hosts: better none than those.
    hosts = options[launcher.hosts]
    if not isinstance(hosts, Mapping) or not hosts:
        raise ValueError("it maps each host to its number of engines: {node1: 4, me@node2: 8}")
    # A host has a number of engines, or a map with `n` among other things.
    counts: dict[str, int] = {
        host: on.get("n", 1) if isinstance(on, Mapping) else on for host, on in hosts.items()
    }
    for host, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{host} has {count!r} engines, which is not a number from 1 on")
    return sum(counts.values())


def advice_without(command: str) -> str:
    """Return what to do where a command that a launcher runs is not there."""
    return (
        f"load the module that has {command}, or run arcli where it is installed: "
        "`arcli doctor` shows what is there"
    )


def names() -> list[str]:
    """Return all names that a spec may use: arcli's own first, then those that packages add."""
    return list(dict.fromkeys([*_BY_NAME, *sorted(_installed())]))


def ipyparallels() -> list[str]:
    """Return the names of those that ipyparallel launches, and whose traits mean something."""
    return [name for name in names() if (launcher := named(name)) and not launcher.own]


@cache
def _installed() -> set[str]:
    """Return the launchers that installed packages declare, ipyparallel's own among them."""
    return {point.name for point in entry_points(group=ENTRY_POINTS)}
