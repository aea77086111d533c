"""An engine as far as all engines of an embedded cluster are the same, made once and forked.

What IPython builds for a kernel takes several times as long as a fork, so it is built before. Only the
supervisor imports this, when it has imported what all of it needs.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import zmq
from ipykernel.iostream import OutStream
from ipykernel.kernelapp import IPKernelApp
from ipyparallel.engine import app
from ipyparallel.engine.app import IPEngine
from ipyparallel.engine.kernel import IPythonParallelKernel
from jupyter_client.session import Session
from traitlets.config import Config

from arcli.cluster.embedded import forks
from arcli.engine.interpreter import text_publisher

ENDED = frozenset(["__main__", "builtins", "sys", forks.ENGINE_PACKAGE])
"""Modules that do end: what an interpreter's end needs itself, and what has objects of the user's."""

SENDERS = ("mux", "control")
"""The schedulers by which an engine is sent something: requests, and what aborts them."""
HANDSHAKES = 10.0
"""Seconds that a scheduler may take to shake hands with an engine; afterwards it tries its luck."""


class EngineTemplate:
    """An engine without a number, a thread or a socket: only then is a fork safe.

    ``folder`` is the cluster's. Until ``initialize`` nothing of the controller's is needed.
    """

    def __init__(self, folder: Path) -> None:
        config = Config(forks.engine_config(folder))
        config.IPKernelApp.exec_lines = []  # or the shell adds an option that each engine wonders about
        self._app = ReachableEngine(config=config)
        # The names by which an engine knows the classes of its kernel, and of what would run code in it.
        app.Kernel, app.IPKernelApp = PreparedKernel, IdleKernelApp
        kernel: Any = PreparedKernel.instance(
            parent=self._app, user_ns=self._app.user_ns, session=QuietSession(), log=self._app.log
        )
        kernel.shell.extension_manager.load_extension("storemagic")
        # What each engine's first item would look for.
        text_publisher()
        tempfile.gettempdir()
        self._shared = dict(sys.modules)

    def initialize(self) -> None:
        """Read where the controller is, from the connection file in the folder's profile."""
        self._app.initialize([])
        self._app.log.setLevel(self._app.log_level)  # else records are made for handlers that drop them
        self._app.session = QuietSession(parent=self._app)

    def run(self, engine_id: int, slot: int, uuid: str) -> None:
        """Be an engine, in a fork; it finds its number, slot and uuid in its environment, too."""
        os.environ.update(forks.engine_environment(slot, uuid))
        forks.reseed()
        engine = self._app
        # A session refuses to send in a fork, unless it is told that it is no longer what it was.
        engine.session.pid, engine.session.session = os.getpid(), uuid
        engine.out_stream_factory = Unheard
        engine.id, engine.ident = engine_id, uuid
        try:
            engine.start()
        except RuntimeError:  # what tornado says of a loop that was stopped, as a signal does
            if engine.kernel is None:
                raise
        finally:
            self._end()

    def _end(self) -> None:
        """Leave to the interpreter's end what is this engine's alone.

        Threads are waited for, functions of ``atexit`` run, objects of the user's are closed and deleted as
        ever. Taking down what engines share would copy every page of it, which takes longer than a start.
        """
        # In the order of Py_FinalizeEx: after this nothing of Python's own runs that would import it anew.
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
        atexit._run_exitfuncs()  # noqa: SLF001
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._shared))
        for name in self._shared.keys() - ENDED:
            sys.modules.pop(name, None)
        self._app.user_ns.clear()


