"""Runs that are seen and steered from other processes, through their folders alone."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from runs import MARK, PATIENCE, Run, mounted, running, wait_until

from arcli.store.channel import Cancel, Phase, post, read_state, take
from arcli.store.folder import RunFolder
from arcli.store.manifest import Manifest

SLEEPY = """\
jobs:
- {name: nap, map: "lambda x: __import__('time').sleep(0.2) or print('slept', x)", over: {range: 400}}
- {name: after, map: abs, over: [1]}
defaults: {chunksize: 1}
"""


def arcli(folder: Path, *words: str, code: int = 0, **more: Any) -> Run:
    run = Run(folder, list(words), **more)
    assert run.wait() == code, run.said()
    return run


def told(run: Run) -> str:
    return run.out.read_text()


def status(folder: Path, *words: str) -> Any:
    return json.loads(told(arcli(folder, "status", *words, "--format", "json")))


@contextmanager
def going_on(folder: Path, spec: str, *words: str, begun: bool = True) -> Iterator[Run]:
    """A run in this process's items, which is killed at the end; ``begun``: it has a record."""
    (folder / "spec.yaml").write_text(spec)
    run = Run(folder, ["run", "spec.yaml", "--inline", *words])
    try:
        wait_until(lambda: list((folder / ".arcli/runs").glob("2*/state.json")), run.said)
        if begun:
            wait_until(lambda: newest(folder).journal.stat().st_size > 0, run.said)
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
        run.wait()


def newest(folder: Path) -> RunFolder:
    return RunFolder(max((folder / ".arcli/runs").glob("2*"), key=lambda path: path.name))


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in newest(folder).journal.read_bytes().splitlines()]


def test_a_detached_run_goes_on_when_its_shell_is_killed(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("map: \"lambda x: print('hi') or x\"\nover: {range: 3}\n")
    # The shell is gone with all of its group and its terminal; what it had started is not.
    script = f"{sys.executable} -m arcli run spec.yaml -n 1 -d > id; kill -9 0"
    mark = "detached" + os.urandom(4).hex()
    subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={**os.environ, MARK: mark},
        start_new_session=True,
        check=False,
    )
    run = (tmp_path / "id").read_text().strip()
    assert newest(tmp_path).id == run
    arcli(tmp_path, "wait", run[:13])
    folder = newest(tmp_path).path
    assert "hi" in (folder / "stdout").read_text()
    assert "3 of 3 items ok" in (folder / "stderr").read_text()
    assert [path.name for path in folder.parent.iterdir()] == [run]
    state = status(tmp_path)
    assert (state["state"], state["exit_code"], state["phase"]) == ("ended", 0, "ended")
    assert state["jobs"][0] == {
        "name": "spec", "kind": "map", "phase": "ended", "status": "ok", "total": 3, "done": 3, "failed": 0,
        "rate": 0.0, "left": None,
    }  # fmt: skip


def test_a_detached_run_is_seen_to_be_up_as_soon_as_its_id_is_printed(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("map: \"lambda x: __import__('time').sleep(120)\"\nover: [1]\n")
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "1", "--detach"])
    assert run.process.wait(PATIENCE) == 0
    state = read_state(newest(tmp_path).path)
    arcli(tmp_path, "cancel")
    assert Run(tmp_path, ["cancel"]).wait() in {0, 2}, "what ran has five seconds, and may be gone"
    arcli(tmp_path, "wait", code=143)
    assert run.wait() == 0
    assert state is not None
    assert (state.phase, state.ready) == ("running", 1)


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_a_run_is_detached_where_stderr_takes_nothing(tmp_path: Path, stderr: str) -> None:
    (tmp_path / "spec.yaml").write_text("map: abs\nover: [1]\n")
    script = f"{sys.executable} -m arcli run spec.yaml --inline --detach {stderr}"
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=False
    )
    arcli(tmp_path, "wait")
    assert (done.returncode, done.stdout) == (0, f"{newest(tmp_path).id}\n")


