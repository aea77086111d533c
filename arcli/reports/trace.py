"""A run as a trace for https://ui.perfetto.dev and chrome://tracing: a track for each engine, or several.

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
JITTER = 100
"""Microseconds that an item may seem to begin before another one's end: clocks are read anew."""
BEYOND, MOST = 1 << 24, 1024
"""The number of the first track that is not an engine's own, and how many an engine may have."""
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
    tracks = _Tracks()
    # In blocks, so that a run of any length takes no memory.
    for record in past.records(run):
        for attempt, started, completed in attempts_here(record):
            place = places.get(hosts.get(attempt["engine_id"], ""), 0)
            when = _when(started - began, completed - began)
            # An earlier attempt stands with a record of much later, so that its track's end says nothing.
            track = attempt["engine_id"]
            if not attempt.get("tried_again"):
                track, beside = tracks.take(track, when)
                if beside is not None:
                    lines.append(dump(_named("thread_name", place, track, beside)))
            lines.append(dump(_event(attempt, place, track, when)))
        if len(lines) >= BATCH:
            yield separator + b",\n".join(lines)
            lines, separator = [], b",\n"
    yield (separator if lines else b"") + b",\n".join(lines) + b"\n]}\n"


class _Tracks:
    """Gives items that ran side by side in an engine tracks of their own: readers drop events that cross.

    The first track of an engine has its number, further ones have numbers beyond all engines'.
    """

    def __init__(self) -> None:
        self._next = BEYOND
        self._ends: dict[int, dict[int, int]] = {}

    def take(self, engine: int, when: Mapping[str, int]) -> tuple[int, str | None]:
        """Return the track of an item, and how it is called where it is a new one.

        Items come in the order of their ends, and go where least is left free before them.
        """
        ends = self._ends.setdefault(engine, {engine: when["ts"]})
        free = [track for track, end in ends.items() if end <= when["ts"] + JITTER]
        track, name = max(free, key=ends.__getitem__, default=self._next), None
        if not free and len(ends) >= MOST:
            return engine, None
        if track == self._next:
            self._next += 1
            name = f"engine {engine}, beside {len(ends)}"
        ends[track] = when["ts"] + when["dur"]
        return track, name


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


def _event(record: Mapping[str, Any], pid: int, track: int, when: Mapping[str, int]) -> dict[str, Any]:
    args = {name: record[name] for name in _ARGS if record.get(name) is not None}
    error = record.get("error")
    # A complete event, which has its own end: half of a pair would be lost with a damaged journal.
    return {
        "name": f"{record['job']} {record['index']}{', tried again' if record.get('tried_again') else ''}",
        "cat": f"{record['job']},{record['status']}",
        "ph": "X",
        **when,
        "pid": pid,
        "tid": track,
        "args": {
            **args,
            "input": given_label(record.get("input")),
            **({"error": f"{error['type']}: {error['message']}"[:300]} if error else {}),
        },
    }
