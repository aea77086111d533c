"""What a script of Python's finds when it begins, for items that run inside an engine, and at a run's end.

An ipyparallel engine is a kernel: it handles messages inside a running event loop, has arguments of
its own, sets variables for terminals, and handles signals. Code of the user's is to meet none of it.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
import stat
import sys
import threading
from asyncio import events
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from os import sep
from typing import Any

from .own_code import hush, unhush

ARGV = ["arcli"]
"""``sys.argv`` of an item."""
KERNEL_NAMES = (
    "CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "GIT_PAGER", "IPYTHONDIR", "MPLBACKEND", "PAGER",
    "PYDEVD_DISABLE_FILE_VALIDATION", "PYDEVD_USE_FRAME_EVAL", "PYTHONSAFEPATH", "PYTHONWARNINGS", "TERM",
)  # fmt: skip
"""Variables that a kernel and what starts it set for themselves:
https://github.com/ipython/ipykernel/blob/v7.0.0/ipykernel/zmqshell.py (``init_environment``)."""
CLUSTER_NAMES = (
    "IPP_CLUSTER_ID", "IPP_CONNECTION_INFO", "IPP_CURVE_PUBLICKEY", "IPP_CURVE_SECRETKEY",
    "IPP_CURVE_SERVERKEY", "IPP_PROFILE_DIR",
)  # fmt: skip
"""Variables that tell an engine where its cluster is; some of them are keys."""
_HIDDEN = frozenset(KERNEL_NAMES + CLUSTER_NAMES)
_FRAMEWORKS = frozenset(["_arcli_engine", "arcli", "asyncio", "ipykernel", "ipyparallel", "tornado"])


class Script:
    """The conditions of a script, while this is open: arguments, and no event loop that runs.

    asyncio refuses a second loop in a thread; hiding the outer one is what ``_set_running_loop`` is
    exported for (https://docs.python.org/3/library/asyncio-extending.html). The policy, which has
    the loop that is current, is the items' own from one request to the next. On an engine that is
    ``shared`` the variables are a script's for as long, too; one of our own has them from its start.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
        self._policy: Any = asyncio.DefaultEventLoopPolicy()
        self._shell: Any = None

    def __enter__(self) -> Script:
        self._argv, sys.argv = sys.argv, list(ARGV)
        if self._shared:
            self._variables = _exchanged(_before_the_kernel())
        self._show_text()
        self._hushed = unhush()
        self._loop = events._get_running_loop()  # noqa: SLF001 - see above
        if self._loop is not None:
            self._kernels = asyncio.get_event_loop_policy()
            events._set_running_loop(None)  # noqa: SLF001
            asyncio.set_event_loop_policy(self._policy)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.argv = self._argv
        if self._shared:
            _exchanged(self._variables)
        if self._shell is not None:
            self._shell.display_pub = self._publisher
        if self._hushed:
            hush()
        if self._loop is not None:
            self._policy = asyncio.get_event_loop_policy()
            asyncio.set_event_loop_policy(self._kernels)
            events._set_running_loop(self._loop)  # noqa: SLF001

    def _show_text(self) -> None:
        """Have ``display`` print what it shows as text, as it does where there is no shell."""
        # Looked up and not imported: where nothing has imported IPython there is no shell to be replaced.
        if "IPython" not in sys.modules:
            return
        from IPython.core.getipython import get_ipython

        self._shell = get_ipython()
        if self._shell is None:
            return
        self._publisher, self._shell.display_pub = self._shell.display_pub, text_publisher()


@cache
def text_publisher() -> Any:
    """Return the one publisher of IPython's that prints what it is to show, as text."""
    # The class can be made only here, where its base is there.
    from IPython.core.displaypub import DisplayPublisher

    class TextPublisher(DisplayPublisher):
        def publish(self, data: Any, *args: Any, **kwargs: Any) -> None:
            print(data.get("text/plain", ""))

        def clear_output(self, wait: bool = False) -> None:
            pass

    make: Any = TextPublisher
    return make()


