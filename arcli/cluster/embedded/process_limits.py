"""The limits of a process (``ulimit``) that are too low for an embedded cluster."""

from __future__ import annotations

import resource

from arcli.errors import ClusterError

FORKED = (56, 2)
STARTED = (64, 6)
"""Open files that the controller needs: without engines, and for each, which is a fork or not. Measured: 56
and 81 with four engines, 72 and 129 with twelve."""
MEMORY = 480 << 20
"""Bytes of address space that arcli itself needs, whatever runs. Measured: it takes 600 MB where it may,
most of which its threads reserve and do not use; with less than this ZeroMQ aborts it now and then."""


def check_limits(engines: int, *, forked: bool) -> None:
    """Raise ClusterError where a limit leaves no room for a cluster of so many engines."""
    check_open_files(engines, forked=forked)
    check_address_space()


def check_open_files(engines: int, *, forked: bool) -> None:
    """Raise ClusterError where the controller could not have a connection to each engine."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files, each = FORKED if forked else STARTED
    needed = files + each * engines
    if most != resource.RLIM_INFINITY and most < needed:
        number = "1 engine needs" if engines == 1 else f"{engines} engines need"
        fit = max(0, (most - files) // each)
        raise ClusterError(
            f"no cluster: {number} {needed} open files in a process, and {most} are allowed",
            hint=f"ulimit -n {needed}" + (f", or -n {fit}" if fit else ""),
        )


def check_address_space() -> None:
    """Raise ClusterError where this process may not have the address space that its threads take."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY and most < MEMORY:
        raise ClusterError(
            f"no cluster: arcli needs {MEMORY >> 20} MiB of address space, and {most >> 20} are allowed",
            hint=f"ulimit -v {MEMORY >> 10}, or unlimited; items need theirs besides",
        )
