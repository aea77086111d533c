"""What a journal adds up to is what the run itself would have said."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from arcli.engine.tally import STATUSES, Tally
from arcli.timing.account import Account, Presence
from arcli.timing.failures import FailedItem, FailureGroup
from arcli.timing.ledger import End, EngineUse, Ledger
from arcli.timing.summary import RunSummary, run_from_dict, summarize_job
from arcli.units import isoformat, parse_time

BEGAN = 1_700_000_000.0


def record(index: int = 0, **fields: Any) -> dict[str, Any]:
    """An item that took half a second on engine 0, sent at 0 s and back at 2 s."""
    begin = BEGAN + fields.pop("at", 1.0)
    seconds = fields.get("seconds", 0.5)
    return {
        "job": "squares", "index": index, "status": "ok", "attempt": 1, "engine_id": 0, "slot": 0,
        "chunk": 1, "seconds": seconds, "submitted": isoformat(BEGAN),
        "started": isoformat(begin), "completed": isoformat(begin + (seconds or 0.0)),
        "received": isoformat(BEGAN + 2), **fields,
    }  # fmt: skip


def ledger(*records: dict[str, Any], ended: End = End.DONE, went: float = 60.0) -> Ledger:
    account = Account()
    for each in records:
        account.add(each)
    presence = Presence(
        engine_id=0, slot=3, host="here", pid=7, came=BEGAN - 5, ready=BEGAN - 5, went=BEGAN + went
    )
    (found,) = account.ledgers([presence], kinds={"squares": "apply"}, ended=ended)
    return found


items = st.tuples(st.sampled_from(STATUSES), st.none() | st.floats(1e-6, 1e3), st.integers(1, 3))


@given(st.lists(items, min_size=1))
def test_counts_and_seconds_are_those_of_the_items(
    entries: list[tuple[str, float | None, int]],
) -> None:
    tally = Tally()
    for status, seconds, attempt in entries:
        tally.add(status, seconds, attempt)
    found = ledger(
        *(
            record(index, status=status, seconds=seconds, attempt=attempt)
            for index, (status, seconds, attempt) in enumerate(entries)
        )
    )
    assert found.tally.to_list() == tally.to_list()
    assert found.planned == len(entries)


def test_a_job_lasts_from_its_first_submission_to_its_last_record() -> None:
    found = ledger(record(0), record(1, received=isoformat(BEGAN + 7)))
    assert found.wall == pytest.approx(7.0)
    assert (found.job, found.kind, found.unread) == ("squares", "apply", 0)


def test_an_engine_is_busy_from_a_chunks_first_start_to_its_last_end() -> None:
    found = ledger(
        record(0, at=0.1, seconds=0.2),
        record(1, at=0.4, seconds=0.5),
        record(2, at=1.0, seconds=0.25, chunk=2),
    )
    (use,) = found.engines.values()
    assert (use.items, use.chunks) == (3, 2)
    assert use.busy == pytest.approx(0.8 + 0.25)
    assert use.compute == pytest.approx(0.95)
    assert use.returning == pytest.approx((2 - 0.9) + (2 - 1.25))
    assert (use.host, use.pid, use.slot) == ("here", 7, 0)
    assert use.present == pytest.approx(2.0)
    sizes = (found.chunks, found.smallest_chunk, found.typical_chunk, found.largest_chunk)
    assert sizes == (2, 1, 2, 2)


def test_what_items_run_side_by_side_is_one_moment_of_the_engines() -> None:
    found = ledger(*(record(i, at=0.1 + i / 10, seconds=0.5) for i in range(5)))
    (use,) = found.engines.values()
    assert use.compute == use.busy == pytest.approx(0.9)
    timing = summarize_job(found).timing
    assert timing.serial == timing.speedup * 2 == 2.5
    assert timing.efficiency == pytest.approx(0.45)


@pytest.mark.parametrize("seconds", [4e-7, 9.4e-6, 1.04e-5])
def test_seconds_that_are_finer_than_times_are_not_lost(seconds: float) -> None:
    (use,) = ledger(record(seconds=seconds)).engines.values()
    assert use.compute == seconds
    assert use.busy >= seconds


def test_an_engine_is_there_only_until_it_goes() -> None:
    (use,) = ledger(record(0, at=0.1), went=1.5).engines.values()
    assert use.present == pytest.approx(1.5)


def test_chunks_that_come_in_turns_are_still_two() -> None:
    found = ledger(*(record(i, chunk=1 + i % 2) for i in range(10)))
    assert (found.chunks, found.typical_chunk) == (2, 5)


def test_memory_does_not_grow_with_chunks() -> None:
    account = Account()
    for index in range(5000):
        account.add(record(index, chunk=index, at=index / 1000, seconds=0.0005))
    (job,) = account._jobs.values()
    assert len(job.open[0]) <= 4
    (found,) = account.ledgers([], kinds={}, ended=End.DONE)
    assert found.chunks == 5000


def test_what_was_replayed_counts_and_took_no_time() -> None:
    found = ledger(record(0, replayed=True, attempt=2), record(1))
    assert (found.replayed, found.tally.total, found.tally.ran) == (1, 2, 1)
    assert found.tally.retried == 0
    assert summarize_job(found).timing.serial == 0.5


def test_lost_items_belong_to_no_engine() -> None:
    nowhere = dict.fromkeys(("engine_id", "slot", "chunk", "submitted", "started", "completed"))
    found = ledger(record(0, status="lost", seconds=None, **nowhere))
    assert (found.planned, found.engines, found.wall) == (1, {}, 0.0)


def test_only_the_last_job_of_a_killed_run_did_not_end() -> None:
    account = Account()
    account.add(record(0, job="first"))
    account.add(record(0, job="second"))
    ledgers = account.ledgers([], kinds={}, ended=End.KILLED)
    assert [(each.job, each.ended, each.unread) for each in ledgers] == [
        ("first", "done", 0),
        ("second", "killed", None),
    ]
    assert (account.began, account.ended) == (BEGAN, BEGAN + 2)


# -- summaries, there and back ------------------------------------------------------------------

numbers = st.floats(0, 1e6)
words = st.text(st.characters(min_codepoint=32, max_codepoint=126))
uses = st.builds(
    EngineUse,
    engine_id=st.integers(0, 3),
    slot=st.none() | st.integers(0, 3),
    host=words,
    pid=st.none() | st.integers(1, 9),
    items=st.integers(0, 9),
    present=numbers,
    busy=numbers,
    compute=numbers,
)
ledgers = st.builds(
    Ledger,
    job=words,
    wall=numbers,
    planned=st.integers(0, 100),
    unread=st.none() | st.integers(0, 5),
    engines=st.dictionaries(st.integers(0, 3), uses),
    chunksize=st.none() | st.integers(1, 5),
    ended=st.sampled_from(End),
    reason=words,
    value_error=st.none() | words,
    value_note=st.none() | words,
)


@given(st.lists(ledgers, max_size=3), st.none() | words)
def test_a_summary_comes_back_from_its_dict(jobs: list[Ledger], error: str | None) -> None:
    summary = RunSummary(
        run="r", name="n", started="now", exit_code=1, wall=2.5, engines=2, error=error,
        jobs=tuple(summarize_job(job) for job in jobs),
    )  # fmt: skip
    written = json.loads(json.dumps([summary.to_dict(), [job.to_dict() for job in summary.jobs]]))
    assert run_from_dict(*written) == summary


def other_data() -> list[Any]:
    summary = RunSummary(run="r", name="n", started="now", exit_code=0)
    job = summarize_job(Ledger(job="j")).to_dict()
    good = summary.to_dict()
    group = {
        "status": "error", "type": "E", "message": "m", "place": None, "count": 1,
        "items": [{"index": 0, "label": "a", "detail": ""}], "traceback": "", "stderr": "",
    }  # fmt: skip
    return [
        (None, []),
        ([], []),
        (good, {"a": 1}),
        ({**good, "wall": "long"}, []),
        ({**good, "name": None}, []),
        ({key: good[key] for key in good if key != "wall"}, []),
        (good, [{**job, "status": "fine"}]),
        (good, [{**job, "timing": {**job["timing"], "p95": None}}]),
        (good, [{**job, "timing": 1}]),
        (good, [{key: job[key] for key in job if key != "ended"}]),
        (good, [{**job, "timing": {**job["timing"], "engines": [{}]}}]),
        (good, [{**job, "timing": {**job["timing"], "restarts": True}}]),
        (good, [{**job, "failures": [{**group, "items": []}]}]),
        (good, [{**job, "failures": [{**group, "count": "many"}]}]),
        (good, [1]),
    ]


@pytest.mark.parametrize("data", other_data())
def test_other_data_is_no_summary(data: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="not a summary"):
        run_from_dict(*data)


def test_texts_of_a_file_do_nothing_to_a_terminal() -> None:
    item = FailedItem(index=0, label="\x1b[31m", detail="d")
    group = FailureGroup(
        status="error", type="E", message="\x1b[31m", place=None, count=1, items=(item,), traceback="",
        stderr="",
    )  # fmt: skip
    job = summarize_job(Ledger(job="\x1b[31m", failures=(group,))).to_dict()
    summary = RunSummary(run="\x1b[31m", name="n", started="now", exit_code=0)
    back = run_from_dict(summary.to_dict(), [job])
    assert "\x1b" not in repr(msgspec.to_builtins(back))
    assert repr(back).count(r"\\x1b[31m") == 4


def test_the_summary_of_a_summary_is_the_same_also_without_engines() -> None:
    summary = RunSummary(run="r", name="n", started="now", exit_code=0)
    assert run_from_dict(summary.to_dict(), []) == replace(summary, jobs=())


@given(st.floats(0, 4e9))
def test_times_come_back_from_their_text(moment: float) -> None:
    assert parse_time(isoformat(moment)) == pytest.approx(moment, abs=2e-6)


@pytest.mark.parametrize("text", [None, 5, "", "soon", "2026-13-01T00:00:00Z", b"2026-01-01"])
def test_other_text_is_no_time(text: object) -> None:
    assert parse_time(text) is None
