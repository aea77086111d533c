"""What the jobs of a past run came to: as the run kept it, or collected from its records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from arcli.engine.encode import from_tree
from arcli.engine.tally import Status
from arcli.errors import UsageError
from arcli.escape import shortened
from arcli.record import NUMBER_TAGS, EntryKeys, TwinKeys, dump, is_whole
from arcli.store.index import JournalIndex
from arcli.timing.summary import JobSummary, RunSummary

LONGEST = 100
"""Characters of a value in a message."""
Form = Literal["own", "list", "dict", "none"]


class PastValues:
    """The values of a run's jobs; ``kept`` has those that its records do not tell, encoded, by job."""

    def __init__(self, index: JournalIndex) -> None:
        self.kept = index.run.results()
        self._index = index
        self._jobs = {job.get("name"): job for job in index.run.manifest.jobs}

    def form(self, job: str) -> Form:
        """Tell what makes a job's value: itself (reduced, gathered, counted), or its items, as what."""
        about = self._jobs.get(job, {})
        made = any(about.get(key) is not None for key in ("reduce", "finish", "gather"))
        if made or job in self.kept or about.get("collect") == "count":
            return "own"
        form: Form = about.get("collect") or ("none" if about.get("apply") is None else "list")
        return form

    def collected(
        self, job: str, value: Callable[[Mapping[str, Any]], Any], *, text_keys: bool = False
    ) -> list[Any] | dict[Any, Any]:
        """Return what ``value`` makes of the records that are ok: a dict where the job collects one, else
        a list. Raises TwinKeys.
        """
        every = (self._index.record(job, number) for number in self._index.numbers(job))
        records = (record for record in every if record.get("status") == Status.OK)
        if self.form(job) != "dict":
            return [value(record) for record in records]
        keys = EntryKeys("map" if self._jobs[job].get("apply") is None else "apply")
        pairs = ((keys.of(record), value(record)) for record in records)
        return {text if text_keys else key: part for (text, key), part in pairs}

    def of(self, summary: RunSummary, job: str, value: Callable[[Mapping[str, Any]], Any]) -> Any:
        """Return what a job of the run came to, decoded; by ``value``, of its records, where these make it.

        Raises UsageError where it came to nothing, or to what JSON does not hold.
        """
        about = next((each for each in summary.jobs if each.name == job), None)
        if about is None:
            raise UsageError(f"{job} has no value: it did not begin")
        if about.value_error is not None:
            raise _none(about, about.value_error)
        if self.form(job) != "own":
            try:
                return self.collected(job, value)
            except TwinKeys as twins:  # of a run that did not come to its end
                raise _none(about, str(twins)) from None
        if job not in self.kept:
            ended = "the run has not kept it" if about.ended.is_reached else about.ended_words
            raise _none(about, summary.error or ended)
        tree = self.kept[job]
        # What stands for an object is its text, which nobody would take for it.
        if not is_whole(tree, {*NUMBER_TAGS, "$bytes"}):
            raise UsageError(
                f"the value of {job} is none that JSON holds: {shortened(dump(tree).decode(), LONGEST)}",
                hint="finish: can make of it what is to be kept",
            )
        return from_tree(tree)

    def at_end(self, summary: RunSummary) -> dict[str, Any]:
        """Return the values that a run had at its end, encoded, by job; without an end, those it kept."""
        values = dict(self.kept)
        for job in summary.jobs if summary.exit_code is not None else ():
            is_made = job.ended.is_reached and job.value_error is None
            if is_made and self.form(job.name) in {"list", "dict"}:
                values[job.name] = self.collected(
                    job.name, lambda record: record.get("value"), text_keys=True
                )
        return values


def _none(job: JobSummary, reason: str) -> UsageError:
    """Return the error for a job that has no value."""
    hint = f"items(job={job.name!r}) has those of its items" if job.counts.ok else None
    return UsageError(f"{job.name} has no value: {reason}", hint=hint)
