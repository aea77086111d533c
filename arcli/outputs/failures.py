"""Items that are not ok, counted by what went wrong, in a fixed amount of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from arcli.engine.tally import Status
from arcli.escape import one_line, plain

KINDS = 100
"""How many different failures are told apart; the rest is one number."""
MESSAGE = 300
TRACEBACK = 4000


@dataclass(kw_only=True, slots=True)
class Failure:
    """Items of one job that failed in the same way; ``first`` is the lowest index among them."""

    job: str
    what: str
    first: int
    traceback: str
    count: int = 1


class Failures:
    """What went wrong so far."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], Failure] = {}
        self.others = 0
        """Items whose failure is none of the kinds that are told apart."""

    def add(self, record: dict[str, Any]) -> None:
        """Count a record that is not ok."""
        job, index, what = record["job"], record["index"], describe(record)
        known = self._kinds.get((job, what))
        if known is not None:
            known.count += 1
            if index < known.first:
                known.first, known.traceback = index, _traceback(record)
        elif len(self._kinds) < KINDS:
            self._kinds[job, what] = Failure(job=job, what=what, first=index, traceback=_traceback(record))
        else:
            self.others += 1

    def kinds(self) -> list[Failure]:
        """The kinds in the order in which they turned up."""
        return list(self._kinds.values())


def describe(record: dict[str, Any]) -> str:
    """What happened to an item that is not ok, in one harmless line."""
    status, reason, error = record["status"], record.get("reason"), record.get("error")
    words = str(reason or "")
    if error and (status == Status.ERROR or not words):
        words = f"{error['type']}: {error['message'][:MESSAGE]}".strip().removesuffix(":")
    words = one_line(words[: 2 * MESSAGE])
    if not words:
        return str(status)
    return words if status == Status.ERROR else f"{status}: {words}"


def _traceback(record: dict[str, Any]) -> str:
    """Its end: that is where the error is."""
    error = record.get("error")
    return plain(str(error.get("traceback") or "")[-TRACEBACK:]).strip("\n") if error else ""
