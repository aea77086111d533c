"""The display below a run on a terminal: which lines it has, and that they fit."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TextIO, cast

import pytest
from rich.table import Table
from rich.text import Text

from arcli.engine.tally import Status, Tally
from arcli.outputs.bar import BarProgress
from arcli.outputs.target import NullStream, StreamTarget
from arcli.record import RecordBatch
from arcli.timing.snapshot import RunningItem, Snapshot


def at(engine_id: int, index: int | None, seconds: float, chunk: int = 1) -> RunningItem:
    return RunningItem(
        engine_id=engine_id, slot=0, host="", index=index, seconds=seconds, chunk=chunk, running=1
    )


def standing(items: Sequence[RunningItem], done: int = 0) -> Snapshot:
    return Snapshot(engines=64, running=64, job="fit", total=1000, done=done, items=tuple(items))


def display(
    items: Sequence[RunningItem],
    *,
    width: int = 80,
    height: int = 24,
    full: bool | None = True,
    terminal: TextIO | None = None,
) -> BarProgress:
    progress = BarProgress(terminal or io.StringIO(), color=False, full=full)
    progress._console.size = (width, height)
    progress._live.live.auto_refresh = False  # it is drawn when the test says so
    progress.start()
    progress.watch(lambda: standing(items))
    progress.expect("fit", 1000)
    return progress


def lines(progress: BarProgress) -> list[str]:
    return [line.plain for line in progress.engine_lines()]


def ended(progress: BarProgress, seconds: float, job: str = "fit") -> None:
    tally = Tally()
    tally.add(Status.OK, seconds)
    progress.record(RecordBatch(job=job, first=0, count=1, lines=b"", tally=tally))


BUSY = [at(number, number + 100, 64.0 - number) for number in range(64)]


@pytest.mark.parametrize(("width", "height"), [(40, 24), (200, 24), (80, 10), (40, 4), (200, 100)])
def test_as_many_engines_as_fit_the_longest_running_first(width: int, height: int) -> None:
    progress = display(BUSY, width=width, height=height)
    for item in BUSY:
        assert item.index is not None
        progress.hear(item.index, f"epoch {item.engine_id} " + "x" * 300)
    shown = lines(progress)
    progress.abort()
    assert len(shown) == min(64, max(1, height - 3))
    assert all(len(line) <= width - 3 for line in shown)
    left_out = 64 - (len(shown) - 1) if len(shown) < 64 else 0
    assert not left_out or shown.pop() == f"  … and {left_out} more"
    for item, line in zip(BUSY, shown, strict=False):
        assert f"item {item.index} " in line
        assert "epoch" in line
        assert line.endswith("…")


def test_a_line_says_what_runs_for_how_long_and_what_it_printed_last() -> None:
    progress = display([at(3, 17, 12.0), at(11, None, 2.0, chunk=40)])
    progress.hear(17, "loss 0.5")
    progress.hear(17, "10 %\r20 %\r\x1b[1m30 %\r")
    first, second = lines(progress)
    progress.abort()
    assert first.split() == ["engine", "3", "item", "17", "12.0", "s", "\\x1b[1m30", "%"]
    assert second.split() == ["engine", "11", "40", "items", "2.00", "s"]


@pytest.mark.parametrize(("seconds", "shows"), [(0.01, False), (5.0, True)])
def test_by_itself_it_has_lines_where_items_take_long(seconds: float, shows: bool) -> None:
    progress = display([at(0, 1, 0.5)], full=None)
    assert progress.hears()  # what a first long item prints should not be missed
    assert lines(progress) == []
    ended(progress, seconds)
    progress.figures()  # as at each refresh
    assert progress.hears() == shows
    assert bool(lines(progress)) == shows
    progress.abort()


def test_what_is_written_above_has_nothing_drawn_or_reckoned_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results may come a thousand times a second, and each looks for what listens to its items."""
    terminal = io.StringIO()
    progress = display(BUSY, full=None, terminal=terminal)
    ended(progress, 5.0)
    progress._live.refresh()
    drawn = terminal.tell()
    for part, name in ((Tally, "quantile"), (Table, "__rich_console__"), (Text, "from_ansi")):
        monkeypatch.setattr(part, name, None)
    above = progress.above(NullStream())
    above.write(b"a result\n")
    assert progress.hears()
    monkeypatch.undo()
    result, _, below = terminal.getvalue()[drawn:].partition("\n")
    assert result.endswith("a result")
    assert "fit" in below
    assert "engine 63" in below.splitlines()[-1] or "more" in below.splitlines()[-1]
    progress.abort()


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_what_is_written_above_arrives_as_it_is(encoding: str) -> None:
    """Text of another encoding, pieces cut within a letter, lines that come in pieces."""
    raw, rest = io.BytesIO(), io.BytesIO()
    terminal = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace")
    progress = display(BUSY, full=None, terminal=terminal)
    ended(progress, 5.0)
    above = progress.above(StreamTarget(rest))
    above.write(b"caf\xe9\nna")
    for piece in ("ïve\n".encode()[:2], "ïve\n".encode()[2:], b"the ", b"end"):
        above.write(piece)
    progress.abort()
    above.commit()
    assert b"caf\xe9\n" in raw.getvalue()
    assert "naïve\n".encode() in raw.getvalue()
    assert rest.getvalue() == b"the end"