def test_a_file_in_the_working_directory_is_no_module_of_a_detached_run(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/spec.yaml").write_text("map: abs\nover: [1]\n")
    (tmp_path / "queue.py").write_text("1 / 0\n")
    command = [sys.executable, "-P", "-m", "arcli", "run", "specs/spec.yaml", "--inline", "-d"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    wait = [sys.executable, "-P", "-m", "arcli", "wait"]
    assert subprocess.run(wait, cwd=tmp_path, check=False).returncode == 0


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ("map: nowhere\nover: [1]\nwrong: 1\n", 2),
        ("setup: {run: 1/0}\nmap: abs\nover: [1]\n", 6),
    ],
)
def test_a_detached_run_that_does_not_come_up_says_why(tmp_path: Path, spec: str, code: int) -> None:
    (tmp_path / "spec.yaml").write_text(spec)
    run = arcli(tmp_path, "run", "spec.yaml", "-n", "1", "--detach", code=code)
    assert ("wrong" if code == 2 else "ZeroDivisionError") in run.said()
    assert told(run) == ""
    assert list((tmp_path / ".arcli/runs").glob(".starting*")) == []


def test_a_run_is_seen_from_another_shell_and_cancelled_with_a_reason(tmp_path: Path) -> None:
    with going_on(tmp_path, SLEEPY) as run:
        tails = [Run(tmp_path, ["tail", *words]) for words in ((), ("--item", "2", "--format", "jsonl"))]
        # The state is written once a second: what it says may be of before the first item.
        wait_until(lambda: status(tmp_path)["jobs"][0]["phase"] == "running", run.said)
        state = status(tmp_path)
        assert (state["state"], state["pid"]) == ("running", run.process.pid)
        assert [job["phase"] for job in state["jobs"]] == ["running", "waiting"]
        assert state["jobs"][0]["total"] == 400
        shown = told(arcli(tmp_path, "status"))
        assert "of 400 items" in shown
        assert "after  waiting" in shown
        arcli(tmp_path, "wait", "--timeout", "100ms", code=124)
        wait_until(lambda: "slept 2" in told(tails[0]), lambda: tails[0].said())
        arcli(tmp_path, "cancel", "--reason", "the disk is \x1b[31mneeded")
        assert run.wait() == 143
        assert [tail.wait() for tail in tails] == [0, 0]
    items = [json.loads(line) for line in told(tails[1]).splitlines()]
    assert [item["index"] for item in items] == [2]
    assert told(tails[0]).count("slept") == len([r for r in records(tmp_path) if r["status"] == "ok"])
    assert "the disk is" in tails[0].said()
    assert newest(tmp_path).manifest.summary["error"] == "cancelled: the disk is \x1b[31mneeded"
    assert "ended: cancelled: the disk is" in run.said()
    assert "ended: cancelled: the disk is" in tails[0].said()
    # Where the machine is busy some have not begun, or are cut short.
    reasons = {r["reason"] for r in records(tmp_path) if r["status"] == "cancelled"}
    assert all("cancelled: the disk is \x1b[31mneeded" in reason for reason in reasons)
    listed = told(arcli(tmp_path, "runs", env={"COLUMNS": "140"}))
    assert "143" in listed
    assert "\x1b[31m" not in listed
    arcli(tmp_path, "wait", code=143)
    arcli(tmp_path, "cancel", code=2)


STUCK = """\
map: "lambda x: __import__('time').sleep(120 if x < 2 else 0.01) or x"
over: {range: 8}
chunksize: 1
"""


