"""Where a running cluster can be reached: the connection file that its controller wrote."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcli.errors import ClusterError

NEEDED = ("interface", "registration", "key", "signature_scheme", "pack", "unpack", "mux", "task")
LISTENS = 5.0
"""Seconds that a host has to say whether anything listens; a firewall may never say."""


@dataclass(frozen=True, slots=True)
class Connection:
    """The contents of a connection file for clients, and where it came from, in words."""

    info: dict[str, Any]
    where: str

    @classmethod
    def read(cls, path: Path) -> Connection:
        """The connection in a file. Raises ClusterError where it is none."""
        try:
            info = json.loads(path.read_bytes())
        except OSError as error:
            raise ClusterError(
                f"cannot read the connection file {path}: {error.strerror}",
                hint="is the cluster running? `arcli cluster list` shows those that are known",
            ) from None
        except ValueError:
            raise ClusterError(f"{path} is not a connection file: it is not JSON") from None
        missing = [key for key in NEEDED if key not in info] if isinstance(info, dict) else NEEDED
        if missing:
            raise ClusterError(
                f"{path} is not a connection file for clients: it has no {missing[0]!r}",
                hint="the controller writes ipcontroller-client.json, or with its id in the name",
            )
        return cls(info, str(path))

    @property
    def address(self) -> str:
        """Where its hub listens, as this machine reaches it: ``tcp://10.0.0.1:35001``."""
        from ipyparallel.util import disambiguate_url

        url = f"{self.info['interface']}:{self.info['registration']}"
        found: str = disambiguate_url(url, self.info.get("location"))
        return found

    def check(self) -> None:
        """Raise ClusterError where nothing listens any more: the file outlived its cluster."""
        scheme, _, place = self.address.partition("://")
        if scheme != "tcp" or self.info.get("ssh"):
            return  # only an answer tells
        host, _, port = place.rpartition(":")
        try:
            with closing(socket.create_connection((host.strip("[]"), int(port)), LISTENS)):
                return
        except ConnectionRefusedError:
            raise ClusterError(
                f"no cluster: nothing listens at {self.address}, which {self.where} names",
                hint="the controller has ended and left its file behind; start the cluster anew",
            ) from None
        except OSError:
            return  # slow, or not even there: whoever asks the hub will wait and say
