"""Lines of progress: what is done, the job's place, who holds all up; each tenth, each half minute."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from arcli.engine.tally import Status, Tally
from arcli.outputs.progress import FACTOR, INTERVAL, STRAGGLER, Count, PlainProgress
from arcli.outputs.stream import Stream
from arcli.outputs.target import StreamTarget
from arcli.record import RecordBatch
from arcli.timing.snapshot import RunningItem, Snapshot


def at(index: int, seconds: float) -> RunningItem:
    return RunningItem(engine_id=0, slot=0, host="", index=index, seconds=seconds, chunk=1, running=1)


def standing(
    items: Sequence[RunningItem] = (), *, done: int = 0, total: int | None = None, running: int = 2
) -> Snapshot:
    return Snapshot(engines=2, running=running, job="fit", total=total, done=done, items=tuple(items))


def batch(first: int, count: int, seconds: float, status: Status = Status.OK) -> RecordBatch:
    tally = Tally()
    for _ in range(count):
        tally.add(status, seconds)
    return RecordBatch(job="fit", first=first, count=count, lines=b"", tally=tally)


def test_what_is_done_counts_and_not_what_was_shown() -> None:
    count = Count("fit", 16, 0.0, place=2, jobs=3)
    count.update(standing(done=14))
    assert count.words(7.0) == "fit 2/3: 14 of 16 items (87 %), 2/s, about 1.00 s left, 2 running"


def test_how_many_there_are_may_turn_out_later() -> None:
    count = Count("fit", None, 0.0)
    assert count.words(0.0) == "fit: 0 items"
    count.update(standing(done=5, total=20))
    assert "5 of 20 items (25 %)" in count.words(1.0)
    count.update(standing(done=1, total=1))
    assert count.words(1.0).startswith("fit: 1 of 1 item (100 %)")


@pytest.mark.parametrize(
    ("each", "runs", "named"),
    [
        (0.1, STRAGGLER - 1, False),
        (0.1, STRAGGLER + 1, True),
        (STRAGGLER, FACTOR * STRAGGLER - 1, False),
        (STRAGGLER, FACTOR * STRAGGLER + 1, True),
    ],
)
def test_an_item_that_holds_all_up_is_named_and_nobody_says_when_it_ends(
    each: float, runs: float, named: bool
) -> None:
    count = Count("fit", 12, 0.0)
    count.add(batch(1, 11, each))
    count.update(standing(done=11, items=[at(0, runs)], running=1))
    words = count.words(60.0)
    assert ("item 0 runs for" in words) == named
    assert ("left" in words) == (not named)


def test_a_line_at_each_tenth_and_after_each_half_minute() -> None:
    now, written = [0.0], io.BytesIO()
    progress = PlainProgress(Stream(target=StreamTarget(written)), clock=lambda: now[0])
    state = [standing(total=100)]
    progress.watch(lambda: state[0])
    progress.expect("fit", 100)
    told = 0
    for done in range(1, 100):
        now[0] += 0.01
        state[0] = replace(state[0], done=done)
        progress.record(batch(done - 1, 1, 0.01))
        lines = written.getvalue().decode().splitlines()
        if done % 10 == 0:
            assert f"{done} of 100 items" in lines[-1]
        assert len(lines) == done // 10
        told = len(lines)
    now[0] += INTERVAL - 1
    progress.record(batch(99, 0, 0.0))
    assert len(written.getvalue().splitlines()) == told
    now[0] += 2
    progress.record(batch(99, 0, 0.0))
    assert len(written.getvalue().splitlines()) == told + 1


def test_a_record_does_not_have_all_that_is_known_looked_through() -> None:
    """Records may come a thousand times a second, with ten thousand durations known."""
    looks = []

    def look() -> Snapshot:
        looks.append(standing(total=1000))
        return looks[-1]

    progress = PlainProgress(Stream(target=StreamTarget(written := io.BytesIO())), clock=lambda: 1.0)
    progress.watch(look)
    progress.expect("fit", 1000)
    for done in range(1000):
        progress.record(batch(done, 1, 0.01))
    assert len(looks) == len(written.getvalue().splitlines()) == 10