def test_items_are_cancelled_by_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(STUCK)
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "2"])

    def running() -> set[str]:
        wait_until(lambda: list((tmp_path / ".arcli/runs").glob("2*/state.json")), run.said)
        state = read_state(newest(tmp_path).path)
        return set() if state is None else {engine.running or "" for engine in state.engines}

    try:
        wait_until(lambda: running() == {"spec, item 0", "spec, item 1"}, lambda: f"{running()}")
        assert "spec, item 1 for" in told(arcli(tmp_path, "status"))
        arcli(tmp_path, "cancel", "--items", "0-1,3", "--reason", "too slow")
        assert run.wait() == 1
    finally:
        if run.process.poll() is None:
            run.process.kill()
        run.wait()
    ends = {record["index"]: (record["status"], record["reason"]) for record in records(tmp_path)}
    cancelled = {index for index, (status, _) in ends.items() if status != "ok"}
    assert cancelled == {0, 1, 3}, "item 3 waited behind them"
    assert all("too slow" in ends[index][1] for index in cancelled)
    # What was cancelled is not ok, before its end and afterwards.
    state = read_state(newest(tmp_path).path)
    assert state is not None
    assert [(job.done, job.failed) for job in state.jobs] == [(8, 3)]
    shown = told(arcli(tmp_path, "status"))
    assert "8 of 8 items (100 %), 3 not ok, cancelled" in shown
    listed = told(arcli(tmp_path, "show"))
    assert "cancelled: too slow" in listed
    assert "cancelled: cancelled" not in listed


FIRST_ENDS = """\
map: "lambda x: __import__('time').sleep(120 if x else 0) or x"
over: {range: 3}
chunksize: 1
"""


def test_items_that_have_ended_or_are_not_there_are_not_said_to_be_cancelled(tmp_path: Path) -> None:
    with going_on(tmp_path, FIRST_ENDS) as run:
        wait_until(lambda: status(tmp_path)["jobs"][0]["total"] == 3, run.said)
        ended = "0 has ended, 500-509 are not there: spec has 3 items"
        refused = arcli(tmp_path, "cancel", "--items", "0,500-509", code=2)
        assert f"no item to be cancelled: {ended}" in refused.said()
        assert f"`arcli status {newest(tmp_path).id}`" in refused.said()
        taken = arcli(tmp_path, "cancel", "--items", "0-2,500-509,2")
        assert f": 2 items of spec to be cancelled; {ended}" in taken.said()


@pytest.mark.parametrize("items", ["x", "3-", "7-3", "", "1-99999999"])
def test_numbers_of_items_that_are_none(tmp_path: Path, items: str) -> None:
    assert "--items" in arcli(tmp_path, "cancel", "--items", items, code=2).said()


def phases(folder: Path) -> list[Phase]:
    """Where the jobs of the newest run are, as far as it has said."""
    states = list((folder / ".arcli/runs").glob("2*/state.json"))
    state = read_state(states[0].parent) if states else None
    return [] if state is None else [job.phase for job in state.jobs]


def test_a_run_that_may_not_go_on_with_another_leaves_nothing(tmp_path: Path) -> None:
    with running(tmp_path, STUCK) as run:
        wait_until(lambda: Phase.RUNNING in phases(tmp_path), run.said)
        first = newest(tmp_path).id
        refused = arcli(tmp_path, "run", "spec.yaml", "--resume", "--run", first, code=2)
        assert f"run {first} is still going on" in refused.said()
        assert [path.name for path in (tmp_path / ".arcli/runs").iterdir()] == [first]


def test_a_run_whose_signals_are_ignored_is_cancelled_all_the_same(tmp_path: Path) -> None:
    ignore = lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN)  # noqa: E731
    with running(tmp_path, STUCK, preexec=ignore) as run:
        wait_until(lambda: Phase.RUNNING in phases(tmp_path), run.said)
        run.signal(signal.SIGTERM)
        arcli(tmp_path, "cancel", "--reason", "enough")
        assert run.wait() == 143
    assert newest(tmp_path).manifest.summary["error"] == "cancelled: enough"


def test_items_are_not_cancelled_while_none_run(tmp_path: Path) -> None:
    """Before and after a job's items nobody would hear of it; the answer says so."""
    spec = """\
setup: {run: "import pathlib, time"}
map: "lambda x: x"
over: {range: 12}
reduce: "lambda a, b: ([time.sleep(0.02) for _ in iter(pathlib.Path('go').exists, True)], a + b)[1]"
"""
    with running(tmp_path, spec) as run:
        wait_until(lambda: Phase.VALUE in phases(tmp_path), run.said)
        assert "12 of 12 items (100 %)" in told(arcli(tmp_path, "status"))
        refused = arcli(tmp_path, "cancel", "--items", "3", code=2)
        assert "no items of run" in refused.said()
        (tmp_path / "go").touch()
        assert run.wait() == 0


