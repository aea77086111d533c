"""A short item does not wait behind a long one while another engine has nothing to do."""

from __future__ import annotations

from pathlib import Path

from runs import each_once, finish


def test_short_items_do_not_wait_for_a_long_one(tmp_path: Path) -> None:
    text = """
setup: {imports: [time]}
map: "lambda s: time.sleep(s)"
over: [0.1, 0.1, 6, 0.1, 0.1, 0.1]
chunksize: 2
"""
    code, records = finish(tmp_path, text)
    assert code == 0
    assert each_once(records, 6)
    long = records[2]
    for record in records:
        if record is not long:
            assert record["completed"] < long["completed"], "it had not waited for it"
    assert records[3]["engine_id"] != long["engine_id"]