def test_a_first_item_that_runs_for_long_is_shown() -> None:
    progress = display([at(0, 0, 3.0)], full=None)
    assert len(lines(progress)) == 1
    progress.abort()


def test_a_plain_bar_hears_nothing() -> None:
    progress = display(BUSY, full=False)
    assert not progress.hears()
    assert lines(progress) == []
    progress.abort()


def test_what_items_that_ended_have_printed_is_forgotten() -> None:
    items = [at(0, 1, 3.0)]
    progress = display(items)
    progress.hear(1, "first")
    items[:] = [at(0, 2, 3.0)]
    assert "first" not in "".join(lines(progress))
    items[:] = [at(0, 1, 3.0)]
    assert "first" not in "".join(lines(progress))
    progress.abort()


def test_what_a_narrower_terminal_wraps_is_erased() -> None:
    progress = display([at(0, 1, 3.0), at(1, 2, 3.0)], width=100)
    for index in (1, 2):
        progress.hear(index, "x" * 200)
    live = progress._live
    live.refresh()
    stream = cast("io.StringIO", progress._console.file)
    progress._console.size = (40, 24)
    start = stream.tell()
    live.refresh()
    # Two lines of 97 columns have become three rows each, and the bar, of 52 and more, two.
    assert stream.getvalue()[start:].count("\x1b[1A") == 2 + 3 + 3 - 1
    progress.abort()


@pytest.mark.parametrize(("width", "shown"), [(60, False), (120, True)])
def test_how_long_it_takes_stays_where_there_is_little_room(width: int, shown: bool) -> None:
    progress = display([], width=width, full=False)
    progress.watch(lambda: standing([], done=100))
    ended(progress, 0.1)
    text = progress.figures()
    progress.abort()
    assert text.startswith("100/1,000")
    assert text.endswith("left") != shown
    assert ("running" in text) == shown
    assert "left" in text
    assert len(text) + 25 + len("fit") <= width or shown


@pytest.mark.parametrize("width", [40, 50, 60, 80, 100])
def test_a_long_name_gives_way_to_the_bar_the_count_and_the_time(width: int) -> None:
    progress = display([], width=width, full=False)
    job = "preprocess_the_images_of_2026_batch_7"
    progress.expect(job, 1000)
    for _ in range(500):
        ended(progress, 0.1, job)
    for _ in range(2):  # what it counts is seen from the second time on
        drawn = progress._console.render_lines(progress._live.make_tasks_table(progress._live.tasks))
    (line,) = ["".join(part.text for part in row).rstrip() for row in drawn]
    progress.abort()
    _, name, bar, count, *_ = line.split()
    assert name.startswith("prepr")
    assert name.endswith(("…", "7"))
    assert set(bar) <= set("━╸╺")
    assert count == "500/1,000"
    assert line.endswith("0:00:00")
    assert len(line) <= width