def test_draining_lets_what_runs_end(tmp_path: Path) -> None:
    with going_on(tmp_path, SLEEPY.replace("0.2", "0.5")) as run:
        # In this process there are no engines that could be ready.
        stands = "  without engines, 1 item under way"
        wait_until(lambda: stands in told(arcli(tmp_path, "status")), run.said)
        arcli(tmp_path, "cancel", "--drain")
        assert run.wait() == 143
    assert {record["status"] for record in records(tmp_path)} <= {"ok", "cancelled"}
    started = [record for record in records(tmp_path) if record["started"] is not None]
    assert all(record["status"] == "ok" for record in started)


CHUNKED = """\
setup: {imports: [time, pathlib]}
map: >
  lambda x: (pathlib.Path(f'began-{x}').touch(),
             [time.sleep(0.02) for _ in iter(pathlib.Path('go').exists, True)])[0]
over: {range: 40}
chunksize: 10
"""


@pytest.mark.parametrize("words", [(), ("--inline",)])
def test_draining_begins_nothing_of_what_engines_have(tmp_path: Path, words: tuple[str, ...]) -> None:
    with running(tmp_path, CHUNKED, *words) as run:
        engines = 1 if words else 2
        wait_until(lambda: len(list(tmp_path.glob("began-*"))) == engines, run.said)
        arcli(tmp_path, "cancel", "--drain")
        wait_until(lambda: "nothing new is started" in run.said(), run.said)
        (tmp_path / "go").touch()
        assert run.wait() == 143
    # Another one each may have begun before it was told.
    began = len(list(tmp_path.glob("began-*")))
    assert began <= 2 * engines
    statuses = [record["status"] for record in records(tmp_path)]
    assert (statuses.count("ok"), {*statuses}) == (began, {"ok", "cancelled"})


def test_a_killed_run_is_told_from_one_that_goes_on(tmp_path: Path) -> None:
    with going_on(tmp_path, SLEEPY) as run:
        tail = Run(tmp_path, ["tail"])
        wait_until(lambda: " left" in told(arcli(tmp_path, "status")), run.said)
        run.process.kill()
        run.wait()
        for words in (["status"], ["wait"], ["cancel"]):
            ended = arcli(tmp_path, *words, code=3)
            assert "was killed before its end" in ended.said()
            assert f"--resume --run {newest(tmp_path).id}" in ended.said()
        assert tail.wait() == 3
    stands = told(arcli(tmp_path, "status", code=3))
    assert "running" not in stands
    assert " left" not in stands


def test_how_far_a_killed_run_came_is_what_its_journal_has(tmp_path: Path) -> None:
    spec = "map: 'lambda x: __import__(\"time\").sleep(0.01) or 1 / (x % 10)'\nover: {range: 100000}\n"
    with going_on(tmp_path, spec) as run:
        wait_until(lambda: len(newest(tmp_path).journal.read_bytes().splitlines()) > 20, run.said)
        run.process.kill()
        run.wait()
    (tmp_path / "stale.json").write_bytes((newest(tmp_path).path / "state.json").read_bytes())
    kept = [record["status"] for record in records(tmp_path)]
    for stale in ({"done": 1, "failed": 0}, {"done": 0, "failed": 0, "phase": "waiting"}):
        # As the run would have written it somewhat earlier.
        state = json.loads((tmp_path / "stale.json").read_text())
        state["jobs"][0].update(stale)
        (newest(tmp_path).path / "state.json").write_text(json.dumps(state))
        shown = told(arcli(tmp_path, "status", code=3))
        assert f"{len(kept)} of 100,000 items" in shown
        assert f"{kept.count('error')} not ok" in shown
        document, _ = told(arcli(tmp_path, "status", "--format", "json", code=3)).splitlines()
        (job,) = json.loads(document)["jobs"]
        assert (job["done"], job["failed"]) == (len(kept), kept.count("error"))


