"""What the engines of a cluster that outlives runs say of themselves."""

from __future__ import annotations

import time
from contextlib import closing

from msgspec import Struct

from arcli.cluster.client import RawClient, ask_identities
from arcli.cluster.connection import Connection, Line
from arcli.cluster.named import ANSWERS, Known
from arcli.errors import ClusterError


class Engine(Struct, frozen=True, kw_only=True):
    """One engine, and its messages. A busy one does not say where it is."""

    engine: int
    host: str | None
    pid: int | None
    waiting: int
    done: int


def client_of(connection: Connection) -> RawClient:
    """Connect to a cluster. Raises ClusterError where its controller is too busy for that, or is gone."""
    try:
        return RawClient(dict(connection.info), timeout=ANSWERS)
    except Exception as error:
        raise ClusterError(
            f"the controller at {connection.address} did not let a client in: {error}",
            hint="is it busy? `arcli cluster status` asks again",
        ) from error


def engines(one: Known) -> list[Engine]:
    """Ask a cluster that runs for its engines. Raises ClusterError."""
    connection = Connection.read(one.connection_file)
    with closing(Line(connection.info, connection.address)) as line:
        # The hub knows what waits for each engine, and answers while engines
        # compute.
        counts = line.queues(ANSWERS)
    with client_of(connection) as client:
        places = ask_identities(client, ANSWERS)
        ids = sorted(client.ids)
    engines: list[Engine] = []
    for engine_id in ids:
        pid, host, _ = places.get(engine_id) or (None, None, None)
        count = counts.get(engine_id, {})
        waiting, done = count.get("queue", 0) + count.get("tasks", 0), count.get("completed", 0)
        engines.append(Engine(engine=engine_id, host=host, pid=pid, waiting=waiting, done=done))
    return engines


def clocks(one: Known) -> dict[int, float]:
    """Return how many seconds the clocks of a cluster's engines are ahead of this host's, by engine.

    An answer's way takes a while, so that this is known to within that. Raises ClusterError.
    """
    connection = Connection.read(one.connection_file)
    connection.check()
    with client_of(connection) as client:
        before = time.time()
        identities = ask_identities(client, ANSWERS)
        middle = (before + time.time()) / 2
    return {engine_id: identity.clock - middle for engine_id, identity in identities.items()}
