"""Summaries read back from what ``to_dict`` wrote: in manifests and in JSON documents."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from msgspec import Struct

from arcli.escape import plain
from arcli.timing.failures import FailedItem, FailureGroup
from arcli.timing.ledger import End
from arcli.timing.summary import (
    Chunks,
    Counts,
    EngineSummary,
    JobStatus,
    JobSummary,
    Overhead,
    RunSummary,
    Timing,
)

T = TypeVar("T", bound=Struct)
E = TypeVar("E", bound=StrEnum)


def run_from_dict(run: Any, jobs: Any) -> RunSummary:
    """The inverse of ``RunSummary.to_dict`` and of the jobs'. Raises ValueError for other data."""
    try:
        built = tuple(_job(job) for job in _list(jobs))
        run = {**dict.fromkeys(("reading", "loading", "stopping", "writing"), 0.0), **_map(run)}
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
    # Earlier versions kept the reason behind the end, in one text.
    how, _, name = str(data["ended"]).partition(" ")
    needed = how == End.NEEDS
    reason = name if needed else data.get("reason")
    return _flat(
        JobSummary,
        {"input_error": None, **data, "reason": reason, "restarts": timing["restarts"]},
        text={"name", "kind"},
        maybe_text={"value_error", "input_error", "reason"},
        status=_member(JobStatus, data["status"]),
        ended=End.NEEDS if needed else _member(End, data["ended"]),
        counts=_flat(Counts, _map(data["counts"]), maybe={"unread"}),
        timing=_flat(Timing, timing),
        overhead=_flat(Overhead, _map(timing["overhead"])),
        chunks=_flat(Chunks, _map(timing["chunks"]), maybe={"given"}),
        engines=engines,
        width=len({engine.place for engine in engines}),
        failures=tuple(map(_failure_group, _list(data.get("failures", [])))),
    )


def _failure_group(data: Any) -> FailureGroup:
    texts = {"status", "type", "message", "traceback", "stderr"}
    items = tuple(
        _flat(FailedItem, _map(item), text={"label", "detail"}) for item in _list(_map(data)["items"])
    )
    if not items:
        raise ValueError("not a summary: a group of failures without items")
    return _flat(FailureGroup, data, text=texts, maybe_text={"place"}, items=items)


def _flat(
    kind: type[T],
    data: Mapping[str, Any],
    *,
    text: frozenset[str] | set[str] = frozenset(),
    maybe: frozenset[str] | set[str] = frozenset(),
    maybe_text: frozenset[str] | set[str] = frozenset(),
    **parts: Any,
) -> T:
    """Make a structure of numbers, of texts where ``text`` says so; ``maybe``: it can be null."""
    values = dict(parts)
    for name in kind.__struct_fields__:
        if name in parts:
            continue
        value = data[name]
        wanted: Any = str if name in text | maybe_text else int | float
        if not isinstance(value, wanted) and not (value is None and name in maybe | maybe_text):
            raise ValueError(f"not a summary: {name} is {value!r}")
        values[name] = plain(value) if isinstance(value, str) else value
    return kind(**values)


def _member(kind: type[E], value: Any) -> E:
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"not a summary: {value!r} is no {kind.__name__}") from None


def _map(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("not a summary")
    return data


def _list(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise ValueError("not a summary")
    return data
