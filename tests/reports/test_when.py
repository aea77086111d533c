"""Moments as people say them."""

from __future__ import annotations

from datetime import datetime

import pytest

from arcli.reports.runlist import friendly

NOW = datetime(2026, 3, 4, 15, 0)


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (datetime(2026, 3, 4, 0, 1), "today 00:01"),
        (datetime(2026, 3, 3, 23, 59), "yesterday 23:59"),
        (datetime(2026, 3, 2, 12, 0), "Mon 12:00"),
        (datetime(2026, 2, 26, 9, 5), "Thu 09:05"),
        (datetime(2026, 2, 25, 9, 5), "25 Feb 09:05"),
        (datetime(2025, 9, 1, 9, 5), "1 Sep 09:05"),
        (datetime(2025, 3, 4, 15, 0), "2025-03-04"),
        (datetime(2026, 3, 5, 1, 0), "2026-03-05"),
    ],
)
def test_friendly(moment: datetime, said: str) -> None:
    assert friendly(moment, NOW) == said
