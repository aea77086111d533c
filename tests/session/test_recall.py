"""A short item does not wait behind a long one while another engine has nothing to do."""

from __future__ import annotations

from pathlib import Path

from runs import PATIENCE, each_once, finish


def test_short_items_do_not_wait_for_a_long_one(tmp_path: Path) -> None:
    text = f"""
setup:
  imports: [os, time]
  run: |
    def work(x):
        open(f"begun-{{x}}", "w").close()
        end = time.monotonic() + {PATIENCE / 2}
        while x == 2 and sum(name.startswith("begun-") for name in os.listdir()) < 6:
            assert time.monotonic() < end, "it is waited for"
            time.sleep(0.02)
map: work
over: {{range: 6}}
chunksize: 2
"""
    code, records = finish(tmp_path, text)
    assert code == 0, "the long item ends when all others have begun"
    assert each_once(records, 6)
    assert records[3]["engine_id"] != records[2]["engine_id"]
