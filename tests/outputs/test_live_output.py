"""What running items print, on its way to those who listen."""

from __future__ import annotations

import io

from make_records import Paper, batch, record

from arcli.engine.protocol import Printed
from arcli.outputs.bar import BarProgress
from arcli.outputs.live import LiveOutput
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
