"""JUnit's XML, as CI systems read it: a suite a job, a case an item.

The common schema: https://github.com/jenkinsci/xunit-plugin/blob/master/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct, field

from arcli.engine.tally import Status
from arcli.escape import plain
from arcli.outputs.base import OutputContext
from arcli.outputs.spool import SpooledOutput
from arcli.record import RecordBatch, decode
from arcli.timing.failures import describe, input_label
from arcli.timing.summary import RunSummary
from arcli.timing.words import beside_items

OK_CASES = 1000
"""Cases of a job that are ok and are listed, unless the option ``ok_cases`` says otherwise."""
_NO_CHARACTER = re.compile("[\ufffe\uffff]")
"""What XML forbids beside the controls that are made plain anyway: https://www.w3.org/TR/xml/#charsets"""
_ELEMENTS = {
    Status.ERROR: "failure", Status.TIMEOUT: "error", Status.LOST: "error", Status.CANCELLED: "skipped",
}  # fmt: skip


class _Suite(Struct, kw_only=True):
    """What is known of a job's cases so far; ``places`` are their stretches of the spool."""

    counts: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    seconds: float = 0.0
    began: str | None = None
    places: list[tuple[int, int]] = field(default_factory=list)


class JunitFile(SpooledOutput):
    """``failure`` is an item's own error, ``error`` a lost or late one, ``skipped`` a cancelled one."""

    def __init__(self, context: OutputContext) -> None:
        super().__init__(context)
        self._ok_cases: int = context.options.get("ok_cases", OK_CASES)
        self._suites: dict[str, _Suite] = {}

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        suite = self._suites.setdefault(batch.job, _Suite())
        cases = []
        for record in map(decode, batch.lines.splitlines()):
            suite.seconds += record.get("seconds") or 0.0
            suite.began = suite.began or record.get("submitted")
            if record["status"] == Status.OK and suite.counts["ok"] >= self._ok_cases:
                suite.left_out += 1
                continue
            suite.counts[_ELEMENTS.get(record["status"], "ok")] += 1
            cases.append(_case(batch.job, record))
        self._add(batch.job, "".join(cases))

    def _add(self, name: str, cases: str) -> None:
        """Add cases to a suite, whose counts have them already."""
        start = self._spool.size
        self._spool.write(cases.encode())
        self._suites[name].places.append((start, self._spool.size))

    def _document(self, summary: RunSummary, values: dict[str, Any]) -> Iterator[bytes]:
        # What no item tells is a case of its own: a file without a failure would say that all is well.
        names = [job.name for job in summary.jobs if self._job in {None, job.name}]
        for job, sentence in beside_items(summary):
            if job is None:
                names.append(f"{summary.name} (run)")
            elif job not in names:
                continue
            suite = names[-1] if job is None else job
            self._suites.setdefault(suite, _Suite()).counts["error"] += 1
            # What went wrong beside the items is a test case, too.
            name = "run" if job is None else "job"
            head = _attributes(classname=job or summary.name, name=name, time="0")
            error = _attributes(type="Failed", message=sentence)
            self._add(suite, f"<testcase {head}><error {error}/></testcase>\n")
        totals = sum((suite.counts for suite in self._suites.values()), Counter[str]())
        # The common schema knows no `skipped` of the whole, and three digits of a suite's seconds.
        counts = {name: number for name, number in _counts(totals).items() if name != "skipped"}
        head = _attributes(name=summary.name, **counts, time=f"{summary.wall:.3f}")
        yield f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {head}>\n'.encode()
        for name in names:
            yield from self._suite(name, self._suites.get(name, _Suite()))
        yield b"</testsuites>\n"

    def _suite(self, job: str, suite: _Suite) -> Iterator[bytes]:
        times = {"timestamp": suite.began[:19]} if suite.began else {}
        head = _attributes(name=job, **_counts(suite.counts), time=f"{suite.seconds:.3f}", **times)
        yield f"<testsuite {head}>\n".encode()
        if suite.left_out:
            known = _attributes(name="ok items that are not listed", value=str(suite.left_out))
            yield f"<properties><property {known}/></properties>\n".encode()
        for start, end in suite.places:
            yield from self._spool.blocks(start, end)
        yield b"</testsuite>\n"


def _case(job: str, record: Mapping[str, Any]) -> str:
    """An item as a test case, with what it printed unless it is ok."""
    seconds = record.get("seconds") or 0.0
    name = input_label(record.get("input"), record["index"], longest=200)
    head = _attributes(classname=job, name=name, time=f"{seconds:.6f}")
    element = _ELEMENTS.get(record["status"])
    if element is None:
        return f"<testcase {head}/>\n"
    if element == "skipped":
        return f"<testcase {head}><skipped {_attributes(message=describe(record))}/></testcase>\n"
    error = record.get("error") or {}
    about = _attributes(type=str(error.get("type") or record["status"]), message=describe(record))
    parts = [f"<{element} {about}>{_text(error.get('traceback') or '')}</{element}>"]
    for tag, key in (("system-out", "stdout"), ("system-err", "stderr")):
        if printed := record.get(key):
            parts.append(f"<{tag}>{_text(printed)}</{tag}>")
    return f"<testcase {head}>{''.join(parts)}</testcase>\n"


def _counts(counts: Mapping[str, int]) -> dict[str, str]:
    numbers = {"tests": sum(counts.values()), "failures": counts.get("failure", 0)}
    numbers |= {"errors": counts.get("error", 0), "skipped": counts.get("skipped", 0)}
    return {name: str(number) for name, number in numbers.items()}


def _attributes(**values: str) -> str:
    return " ".join(f"{name}={quoteattr(_legal(value))}" for name, value in values.items())


def _text(value: object) -> str:
    return escape(_legal(str(value)))


def _legal(text: str) -> str:
    """Text of characters that XML allows."""
    return _NO_CHARACTER.sub("\ufffd", plain(text))