def test_all_are_waited_for_where_some_were_killed(tmp_path: Path) -> None:
    killed = [RunFolder.create(tmp_path / ".arcli", Manifest()) for _ in range(2)]
    for folder in killed:
        folder.close()
    with going_on(tmp_path, SLEEPY, "-q") as run:
        waiting = Run(tmp_path, ["wait", *(folder.id for folder in (*killed, newest(tmp_path)))])
        run.signal(signal.SIGTERM)
        assert waiting.wait() == 143
    for folder in killed:
        assert f"run {folder.id} was killed before its end" in waiting.said()


@pytest.mark.parametrize(
    "words",
    [
        ["map", "-n", "1", "-k", "test -e go || sleep 300; echo {}", "--over", "x=1,2"],
        ["run", "spec.yaml", "-n", "1", "-p", "word=a b", "--format", "raw", "-q"],
    ],
    ids=["map", "run"],
)
def test_the_command_that_goes_on_with_a_killed_run_does(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "spec.yaml").write_text(
        'params: {word: b}\ncommand: "test -e go || sleep 300; echo {} ${params.word}"\nover: [1, 2]\n'
    )
    run = Run(tmp_path, words)
    wait_until(lambda: list((tmp_path / ".arcli/runs").glob("2*/state.json")), run.said)
    run.process.kill()
    run.wait()
    killed = newest(tmp_path).id
    (tmp_path / "go").touch()
    command = arcli(tmp_path, "status", code=3).said().partition("hint: ")[2]
    went_on = Run(tmp_path, shlex.split(command)[1:])
    assert went_on.wait() == 0, went_on.said()
    assert went_on.out.read_text() == ("1\n2\n" if "map" in words else "1 a b\n2 a b\n")
    (tmp_path / "elsewhere").mkdir()
    env = {"ARCLI_DIR": str(tmp_path / ".arcli")}
    said = arcli(tmp_path / "elsewhere", "status", killed, code=3, env=env).said()
    assert f"hint: cd {tmp_path} && {command}" in said


@pytest.mark.parametrize("words", [[], ["--pipe"], ["--set", "retries=0"]])
def test_what_goes_on_with_a_run_says_that_it_needs_its_standard_input_again(
    tmp_path: Path, words: list[str]
) -> None:
    """Without it, it would wait for a terminal, or have no items and end well."""
    (tmp_path / "items").write_text("a\n")
    run = Run(tmp_path, ["map", "--inline", *words, "false"], stdin=tmp_path / "items")
    assert run.wait() == 1
    assert run.said().rstrip().endswith(" false < FILE")
    assert "false < FILE" in arcli(tmp_path, "report").out.read_text()


def test_a_signal_asks_a_run_how_it_stands(tmp_path: Path) -> None:
    with going_on(tmp_path, SLEEPY, "-q") as run:
        run.signal(signal.SIGUSR1)
        wait_until(lambda: "nap: " in run.said() and "of 400 items" in run.said(), run.said)
        run.signal(signal.SIGUSR2)
        before = len(records(tmp_path))
        wait_until(lambda: len(records(tmp_path)) > before, run.said)
        run.signal(signal.SIGTERM)
        assert run.wait() == 143


SLOW = "__import__('time').sleep(120)"
STAGES = {
    "setup": f'setup: {{run: "{SLOW}"}}\nmap: abs\nover: [1]\n',
    "reducer": f'map: abs\nover: [1, 2, 3]\nreduce: "lambda a, b: {SLOW} or a"\n',
    "source": 'map: abs\nover: {python: "slow:items"}\n',
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_is_cancelled_whatever_it_is_at(tmp_path: Path, stage: str) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef items():\n    yield 1\n    time.sleep(120)\n")
    with going_on(tmp_path, STAGES[stage], begun=stage == "reducer") as run:
        arcli(tmp_path, "cancel", "--reason", "no need")
        assert run.wait() == 143
    assert newest(tmp_path).manifest.exit_code == 143


def test_a_run_is_cancelled_while_its_engines_start(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("map: abs\nover: [1]\n")
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "2"])
    wait_until(lambda: list((tmp_path / ".arcli/runs").glob("2*/alive")), run.said)
    post(newest(tmp_path).path, Cancel(reason="not today"))
    assert run.wait() in {0, 143}, "it may have been quicker"


