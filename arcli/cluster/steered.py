"""What is done to the engines of a cluster that outlives runs: code run, signals, more or fewer of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from arcli.cluster.asked import client_of
from arcli.cluster.client import RawClient, ask_text
from arcli.cluster.connection import Connection, Line
from arcli.cluster.named import ANSWERS, Known, answer_of, lives, pids_in
from arcli.cluster.started import recorded, starting
from arcli.errors import ClusterError, UsageError

POLL = 0.1
"""Seconds between two looks at which engines are registered."""


class Executed(msgspec.Struct, frozen=True, kw_only=True):
    """What code came to on an engine: ``value`` is the ``repr`` of its last expression.

    ``error`` is a traceback, or a sentence where the engine could not run it.
    """

    engine: int
    stdout: str = ""
    stderr: str = ""
    value: str | None = None
    error: str | None = None


def execute(one: Known, code: str, targets: Sequence[int] | None, seconds: float | None) -> list[Executed]:
    """Run Python code on engines, all of them where ``targets`` is None, and wait for them.

    Engines come in their order. Raises UsageError for engines that are not there, and ClusterError where
    some have not answered within ``seconds`` (None: however long it takes).
    """
    with client_of(_connection(one)) as client:
        ids = sorted(client.ids) if targets is None else _among(client.ids, targets)
        if not ids:
            raise ClusterError(f"{one.name} has no engines", hint=f"{one.command('scale', '2')} starts 2")
        call = f"(lambda names: (exec({_snippet()!a}, names), names['run'])[1])({{}})({code!a}, globals())"
        asked = {engine: ask_text(client[engine], call) for engine in ids}
        end = None if seconds is None else time.monotonic() + seconds
        for answer in asked.values():
            answer.wait(None if end is None else max(0.0, end - time.monotonic()))
        late = [engine for engine, answer in asked.items() if not answer.ready()]
        if late:
            raise ClusterError(
                f"{_names(late)} of {one.name} did not answer within {seconds:g} s",
                hint=f"{one.command('status')} shows what waits for them, "
                f"{one.command('signal', 'INT')} interrupts what they run",
            )
        return [_executed(client, engine, answer) for engine, answer in asked.items()]


@cache
def _snippet() -> str:
    return (files("arcli.cluster") / "snippet.py").read_text(encoding="utf-8")


def _executed(client: RawClient, engine: int, answer: Any) -> Executed:
    try:
        (msg_id,) = answer.get(0)
        out, err, value, error = msgspec.json.decode(
            client.take(msg_id), type=tuple[str, str, str | None, str | None]
        )
    except Exception as failed:  # noqa: BLE001 - it has ended, or is no engine that can be talked to
        return Executed(engine=engine, error=f"it could not run it: {failed}")
    return Executed(engine=engine, stdout=out, stderr=err, value=value, error=error)


def _among(registered: Iterable[int], targets: Sequence[int]) -> list[int]:
    missing = sorted(set(targets) - set(registered))
    if missing:
        ids = ", ".join(map(str, sorted(registered))) or "none"
        raise UsageError(f"there is no {_names(missing)}", hint=f"there are: {ids}")
    return sorted(set(targets))


def _names(engines: Sequence[int]) -> str:
    return f"engine{'s' if len(engines) > 1 else ''} {', '.join(map(str, engines))}"


def send_signal(one: Known, number: int) -> int:
    """Send a signal to the engines of a cluster; returns how many are registered. Raises ClusterError."""
    registered = _registered(one, _connection(one))
    cluster = recorded(one)
    with _launcher(one):
        cluster.signal_engines_sync(number)
    return len(registered)


def restart(one: Known, seconds: float, *, force: bool) -> tuple[int, int]:
    """Start the engines of a cluster anew, as many as were started; its controller stays.

    Waits ``seconds`` for them at most; returns how many have come up, and how many were to. Raises
    ClusterError, also where engines have work, unless ``force``.
    """
    with starting(one):
        connection = _connection(one)
        before = _registered(one, connection)
        if not force:
            _require_idle(one, before & _busy(connection))
        cluster = recorded(one)
        count = sum(group.n for group in cluster.engines.values())
        end = time.monotonic() + seconds
        with _launcher(one):
            cluster.restart_engines_sync()
        registered = _wait(one, connection, lambda ids: len(ids - before) >= count, end)
        return len(registered - before), count


def scale(one: Known, count: int, seconds: float, *, force: bool) -> int:
    """Have a cluster have so many engines; returns how many it has then.

    Engines that have nothing to do go first, and of those the last ones that came. Waits ``seconds`` for
    new ones at most. Raises ClusterError, also where engines that would go have work, unless ``force``.
    """
    with starting(one):
        connection = _connection(one)
        registered = _registered(one, connection)
        if count == len(registered):
            return count
        cluster = recorded(one)
        end = time.monotonic() + seconds
        if count > len(registered):
            with _launcher(one):
                cluster.start_engines_sync(count - len(registered))
            return len(_wait(one, connection, lambda ids: len(ids) >= count, end))
        busy = _busy(connection)
        by_worth = sorted(registered, key=lambda engine: (engine in busy, -engine))
        leaving = set(by_worth[: len(registered) - count])
        if not force:
            _require_idle(one, leaving & busy)
        with client_of(connection) as client:
            client.shutdown(sorted(leaving), block=False)
            registered = _wait(one, connection, lambda ids: not ids & leaving, end)
        # What has ended is to stand in the file no more; an engine unregisters a moment before that.
        while _recorded_alive(one) > len(registered) and time.monotonic() < end:
            time.sleep(POLL)
        recorded(one).update_cluster_file()
        return len(registered)


def _recorded_alive(one: Known) -> int:
    """Return how many processes of engines go on that a cluster file has recorded, as far as it has any."""
    engines = msgspec.json.decode(one.cluster_file.read_bytes())["engines"]
    return sum(lives(pid) for pid in pids_in(engines))


def _connection(one: Known) -> Connection:
    """Return how to reach a cluster. Raises ClusterError, also where nothing listens any more."""
    connection = Connection.read(one.connection_file)
    connection.check()
    return connection


def _registered(one: Known, connection: Connection) -> set[int]:
    registered = answer_of(connection, ANSWERS)
    if registered is None:
        raise ClusterError(
            f"{one.name} does not answer at {connection.address}",
            hint=f"{one.command('status')} asks again",
        )
    return registered


def _busy(connection: Connection) -> set[int]:
    """Return the engines that have work, as the hub knows it."""
    with closing(Line(connection.info, connection.address)) as line:
        queues = line.queues(ANSWERS)
    return {engine for engine, counts in queues.items() if counts.get("queue", 0) + counts.get("tasks", 0)}


def _require_idle(one: Known, busy: set[int]) -> None:
    if busy:
        raise ClusterError(
            f"{_names(sorted(busy))} of {one.name} {'have' if len(busy) > 1 else 'has'} work",
            hint="wait for it, or end it with --force",
        )


def _wait(one: Known, connection: Connection, is_there: Callable[[set[int]], bool], end: float) -> set[int]:
    """Wait until the registered engines are as they are to be, or until ``end``; returns them."""
    while True:
        registered = _registered(one, connection)
        if is_there(registered) or time.monotonic() > end:
            return registered
        time.sleep(POLL)


@contextmanager
def _launcher(one: Known) -> Iterator[None]:
    """Raise what goes wrong in ipyparallel's launchers as a ClusterError."""
    from arcli.cluster.launched.stopping import words

    try:
        yield
    except Exception as error:
        raise ClusterError(
            f"the launcher of {one.name} could not do it: {words(error)}", hint=f"its log is {one.log_file}"
        ) from error
