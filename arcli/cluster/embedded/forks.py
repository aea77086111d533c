"""What becomes of the supervisor's forks: a controller, or an engine. Runs in the child only."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENGINE_PACKAGE = "_arcli_engine"
"""The name that engines know arcli's own code by, wherever they have it from."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a process that has not chosen otherwise; blocked while one is forked."""
REACHABLE = "reachable"
"""What a fork tells the hub when it can be reached, and is registered by; it has no heart. Heartbeats of
256 engines cost more than a quarter of what their start does, and nobody here needs to know of them."""


def channel(run: str) -> str:
    """Return the name under which engines publish what they do for a run."""
    return f"arcli.{run}"


def become(work: Callable[[], bool | None]) -> None:
    """Do ``work`` and exit; never returns to the code that forked.

    Where it returns True it has ended all that an interpreter's end would.
    """
    status, ended = 1, None
    gc.enable()
    try:
        ended = work()
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # noqa: BLE001 - the log is the only place that can still be told
        traceback.print_exc()
    finally:
        # As an interpreter ends, with ``atexit``, threads and open files of the user's, and without
        # a return to the frames of the supervisor below, whose ``finally`` would end its children.
        # https://docs.python.org/3/c-api/sys.html#c.Py_Exit
        leave = ctypes.pythonapi.exit if ended else ctypes.pythonapi.Py_Exit
        leave(status)


def detach(log: str) -> None:
    """Have signals as Python begins with them, nothing to read, and a log for whatever is printed."""
    # An engine is a fresh Python: what the supervisor has set for itself is none of an item's.
    for number in (*ENDING, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((nothing, 0), (log_fd, 1), (log_fd, 2)):
        os.dup2(source, target)
        os.close(source) if source == nothing else None
    os.close(log_fd)


def engine_environment(slot: int, uuid: str) -> dict[str, str]:
    """Return what an engine finds in its environment beside the cluster's own."""
    return {"ARCLI_SLOT": str(slot), "ARCLI_ENGINE": uuid}


def engine_config(folder: Path) -> dict[str, Any]:
    """Return an engine's configuration, by sections; its id is not in it."""
    return {
        "ProfileDir": {"location": str(folder / "profile")},
        "BaseParallelApplication": {"log_level": 30, "ipython_dir": str(folder)},
        "HistoryManager": {"enabled": False, "hist_file": ":memory:"},
        "IPEngine": {
            "enable_nanny": False,
            "max_heartbeat_misses": 0,
            "timeout": 30.0,
        },
    }


def engine_arguments(folder: Path, engine_id: int) -> list[str]:
    """Return the same for an engine that is started with another interpreter."""
    return [
        f"--IPEngine.id={engine_id}",
        *(
            f"--{section}.{name}={value}"
            for section, values in engine_config(folder).items()
            for name, value in values.items()
        ),
    ]


def reseed() -> None:
    """Begin anew with NumPy's random numbers: Python's own do so in each fork (``random``)."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