def test_a_run_is_cancelled_while_it_writes_its_outputs(tmp_path: Path) -> None:
    """The outputs are written, as after a first SIGTERM."""
    os.mkfifo(tmp_path / "slow.txt")
    spec = "map: abs\nover: [1]\noutput: [slow.txt]\n"
    (tmp_path / "spec.yaml").write_text(spec)
    reader = os.open(tmp_path / "slow.txt", os.O_RDONLY | os.O_NONBLOCK)
    run = Run(tmp_path, ["run", "spec.yaml", "--inline"])
    wait_until(lambda: list((tmp_path / ".arcli/runs").glob("2*/state.json")), run.said)
    post(newest(tmp_path).path, Cancel())
    assert run.wait() in {0, 143}
    os.close(reader)


def test_a_full_disk_costs_the_state_and_not_the_run(tmp_path: Path) -> None:
    """What a state cannot be written to is told by the journal, if it is to be told at all."""
    spec = "map: \"lambda x: __import__('time').sleep(0.1) or x\"\nover: {range: 20}\n"
    (tmp_path / "spec.yaml").write_text(spec)
    run = Run(tmp_path, ["run", "spec.yaml", "--inline", "--format", "jsonl"])
    wait_until(lambda: list((tmp_path / ".arcli/runs").glob("2*/alive")), run.said)
    state = newest(tmp_path).path / "state.json"

    def is_folder() -> bool:  # then nothing can be renamed to it
        state.unlink(missing_ok=True)
        with suppress(FileExistsError):  # the run was quicker
            state.mkdir()
        return state.is_dir()

    wait_until(is_folder)
    assert run.wait() == 0
    assert len(run.lines()) == 20
    assert "ended" in told(arcli(tmp_path, "status"))


def test_requests_of_others_and_nonsense_are_only_removed(tmp_path: Path) -> None:
    post(tmp_path, Cancel(reason="a"))
    folder = tmp_path / "requests"
    for name, text in (("0.json", "{"), ("1.json", '{"drain": 3}'), ("2.json", "[]")):
        (folder / name).write_text(text)
    if os.geteuid() == 0:
        (folder / "3.json").write_text('{"reason": "forged"}')
        os.chown(folder / "3.json", 12345, 12345)
    post(tmp_path, Cancel(drain=True, items=(3, 7)))
    assert list(take(tmp_path)) == [Cancel(reason="a"), Cancel(drain=True, items=(3, 7))]
    assert list(folder.iterdir()) == []
    assert list(take(tmp_path)) == []


def test_a_folder_that_became_read_only_is_looked_at_and_takes_no_request(tmp_path: Path) -> None:
    with going_on(tmp_path, SLEEPY) as run:
        path = newest(tmp_path).path
        with mounted(path, "--bind", str(path)):
            subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
            assert "running" in told(arcli(tmp_path, "status"))
            assert "Read-only" in arcli(tmp_path, "cancel", code=4).said()
            tail = Run(tmp_path, ["tail"])
            wait_until(lambda: "2" in told(tail), tail.said)
        arcli(tmp_path, "cancel")
        assert run.wait() == 143
        assert tail.wait() == 0


