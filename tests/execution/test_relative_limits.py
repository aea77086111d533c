"""`timeout: 200%`: items that were sent before there was a median have a limit all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runs import Run

LONG = "600"


@pytest.mark.parametrize(
    ("words", "items"),
    [
        pytest.param(["-j", "2", "sleep {}"], [LONG, "0", "0", "0"], id="on engines"),
        pytest.param(["-j", "8", "-n", "2", "sleep {}"], [LONG, "0", "0", "0"], id="side by side"),
        pytest.param(["--inline", "sleep {}"], ["0", "0", "0", LONG], id="inline"),
    ],
)
def test_an_item_ends_that_began_before_the_others_had(
    tmp_path: Path, words: list[str], items: list[str]
) -> None:
    done = Run(tmp_path, ["map", "-k", "--timeout", "1000%", "--format", "jsonl", *words, ":::", *items])
    assert done.wait() == 1, done.said()
    records = [json.loads(line) for line in done.out.read_text().splitlines()]
    assert [record["status"] for record in records] == ["timeout" if x == LONG else "ok" for x in items]
    (late,) = [record for record in records if record["status"] == "timeout"]
    # The engine ended it by itself: nobody had to end the engine.
    assert "did not stop" not in late["reason"]
    assert late["seconds"] < float(LONG)
