"""What ends a run from outside: signals, lost clusters, deadlines, full disks, gone readers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from runs import (
    PATIENCE,
    SIGNALS,
    Run,
    each_once,
    engines,
    finish,
    gated,
    running,
    statuses,
    wait_until,
    words_of,
)

SLOW = """
setup: {imports: [time]}
map: "lambda x: time.sleep(0.05) or x * x"
over: {range: 4000}
"""
STUCK = """
setup: {imports: [time]}
map: "lambda x: time.sleep(300) if x == 1 else x"
over: {range: 50}
"""


def some(run: Run, count: int = 3) -> None:
    """Wait until a few records are out."""
    wait_until(lambda: len(run.lines()) >= count, run.said)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_keeps_what_is_done(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, SLOW) as run:
        some(run)
        run.signal(number)
        assert run.wait() == SIGNALS[number]
        records = run.lines()
    assert each_once(records)
    assert statuses(records)["ok"] >= 3
    assert set(statuses(records)) <= {"ok", "cancelled"}
    assert number.name in run.said()
    job = run.manifest()["summary"]["jobs"][0]
    assert job["counts"]["planned"] == len(records)
    assert job["counts"]["planned"] + job["counts"]["unread"] == 4000


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with running(tmp_path, STUCK) as run:
        some(run, 1)
        run.signal(signal.SIGINT)
        wait_until(lambda: "once more" in run.said(), run.said)
        run.signal(signal.SIGINT)
        assert run.wait() == 130
        records = run.lines()
    assert each_once(records)
    assert records[1]["status"] == "cancelled"


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    with running(tmp_path, SLOW.replace("4000", "40"), preexec=ignore) as run:
        some(run)
        run.signal(signal.SIGHUP)
        assert run.wait() == 0
        assert each_once(run.lines(), 40)


def test_arcli_killed_leaves_nothing_and_resume_completes(tmp_path: Path) -> None:
    with running(tmp_path, gated(120)) as run:
        some(run, 10)
        run.signal(signal.SIGKILL)
        (tmp_path / "go").touch()
        assert run.wait() == -signal.SIGKILL
    code, records = finish(tmp_path, gated(120), "--resume")
    # The spec's text differs in nothing that decides a value.
    assert code == 0
    assert each_once(records, 120)
    assert all(r["value"] == r["index"] ** 2 for r in records)
    assert sum(bool(r.get("replayed")) for r in records) >= 10


def test_an_engine_killed_from_outside_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, gated(100)) as run:
        some(run)
        os.kill(engines(run, 2)[0]["pid"], signal.SIGKILL)
        engines(run, 3)
        (tmp_path / "go").touch()
        assert run.wait() == 0
        records = run.lines()
    assert each_once(records, 100)
    assert len(run.manifest()["engines"]) == 3
    assert run.manifest()["engines"][0]["reason"].endswith("killed by SIGKILL")


def test_the_runs_deadline(tmp_path: Path) -> None:
    # A busy machine may need all of a short time for its engines.
    for seconds in (3, 15, 60):
        code, records = finish(tmp_path, STUCK, "--deadline", f"{seconds}s")
        assert code == 124
        if len(records) > 1:
            break
    assert each_once(records)
    assert records[1]["status"] == "cancelled"
    assert "deadline" in records[1]["reason"]


def test_what_commands_and_users_start_is_gone_with_arcli(tmp_path: Path) -> None:
    spec = """
