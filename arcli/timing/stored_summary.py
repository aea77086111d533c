"""Summaries read back from what ``to_dict`` wrote: in manifests and in JSON documents."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, ValidationError, convert
from msgspec.structs import replace

from arcli.escape import plain
from arcli.timing.ledger import End
from arcli.timing.summary import RunSummary


def run_from_dict(run: Any, jobs: Any) -> RunSummary:
    """The inverse of ``RunSummary.to_dict`` and of the jobs'. Raises ValueError for other data."""
    # Earlier versions did not tell these parts of what comes before and after the jobs.
    times = dict.fromkeys(("reading", "setup", "loading", "stopping", "writing"), 0.0)
    try:
        data = {**times, **convert(run, dict[str, Any])}
        data["jobs"] = [_job(job) for job in convert(jobs, list[dict[str, Any]])]
        # What has a default where a summary is made must be there where one is read.
        fields = {name: data[name] for name in RunSummary.__struct_fields__}
        summary: RunSummary = _harmless(convert(fields, RunSummary))
    except KeyError as error:
        raise ValueError(f"not a summary: it lacks {error}") from None
    except ValidationError as error:
        raise ValueError(f"not a summary: {error}") from None
    return summary


def _job(job: dict[str, Any]) -> dict[str, Any]:
    """Return what ``to_dict`` wrote of a job as the fields of a JobSummary."""
    timing = convert(job["timing"], dict[str, Any])
    fields = {**job, **{name: timing[name] for name in ("overhead", "chunks", "restarts", "engines")}}
    # The name of the job that was needed stands behind it, for people.
    how, _, name = convert(job["ended"], str).partition(" ")
    return {**fields, "ended": how, "reason": name} if how == End.NEEDS else fields


def _harmless(value: Any) -> Any:
    """Return a structure whose texts do nothing to a terminal: anybody may have written the file."""
    if isinstance(value, Struct):
        parts = {name: _harmless(getattr(value, name)) for name in value.__struct_fields__}
        return replace(value, **parts)
    if isinstance(value, tuple):
        return tuple(map(_harmless, value))
    return plain(value) if type(value) is str else value
