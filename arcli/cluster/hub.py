"""Speaking to ipyparallel's hub directly, over its documented protocol.

https://ipyparallel.readthedocs.io/en/latest/reference/messages.html
"""

from __future__ import annotations

from typing import Any

import zmq
from jupyter_client.session import Session

LINGER = 1000
"""Milliseconds in which a last message may still leave."""


def _session(info: dict[str, Any]) -> Session:
    return Session(
        key=info["key"].encode(),
        signature_scheme=info["signature_scheme"],
        packer=info["pack"],
        unpacker=info["unpack"],
    )


def unregister(info: dict[str, Any], engine_id: int) -> None:
    """Unregister an engine; the hub then fails what clients wait for from it, within moments.

    In ipyparallel the nanny beside each engine does so (``KernelNanny.notify_exit``,
    https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/engine/nanny.py). The embedded
    cluster has no nannies, because its supervisor sees a death anyway.
    """
    session = _session(info)
    hub: zmq.Socket[bytes]
    with zmq.Context.instance().socket(zmq.DEALER) as hub:
        hub.setsockopt(zmq.LINGER, LINGER)
        hub.connect(f"{info['interface']}:{info['registration']}")
        session.send(hub, "unregistration_request", content={"id": engine_id})


class Line:
    """A connection to a hub that can ask who is there and never waits for the answer.

    A client's requests wait for ever where the controller is gone
    (https://github.com/ipython/ipyparallel/issues/306). For one thread at a time.
    """

    def __init__(self, info: dict[str, Any], address: str) -> None:
        self._session = _session(info)
        self._hub: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._hub.setsockopt(zmq.LINGER, 0)
        # The controller proves who it is by its key; clients need one of their own
        # to be encrypted.
        if key := info.get("curve_serverkey"):
            public, secret = zmq.curve_keypair()
            self._hub.setsockopt(zmq.CURVE_SERVERKEY, key.encode())
            self._hub.setsockopt(zmq.CURVE_PUBLICKEY, public)
            self._hub.setsockopt(zmq.CURVE_SECRETKEY, secret)
        # As ipyparallel's own client does it for a controller behind an SSH server.
        if server := info.get("ssh"):
            from zmq.ssh import tunnel

            tunnel.tunnel_connection(self._hub, address, server)
        else:
            self._hub.connect(address)

    def ask(self) -> None:
        """Ask for the engines."""
        self._session.send(self._hub, "connection_request")

    def answer(self, seconds: float = 0.0) -> set[int] | None:
        """Return the engines that are registered; None where no answer came in time."""
        content = self._receive(seconds)
        return None if content is None else {int(key) for key in content.get("engines", {})}

    def queues(self, seconds: float) -> dict[int, dict[str, int]]:
        """By engine, those that have gone included, how many messages it has and had.

        Empty where no answer came in time.
        """
        self._session.send(self._hub, "queue_request", content={"targets": None, "verbose": False})
        content = self._receive(seconds) or {}
        return {int(key): queue for key, queue in content.items() if key.isdecimal()}

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        if not self._hub.poll(round(seconds * 1000)):
            return None
        _, message = self._session.recv(self._hub)
        return dict(message["content"]) if message else {}

    def close(self) -> None:
        """Hang up."""
        self._hub.close()