setup: {imports: [subprocess, time]}
map: "lambda x: subprocess.Popen(['sleep', '300'], start_new_session=True) and time.sleep(300)"
over: [1, 2]
"""
    with running(tmp_path, spec) as run:
        wait_until(lambda: [p for p in run.relatives() if "sleep" in words_of(p)][1:], run.said)
        run.signal(signal.SIGKILL)
        run.wait()


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with running(tmp_path, SLOW, stdout=writer) as run:
        os.close(writer)
        os.read(reader, 10)
        os.close(reader)
        assert run.wait() == 141
        assert run.said() == ""


def test_a_reader_that_never_reads_stops_no_deadline(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    spec = "map: \"lambda x: 'x' * 10_000\"\nover: {range: 2000}\n"
    try:
        with running(tmp_path, spec, "--deadline", "3s", stdout=writer) as run:
            os.close(writer)
            assert run.wait() == 124
    finally:
        os.close(reader)


def test_overlap_is_refused_and_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    with running(tmp_path, gated(100), "--no-overlap") as first:
        some(first)
        with running(tmp_path, gated(100), "--no-overlap") as second:
            assert second.wait() == 75
            assert str(first.process.pid) in second.said()
        first.signal(signal.SIGKILL)
        (tmp_path / "go").touch()
        first.wait()
    code, _ = finish(tmp_path, gated(4), "--no-overlap")
    assert code == 0


def test_a_run_that_did_not_ask_for_the_lock_is_no_less_there(tmp_path: Path) -> None:
    with running(tmp_path, gated(100)) as first:
        some(first)
        with running(tmp_path, gated(100), "--no-overlap") as second:
            assert second.wait() == 75
            (run,) = (tmp_path / ".arcli/runs").glob("2*")
            assert f"run {run.name} of spec spec.yaml still goes on" in second.said()


FILLS = "map: \"lambda x: 'x' * 20_000\"\nover: {range: 500}\n"


def test_a_full_disk_under_the_journal(tmp_path: Path, tiny_disk: Path) -> None:
    with running(tmp_path, FILLS, env={"ARCLI_DIR": str(tiny_disk / "arcli")}) as run:
        assert run.wait() == 4
    (journal,) = (tiny_disk / "arcli" / "runs").glob("*/journal.jsonl")
    raw = journal.read_bytes()
    assert raw
    assert raw.endswith(b"\n")
    # What could not be written counts as little as what never ran.
    said = re.search(r"(\d+) of \d+ items ok", run.said())
    assert said, run.said()
    assert int(said[1]) == raw.count(b"\n")


def test_a_full_disk_under_an_output(tmp_path: Path, tiny_disk: Path) -> None:
    with running(tmp_path, FILLS, "-o", str(tiny_disk / "out.jsonl")) as run:
        assert run.wait() == 4
        assert "out.jsonl" in run.said()
    raw = (tiny_disk / "out.jsonl").read_bytes()
    assert raw.endswith(b"\n")


def test_an_output_that_cannot_be_made_is_found_before_any_work(tmp_path: Path) -> None:
    with running(tmp_path, SLOW, "-o", "nowhere/out.json") as run:
        assert run.wait() == 4
        assert run.lines() == [] or "error" in run.lines()[0]
        assert "nowhere" in run.said()


def test_an_output_folder_that_vanishes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with running(tmp_path, gated(60), "-o", "out/results.json") as run:
        some(run)
        shutil.rmtree(out)
        (tmp_path / "go").touch()
        assert run.wait() == 4
        assert "results.json" in run.said()
        assert each_once([r for r in run.lines() if "index" in r], 60)


def test_an_empty_environment(tmp_path: Path) -> None:
    """As cron has it: no HOME, no PATH."""
    (tmp_path / "spec.yaml").write_text(gated(4))
    done = subprocess.run(
        [sys.executable, "-m", "arcli", "run", "spec.yaml", "-q"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_jobs_deadline_ends_an_item_in_this_process_whatever_it_catches(tmp_path: Path) -> None:
    spec = """
setup:
  run: |
    import time
    def stubborn(x):
        try:
            time.sleep(300)
        except Exception:
            time.sleep(300)
jobs:
- {name: a, map: stubborn, over: [1, 2], deadline: 1s}
- {name: b, map: abs, over: [3]}
"""
    code, records = finish(tmp_path, spec, "--inline")
    assert code == 124
    assert {record["status"] for record in records if record["job"] == "a"} == {"cancelled"}
    assert [record["value"] for record in records if record["job"] == "b"] == [3]


def test_a_killed_run_leaves_nothing_beside_its_outputs(tmp_path: Path) -> None:
    try:
        os.close(os.open(tmp_path, os.O_WRONLY | os.O_TMPFILE))
    except (AttributeError, OSError):
        pytest.skip("this system has no files without a name here")
    outputs = ["-o", "out.csv", "-o", "out.json.gz", "-o", "out.md"]
    with running(tmp_path, gated(40), *outputs) as run:
        some(run)
        run.signal(signal.SIGKILL)
        run.wait()
    assert list(tmp_path.glob("*out.*")) == []
    (tmp_path / "go").touch()
    assert finish(tmp_path, gated(40), *outputs, "--resume")[0] == 0
    assert sorted(path.name for path in tmp_path.glob("*out.*")) == ["out.csv", "out.json.gz", "out.md"]


def test_a_setup_that_ends_its_engines_is_told_once_and_where_it_was(tmp_path: Path) -> None:
    spec = 'cluster: {max_restarts: 1}\nsetup: {run: "import os; os._exit(7)"}\nmap: abs\nover: [-1]\n'
    with running(tmp_path, spec) as run:
        assert run.wait() == 3
        assert run.said().count("the cluster is lost") == 1
        assert "the last one ended in setup: engine" in run.said()
