"""The process above an embedded cluster: forks it, watches it, and leaves nothing of it behind.

It imports what controller and engines need once and forks them from itself, so that they start in
milliseconds. It has no threads, loops or sockets of ZeroMQ, for only then is a fork safe. When the
connection to arcli ends, for whatever reason, it kills every descendant.

``python -m arcli.cluster.embedded.supervisor FD FOLDER SETTINGS``; settings are JSON, commands and events
are lines of JSON on FD.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from arcli.cluster import protocol
from arcli.cluster.embedded import forks
from arcli.cluster.processes import (
    adopt_orphans,
    descendants,
    die_with,
    ending,
    engine_command,
    is_stopped,
    keep_freed_memory,
    kill_all,
    kill_tree,
    strays,
)
from arcli.cluster.protocol import (
    ControllerEnded,
    ControllerStarted,
    EngineEnded,
    EngineStarted,
    KillEngine,
    StartEngine,
    Stop,
)
from arcli.engine.own_code import hush

STOPPED = 5.0
"""Seconds after which a process that was stopped, and answers nobody, is ended."""
LEAVE = 5.0
"""Seconds that engines have to end by themselves when the cluster is stopped: a user's files are
written out and ``atexit`` functions run meanwhile."""
WARM = (
    "arcli.cluster.without_launchers",
    "tempfile",
    "tornado.platform.asyncio",
    "zmq.asyncio",
)
"""What both the controller and engines would otherwise import each for itself."""
CONTROLLERS = ("arcli.cluster.embedded.controller",)
"""What only the controller needs, which imports it while the supervisor imports what engines need. What a
process has in its memory is what its forks take longer for."""
ENGINES = (
    "arcli.cluster.embedded.engine_template",
    "faulthandler",
    "IPython.core.completer",
    "IPython.core.completerlib",
    "IPython.core.magics",
    "IPython.extensions.storemagic",
    "ipykernel.debugger",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
)
"""What only engines need."""
UNUSED = ("debugpy", "numpy")
"""What those import if it is there and do without if not: nobody attaches a debugger to engines, no
scheduler here weighs loads; items that want either import it themselves."""


class _Engine(Struct, frozen=True):
    engine_id: int
    slot: int
    uuid: str


class Supervisor:
    """One embedded cluster, over the connection to its client."""

    def __init__(
        self,
        connection: socket.socket,
        folder: Path,
        *,
        engines: int,
        python: str | None,
        first_id: int,
    ) -> None:
        self._wanted = engines
        self._connection = connection
        self._folder = folder
        self._reader = protocol.Reader()
        self._engines: dict[int, _Engine] = {}
        self._controller: int | None = None
        self._python = python
        self._ids = first_id
        self._stopping = False
        self._stopped: dict[int, float] = {}
        self._killed: dict[int, str] = {}

    def run(self) -> None:
        """Serve until the connection ends; afterwards nothing is left."""
        # Orphans of items fall to this process, so that it can end them. A signal writes to a pipe,
        # which `select` sees: no death is missed between a look and a wait.
        adopt_orphans()
        keep_freed_memory()
        wake, alarm = os.pipe()
        for end in (wake, alarm):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)

        def note(number: int, frame: Any) -> None:
            self._stopping = self._stopping or number != signal.SIGCHLD

        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, note)
        self._private = (wake, alarm)
        try:
            # In a state that forks can share: https://docs.python.org/3/library/gc.html#gc.freeze has how;
            # ``become`` turns the collector on.
            gc.disable()
            warm_up(WARM)
            # What crosses is bytes, so that ipyparallel need not import NumPy to see whether it is arrays.
            # https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/serialize/canning.py ("API")
            importlib.import_module("ipyparallel.serialize.canning").can_map.pop("numpy.ndarray", None)
            gc.freeze()
            self._start()
            self._serve(wake)
        finally:
            self._leave_nothing()

    def _serve(self, wake: int) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            self._selector = selector
            self._reap()
            while not self._stopping:
                for key, _ in selector.select(STOPPED / 4 if self._stopped else None):
                    if key.fileobj is self._connection:
                        self._receive()
                    else:
                        with suppress(BlockingIOError):
                            os.read(wake, 4096)
                self._reap()
                self._end_stopped()

    def _receive(self) -> None:
        data = self._connection.recv(65536)
        if not data:
            self._stopping = True
            return
        for command in self._reader.feed(data):
            match command:
                case StartEngine(slot):
                    self._start_engine(slot)
                case KillEngine(pid) if pid in self._engines:
                    kill_tree(pid)
                case Stop():
                    self._stopping = True

    def _tell(self, event: protocol.Event) -> None:
        with suppress(OSError):  # its end will be noticed where commands are read
            self._connection.sendall(protocol.encode(event))

    def _start(self) -> None:
        """Fork the controller, and once it can be reached, the engines."""
        # Its connection comes by a pipe, whose end is also the sign that it has died on its way.
        listen, tell = os.pipe()

        def be_controller() -> None:
            warm_up(CONTROLLERS)
            from arcli.cluster.embedded import controller

            controller.run(self._folder, tell, self._python is not None)

        self._controller = self._fork(be_controller, "controller")
        os.close(tell)
        # While it starts, what all engines share is made, and their first messages' code imported.
        if self._python is None:
            sys.modules[forks.ENGINE_PACKAGE] = importlib.import_module("arcli.engine")
            warm_up(ENGINES)
            from arcli.cluster.embedded.engine_template import EngineTemplate

            self._template = EngineTemplate()
        with os.fdopen(listen) as pipe:
            text = pipe.read()
        if not text:
            return  # it is dead, and will be reaped
        connections = json.loads(text)
        self._tell(ControllerStarted(connections["client"]))
        if self._python is None:
            self._template.connect(connections["engine"])
        gc.freeze()
        for slot in range(self._wanted):
            self._start_engine(slot)

    # -- engines ----------------------------------------------------------------------------

    def _start_engine(self, slot: int) -> None:
        """Fork an engine for a slot."""
        engine = _Engine(self._ids, slot, os.urandom(16).hex())
        self._ids += 1

        def be_engine() -> bool:
            # Another interpreter begins anew: nothing that this one has imported is of use to it.
            if (python := self._python) is not None:
                command = [*engine_command(python), *forks.engine_arguments(self._folder, engine.engine_id)]
                added = forks.engine_environment(slot, engine.uuid)
                os.execvpe(python, command, {**os.environ, **added})  # noqa: S606 - no shell is wanted
            return self._template.run(engine.engine_id, slot, engine.uuid)

        pid = self._fork(be_engine, f"engine-{engine.engine_id}")
        self._engines[pid] = engine
        self._tell(EngineStarted(pid, engine.engine_id, slot, engine.uuid))

    # -- processes --------------------------------------------------------------------------

    def _fork(self, work: Callable[[], bool | None], name: str) -> int:
        # The child keeps nothing of what is the supervisor's: a copy of its connection that an item's
        # process inherits would keep the cluster alive after arcli.
        me, log = os.getpid(), f"{self._folder}/{name}.log"
        # What ends a child must not find the supervisor's handlers in it, which would only take note of it.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, forks.ENDING)
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return pid

        def child() -> bool | None:
            os.setsid()
            die_with(me)
            self._connection.close()
            for end in self._private:
                os.close(end)
            if hasattr(self, "_selector"):
                self._selector.close()
            forks.detach(log)
            return work()

        forks.become(child)
        raise AssertionError("a fork came back")

    def _reap(self) -> None:
        """Note who has died: an engine, the controller, or an orphan of somebody's."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            # A process that is stopped is no dead one, and may go on: `_end_stopped` has the patience.
            if os.WIFSTOPPED(status):
                self._stopped.setdefault(pid, time.monotonic())
                continue
            reason = self._killed.pop(pid, None) or ending(status)
            if pid == self._controller:
                self._controller = None
                self._tell(ControllerEnded(reason))
            elif pid in self._engines:
                # What an engine's items started goes with it, before its replacement runs them again.
                engine = self._engines.pop(pid)
                mark, others = f"ARCLI_ENGINE={engine.uuid}".encode(), {*self._engines, self._controller}
                orphans = [stray for stray in strays(os.getpid(), pid, mark) if stray not in others]
                if orphans:
                    kill_tree(*orphans)
                self._tell(EngineEnded(pid, engine.engine_id, engine.slot, reason))

    def _end_stopped(self) -> None:
        """End what has been stopped for long: it holds its messages, and everybody up."""
        for pid, since in list(self._stopped.items()):
            if not is_stopped(pid) or pid not in {*self._engines, self._controller}:
                del self._stopped[pid]
            elif time.monotonic() - since > STOPPED:
                del self._stopped[pid]
                self._killed[pid] = f"was stopped (SIGSTOP) for {STOPPED:.0f} s, and ended"
                kill_tree(pid)

    def _leave_nothing(self) -> None:
        """Let engines end by themselves for a moment; then kill every descendant."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        kill_all(self._engines, signal.SIGTERM)
        end = time.monotonic() + LEAVE
        while self._engines and time.monotonic() < end:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            self._engines.pop(pid, None)
            if pid == 0:
                time.sleep(0.005)  # waitpid has no timeout, and this process must end in time
        # Whatever is left, and whatever that has started: a child of a killed one falls to this
        # process, is waited for here, and found by the next look at the table.
        looks = 0
        while True:
            if looks % 25 == 0:  # what was started between a look and the kill is found by the next
                kill_all(descendants(os.getpid()))
            looks += 1
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.002)  # waitpid has no timeout
            except ChildProcessError:
                break
        shutil.rmtree(self._folder, ignore_errors=True)


def warm_up(modules: Iterable[str]) -> None:
    """Import modules that this process or its forks need, as if what is UNUSED were not installed."""
    missing: Any = dict.fromkeys(UNUSED)
    sys.modules.update(missing)
    try:
        for module in modules:
            importlib.import_module(module)
    finally:
        for name in UNUSED:
            del sys.modules[name]


def main() -> None:
    """Serve the connection whose descriptor is the first argument."""
    hush()
    descriptor, folder, settings = sys.argv[1:]
    connection = socket.socket(fileno=int(descriptor))
    connection.set_inheritable(False)
    Supervisor(connection, Path(folder), **json.loads(settings)).run()
    sys.stderr.flush()
    os._exit(0)  # taking down all that was imported takes longer than everything else here


if __name__ == "__main__":
    main()
