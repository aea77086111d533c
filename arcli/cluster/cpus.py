"""How many engines this process may keep busy: its CPU affinity, and its cgroup's quota."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path


def usable_cpus(root: Path = Path("/")) -> int:
    """CPUs that are worth an engine each, at least 1. ``root`` holds ``proc`` and ``sys``."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(root)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """CPUs that the cgroup of this process, or one above it, allows; None without a limit.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    """
    limits = [
        limit
        for controllers, path in _memberships(root)
        for folder in _folders(root, controllers, path)
        if (limit := _limit(folder)) is not None
    ]
    return min(limits, default=None)


def _memberships(root: Path) -> list[tuple[str, str]]:
    """``(controllers, path)`` of each hierarchy; cgroup v2 has no names of controllers."""
    with suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        return [(parts[1], parts[2]) for line in lines if len(parts := line.split(":", 2)) == 3]
    return []


def _folders(root: Path, controllers: str, path: str) -> list[Path]:
    """Return the cgroup's folder and all above it. In a container the path may not be visible."""
    if controllers and "cpu" not in controllers.split(","):
        return []
    mount = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
    below = Path(path.lstrip("/"))
    return [mount / below, *(mount / parent for parent in below.parents)]


def _limit(folder: Path) -> float | None:
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):
        allowed = int((folder / "cpu.cfs_quota_us").read_text())
        return allowed / int((folder / "cpu.cfs_period_us").read_text()) if allowed > 0 else None
    return None
