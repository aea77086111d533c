"""ipyparallel's controller as an embedded cluster has it: one process on Unix sockets, for one client.

As it comes it is a process a scheduler, and one more for the hearts of engines. Forks connect to two of the
schedulers, which are threads here, and have no hearts; engines of another Python are ipyparallel's own, and
have theirs looked after by a process
(https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/controller/app.py).

Imported by the fork of the supervisor that is to be the controller, and by nobody else.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import zmq
from ipyparallel.controller import app, heartmonitor
from ipyparallel.controller.hub import EngineConnector
from traitlets.config import Config
from zmq.devices import ThreadMonitoredQueue
from zmq.eventloop.zmqstream import ZMQStream

from arcli.cluster.embedded.forks import REACHABLE
from arcli.cluster.processes import PLAIN_JSON, die_with

SCHEDULERS = ("DirectScheduler", "IOPubScheduler")
"""Those that engines here are asked through, and publish through."""
UNUSED = ("task", "control", "broadcast")
"""Channels of the others. Clients and ipyparallel's engines connect to them all the same."""
HEARTBEAT_MS = 25
"""The registration of an engine of another interpreter ends with its first heartbeat, so the period is
short at first."""
CALM_MS = 250
HURRY = 3.0
"""Seconds without a new engine after which the heart beats calmly: hundreds of beats a second cost
4 % of a CPU."""
MISSES = 600_000 // CALM_MS
"""Ten minutes: in this cluster a death is what the supervisor reaps, not a pause."""


def run(folder: Path, tell: int, foreign: bool) -> None:
    """Be the controller; its connection information goes to the descriptor ``tell``.

    ``foreign``: its engines have another Python, whose packages are not these.
    """
    # Each engine costs it open files; the limit that is usual is for interactive programs.
    os.umask(0o077)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    # ``IPController.init_hub`` sleeps a quarter of a second, for what is long gone.
    app.time = SimpleNamespace(sleep=lambda seconds: None)
    heartmonitor.HeartMonitor = calming(heartmonitor.HeartMonitor)
    config = Config({**_configuration(folder), **({"Session": PLAIN_JSON} if foreign else {})})
    controller = Controller.instance(config=config, foreign=foreign)
    controller.initialize([])
    security = Path(controller.profile_dir.security_dir)
    connections = {
        "client": json.loads((security / controller.client_json_file).read_text()),
        "engine": json.loads((security / controller.engine_json_file).read_text()),
    }
    with os.fdopen(tell, "w") as pipe:
        json.dump(connections, pipe)
    # The heart monitor is a fork of this process, and must not outlive it, nor it the heart monitor.
    me = os.getpid()
    os.register_at_fork(after_in_child=lambda: die_with(me))
    signal.signal(signal.SIGCHLD, lambda number, frame: fall_apart())
    controller.start()


def fall_apart() -> NoReturn:
    """End at once: a controller that lacks a part of it loses messages, and says nothing."""
    os.write(2, b"a part of the controller has ended, or was stopped\n")
    os._exit(1)


class Scheduler(ThreadMonitoredQueue):
    """Hands on messages, on a thread that does not hold the interpreter's lock."""

    def run(self) -> None:
        """Do so for as long as the process lives."""
        try:
            super().run()
        except Exception:  # noqa: BLE001 - the log is the only place that can still be told
            traceback.print_exc()
        fall_apart()


class Controller(app.IPController):  # type: ignore[misc]
    """See above; ``foreign``: for engines of another Python.

    Its sockets have the paths that engines and clients connect to: as it comes it binds ``PATH-PORT`` and
    they connect to ``PATH:PORT``, and what it takes for ports are free ones of TCP.
    """

    numbers = itertools.count(1)
    children: list[Any]

    def __init__(self, *, foreign: bool, **options: Any) -> None:
        self._foreign = foreign
        super().__init__(**options)

    def construct_url(self, kind: str, channel: str, index: Any = None) -> str:
        """Return an address as whoever connects has it."""
        url: str = super().construct_url(kind, channel, index)
        path, _, number = url.rpartition("-")
        return f"{path}:{number}"

    def next_port(self, pool_name: str = "common") -> int:
        """Return the next number."""
        return next(self.numbers)

    def init_hub(self) -> None:
        """Make a hub that registers forks which say they can be reached, and does nothing unasked.

        It would look at each message there is, for its queues, and write down its engines at every new one.
        Clients and the supervisor know what a dead engine had
        (https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/client/client.py,
        ``_handle_stranded_msgs``).
        """
        super().init_hub()
        self.hub.query_handlers[REACHABLE] = self._register
        monitor = self.hub.monitor.socket
        monitor.subscribe(b"heartmonitor")
        monitor.unsubscribe(b"")
        self.hub.engine_state_file = ""
        self.log.setLevel(self.log_level)  # else records are made for handlers that drop them
        if not self._foreign:
            self.heartmonitor_process = SimpleNamespace(start=lambda: None)

    def _register(self, identities: list[bytes], message: dict[str, Any]) -> None:
        # ``Hub.register_engine`` would tell it what it knows already, and wait for its heart.
        heart = identities[0]
        self.hub.incoming_registrations[heart] = EngineConnector(ident=heart, **message["content"])
        self.hub.finish_registration(heart)

    def init_schedulers(self) -> None:
        """Make those schedulers that are used; where the others would be, nobody answers."""
        self.mq_class = f"{__name__}.{Scheduler.__name__}"
        super().init_schedulers()
        schedulers = {child.name: child for child in self.children}
        self.children = [schedulers[name] for name in SCHEDULERS]
        # Whoever connects to where nobody listens tries again, ten times a second.
        addresses = {self.client_url(channel) for channel in UNUSED}
        if self._foreign:
            indices = {"broadcast": 0}
            addresses |= {self.engine_url(channel, indices.get(channel)) for channel in UNUSED}
        for address in addresses:
            silent = ZMQStream(self.context.socket(zmq.ROUTER), self.loop)
            self.bind(silent, address)
            silent.on_recv(lambda frames: None)  # what nobody looks at is never forgotten either

    def launch_broadcast_schedulers(self, monitor_url: str, children: list[Any]) -> None:
        """Make none."""


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


def _configuration(folder: Path) -> dict[str, Any]:
    return {
        "ProfileDir": {"location": str(folder / "profile")},
        "BaseParallelApplication": {"log_level": 40, "ipython_dir": str(folder)},
        "IPController": {
            "transport": "ipc",
            "ip": f"{folder}/z",
            "db_class": "NoDB",
            "broadcast_scheduler_depth": 0,
            "use_threads": True,
        },
        "TaskScheduler": {"scheme_name": "none"},
        "HeartMonitor": {"period": HEARTBEAT_MS, "max_heartmonitor_misses": MISSES},
    }