def test_a_full_disk_takes_no_request_and_tells_how_the_run_ended(tmp_path: Path, tiny_disk: Path) -> None:
    """Where the disk is full, records cannot be kept either: the run ends, and others can see that."""
    env = {"ARCLI_DIR": str(tiny_disk)}
    until_go = (
        "[__import__('time').sleep(0.02) for _ in iter(lambda: __import__('os').path.exists('go'), True)]"
    )
    (tmp_path / "spec.yaml").write_text(f'map: "lambda x: {until_go}"\nover: {{range: 4}}\n')
    run = Run(tmp_path, ["run", "spec.yaml", "--inline"], env=env)
    wait_until(lambda: list(tiny_disk.glob("runs/2*/state.json")), run.said)
    tails = [Run(tmp_path, ["tail"], env=env) for _ in range(2)]

    def fill() -> None:
        with (tiny_disk / "filler").open("ab", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))

    fill()
    # A state that was just being put in the place of the last one leaves that one's room; the next ones
    # find none.
    wait_until(lambda: not [*tiny_disk.glob("runs/2*/.*.json.*")], run.said)
    fill()
    assert "No space left" in arcli(tmp_path, "cancel", code=4, env=env).said()
    (tmp_path / "go").touch()
    assert run.wait() == 4
    assert "No space left" in run.said()
    # What the run came to could not be written either.
    assert "or its disk was full" in arcli(tmp_path, "status", code=3, env=env).said()
    assert [tail.wait() for tail in tails] == [3, 3]


@pytest.fixture
def there(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Run arcli as on another host: its name, none of this host's processes. Returns exit code and text."""
    elsewhere = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "sh", "-c"]
    if subprocess.run([*elsewhere, "hostname elsewhere"], check=False, capture_output=True).returncode:
        pytest.skip("no other host can be made here")

    def arcli_there(*words: str) -> tuple[int, str]:
        command = f"hostname elsewhere; exec {shlex.join([sys.executable, '-m', 'arcli', *words])}"
        ended = subprocess.run(
            [*elsewhere, command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return ended.returncode, ended.stdout + ended.stderr

    return arcli_there


def test_a_run_is_seen_and_steered_from_another_host(
    tmp_path: Path, there: Callable[..., tuple[int, str]]
) -> None:
    with going_on(tmp_path, SLEEPY) as run:
        code, text = there("status")
        assert (code, "running" in text) == (0, True), text
        assert there("wait", "--timeout", "100ms")[0] == 124
        assert there("cancel", "--reason", "from afar")[0] == 0
        assert run.wait() == 143
    assert there("wait")[0] == 143
    assert "from afar" in there("status")[1]


def test_a_killed_run_is_told_from_one_that_goes_on_from_another_host(
    tmp_path: Path, there: Callable[..., tuple[int, str]]
) -> None:
    with going_on(tmp_path, SLEEPY) as run:
        run.process.kill()
        run.wait()
    # Another host hears nothing of it for a while before it counts as killed.
    code, text = there("wait")
    assert code == 3
    assert f"--resume --run {newest(tmp_path).id}" in text


def test_no_process_is_left_by_a_detached_run(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SLEEPY)
    run = arcli_detached(tmp_path)
    arcli(tmp_path, "cancel", run)
    arcli(tmp_path, "wait", run, code=143)
    pid = status(tmp_path, run)["pid"]
    wait_until(lambda: not psutil.pid_exists(pid))


def arcli_detached(folder: Path) -> str:
    """Start a detached run, whose own process outlives this one; returns its id."""
    process = subprocess.run(
        [sys.executable, "-m", "arcli", "run", "spec.yaml", "--inline", "-d"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return process.stdout.strip()


def test_status_counts_items_that_run_side_by_side(tmp_path: Path) -> None:
    words = ["map", "-j", "6", "-n", "1", "until [ -e go ]; do sleep 0.05; done; echo", ":::", *"abcdef"]
    run = Run(tmp_path, words)
    try:
        told_all = lambda: "6 items under way" in told(arcli(tmp_path, "status"))  # noqa: E731
        wait_until(lambda: list((tmp_path / ".arcli/runs").glob("2*/state.json")), run.said)
        wait_until(told_all, run.said)
    finally:
        (tmp_path / "go").touch()
        assert run.wait() == 0
