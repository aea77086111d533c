"""The short edition of the soak."""

from __future__ import annotations

from pathlib import Path

from soak import soak


def test_a_batch_that_is_harassed_comes_to_its_end(tmp_path: Path) -> None:
    hits = soak(rounds=2, items=1200, seed=11, folder=tmp_path)
    assert hits["rounds"] == 2
    assert hits["kills"] > 0
