"""Nothing that a run waits for lasts for ever: whoever dies, stops, hangs or does not read."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from runs import (
    PATIENCE,
    Run,
    each_once,
    engines,
    finish,
    gated,
    running,
    statuses,
    wait_until,
    waiting_in,
)


def some(run: Run, count: int = 3) -> None:
    """Wait until a few records are out."""
    wait_until(lambda: len(run.lines()) >= count, run.said)


def right(records: list[dict[str, Any]], count: int) -> bool:
    """Whether every item is there once, with its square."""
    return each_once(records, count) and all(r["value"] == r["index"] ** 2 for r in records)


# -- the cluster as a whole -----------------------------------------------------------------------


TOGETHER = """
setup:
  run: |
    import os, pathlib, time
    def work(x):
        pathlib.Path("here-" + os.environ["ARCLI_SLOT"]).touch()
        while len([*pathlib.Path().glob("here-*")]) < 2 or (x >= 20 and not os.path.exists("go")):
            time.sleep(0.02)
        return x * x
map: work
over: {range: 60}
"""
"""Items begin when both engines are there, and end when the test says so."""


@pytest.mark.parametrize("victim", ["controller", "supervisor"])
@pytest.mark.parametrize("ordered", ["true", "false"])
def test_a_lost_cluster_is_started_anew(tmp_path: Path, victim: str, ordered: str) -> None:
    with running(tmp_path, TOGETHER + f"ordered: {ordered}\n") as run:
        wait_until(lambda: {record["engine_id"] for record in run.lines()} == {0, 1}, run.said)
        run.child(victim).kill()
        engines(run, 4)
        (tmp_path / "go").touch()
        assert run.wait() == 0, run.said()
        records = sorted(run.lines(), key=lambda record: record["index"])
        assert "a new cluster is started" in run.said()
    assert right(records, 60)
    assert sorted(engine["slot"] for engine in engines(run, 4)) == [0, 0, 1, 1]
    assert len({engine["engine_id"] for engine in engines(run, 4)}) == 4
    assert run.manifest()["summary"]["jobs"][0]["timing"]["restarts"] == 1


def test_what_a_job_has_pushed_and_defined_is_known_to_the_next_cluster(tmp_path: Path) -> None:
    spec = """
setup:
  push: {base: 7}
  run: |
    import os, time
    def work(x):
        while x >= 20 and not os.path.exists("go"):
            time.sleep(0.02)
        return x + total + base
jobs:
- {name: a, map: "lambda x: x", over: [1, 2], reduce: "operator:add", push_as: total}
- {name: b, map: work, over: {range: 100}}
"""
    with running(tmp_path, spec) as run:
        some(run, 5)
        run.child("controller").kill()
        (tmp_path / "go").touch()
        assert run.wait() == 0, run.said()
        values = [record["value"] for record in run.lines() if record["job"] == "b"]
    assert values == [x + 10 for x in range(100)]


def test_a_cluster_that_may_not_be_restarted_ends_the_run_in_words(tmp_path: Path) -> None:
    with running(tmp_path, gated(120, "cluster: {max_restarts: 0}\n")) as run:
        some(run)
        run.child("controller").kill()
        (tmp_path / "go").touch()
        assert run.wait() == 3
        records = [record for record in run.lines() if "index" in record]
        assert "controller" in run.said()
    assert each_once(records)
    assert set(statuses(records)) == {"ok", "lost"}


def test_a_controller_without_its_heart_monitor_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, gated(120, "cluster: {launcher: local}\n")) as run:
        some(run)
        (heart_monitor,) = run.child("controller").children()
        heart_monitor.kill()
        (tmp_path / "go").touch()
        assert run.wait() == 0, run.said()
        assert right(run.lines(), 120)


@pytest.mark.parametrize("victim", ["engine", "controller", "supervisor"])
def test_whoever_is_stopped_is_ended_and_replaced(tmp_path: Path, victim: str) -> None:
    with running(tmp_path, gated(40)) as run:
        some(run)
        engine = psutil.Process(engines(run, 1)[0]["pid"])
        (engine if victim == "engine" else run.child(victim)).suspend()
        (tmp_path / "go").touch()
        assert run.wait() == 0, run.said()
        assert right(run.lines(), 40)


# -- slots that have no engine any more -----------------------------------------------------------


def test_an_apply_on_an_engine_that_is_gone_for_good(tmp_path: Path) -> None:
    spec = """
