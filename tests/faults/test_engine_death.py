"""Engines that die: the culprit is found, its neighbours keep their results."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import each_once, finish, statuses

DEATHS = {
    "exit": "os._exit(3)",
    "segfault": "ctypes.string_at(0)",
    "sigkill": "os.kill(os.getpid(), 9)",
    "abort": "os.abort()",
}


def spec(death: str, condition: str, count: int = 60, more: str = "") -> str:
    return f"""
setup: {{imports: [os, ctypes]}}
map: "lambda x: {death} if {condition} else x * x"
over: {{range: {count}}}
{more}
"""


@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS)
def test_an_item_that_kills_its_engine_is_lost_and_costs_nobody_else(tmp_path: Path, death: str) -> None:
    code, records = finish(tmp_path, spec(death, "x == 37"))
    assert code == 1
    assert each_once(records, 60)
    assert statuses(records) == {"ok": 59, "lost": 1}
    assert all(r["value"] == r["index"] ** 2 for r in records if r["status"] == "ok")
    assert "died 2 times" in records[37]["reason"]


def test_the_reason_names_how_the_engine_died(tmp_path: Path) -> None:
    _, records = finish(tmp_path, spec("os._exit(3)", "x == 0", 2))
    assert "exited with status 3" in records[0]["reason"]


def test_a_culprit_in_the_middle_of_a_large_chunk_costs_two_engines(tmp_path: Path) -> None:
    code, records = finish(tmp_path, spec("os._exit(3)", "x == 700", 1000, "chunksize: 1000"))
    assert code == 1
    assert each_once(records, 1000)
    assert statuses(records) == {"ok": 999, "lost": 1}


def test_several_culprits_are_each_found(tmp_path: Path) -> None:
    code, records = finish(tmp_path, spec("os._exit(3)", "x in {5, 20, 21}", 40, "chunksize: 10"))
    assert code == 1
    assert each_once(records, 40)
    assert [r["index"] for r in records if r["status"] == "lost"] == [5, 20, 21]


def test_retries_give_a_killer_more_chances(tmp_path: Path) -> None:
    _, records = finish(tmp_path, spec("os._exit(3)", "x == 3", 6, "retries: 3"))
    assert "died 4 times" in records[3]["reason"]


def test_an_item_that_kills_once_gets_its_value(tmp_path: Path) -> None:
    code, records = finish(
        tmp_path,
        """
setup:
  run: |
    import os
    def once(x):
        try:
            os.close(os.open(f"died-{x}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return x
        os._exit(9)
map: once
over: [1, 2, 3]
""",
    )
    assert code == 0
    assert [r["value"] for r in records] == [1, 2, 3]


def test_a_spec_whose_every_item_kills_ends_with_all_recorded(tmp_path: Path) -> None:
    code, records = finish(tmp_path, spec("os._exit(3)", "True", 30, "cluster: {max_restarts: 4}"))
    assert code == 3
    assert each_once(records, len(records))
    assert set(statuses(records)) == {"lost"}


def test_setup_is_replayed_on_an_engine_that_replaces_another(tmp_path: Path) -> None:
    """Item 3 ends its engine, and those behind it wait until one of them is on the engine in its place."""
    code, records = finish(
        tmp_path,
        """
setup:
  push: {scale: 10}
  scatter: {mine: "${engines.slots}"}
  run: |
    import os, pathlib, time
    slot = int(os.environ["ARCLI_SLOT"])
    replacement = pathlib.Path(f"died-{slot}").exists()
    def work(x):
        if x == 3:
            pathlib.Path(f"died-{slot}").touch()
            os._exit(1)
        if replacement:
            pathlib.Path("replaced").touch()
        while x > 3 and not pathlib.Path("replaced").exists():
            time.sleep(0.005)
        return [x * scale, mine, slot, replacement]
map: work
chunksize: 1
over: {range: 30}
""",
    )
    assert code == 1
    values = [r["value"] for r in records if r["status"] == "ok"]
    assert [v[0] for v in values] == [10 * x for x in range(30) if x != 3]
    assert all(mine == slot for _, mine, slot, _ in values)
    assert any(replacement for *_, replacement in values)


def test_an_engine_that_dies_in_setup_over_and_over_ends_the_run(tmp_path: Path) -> None:
    code, records = finish(
        tmp_path,
        """
cluster: {max_restarts: 2}
setup: {run: "import os; os._exit(4)"}
map: "abs"
over: [1, 2]
""",
    )
    assert code == 3
    assert records == []


def test_a_few_items_that_crash_do_not_end_a_batch(tmp_path: Path) -> None:
    """Each costs its engine twice, which is more than max_restarts would allow in all."""
    text = """
setup:
  imports: [os, time]
map: "lambda x: time.sleep(0.002) or (x if x >= 6 else os._exit(1))"
over: {range: 100}
cluster: {max_restarts: 6}
"""
    code, records = finish(tmp_path, text)
    assert code == 1
    assert each_once(records, 100)
    assert [record["index"] for record in records if record["status"] == "lost"] == list(range(6))
    assert sum(record["status"] == "ok" for record in records) == 94
