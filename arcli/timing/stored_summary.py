"""Summaries read back from what ``to_dict`` wrote: in manifests and in JSON documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_args

from arcli.escape import plain
from arcli.timing.summary import (
    Chunks,
    Counts,
    EngineSummary,
    JobSummary,
    Overhead,
    RunSummary,
    Status,
    Timing,
)

T = TypeVar("T")


def run_from_dict(run: Any, jobs: Any) -> RunSummary:
    """The inverse of ``RunSummary.to_dict`` and of the jobs'. Raises ValueError for other data."""
    try:
        built = tuple(_job(job) for job in _list(jobs))
        return _flat(
            RunSummary, _map(run), text={"run", "name", "started"}, maybe_text={"error"}, jobs=built
        )
    except KeyError as error:
        raise ValueError(f"not a summary: it lacks {error}") from None


def _job(data: Any) -> JobSummary:
    data = _map(data)
    timing = _map(data["timing"])
    engines = tuple(
        _flat(EngineSummary, _map(engine), text={"host"}, maybe={"slot", "pid"})
        for engine in _list(timing["engines"])
    )
    if data["status"] not in get_args(Status):
        raise ValueError(f"not a summary: {data['status']!r} is no status")
    return _flat(
        JobSummary,
        {"input_error": None, **data, "restarts": timing["restarts"]},
        text={"name", "kind", "status", "ended"},
        maybe_text={"value_error", "input_error"},
        counts=_flat(Counts, _map(data["counts"]), maybe={"unread"}),
        timing=_flat(Timing, timing),
        overhead=_flat(Overhead, _map(timing["overhead"])),
        chunks=_flat(Chunks, _map(timing["chunks"]), maybe={"given"}),
        engines=engines,
        width=len({engine.place for engine in engines}),
    )


def _flat(
    kind: type[T],
    data: Mapping[str, Any],
    *,
    text: frozenset[str] | set[str] = frozenset(),
    maybe: frozenset[str] | set[str] = frozenset(),
    maybe_text: frozenset[str] | set[str] = frozenset(),
    **parts: Any,
) -> T:
    """A dataclass of numbers, of texts where ``text`` says so; ``maybe``: it can be null."""
    values = dict(parts)
    for field in fields(kind):  # type: ignore[arg-type]
        if (name := field.name) in parts:
            continue
        value = data[name]
        wanted: Any = str if name in text | maybe_text else int | float
        if not isinstance(value, wanted) and not (value is None and name in maybe | maybe_text):
            raise ValueError(f"not a summary: {name} is {value!r}")
        values[name] = plain(value) if isinstance(value, str) else value
    return kind(**values)


def _map(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("not a summary")
    return data


def _list(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise ValueError("not a summary")
    return data
