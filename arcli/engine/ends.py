"""How processes end, in words."""

from __future__ import annotations

import signal


def killed_by(number: int) -> str:
    """Return what a signal did to a process: ``killed by SIGKILL``."""
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:  # one of the real-time signals, most of which have no name
        return f"killed by signal {number}"
