"""An engine of an embedded cluster from its fork to its end: what it is asked, and what it answers.

ipyparallel's own engine is for many clients and networks: it has three threads with an event loop each, six
connections and a heart, and comes up in twice the time that a whole engine has here. A fork is asked by
arcli alone, through one scheduler. Its messages are ipyparallel's, and so is the kernel that does what they
ask
(``complete_registration``, https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/engine/app.py).
"""

from __future__ import annotations

import asyncio
import io
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterable
from types import FrameType
from typing import Any

import zmq
from jupyter_client.session import Session

from arcli.cluster.embedded import forks
from arcli.engine.threads import EngineThread

HANDSHAKE = 30.0
"""Seconds that the scheduler may take to shake hands with an engine, which ends without."""
SUBSCRIBED = 1.0
"""The same for who listens to what is published."""
LINGER = 1000
"""Milliseconds in which last messages may still leave."""


class ForkedEngine:
    """Has a kernel do what comes from the controller whose connection is ``info``.

    What the kernel publishes goes there, too. To be made in the process that is to be the engine.
    """

    def __init__(self, kernel: Any, info: dict[str, Any], publisher: Publisher) -> None:
        self._kernel = kernel
        self._session: Session = kernel.session
        self._publisher = publisher
        self._identity = kernel.ident.encode()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._addresses = {
            key: f"{info['interface']}:{info[key]}" for key in ("mux", "iopub", "registration")
        }
        self._stopping = False
        # A signal that comes as the wait begins would be noticed at the next message: it writes to a pipe.
        self._wake, self._alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> None:
        """Be reachable, say so, and do what is asked until SIGTERM; what it is at is still answered.

        Raises TimeoutError where nothing can reach it.
        """
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._pass_over)
        with self._socket(zmq.ROUTER) as requests:
            # Whoever hears of an engine sends it something: what the scheduler has for one that has not yet
            # shaken hands with it is lost, and the engine waits until it is given up.
            handshake = Handshake(requests)
            requests.connect(self._addresses["mux"])
            self._publisher.connect(self._context, self._addresses["iopub"])
            with self._socket(zmq.DEALER) as hub:
                hub.connect(self._addresses["registration"])
                handshake.wait(HANDSHAKE)
                mute()
                about = {"id": self._kernel.engine_id, "uuid": self._kernel.ident}
                self._session.send(hub, forks.REACHABLE, content=about)
            while self._wait(requests):
                self._answer(requests)
            self._publisher.close()
        self._context.term()

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, LINGER)
        socket.setsockopt(zmq.IDENTITY, self._identity)
        return socket

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _pass_over(self, number: int, frame: FrameType | None) -> None:
        """Ignore Ctrl-C, which is arcli's to handle."""

    def _wait(self, requests: zmq.Socket[bytes]) -> bool:
        """Wait for a request; False when there will be none."""
        poller = zmq.Poller()
        poller.register(requests, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        # Not longer than that: an item's processes would write to it, and its code may want one of its own.
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        try:
            while not self._stopping:
                for source, _ in poller.poll():
                    if source is requests:
                        return True
                    os.read(self._wake, 4096)
        finally:
            signal.set_wakeup_fd(-1)
        return False

    def _answer(self, requests: zmq.Socket[bytes]) -> None:
        """Take a request, do it, and send its reply."""
        frames: Any = requests.recv_multipart(copy=False)
        try:
            senders, parts = self._session.feed_identities(frames, copy=False)
            message = self._session.deserialize(parts, copy=False)
        except (TypeError, ValueError):  # whoever has sent it has no key
            return
        kernel = self._kernel
        handle = kernel.shell_handlers.get(message["msg_type"])
        if handle is None:
            return
        kernel.shell.data_pub.set_parent(message)  # what is published from now on belongs to it
        kernel.pre_handler_hook()
        try:
            done = handle(requests, senders, message)
            if done is not None:  # a coroutine, which none of what arcli asks is
                asyncio.run(done)
        finally:
            kernel.post_handler_hook()


class Handshake:
    """That a socket is connected at its other end, too; to be made before it connects."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)

    def wait(self, seconds: float) -> None:
        """Wait for it so long. Raises TimeoutError."""
        events = self._monitor.poll(int(seconds * 1000))
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        if not events:
            raise TimeoutError(f"the scheduler has not shaken hands with this engine within {seconds:g} s")


class Publisher:
    """What a kernel publishes with, from whichever thread: one that the first message starts sends it.

    Alarms of items interrupt the main thread, and half a message would be the beginning of the next one.
    """

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[list[bytes]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def connect(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        """Send what is published to this address from now on."""
        self._context, self._address = context, address

    def send_multipart(self, parts: Iterable[Any], **options: Any) -> None:
        """See zmq.Socket; the parts are copied."""
        self._messages.put([bytes(part) for part in parts])
        with self._lock:
            if self._thread is None:
                # Tried once: where it cannot be had the answer that says so is published, too.
                self._thread = EngineThread(self._send, "arcli-publisher", ours=True)
                self._thread.start()

    def close(self) -> None:
        """Send what is still there, and nothing more."""
        if self._thread is not None and self._thread.is_alive():
            self._messages.put([])
            self._thread.join()

    def _send(self) -> None:
        with self._context.socket(zmq.XPUB) as socket:
            socket.setsockopt(zmq.LINGER, LINGER)
            socket.setsockopt(zmq.SNDHWM, 0)
            socket.connect(self._address)
            # Until it has a subscription a socket drops what it is to send.
            socket.poll(int(SUBSCRIBED * 1000))
            while parts := self._messages.get():
                socket.send_multipart(parts)


class Unheard(io.TextIOBase):
    """A stream that goes nowhere, for what is printed while no item runs: here it has no reader."""

    encoding = "utf-8"

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def write(self, text: str) -> int:
        """See io.TextIOBase."""
        return len(text)

    def close(self) -> None:
        """Stay open: whoever prints later would fail."""


def mute() -> None:
    """Have what is printed from now on go nowhere: an engine's log is for what kept it from coming up."""
    sys.stdout = sys.stderr = Unheard()
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)
