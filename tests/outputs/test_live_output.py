"""What running items print, on its way to those who listen."""

from __future__ import annotations

import io
import threading

from make_records import Paper, batch, record

from arcli.engine.protocol import Printed
from arcli.outputs.bar import BarProgress
from arcli.outputs.live import LOOK, LiveOutput
from arcli.outputs.stream import Stream
from arcli.outputs.target import StreamTarget
from arcli.record import PrintedLines


class Nobody:
    """No listener in another shell."""

    def listening(self) -> bool:
        return False

    def write(self, lines: list[PrintedLines]) -> None:
        raise AssertionError(lines)


def test_of_items_that_have_ended_nothing_is_kept_where_only_the_display_listens() -> None:
    progress = BarProgress(io.StringIO(), color=False, full=True)
    paper = Paper()
    live = LiveOutput(paper.page, {"squares": ""}, Nobody(), progress)
    assert live.streams("squares") == "both"
    for index in range(3):
        live.printed(Printed("squares", index, 1, "out", 0, 1, ["epoch 1"]))
    live.recorded("squares", batch(*(record(index, stdout="epoch 1\nend\n") for index in range(3))).lines)
    assert live._told == {}
    assert not live._waiting


def test_of_attempts_and_items_that_an_engine_has_not_ended_nothing_is_kept_either() -> None:
    paper = Paper()
    live = LiveOutput(paper.page, {"squares": "both"}, Nobody())
    for attempt in (1, 2):
        live.printed(Printed("squares", 0, attempt, "out", 0, 1, ["epoch 1"]))
    lost = record(0, status="lost", attempt=2, msg_id=None)
    live.recorded("squares", batch(lost).lines)
    assert live._told == {}
    assert [lines.lines for lines in live._waiting] == [["epoch 1"], ["epoch 1"]]


class SlowTerminal(io.BytesIO):
    """Takes what is written when it has the time."""

    def __init__(self) -> None:
        super().__init__()
        self.has_time = threading.Event()

    def write(self, data: object) -> int:
        self.has_time.wait()
        return super().write(data)  # type: ignore[arg-type]


def test_the_last_lines_come_to_a_slow_terminal_or_by_a_thread_that_had_to_wait() -> None:
    terminal = SlowTerminal()
    live = LiveOutput(Stream(target=StreamTarget(terminal)), {"squares": "both"}, Nobody())
    with live:
        live.printed(Printed("squares", 0, 1, "out", 0, 1, ["first"]))
        live.printed(Printed("squares", 0, 1, "out", 1, 1, ["last"]))
        late = threading.Timer(2 * LOOK, terminal.has_time.set)
        late.start()
    shown = terminal.getvalue()
    late.join()
    assert shown.decode() == "0: first\n0: last\n"