cluster: {engines: 2, max_restarts: 0}
setup: {imports: [os]}
apply: "lambda: os._exit(3) if os.environ['ARCLI_SLOT'] == '0' else 1"
targets: all
"""
    code, records = finish(tmp_path, spec)
    assert code == 1
    assert each_once(records, 2)
    assert [record["status"] for record in records] == ["lost", "ok"]


def test_items_that_were_dealt_to_an_engine_that_is_gone_for_good(tmp_path: Path) -> None:
    spec = """
cluster: {engines: 2, max_restarts: 0}
setup: {imports: [os]}
map: "lambda x: os._exit(3) if x < 2 else x"
over: {range: 8}
view: direct
"""
    code, records = finish(tmp_path, spec)
    assert code == 1
    assert each_once(records, 8)
    assert [record["status"] for record in records] == ["lost"] * 4 + ["ok"] * 4


def test_an_engine_that_dies_while_a_job_is_defined(tmp_path: Path) -> None:
    """Its replacement must learn the job, although the other one already knows it."""
    (tmp_path / "once.py").write_text(
        "import os, pathlib, time\n"
        "if os.environ['ARCLI_SLOT'] == '1':\n"
        "    mark = pathlib.Path('died')\n"
        "    if not mark.exists():\n"
        "        mark.touch()\n"
        "        os._exit(5)\n"
        "def f(x): return x * x\n"
    )
    code, records = finish(tmp_path, "map: once:f\nover: {range: 60}\n")
    assert code == 0
    assert right(records, 60)


# -- limits that the user's code does not heed ----------------------------------------------------


def test_time_limits_use_up_no_restarts(tmp_path: Path) -> None:
    spec = """
cluster: {max_restarts: 0}
setup:
  imports: [time]
  run: |
    def deaf(x):
        while x % 2:
            try:
                time.sleep(0.01)
            except BaseException:
                pass
        return x * x
map: deaf
over: {range: 6}
timeout: 1
"""
    code, records = finish(tmp_path, spec)
    assert code == 1
    assert each_once(records, 6)
    assert [record["status"] for record in records] == ["ok", "timeout"] * 3


@pytest.mark.parametrize(
    "hangs",
    [
        "map: hang:f\nover: [1]\ndeadline: 2\n",
        'map: "lambda x: x"\nover: [1, 2]\nreduce: "lambda a, b: time.sleep(1000)"\ndeadline: 2\n',
        "over: {python: 'hang:f'}\nmap: abs\ndeadline: 2\n",
    ],
    ids=["define", "reduce", "source"],
)
def test_a_jobs_deadline_holds_beside_its_items(tmp_path: Path, hangs: str) -> None:
    (tmp_path / "hang.py").write_text("import time\ntime.sleep(1000)\n")
    with running(tmp_path, "setup: {imports: [time]}\n" + hangs, "-q") as run:
        assert run.wait() == 124
        assert "deadline" in run.said()


def test_what_takes_long_before_the_first_item_is_said(tmp_path: Path) -> None:
    with running(tmp_path, "setup: {run: 'import time; time.sleep(1000)'}\nmap: abs\nover: [1]\n") as run:
        wait_until(lambda: "still at its setup" in run.said(), run.said)
        run.signal(signal.SIGINT)
        assert run.wait() == 130, run.said()


@pytest.mark.parametrize(
    ("by", "code", "words"),
    [
        ("signal", 130, "stopped by SIGINT"),
        ("cancel", 143, "not today"),
        ("deadline", 124, "the run's deadline passed"),
    ],
)
def test_a_run_that_is_stopped_before_its_first_item_says_so(
    tmp_path: Path, by: str, code: int, words: str
) -> None:
    """There are no items, and no verdict, that would say it."""
    spec = """
setup:
  run: |
    import pathlib, time
    pathlib.Path("begun").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
map: abs
over: [1]
"""
    flags = ["--deadline", "5s"] if by == "deadline" else []
    with running(tmp_path, spec, "-q", "-n", "1", *flags) as run:
        if by != "deadline":
            wait_until((tmp_path / "begun").exists, run.said)
            if by == "signal":
                run.signal(signal.SIGINT)
            else:
                assert Run(tmp_path, ["cancel", "--reason", "not today"]).wait() == 0
            # The state is written now and then: it may not be there yet.
            (state,) = wait_until(lambda: [*tmp_path.glob(".arcli/runs/*/state.json")], run.said)
            wait_until(lambda: '"stopping":"' in state.read_text(), run.said)
            (tmp_path / "go").touch()
        assert run.wait() == code
        assert words in run.said()


def test_a_reducer_that_kills_its_engine_costs_the_value_and_no_other_job(tmp_path: Path) -> None:
    spec = """
