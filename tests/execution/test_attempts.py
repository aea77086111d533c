"""What becomes of an item before its record: in the record, in the engines' account, drawn in reports."""

from __future__ import annotations

import json
import re
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

from runs import Run, finish, running, wait_until

TROUBLED = """
cluster: {engines: 1}
setup:
  run: |
    import os, time
    def first_time(name):
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True
    def act(x):
        if x == 3 and first_time("raised"):
            raise ValueError("not yet")
        if x == 2 and first_time("died"):
            os._exit(9)
        return x
    time.sleep(0.3)
map: act
over: {range: 4}
retries: 1
retry_delay: 0.01
"""


def told(folder: Path, *words: str) -> str:
    run = Run(folder, list(words))
    assert run.wait() == 0, run.said()
    return run.out.read_text()


def moment(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def test_failed_attempts_setup_deaths_and_replacements_have_their_times(tmp_path: Path) -> None:
    code, records = finish(tmp_path, TROUBLED, "-n", "1")
    assert code == 0
    manifest = Run(tmp_path, ["runs"])
    assert manifest.wait() == 0
    first, second = manifest.manifest()["engines"]

    # Only items with earlier attempts tell of any: where they ran, how they ended, when.
    earlier: dict[int, list[dict[str, Any]]] = {r["index"]: r.get("earlier_attempts", []) for r in records}
    assert earlier[0] == earlier[1] == []
    (raised,) = earlier[3]
    assert (raised["status"], raised["reason"]) == ("error", "ValueError: not yet")
    died = earlier[2][-1]
    assert (died["status"], died["engine_id"]) == ("lost", first["engine_id"])
    assert "exited with status 9" in died["reason"]
    for index, attempts in earlier.items():
        times = [(each["started"], each["completed"]) for each in [*attempts, records[index]]]
        assert all(started <= completed for started, completed in times)
        assert times == sorted(times)

    # Engines: started, their setup, and why one ended before the run did.
    for engine in (first, second):
        assert engine["started"] < engine["ready"]
    assert (first["slot"], first["reason"]) == (second["slot"], died["reason"])
    assert second["reason"] is None

    # The trace, and the page, draw all of it.
    events = json.loads(told(tmp_path, "report", "--format", "trace"))["traceEvents"]
    at = {(event["name"], event["tid"]): event for event in events if event["ph"] != "M"}
    assert at["spec 3, tried again", second["engine_id"]]["args"]["reason"] == "ValueError: not yet"
    assert at["spec 2, tried again", first["engine_id"]]["args"]["status"] == "lost"
    ended = at["engine ended", first["engine_id"]]
    assert ended["args"]["reason"] == first["reason"]
    launched = at["start-up", second["engine_id"]]
    assert (launched["ts"], launched["args"]) == (ended["ts"], {"in_place_of": first["engine_id"]})
    for engine in (first, second):
        startup, setup = (at[name, engine["engine_id"]] for name in ("start-up", "setup"))
        assert abs(startup["ts"] + startup["dur"] - setup["ts"]) <= 1
        assert setup["dur"] > 0
    page = told(tmp_path, "report", "--format", "html")
    titles = re.findall("<title>(.*?)</title>", page)
    for part in (
        "spec 3: .*, error, tried again: ValueError: not yet",
        "spec 2: .*, lost, tried again: .*exited with status 9",
        f"engine {second['engine_id']}: start-up .*, in place of engine {first['engine_id']}",
        f"engine {second['engine_id']}: setup .*",
        "ended after .*exited with status 9",
    ):
        assert any(re.fullmatch(part, title) for title in titles), part


def test_time_of_failed_attempts_and_of_setup_is_booked_as_that(tmp_path: Path) -> None:
    slow = TROUBLED.replace('raise ValueError("not yet")', 'time.sleep(0.5); raise ValueError("not yet")')
    (tmp_path / "spec.yaml").write_text(slow)
    document = json.loads(told(tmp_path, "run", "spec.yaml", "--format", "json"))
    overhead = document["jobs"][0]["timing"]["overhead"]
    assert overhead["attempts"] >= 0.5
    assert document["run"]["setup"] > 0
    parts = sum(overhead[name] for name in ("compute", "attempts", "envelope", "idle"))
    assert parts >= 0.99 * overhead["present"]
    report = " ".join(told(tmp_path, "report").split())
    assert "failed or stopped attempts" in report
    assert ", setup " in report


def test_what_ran_when_it_was_stopped_is_told_from_what_never_began(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("""
cluster: {engines: 1}
setup: {imports: [pathlib, time]}
map: "lambda x: pathlib.Path('began').touch() or time.sleep(600)"
over: {range: 3}
chunksize: 3
""")
    run = Run(tmp_path, ["run", "spec.yaml", "-o", "items.csv", "--format", "jsonl"])
    wait_until(lambda: (tmp_path / "began").exists(), run.said)
    run.signal(signal.SIGINT)
    wait_until(lambda: "once more" in run.said(), run.said)
    run.signal(signal.SIGINT)
    assert run.wait() == 130
    ran, *others = (record for record in run.lines() if "index" in record)
    assert re.fullmatch(r"stopped by SIGINT, after \S+ \S+", ran["reason"])
    assert ran["seconds"] > 0
    assert ran["engine_id"] == 0
    assert moment(ran["completed"]) - moment(ran["started"]) >= 0
    for record in others:
        assert record["reason"] == "stopped by SIGINT, before it began"
        assert record["started"] is record["seconds"] is None
    assert "cancelled after" in told(tmp_path, "show", "0")
    assert "before it began" in told(tmp_path, "show", "2")
    rows = (tmp_path / "items.csv").read_text()
    assert "stopped by SIGINT, after" in rows
    assert "stopped by SIGINT, before it began" in rows


SLOW_NOTES = """
import time
from arcli.store.folder import RunFolder
note = RunFolder.note_engines
def late(*arguments):
    time.sleep(1)
    note(*arguments)
RunFolder.note_engines = late
"""
"""As where the disk is slow, or the thread that notes an engine waits for its turn."""


def test_that_an_engine_was_ready_is_noted_though_its_coming_is_noted_late(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_NOTES)
    with running(tmp_path, "map: abs\nover: [1]\n", env={"PYTHONPATH": str(tmp_path)}) as run:
        assert run.wait() == 0, run.said()
        ready = {engine["engine_id"]: engine["ready"] for engine in run.manifest()["engines"]}
        (record,) = run.lines()
    assert ready[record["engine_id"]] is not None
