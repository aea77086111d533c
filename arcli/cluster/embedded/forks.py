"""What becomes of the supervisor's forks: a controller, or an engine. Runs in the child only."""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
import os
import resource
import signal
import sys
import time
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
HEARTBEAT_MS = 25
"""The registration of an engine of another interpreter ends with its first heartbeat, so the period is
short at first."""
CALM_MS = 250
HURRY = 3.0
"""Seconds without a new engine after which the heart beats calmly: hundreds of beats a second cost
4 % of a CPU."""
MISSES = 600_000 // CALM_MS
"""Ten minutes: in this cluster a death is what the supervisor reaps, not a pause."""


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


def run_controller(folder: Path, tell: int, foreign: bool) -> None:
    """Be the controller; its connection information goes to the descriptor ``tell``.

    ``foreign``: its engines have another Python, whose packages are not these.
    """
    from ipyparallel.controller import app as module
    from ipyparallel.controller import heartmonitor
    from traitlets.config import Config

    from arcli.cluster.processes import PLAIN_JSON, die_with

    # Each engine costs it open files; the limit that is usual is for interactive programs.
    os.umask(0o077)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))

    class Hurried:
        """``IPController.init_hub`` sleeps a quarter of a second, for what is long gone.

        https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/controller/app.py
        """

        sleep = staticmethod(lambda seconds: None)

    module.time = Hurried
    heartmonitor.HeartMonitor = calming(heartmonitor.HeartMonitor)
    config = Config({**_controller_config(folder), **({"Session": PLAIN_JSON} if foreign else {})})
    app = over_unix_sockets(module.IPController).instance(config=config)
    app.initialize([])
    security = Path(app.profile_dir.security_dir)
    environment = {
        "client": json.loads((security / app.client_json_file).read_text()),
        "engine": json.loads((security / app.engine_json_file).read_text()),
    }
    _simplify(app)
    with os.fdopen(tell, "w") as pipe:
        json.dump(environment, pipe)
    # Schedulers and the heart monitor are forks of this process, and must not outlive it.
    me = os.getpid()
    os.register_at_fork(after_in_child=lambda: die_with(me))

    # Without its schedulers a controller loses messages, and says nothing: it had better end.
    def fall_apart(number: int, frame: Any) -> None:
        os.write(2, b"a scheduler has ended, or was stopped\n")
        os._exit(1)

    signal.signal(signal.SIGCHLD, fall_apart)
    app.start()


def _simplify(app: Any) -> None:
    """Have a controller's hub register forks that say they can be reached, and do nothing unasked.

    It would look at each message there is, for its queues, and write down its engines at every new one.
    Clients and the supervisor know what a dead engine had
    (https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/client/client.py,
    ``_handle_stranded_msgs``).
    """
    from ipyparallel.controller.hub import EngineConnector

    hub = app.hub

    def register(identities: list[bytes], message: dict[str, Any]) -> None:
        # ``Hub.register_engine`` would tell it what it knows already, and wait for its heart.
        heart = identities[0]
        hub.incoming_registrations[heart] = EngineConnector(ident=heart, **message["content"])
        hub.finish_registration(heart)

    hub.query_handlers[REACHABLE] = register
    monitor = hub.monitor.socket
    monitor.subscribe(b"heartmonitor")
    monitor.unsubscribe(b"")
    hub.engine_state_file = ""
    app.log.setLevel(app.log_level)  # else records are made for handlers that drop them


def over_unix_sockets(controller: Any) -> Any:
    """Derive a controller whose sockets have the paths that engines and clients connect to.

    As it comes it binds ``PATH-PORT`` and they connect to ``PATH:PORT``; and what it takes for
    ports are free ones of TCP (``construct_url``, ``next_port``,
    https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/controller/app.py).
    """
    numbers = itertools.count(1)

    class UnixSockets(controller):  # type: ignore[misc]
        def construct_url(self, kind: str, channel: str, index: Any = None) -> str:
            url: str = super().construct_url(kind, channel, index)
            path, _, number = url.rpartition("-")
            return f"{path}:{number}"

        def next_port(self, pool_name: str = "common") -> int:
            return next(numbers)

    return UnixSockets


def calming(monitor: Any) -> Any:
    """Derive a heart monitor whose beats are further apart the more hearts it has, and after a while.

    https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/controller/heartmonitor.py
    """

    class Calming(monitor):  # type: ignore[misc]
        def start(self) -> None:
            super().start()
            self.changed = time.monotonic()  # the first engines are on their way

        def handle_new_hearts(self, hearts: set[bytes]) -> None:
            super().handle_new_hearts(hearts)
            self.changed = time.monotonic()

        def beat(self) -> None:
            super().beat()
            calm = time.monotonic() - self.changed > HURRY
            # Each heart's answer takes a part of a millisecond of this process.
            self.caller.callback_time = CALM_MS if calm else max(HEARTBEAT_MS, len(self.hearts))

    Calming.__name__ = monitor.__name__  # by which its configuration is found
    return Calming


def _controller_config(folder: Path) -> dict[str, Any]:
    return {
        "ProfileDir": {"location": str(folder / "profile")},
        "BaseParallelApplication": {"log_level": 40, "ipython_dir": str(folder)},
        "IPController": {
            "transport": "ipc",
            "ip": f"{folder}/z",
            "db_class": "NoDB",
            "broadcast_scheduler_depth": 0,
        },
        "TaskScheduler": {"scheme_name": "none"},
        "HeartMonitor": {"period": HEARTBEAT_MS, "max_heartmonitor_misses": MISSES},
    }


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