setup: {imports: [os]}
jobs:
- {name: a, map: "lambda x: x", over: [1, 2], reduce: "lambda a, b: os._exit(7)"}
- {name: b, map: "lambda x: x", over: [3]}
"""
    code, records = finish(tmp_path, spec)
    assert code == 1
    assert [(record["job"], record["status"]) for record in records] == [
        ("a", "ok"),
        ("a", "ok"),
        ("b", "ok"),
    ]


@pytest.mark.parametrize("value", ["10 ** 5000", "Leaves()", "Shut()"], ids=["digits", "reduce", "items"])
def test_a_value_that_cannot_be_written_costs_no_other_item(tmp_path: Path, value: str) -> None:
    spec = f"""
setup:
  run: |
    class Leaves:
        def __reduce__(self): raise SystemExit
    class Shut(dict):
        def items(self): raise KeyboardInterrupt
map: "lambda x: {value} if x == 3 else x * x"
over: {{range: 40}}
"""
    code, records = finish(tmp_path, spec)
    assert each_once(records, 40)
    assert [record["index"] for record in records if record["value"] != record["index"] ** 2] == [3]
    assert (code, records[3]["status"]) in {(0, "ok"), (1, "error")}


def test_an_answer_that_an_engine_cannot_make_costs_its_item_alone(tmp_path: Path) -> None:
    """As where memory runs out while a chunk's records are put together."""
    spec = """
setup:
  imports: [sys]
  run: |
    def spoil(x):
        if x == 3:
            worker = sys.modules["_arcli_engine"].worker
            encode = worker.encode_reply
            def fail(*parts):
                worker.encode_reply = encode
                raise MemoryError("no room")
            worker.encode_reply = fail
        return x * x
map: spoil
over: {range: 8}
chunksize: 4
"""
    code, records = finish(tmp_path, spec)
    assert code == 1
    assert each_once(records, 8)
    assert [record["index"] for record in records if record["status"] != "ok"] == [3]
    assert records[3]["status"] == "lost"
    assert "could not answer 2 times" in records[3]["reason"]
    assert "no room" in records[3]["reason"]


# -- signals and streams --------------------------------------------------------------------------


def test_a_signal_while_a_reduce_runs_spoils_no_output(tmp_path: Path) -> None:
    spec = """
setup: {imports: [time]}
map: "lambda x: x"
over: {range: 5}
reduce: "lambda a, b: time.sleep(1000)"
"""
    with running(tmp_path, spec, "-o", "out.csv") as run:
        some(run, 5)
        run.signal(signal.SIGTERM)
        assert run.wait() == 143, run.said()
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 6


def test_an_item_in_this_process_heeds_a_signal(tmp_path: Path) -> None:
    spec = 'setup: {imports: [time]}\nmap: "lambda x: time.sleep(x)"\nover: [0, 0, 1000, 0]\n'
    with running(tmp_path, spec, "--inline", "--set", "chunksize=1") as run:
        some(run, 2)
        run.signal(signal.SIGINT)
        assert run.wait() == 130, run.said()
        records = run.lines()
    assert each_once(records)
    # Whether the last one had been read by then is nobody's promise.
    assert [record["status"] for record in records] == ["ok", "ok", *["cancelled"] * (len(records) - 2)]


def test_records_of_this_process_come_as_they_are_made(tmp_path: Path) -> None:
    spec = 'setup: {imports: [time]}\nmap: "lambda x: time.sleep(x)"\nover: [0, 0, 0, 1000]\n'
    with running(tmp_path, spec, "--inline", "--set", "chunksize=1") as run:
        some(run, 3)
        run.signal(signal.SIGKILL)
        run.wait()


