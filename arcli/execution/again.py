"""Some items of a past run once more, in this process: everything before them is as it was."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from arcli.execution.context import Kept
from arcli.plan.choose import only
from arcli.record import dump
from arcli.specfile.model import Spec


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """Keeps what ``kept`` has of earlier jobs, and passes over all items of ``job`` but ``items``.

    See ``context.Kept``.
    """

    kept: Kept
    job: str
    items: Collection[int]

    def take(self, job: str, key: str, *, index: int, exact: bool) -> bytes | None:
        """See Kept."""
        if job != self.job:
            return self.kept.take(job, key, index=index, exact=exact)
        if index in self.items:
            return None
        passed_over = {
            "run": "", "job": job, "index": index, "key": key, "input": None, "status": "cancelled",
            "reason": "not asked for", "value": None, "exact": True, "error": None, "stdout": "",
            "stderr": "", "truncated": False, "attempt": 1, "seconds": None, "replayed": True,
        }  # fmt: skip
        return dump(passed_over) + b"\n"


def alone(spec: Spec, job: str) -> Spec:
    """Return the spec with one job and those that it needs; nothing becomes of its values.

    Raises UsageError.
    """
    chosen = only(spec, [job])
    nothing = {"reduce": None, "combine": None, "finish": None, "collect": None, "push_as": None}
    jobs = [
        each.model_copy(update={**nothing, "ordered": False, "halt": "never", "retries": 0})
        if each.name == job
        else each
        for each in chosen.jobs
    ]
    return chosen.model_copy(update={"jobs": jobs, "output": []})
