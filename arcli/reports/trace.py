"""A run as a trace for https://ui.perfetto.dev and chrome://tracing: one track an engine.

The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from arcli.record import dump
from arcli.store import past
from arcli.store.folder import RunFolder
from arcli.timing.groups import given_label
from arcli.timing.timeline import Life, attempts_here, lives

BATCH = 1000
"""Events that are written at once."""
_ARGS = ("index", "status", "reason", "seconds", "attempt", "chunk", "slot", "msg_id")


def render(run: RunFolder) -> Iterator[bytes]:
    """Yield the document, piece by piece; an item that never ran is no event.

    Times are in microseconds since the run began, by the engines' clocks. Raises OutputError.
    """
    began = past.began(run)
    presences = past.presences(run, time.time())
    hosts = {each.engine_id: each.host for each in presences}
    # The trace format has processes and threads: here hosts and their engines.
    places = {host: number for number, host in enumerate(dict.fromkeys(hosts.values()), 1)}
    about = {"run": run.id, "name": run.manifest.name, "started": run.manifest.started}
    yield b'{"displayTimeUnit":"ms","otherData":' + dump(about) + b',"traceEvents":[\n'
    name = run.manifest.name
    names = [_named("process_name", pid, 0, f"{name} on {host}") for host, pid in places.items()]
    for engine, host in sorted(hosts.items()):
        names.append(_named("thread_name", places[host], engine, f"engine {engine}"))
    engines = lives(presences, began)
    lines = [dump(event) for event in names]
    lines += [dump(event) for life in engines for event in _life(life, places[life.host])]
    separator = b""
    # In blocks, so that a run of any length takes no memory.
    for record in past.records(run):
        for attempt, started, completed in attempts_here(record):
            place = places.get(hosts.get(attempt["engine_id"], ""), 0)
            lines.append(dump(_event(attempt, place, _when(started - began, completed - began))))
        if len(lines) >= BATCH:
            yield separator + b",\n".join(lines)
            lines, separator = [], b",\n"
    yield (separator if lines else b"") + b",\n".join(lines) + b"\n]}\n"


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}


def _life(life: Life, pid: int) -> Iterator[dict[str, Any]]:
    """Yield an engine's start-up, its setup, and its end where that came before the run's."""
    place = {"pid": pid, "tid": life.engine_id, "cat": "engine"}
    args = {} if life.replaces is None else {"in_place_of": life.replaces}
    yield {**place, "name": "start-up", "ph": "X", **_when(life.launched, life.came), "args": args}
    yield {**place, "name": "setup", "ph": "X", **_when(life.came, life.ready)}
    # An instant event, of its own track only.
    if life.reason is not None:
        name = "engine ended"
        ts = round(life.went * 1e6)
        yield {**place, "name": name, "ph": "i", "s": "t", "ts": ts, "args": {"reason": life.reason}}


def _when(begin: float, end: float) -> dict[str, int]:
    return {"ts": round(begin * 1e6), "dur": max(0, round((end - begin) * 1e6))}


def _event(record: Mapping[str, Any], pid: int, when: Mapping[str, int]) -> dict[str, Any]:
    args = {name: record[name] for name in _ARGS if record.get(name) is not None}
    error = record.get("error")
    # A complete event, which has its own end: half of a pair would be lost with a damaged journal.
    return {
        "name": f"{record['job']} {record['index']}{', tried again' if record.get('tried_again') else ''}",
        "cat": f"{record['job']},{record['status']}",
        "ph": "X",
        **when,
        "pid": pid,
        "tid": record["engine_id"],
        "args": {
            **args,
            "input": given_label(record.get("input")),
            **({"error": f"{error['type']}: {error['message']}"[:300]} if error else {}),
        },
    }