def test_streams_that_nobody_reads_keep_nobody(tmp_path: Path) -> None:
    """As in ``2>&1 | less``, left alone."""
    reader, writer = os.pipe()
    spec = "map: \"lambda x: 'x' * 10_000\"\nover: {range: 2000}\n"
    both = lambda: os.dup2(writer, 2)  # noqa: E731
    try:
        with running(tmp_path, spec, stdout=writer, preexec=both) as run:
            wait_until(lambda: next(tmp_path.glob(".arcli/runs/*/journal.jsonl"), None))
            run.signal(signal.SIGINT)
            assert run.wait() == 130, run.said()
    finally:
        os.close(writer)
        os.close(reader)


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.jsonl.gz"])
def test_a_pipe_named_as_an_output_that_nobody_reads_keeps_nobody(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    reader = os.open(tmp_path / name, os.O_RDONLY | os.O_NONBLOCK)
    spec = "map: \"lambda x: __import__('os').urandom(5_000).hex()\"\nover: {range: 1000}\n"
    try:
        with running(tmp_path, spec, "--inline", "-o", name, "--format", "text") as run:
            wait_until(lambda: waiting_in(reader) > 60_000)
            run.signal(signal.SIGTERM)
            assert run.wait() == 143, run.said()
    finally:
        os.close(reader)


@pytest.mark.parametrize("ends", ["deadline", "signal"])
def test_a_source_that_never_ends_keeps_nobody(tmp_path: Path, ends: str) -> None:
    os.mkfifo(tmp_path / "input")
    holder = os.open(tmp_path / "input", os.O_RDWR)
    try:
        spec = 'map: "lambda x: x"\nover: {stdin: lines}\n'
        # A job's time begins with its items, and not with the engines that it waits for.
        spec += "deadline: 5s\n" if ends == "deadline" else ""
        with running(tmp_path, spec, stdin=tmp_path / "input") as run:
            os.write(holder, b"one\n")
            some(run, 1)
            if ends == "signal":
                run.signal(signal.SIGINT)
            assert run.wait() == (124 if ends == "deadline" else 130)
    finally:
        os.close(holder)


# -- engines that do not come -----------------------------------------------------------------------


def python_that(folder: Path, words: str) -> str:
    """A spec's cluster, of two engines whose interpreter does this first; it runs in ``folder``."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\n{words}\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return f"cluster: {{python: ./python, max_restarts: 0, start_timeout: {PATIENCE:.0f}s}}\n"


def test_engines_that_never_came_are_counted_with_what_their_log_says(tmp_path: Path) -> None:
    refuses = '[ "$ARCLI_SLOT" = 1 ] && { echo "no licence is left" >&2; exit 3; }'
    spec = python_that(tmp_path, refuses) + "apply: os:getpid\n"
    with running(tmp_path, spec) as run:
        assert run.wait() == 1, run.said()
        assert statuses(run.lines()) == {"ok": 1, "lost": 1}
        (line,) = (line for line in run.said().splitlines() if "never came" in line)
    assert "1 of 2 engines never came: engine 1" in line
    assert "exited with status 3" in line
    assert "no licence is left" in line


LATE_REPORTS = """
import time
from arcli.cluster.embedded.cluster import EmbeddedCluster
report = EmbeddedCluster._report
def late(self, event):
    time.sleep(2)
    report(self, event)
EmbeddedCluster._report = late
"""


def test_an_engine_that_comes_as_the_run_ends_is_not_one_that_never_came(tmp_path: Path) -> None:
    """What a cluster knows of its engines is reported a moment later, here a long one."""
    (tmp_path / "sitecustomize.py").write_text(LATE_REPORTS)
    with running(tmp_path, "map: abs\nover: [1]\n", env={"PYTHONPATH": str(tmp_path)}) as run:
        assert run.wait() == 0, run.said()
        assert "never came" not in run.said()


def test_a_start_that_takes_long_is_said(tmp_path: Path) -> None:
    waits = '[ -z "$ARCLI_SLOT" ] || while [ ! -e go ]; do sleep 0.1; done'
    spec = python_that(tmp_path, waits) + "map: abs\nover: [1]\n"
    with running(tmp_path, spec) as run:
        wait_until(lambda: "the cluster is still starting, 10 s on" in run.said(), run.said)
        (tmp_path / "go").touch()
        assert run.wait() == 0, run.said()
        assert "never came" not in run.said()


CONVERTS = '''
import os, signal, sys


class Converts:
    """Has arcli meet a signal in an import that makes another exception of whatever is raised in it."""

    def find_spec(self, name, path=None, target=None):
        if name == "ipyparallel" and callable(signal.getsignal(signal.SIGTERM)):
            sys.meta_path.remove(self)
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except Exception as error:
                raise ImportError(f"failed with {error}") from error
        return None


sys.meta_path.insert(0, Converts())
'''


def test_a_signal_that_foreign_code_makes_another_error_of_is_a_signal_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(CONVERTS)
    with running(tmp_path, "map: abs\nover: [1]\n", env={"PYTHONPATH": str(tmp_path)}) as run:
        assert run.wait() == 143, run.said()
        assert run.manifest()["exit_code"] == 143
    assert "failed with" not in run.said()