class PreparedKernel(IPythonParallelKernel):  # type: ignore[misc]
    """A kernel that is made before the fork, and gets its engine's sockets afterwards."""

    @classmethod
    def instance(cls, *arguments: Any, **traits: Any) -> Any:
        """See SingletonConfigurable: the only instance, with these traits even if it was there before.

        What it has handed on of them when it was made is handed on anew (``IPythonKernel.__init__``,
        https://github.com/ipython/ipykernel/blob/v7.0.0/ipykernel/ipkernel.py).
        """
        kernel = super().instance(*arguments, **traits)
        for name, value in traits.items():
            setattr(kernel, name, value)
        shell = kernel.shell
        for publisher in (shell.displayhook, shell.display_pub, shell.data_pub):
            publisher.session, publisher.pub_socket = kernel.session, kernel.iopub_socket
        shell.displayhook.topic = kernel._topic("execute_result")  # noqa: SLF001
        return kernel


class IdleKernelApp(IPKernelApp):
    """Runs no code in a kernel that begins: that of PYTHONSTARTUP and of IPython's folders is for people.

    It would also look for it in eight folders, on each engine.
    """

    def init_code(self) -> None:
        """See InteractiveShellApp."""


class ReachableEngine(IPEngine):  # type: ignore[misc]
    """An engine that is registered when it can be reached.

    Whoever hears of that sends it something: what a scheduler has for an engine that has not yet shaken
    hands with it is lost, and the engine waits until it is given up. (``complete_registration``,
    https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/engine/app.py).
    """

    def init_connector(self) -> tuple[Any, Any]:
        """See IPEngine: what connects its sockets."""
        connect, maybe_tunnel = super().init_connector()
        self.handshakes = Handshakes()
        info = self.connection_info
        senders = {f"{info['interface']}:{info[key]}" for key in SENDERS}

        def watched(socket: zmq.Socket[bytes], url: str, **options: Any) -> Any:
            if url in senders:
                self.handshakes.expect(socket, url)
            return connect(socket, url, **options)

        return watched, maybe_tunnel

    def start_heartbeat(self, *arguments: Any, **options: Any) -> None:
        """See IPEngine: what ends the registration."""
        self.handshakes.wait(HANDSHAKES)
        self.session.send(self.registrar, forks.REACHABLE)


class Handshakes:
    """Waits for sockets to be connected at their other ends, too."""

    def __init__(self) -> None:
        self._expected: dict[str, zmq.Socket[bytes]] = {}

    def expect(self, socket: zmq.Socket[bytes], address: str) -> None:
        """Watch a socket, which is about to connect to this address."""
        socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._expected[address] = socket

    def wait(self, seconds: float) -> bool:
        """Wait for all of them, ``seconds`` at most for each event; tells whether they are there."""
        sockets = list(dict.fromkeys(self._expected.values()))
        for socket in sockets:
            monitor = socket.get_monitor_socket()
            # Other addresses of the same socket are told of, too.
            while socket in self._expected.values() and monitor.poll(int(seconds * 1000)):
                self._expected.pop(monitor.recv_multipart()[1].decode(), None)
            socket.disable_monitor()
            monitor.close(linger=0)
        return not self._expected


class QuietSession(Session):
    """A session that does not tell when its engine is busy, and when it is not.

    That is two messages for each one that an engine takes, by way of the hub, to a client that drops them.
    """

    def send(self, stream: Any, msg_or_type: Any, *arguments: Any, **options: Any) -> Any:
        """See Session."""
        if msg_or_type == "status":
            return None
        return super().send(stream, msg_or_type, *arguments, **options)


class Unheard(OutStream):
    """A stream that goes nowhere, for what is printed while no item runs: here it has no reader.

    What ipykernel makes of it is two threads and two pipes an engine, which each message waits for four
    times (``flush``).
    """

    def __init__(self, session: Session, iopub: Any, name: str) -> None:
        super().__init__(session, iopub, name, watchfd=False)  # type: ignore[no-untyped-call]
        descriptor = {"stdout": 1, "stderr": 2}[name]
        self._original_stdstream_copy = os.dup(descriptor)  # where the engine's log goes from now on
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, descriptor)
        os.close(nothing)

    def write(self, string: str) -> int:
        """See OutStream."""
        return len(string)

    def flush(self) -> None:
        """See OutStream."""
