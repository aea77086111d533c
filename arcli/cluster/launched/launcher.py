"""The process that has ipyparallel start a cluster, and ends it when its connection ends.

It outlives a SIGKILL of arcli, and so takes back what arcli itself no longer can: batch jobs,
processes on other hosts. What ipyparallel prints is in this process's log.

``python -m arcli.cluster.launched.launcher FD FOLDER``; commands and events are lines of JSON on FD.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from arcli.cluster import protocol
from arcli.cluster.launched.ipyparallel_config import IpyparallelConfig, cluster_for, sees_files
from arcli.cluster.launched.stopping import missing_command, remove_profiles, stop_parts, words
from arcli.cluster.processes import adopt_orphans, kill_below
from arcli.cluster.protocol import (
    ControllerEnded,
    ControllerStarted,
    GroupEnded,
    Left,
    StartCluster,
    StartEngines,
    StartFailed,
    Stop,
)
from arcli.engine.own_code import hush
from arcli.errors import ArcliError


class Launcher:
    """One cluster, over the connection to its client."""

    def __init__(self, connection: socket.socket, folder: Path) -> None:
        self._connection = connection
        self._profile = folder / "profile"
        self._log = logging.getLogger("arcli.cluster.launched.launcher")
        self._cluster: Any = None

    async def run(self) -> None:
        """Serve until the connection ends; afterwards the cluster is stopped."""
        # The end of the connection, however it comes, and a signal are the same: all is taken back.
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        self._reader, self._writer = await asyncio.open_connection(sock=self._connection)
        serving = asyncio.ensure_future(self._serve())
        waiting = asyncio.ensure_future(ended.wait())
        await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        if self._cluster is not None:
            for what in await stop_parts(self._cluster):
                self._log.error(what)
                self._tell(Left(what))
        with suppress(ConnectionError):  # nobody may be there to hear of it
            await self._writer.drain()

    async def _serve(self) -> None:
        with suppress(ConnectionError):  # killed with something unread: reset, not closed
            while line := await self._reader.readline():
                match protocol.decode(line):
                    case StartCluster(config):
                        await self._start(config)
                    case StartEngines(group, engines):
                        await self._start_engines(group, engines)
                    case Stop():
                        return

    def _tell(self, event: protocol.Event) -> None:
        self._writer.write(protocol.encode(event))

    async def _start(self, recipe: dict[str, Any]) -> None:
        """Start the controller, and once it can be reached, the engines."""
        # Whoever kills this process must not leave a controller behind, which nobody knows any more.
        tied = [sys.executable, "-P", "-m", "arcli.cluster.processes", str(os.getpid())]
        try:
            self._cluster = cluster_for(
                IpyparallelConfig(**recipe), self._log, [*tied, "ipyparallel.controller"]
            )
            # For batch systems whose launcher passes only its own environment on.
            os.environ |= {"IPP_PROFILE_DIR": str(self._profile), "IPP_CLUSTER_ID": ""}
            await self._cluster.start_controller()
            info = await self._cluster.controller.get_connection_info()
        except Exception as error:  # noqa: BLE001 - launchers raise whatever they meet
            self._fail("the controller could not be started", error)
            return
        if not sees_files(recipe["launcher"]):
            os.environ["IPP_CONNECTION_INFO"] = json.dumps(info["engine"])
        self._cluster.controller.on_stop(lambda data: self._tell(ControllerEnded("has ended")))
        self._tell(ControllerStarted(info["client"]))
        await self._start_engines(0, self._cluster.n)

    async def _start_engines(self, group: int, count: int) -> None:
        """Start engines; the client knows them as ``group``."""
        try:
            name = await self._cluster.start_engines(count)
        except Exception as error:  # noqa: BLE001 - launchers raise whatever they meet
            self._log.error("engines could not be started: %s", words(error))
            self._tell(GroupEnded(group, words(error), missing_command(error)))
            return

        def tell_end(data: Any) -> None:
            status = data.get("exit_code") if isinstance(data, dict) else None
            reason = "its launcher ended" if status is None else f"its launcher ended with status {status}"
            self._tell(GroupEnded(group, reason))

        self._cluster.engines[name].on_stop(tell_end)

    def _fail(self, what: str, error: Exception) -> None:
        usage = isinstance(error, ArcliError)
        hint = error.hint if isinstance(error, ArcliError) else None
        message = str(error) if usage else f"{what}: {words(error)}"
        self._log.error(message)
        self._tell(StartFailed(message, hint, usage))


def main() -> None:
    """Serve the connection whose descriptor is the first argument."""
    hush()
    adopt_orphans()
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    folder = Path(sys.argv[2])
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        asyncio.run(Launcher(connection, folder).run())
    finally:
        kill_below(os.getpid())
        remove_profiles(folder)
        sys.stderr.flush()
        os._exit(0)  # threads of ipyparallel's may still wait for processes


if __name__ == "__main__":
    main()
