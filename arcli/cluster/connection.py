"""Where a running cluster can be reached, by the connection file that its controller wrote; and its hub.

The hub is spoken to directly, over its documented protocol:
https://ipyparallel.readthedocs.io/en/latest/reference/messages.html
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from arcli.cluster.embedded.private_folder import trusted_owners
from arcli.errors import ClusterError

if TYPE_CHECKING:
    import zmq
    from jupyter_client.session import Session

MOST_BYTES = 100_000
"""A connection file has about one thousand."""
PORTS = ("registration", "control", "mux", "task", "iopub", "notification", "broadcast")


def _matches(pattern: str, *, missing: bool = False) -> Callable[[Any], bool]:
    compiled = re.compile(pattern)

    def holds(value: Any) -> bool:
        if not value and missing:
            return value is None or value == ""
        return isinstance(value, str) and compiled.fullmatch(value) is not None

    return holds


_HOST = r"[A-Za-z0-9_.*:\[\]-]*[A-Za-z0-9_.*\]]"
FIELDS: dict[str, Callable[[Any], bool]] = {
    "interface": _matches(rf"tcp://{_HOST}|ipc:///.+"),
    **dict.fromkeys(PORTS, lambda value: type(value) is int and 0 < value < 65536),
    "key": lambda value: isinstance(value, str),
    "signature_scheme": _matches(r"hmac-[a-z0-9_]+"),
    # Whatever else jupyter_client imports and calls: a pickle, or any function there is.
    "pack": _matches("json|orjson|msgpack"),
    "unpack": _matches("json|orjson|msgpack"),
    "task_scheme": lambda value: isinstance(value, str),
    # It becomes a word of a command, where a dash would begin an option.
    "ssh": _matches(r"(?!-)[A-Za-z0-9_.@:\[\]-]+", missing=True),
    "location": _matches(r"(?!-)[A-Za-z0-9_.:-]+", missing=True),
    "curve_serverkey": _matches(r"[!-~]{40}", missing=True),
}
"""What a client needs of a connection file, and what it may be, so that it can run nothing.

https://github.com/jupyter/jupyter_client/blob/v8.6.3/jupyter_client/session.py (``packer``)
"""
_MAY_BE_MISSING = ("ssh", "location", "curve_serverkey")
UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, socket.EAI_NONAME)
LISTENS = 5.0
"""Seconds that a host has to say whether anything listens; a firewall may never say."""


class Connection(Struct, frozen=True):
    """The contents of a connection file for clients, and where it came from, in words."""

    info: dict[str, Any]
    where: str

    @classmethod
    def read(cls, path: Path) -> Connection:
        """Return the connection in a file. Raises ClusterError where it is none, or nobody's to trust."""
        try:
            # What is checked is the opened file, which nobody can replace between
            # the check and the reading.
            with path.open("rb") as file:
                problem = forgeable(os.fstat(file.fileno()))
                text = file.read(MOST_BYTES)
        except OSError as error:
            raise ClusterError(
                f"cannot read the connection file {path}: {error.strerror}",
                hint="is the cluster running? `arcli cluster list` shows those that are known",
            ) from None
        if problem is not None:
            raise ClusterError(
                f"the connection file {path} {problem}: what runs there could be anybody's",
                hint="if you trust who wrote it, use a copy of your own, with mode 600",
            )
        try:
            # A file that somebody prepared may nest deeper than the parser goes.
            info = json.loads(text)
        except (ValueError, RecursionError):
            raise ClusterError(f"{path} is not a connection file: it is not JSON") from None
        return cls(_checked(info, path), str(path))

    @property
    def encrypted(self) -> bool:
        """Whether nobody without this file can use the cluster, or read what goes there.

        That is CurveZMQ, or sockets that other users of the machine cannot reach.
        """
        return bool(self.info.get("curve_serverkey")) or self.info["interface"].startswith("ipc://")

    @property
    def address(self) -> str:
        """Where its hub listens, as this machine reaches it: ``tcp://10.0.0.1:35001``."""
        from ipyparallel.util import disambiguate_url

        url = f"{self.info['interface']}:{self.info['registration']}"
        reachable: str = disambiguate_url(url, self.info.get("location"))
        return reachable

    def check(self) -> None:
        """Raise ClusterError where nothing listens any more: the file outlived its cluster."""
        scheme, _, place = self.address.partition("://")
        if scheme != "tcp" or self.info.get("ssh"):
            return  # only an answer tells
        host, _, port = place.rpartition(":")
        # A refused connection is known at once; ipyparallel would wait for its
        # whole time limit.
        try:
            with closing(socket.create_connection((host.strip("[]"), int(port)), LISTENS)):
                return
        except ConnectionRefusedError:
            raise ClusterError(
                f"no cluster: nothing listens at {self.address}, which {self.where} names",
                hint="the controller has ended and left its file behind; start the cluster anew",
            ) from None
        except OSError as error:
            if error.errno in UNREACHABLE:
                raise UnreachableError(
                    f"no cluster: {host}, which {self.where} names, cannot be reached: {error.strerror}",
                    hint="is this the machine, or the network, that the cluster can be reached from?",
                ) from None
            return  # slow: whoever asks the hub will wait and say


class UnreachableError(ClusterError):
    """No way leads to the host of a cluster: whether the cluster runs, nobody can tell from here."""


def _checked(info: Any, path: Path) -> dict[str, Any]:
    """Return what a client needs of a file's contents, and no more. Raises ClusterError."""
    fields: dict[str, Any] = info if isinstance(info, dict) else {}
    # Each field is checked before ipyparallel sees it: some of them name what is
    # imported.
    for name, holds in FIELDS.items():
        if name not in fields and name not in _MAY_BE_MISSING:
            raise ClusterError(
                f"{path} is not a connection file for clients: it has no {name!r}",
                hint="the controller writes ipcontroller-client.json, or with its id in the name",
            )
        if not holds(fields.get(name)):
            raise ClusterError(
                f"{path} is not a connection file that arcli uses: {name!r} is {fields.get(name)!r}",
                hint="what ipyparallel's controller writes is accepted, and nothing that could run code",
            )
    return {"ssh": "", **{name: fields[name] for name in FIELDS if name in fields}}


def forgeable(about: os.stat_result) -> str | None:
    """Say how another user could have written a file; None where only its reader or root could."""
    if about.st_uid not in trusted_owners():
        return f"belongs to another user (uid {about.st_uid})"
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written by other users"
    return None


# -- its hub ---------------------------------------------------------------------------------------

LINGER = 1000
"""Milliseconds in which a last message may still leave."""


def session_of(info: dict[str, Any]) -> Session:
    """Return what signs and reads messages of the cluster whose connection this is."""
    from jupyter_client.session import Session

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
    import zmq

    session = session_of(info)
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
        import zmq

        self._session = session_of(info)
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
