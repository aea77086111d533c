"""Processes as Linux sees them: how they are started and tied, who is whose child, and their end.

``python -m arcli.cluster.processes PARENT MODULE ARGUMENT…`` runs ``python -m MODULE ARGUMENT…``, which is
ipyparallel's controller, as a process that ends with the parent, however that ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from arcli.engine.ends import killed_by

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
KEPT_FREE = 32 << 20
"""Bytes of freed memory that a process keeps, for it will soon need as many again."""
STOPS = 0.25
ENDS = 5.0
"""Seconds that processes have to stop, and to end, when they are told to."""


class Process(NamedTuple):
    """A line of the process table."""

    pid: int
    parent: int
    session: int


def adopt_orphans() -> None:
    """Make this process the one that its descendants' orphans fall to (Linux; else nothing).

    https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Have this process killed when ``parent``, which forked it, ends (Linux; else nothing).

    https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was faster than this call
        os._exit(1)


def wake_when_orphaned() -> None:
    """Have this process continued (SIGCONT) when who started it ends (Linux; else nothing).

    It then sees that its connection has ended, and does what it is for, though somebody has stopped it.
    Called between fork and exec, which keeps it.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        _libc().prctl(option, argument, 0, 0, 0)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def keep_freed_memory() -> None:
    """Have this process, and what it forks, give no memory back that the next message will need (glibc).

    A message of a megabyte is several of them in each process on its way. As it comes, each is new pages
    from the kernel, one fault for every 4 kB, and is given back at once: half of what 500 of them took.
    https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    with suppress(AttributeError, OSError):  # another C library
        _libc().mallopt(_M_MMAP_THRESHOLD, KEPT_FREE // 2)
        _libc().mallopt(_M_TRIM_THRESHOLD, KEPT_FREE)


def table() -> list[Process]:
    """Return all processes that can be seen; empty where there is no /proc."""
    processes: list[Process] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # The command may contain spaces and brackets: what follows is behind the last one.
            fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            processes.append(Process(int(entry.name), int(fields[1]), int(fields[3])))
    return processes


def is_stopped(pid: int) -> bool:
    """Tell whether a process has been stopped (SIGSTOP), and not yet continued."""
    return _state(pid) == "T"


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, or but an entry that nobody has asked for; so it is without /proc."""
    return _state(pid) in {"", "Z", "X"}


def _state(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
    return ""


def descendants(*of: int) -> Iterator[int]:
    """Yield the ids of all that these have started and that still hangs on them, nearest first."""
    # One look at the table, then the tree of it: what is started meanwhile is found by the next look.
    children: dict[int, list[int]] = defaultdict(list)
    for process in table():
        children[process.parent].append(process.pid)
    waiting = [*of]
    while waiting:
        for child in children.pop(waiting.pop(0), []):
            yield child
            waiting.append(child)


def kill_all(pids: Iterable[int], number: int = signal.SIGKILL) -> None:
    """Signal these processes, those that are gone aside."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def kill_tree(*pids: int) -> list[int]:
    """Kill processes and all that hangs on them; they are stopped first, so that they start no more.

    Returns what hung on them, which may take a moment to end.
    """
    _stop(pids)
    below = kill_below(*pids)
    kill_all(pids)
    return below


def kill_below(*pids: int) -> list[int]:
    """Kill all that hangs on these processes, which are stopped, or start nothing now.

    Returns their ids; they may take a moment to end.
    """
    # What one starts between a look at the table and its end would hang on nobody by the next look. So
    # each is stopped, until a look finds nobody new; not for ever, as other users' cannot be stopped.
    below: list[int] = []
    end, me = time.monotonic() + ENDS, os.getpid()  # which may hang on one of them, as a script's command
    while children := [pid for pid in descendants(*pids) if pid not in {me, *below}]:
        _stop(children)
        below += children
        if time.monotonic() > end:
            break
    kill_all(below)
    return below


def _stop(pids: Collection[int]) -> None:
    """Stop processes: when this returns, they start no more.

    One that has begun to fork stops when it has, with another one, so it is waited for; not for ever, as
    one that lends its memory (vfork) stops when it has it back, and starts nothing until then.
    """
    kill_all(pids, signal.SIGSTOP)
    end = time.monotonic() + STOPS
    while not all(is_stopped(pid) or has_ended(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.001)  # nobody tells when another's children stop


def strays(of: int, session: int, mark: bytes) -> list[int]:
    """Children of ``of`` that a dead process left: of its session, or with its mark in the env."""
    return [
        process.pid
        for process in table()
        if process.parent == of and (process.session == session or _has_mark(process.pid, mark))
    ]


def marked(mark: bytes) -> Iterator[int]:
    """Yield the processes that have a mark, such as ``NAME=value``, in their environment."""
    for process in table():
        if process.pid != os.getpid() and _has_mark(process.pid, mark):
            yield process.pid


def kill_marked(mark: bytes) -> None:
    """Kill all processes that have a mark, and what hangs on them; returns when none of them is left.

    Not after more than ``ENDS`` seconds, as one that waits for a disk may take long.
    """
    # One may start another between the look that finds it and its end, and none ends in no time.
    end = time.monotonic() + ENDS
    while (processes := [*marked(mark)]) and time.monotonic() < end:
        kill_tree(*processes)


def _has_mark(pid: int, mark: bytes) -> bool:
    with suppress(OSError):
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def ending(status: int) -> str:
    """Return a wait status in words: ``killed by SIGKILL``, ``exited with status 3``."""
    code = os.waitstatus_to_exitcode(status)
    return f"exited with status {code}" if code >= 0 else killed_by(-code)


PLAIN_JSON = {"packer": "json", "unpacker": "json"}
"""Settings of a controller's ``Session`` whose engines may have other packages: jupyter_client's newest
versions name orjson as what they write by where that is installed, and older ones want to import it."""
_START = (
    "import os, runpy, sys, warnings; "
    "sys.path = [path for path in sys.path if path]; "
    "os.environ.update(PYTHONSAFEPATH='1', PYTHONWARNINGS=''); "
    "os.environ.update({'IPYTHONDIR': d for d in [os.environ.get('ARCLI_CLUSTER')] if d}); "
    "warnings.filterwarnings('ignore', message='(?s).*'); "
    "getattr(sys.modules.get('linecache'), 'cache', {}).pop('<string>', None); "
    "runpy.run_module('ipyparallel.engine', run_name='__main__', alter_sys=True)"
)
"""Files of the working folder must not pass for modules that the engine, or what it starts, imports,
warnings are for items (``arcli.engine.own_code``), and nothing is written into the user's own IPython
folder. Python 3.13 would show this text in tracebacks of expressions, which are called ``<string>``, too.
Items find these variables as they were before."""


def engine_command(python: str) -> list[str]:
    """Return the command that starts an engine; its arguments follow.

    PYTHONSTARTUP is for people in front of a prompt, and not for an engine's items.
    """
    return [python, "-c", _START, "--IPKernelApp.exec_PYTHONSTARTUP=False"]


def _fall_apart(number: int, frame: Any) -> None:
    """End a controller of which a scheduler has ended by itself: it would lose messages, and say nothing.

    It happens where somebody else has taken its port meanwhile, or there was no memory left.
    """
    from ipyparallel.controller.app import IPController

    if not IPController.initialized():
        return
    app = IPController.instance()
    for child in (*app.children, app.heartmonitor_process):
        ended = getattr(child, "launcher", child).exitcode
        if ended not in {None, 0, -signal.SIGTERM}:  # as the controller ends them at its own end
            os.write(2, b"a scheduler of the controller has ended\n")
            os._exit(1)


def main() -> None:
    """Tie this process to the parent, unless that is 0, and all that it forks to this process."""
    import runpy

    from arcli.engine.own_code import hush

    hush()
    _, parent, module, *arguments = sys.argv
    if parent != "0":
        die_with(int(parent))
    me = os.getpid()
    os.register_at_fork(after_in_child=lambda: die_with(me))
    signal.signal(signal.SIGCHLD, _fall_apart)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