def leave_shell(namespace: dict[str, Any]) -> None:
    """Take away the names that IPython gives a shell of its own: its ``exit()`` is none in a program.

    It sets a flag, and the code goes on; its ``open`` refuses the standard streams
    (https://github.com/ipython/ipykernel/blob/v6.29.5/ipykernel/zmqshell.py, ``ZMQExitAutocall``).
    """
    for name in ("exit", "quit", "open"):
        value = namespace.get(name)
        # What somebody has put there under these names is a user's. IPython's function says that it is
        # Python's own, but not where it was written.
        home = str(getattr(value, "__globals__", {}).get("__name__") or type(value).__module__)
        if home.partition(".")[0] in {"IPython", "ipykernel"}:
            del namespace[name]


def clean_environment() -> None:
    """Take the cluster's variables away for good, and have the kernel's as they were at the start."""
    _exchanged(_before_the_kernel())


def _exchanged(variables: Mapping[str, str]) -> dict[str, str]:
    """Have these variables in place of the cluster's and the kernel's, and return what those were."""
    were = {name: os.environ.pop(name) for name in _HIDDEN if name in os.environ}
    for name, value in variables.items():
        os.environ[name] = value
    return were


@cache
def _before_the_kernel() -> dict[str, str]:
    """Return what the kernel's names were when this process, or the one that it is a fork of, was started.

    Where there is no /proc, only what nobody can do without is taken as it is now.
    """
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - nothing heavier on an engine
            entries = dict(
                entry.split("=", 1) for entry in os.fsdecode(file.read()).split("\0") if "=" in entry
            )
    except OSError:
        entries = {"TERM": os.environ["TERM"]} if "TERM" in os.environ else {}
    return {name: entries[name] for name in KERNEL_NAMES if name in entries}


_ASKED = frozenset([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
_masks = threading.local()


def hold_signals() -> None:
    """Before a fork: what asks the child to end must not reach it while it has these handlers."""
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _ASKED)


def release_signals() -> None:
    """After a fork, in the parent."""
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def restore_signals() -> None:
    """After a fork, in the child: undo the engine's handlers, for which ``terminate`` does nothing.

    Handlers of the user's stay, as they do in a script's forks.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        module = getattr(signal.getsignal(number), "__module__", None) or ""
        if module.partition(".")[0] in _FRAMEWORKS:
            handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler)
    release_signals()


os.register_at_fork(before=hold_signals, after_in_parent=release_signals, after_in_child=restore_signals)


def write_out() -> None:
    """Write what open files still hold in their buffers, as the end of a process does.

    The garbage collector may close the file below a text's first, and lose it
    (https://github.com/python/cpython/issues/62052). Pipes are left alone: nobody may be reading.
    """
    for file in [one for one in gc.get_objects() if issubclass(type(one), io.IOBase)]:
        with suppress(Exception):  # closed, without a descriptor, or a class of the user's
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                file.flush()


class Visit:
    """What a run does to an engine's interpreter: entries of ``sys.path``, imported modules."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._modules = set(sys.modules)

    def add_path(self, folders: list[str]) -> None:
        """Put folders in front of ``sys.path``, those aside that are on it."""
        added = [folder for folder in folders if folder not in sys.path]
        sys.path[:0] = added
        self._path += added

    def leave(self) -> None:
        """Take it back: the next run imports the spec's own modules as they are then."""
        write_out()
        for folder in self._path:
            if folder in sys.path:
                sys.path.remove(folder)
        for name in set(sys.modules) - self._modules:
            if self._is_the_specs(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]

    def _is_the_specs(self, file: str | None) -> bool:
        if file is None or not file.endswith(".py") or "-packages" + sep in file:
            return False  # extension modules cannot be imported twice
        return any(file.startswith(folder + sep) for folder in self._path)
