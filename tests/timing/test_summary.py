"""Ledgers that were added up by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.engine.tally import STATUSES, Tally
from arcli.timing.ledger import End, EngineUse, Ledger
from arcli.timing.summary import RunSummary, summarize_job


def tally(*items: tuple[str, float | None]) -> Tally:
    result = Tally()
    for status, seconds in items:
        result.add(status, seconds)
    return result


def by_hand() -> Ledger:
    """Two engines there for 4 s each: 3 and 2 s busy, 2.5 and 1.5 s in the items."""
    return Ledger(
        job="squares",
        wall=4.0,
        planned=4,
        tally=tally(("ok", 1.0), ("ok", 1.0), ("ok", 1.5), ("error", 0.5)),
        engines={
            0: EngineUse(
                engine_id=0,
                slot=0,
                items=2,
                chunks=1,
                present=4,
                busy=3,
                compute=2.5,
                returning=0.1,
            ),
            1: EngineUse(
                engine_id=1,
                slot=1,
                items=2,
                chunks=1,
                present=4,
                busy=2,
                compute=1.5,
                returning=0.2,
            ),
        },
        chunks=2,
        smallest_chunk=2,
        typical_chunk=2,
        largest_chunk=2,
    )


def test_speedup_and_efficiency() -> None:
    job = summarize_job(by_hand())
    assert job.timing.serial == 4.0
    assert job.timing.speedup == 1.0
    assert job.timing.efficiency == 0.5
    assert job.timing.throughput == 1.0
    assert job.timing.mean == 1.0
    assert job.timing.stddev == pytest.approx((0.5 / 3) ** 0.5)
    assert (job.timing.min, job.timing.max) == (0.5, 1.5)
    assert job.timing.median == pytest.approx(1.0, rel=0.011)


def test_engine_seconds_add_up() -> None:
    spent = summarize_job(by_hand()).overhead
    assert (spent.present, spent.compute, spent.envelope, spent.idle) == (8.0, 4.0, 1.0, 3.0)
    assert spent.present == spent.compute + spent.envelope + spent.idle
    assert spent.returning == pytest.approx(0.3)
    assert spent.share(spent.compute) == 0.5


def test_attempts_side_by_side_take_no_more_of_an_engine_than_there_was() -> None:
    ledger = by_hand()
    for use in ledger.engines.values():
        use.attempts = 5 * use.present
    spent = summarize_job(ledger).overhead
    assert spent.attempts > 0
    assert spent.present == spent.compute + spent.attempts + spent.envelope + spent.idle


def test_an_engine_and_its_replacement_are_one_wide() -> None:
    ledger = by_hand()
    ledger.engines[2] = EngineUse(engine_id=2, slot=1, present=1.0)
    assert summarize_job(ledger).width == 2
    assert summarize_job(ledger).timing.efficiency == 0.5


def test_replayed_seconds_are_no_speedup() -> None:
    ledger = by_hand()
    ledger.replayed = 2
    ledger.engines = {0: EngineUse(engine_id=0, slot=0, present=4.0, busy=2.0, compute=2.0)}
    job = summarize_job(ledger)
    assert (job.timing.serial, job.timing.speedup, job.timing.throughput) == (2.0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "failed"),
        ({"tally": tally(("ok", 1.0)), "planned": 1}, "ok"),
        ({"tally": tally(), "planned": 0}, "empty"),
        ({"tally": tally(), "planned": 0, "value_error": "no items to reduce"}, "failed"),
        ({"tally": tally(("ok", 1.0)), "value_error": "boom"}, "failed"),
        ({"tally": tally(("ok", 1.0), ("cancelled", None)), "ended": End.INTERRUPTED}, "cancelled"),
        ({"tally": tally(), "planned": 0, "ended": End.NEEDS, "reason": "first"}, "cancelled"),
        ({"tally": tally(("ok", 1.0)), "unread": None}, "cancelled"),
        ({"tally": tally(("lost", None))}, "failed"),
        ({"tally": tally(("timeout", 1.0))}, "failed"),
    ],
)
def test_status(changes: dict[str, Any], status: str) -> None:
    ledger = by_hand()
    for name, value in changes.items():
        setattr(ledger, name, value)
    job = summarize_job(ledger)
    assert job.status == status
    assert job.ok == (status in {"ok", "empty"})


def test_an_empty_ledger_divides_by_nothing() -> None:
    job = summarize_job(Ledger(job="none"))
    assert job.timing.speedup == job.timing.efficiency == job.timing.throughput == 0.0
    assert job.timing.min == 0.0
    assert job.overhead.share(1.0) == 0.0


@given(st.lists(st.sampled_from(STATUSES)))
def test_counts_are_those_of_the_items(statuses: list[str]) -> None:
    ledger = Ledger(job="any", planned=len(statuses), tally=tally(*((s, None) for s in statuses)))
    counts = summarize_job(ledger).counts
    assert counts.recorded == counts.planned == len(statuses)
    assert [getattr(counts, status) for status in STATUSES] == [
        statuses.count(status) for status in STATUSES
    ]


def test_the_public_keys() -> None:
    plain = json.loads(json.dumps(summarize_job(by_hand()).to_dict()))
    assert list(plain) == [
        "name",
        "kind",
        "status",
        "ended",
        "reason",
        "value_error",
        "value_note",
        "input_error",
        "counts",
        "timing",
        "failures",
    ]
    assert set(plain["counts"]) == {
        "planned", *STATUSES, "unread", "replayed", "retried"
    }  # fmt: skip
    assert set(plain["timing"]) == {
        "wall", "serial", "speedup", "efficiency", "throughput", "mean", "stddev", "min", "median",
        "p95", "p99", "max", "overhead", "chunks", "restarts", "engines",
    }  # fmt: skip
    assert plain["timing"]["engines"][1]["idle"] == 2.0
    run = RunSummary(run="r", name="n", started="now", exit_code=1)
    assert run.to_dict()["status"] == "failed"
