"""How long this process has been there, imports and interpreter included."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STARTTIME = 19
"""Of the fields of /proc/PID/stat behind the name, see proc_pid_stat(5): clock ticks since boot."""


def process_age() -> float:
    """Return the seconds since this process began, to a clock tick; 0 where the system cannot tell."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[_STARTTIME])
    except (OSError, ValueError, IndexError):
        return 0.0
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    return max(0.0, since_boot - ticks / os.sysconf("SC_CLK_TCK"))
