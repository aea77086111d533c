"""Items side by side in one engine: commands and coroutines, each with its own output, limit and end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from runs import Run, each_once, engines, finish, running, statuses, wait_until

from arcli.errors import SpecError
from arcli.specfile.load import load

FETCH = """
import asyncio
import os
import sys
import time
from contextvars import ContextVar
from pathlib import Path

mark = ContextVar("mark", default=None)

class Meeting:
    here = 0

async def meet(x):
    # Each waits until as many are here as are to run side by side, however many come later.
    print("begin", x)
    Meeting.here += 1
    enough = -(-Meeting.here // 8) * 8
    while Meeting.here < enough:
        await asyncio.sleep(0.001)
    print("end", x)
    return x * x

async def mixed(x):
    print("item", x)
    if x == 3:
        raise ValueError("three")
    if x == 5:
        await asyncio.sleep(3600)
    if x == 7:
        raise SystemExit(7)
    await asyncio.sleep(0.01)
    return x

async def cancelling(x):
    # What an item does to its task, and leaves in its context, the next one in line would meet.
    before = mark.get()
    mark.set(x)
    if x % 4 == 0:
        asyncio.current_task().cancel()
        return before
    if x % 4 == 1:
        asyncio.current_task().cancel()
        raise ValueError(x)
    if x % 4 == 2:
        asyncio.current_task().cancel()
    await asyncio.sleep(0)
    return before

async def patient(x):
    # The first one ends when all others have.
    print("begin", x)
    Meeting.here += 1
    while x == 0 and Meeting.here < 60:
        await asyncio.sleep(0.001)
    print("end", x)
    return x

async def flaky(x, seen={}):
    seen[x] = seen.get(x, 0) + 1
    await asyncio.sleep(0)
    if seen[x] < 3 and x % 2:
        raise RuntimeError(seen[x])
    return seen[x]

async def own_folder(x):
    folder = Path(os.environ["ARCLI_OUTDIR"])
    await asyncio.sleep(0.01)
    (folder / "item").write_text(str(x))
    return folder.name

async def leave(x):
    sys.exit("giving up")

async def exits(x):
    if x == 2:
        await asyncio.create_task(leave(x))
    await asyncio.sleep(0.01)
    with open("effects", "a") as file:
        print(x, file=file)

async def exits_later(x):
    asyncio.get_running_loop().call_later(0.01, sys.exit, 3)
    await asyncio.sleep(0.05)

def plain(x):
    # Each waits until three processes are here.
    (Path("here") / str(os.getpid())).touch()
    while len(list(Path("here").iterdir())) < 3:
        time.sleep(0.01)
    return x
"""


ONE = ("-n", "1")
LIMIT = "5s"
"""More than an item takes that does not hang, however busy the machine is."""


def spec(**job: Any) -> str:
    return json.dumps(job)


def started(folder: Path, job: str, *words: str) -> Run:
    """A run with as many engines as its spec and flags say."""
    (folder / "spec.json").write_text(job)
    return Run(folder, ["run", "spec.json", "--format", "jsonl", *words])


# A command waits until seven others have begun, so it ends only where eight run side by side.
MEETING = (
    "echo begin {}; touch here/{}; while [ $(ls here | wc -l) -lt 8 ]; do sleep 0.01; done; echo end {}"
)


def test_commands_run_side_by_side_each_with_its_own_output(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    code, records = finish(
        tmp_path, spec(command=MEETING, over={"range": 8}, concurrency=8, timeout="60s"), *ONE
    )
    assert code == 0
    assert each_once(records, 8)
    assert [record["stdout"] for record in records] == [f"begin {n}\nend {n}\n" for n in range(8)]
    assert {record["engine_id"] for record in records} == {0}
    assert all(record["usage"]["user"] is not None for record in records)


def test_coroutines_run_side_by_side_each_with_its_own_output(tmp_path: Path) -> None:
    (tmp_path / "fetch.py").write_text(FETCH)
    job = spec(map="fetch.py:meet", over={"range": 16}, concurrency=8, timeout="60s")
    code, records = finish(tmp_path, job, *ONE)
    assert code == 0
    assert each_once(records, 16)
    assert [record["value"] for record in records] == [n * n for n in range(16)]
    assert [record["stdout"] for record in records] == [f"begin {n}\nend {n}\n" for n in range(16)]


def test_what_ends_before_an_item_in_front_of_it_does_not_wait_for_that(tmp_path: Path) -> None:
    command = "if [ {} = 0 ]; then while [ ! -e go ]; do sleep 0.01; done; fi; echo {}"
    job = spec(command=command, over={"range": 8}, concurrency=4, chunksize=8, ordered=False)
    with running(tmp_path, job, *ONE) as run:
        wait_until(lambda: len(run.lines()) == 7)
        (tmp_path / "go").touch()
        assert run.wait() == 0
    *early, last = run.lines()
    assert last["index"] == 0
    assert sorted(record["index"] for record in early) == [*range(1, 8)]
    assert all(record["stdout"] == f"{record['index']}\n" for record in (*early, last))


PATIENT = "echo {}; touch there/{}; while [ {} = 0 ] && [ $(ls there | wc -l) -lt 60 ]; do sleep 0.02; done"


@pytest.mark.parametrize("job", [{"map": "fetch.py:patient"}, {"command": PATIENT}], ids=["map", "command"])
def test_a_long_item_keeps_no_place_but_its_own(job: dict[str, Any], tmp_path: Path) -> None:
    """It ends when all others have, of however many chunks they are."""
    (tmp_path / "fetch.py").write_text(FETCH)
    (tmp_path / "there").mkdir()
    code, records = finish(tmp_path, spec(over={"range": 60}, concurrency=2, timeout="60s", **job), *ONE)
    assert code == 0
    assert each_once(records, 60)
    assert len({record["chunk"] for record in records}) > 1
    assert all(record["stdout"].split()[0] in {"begin", str(record["index"])} for record in records)


@pytest.mark.parametrize("shape", ["map", "command"])
def test_what_comes_later_begins_beside_what_runs(shape: str, tmp_path: Path) -> None:
    """Each line comes when the item of the one before has begun, and no item ends before all have begun."""
    (tmp_path / "there").mkdir()
    command = "touch there/{}; while [ $(ls there | wc -l) -lt 6 ]; do sleep 0.02; done"
    function = """
import asyncio, os
async def wait(x):
    open(f"there/{x}", "w").close()
    while len(os.listdir("there")) < 6:
        await asyncio.sleep(0.02)
"""
    (tmp_path / "f.py").write_text(function)
    job = spec(
        over={"stdin": "lines"},
        concurrency=6,
        timeout="60s",
        **({"map": "f.py:wait"} if shape == "map" else {"command": command}),
    )
    (tmp_path / "spec.json").write_text(job)
    os.mkfifo(tmp_path / "lines")
    with os.fdopen(os.open(tmp_path / "lines", os.O_RDWR), "w") as lines:
        run = Run(tmp_path, ["run", "spec.json", "--format", "jsonl", *ONE], stdin=tmp_path / "lines")
        for number in range(6):
            print(number, file=lines, flush=True)
            wait_until((tmp_path / "there" / str(number)).exists)
    assert run.wait() == 0
    assert each_once(run.lines(), 6)


def test_what_goes_wrong_in_one_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "fetch.py").write_text(FETCH)
    job = spec(map="fetch.py:mixed", over={"range": 40}, concurrency=10, timeout=LIMIT)
    code, records = finish(tmp_path, job, *ONE)
    assert code == 1
    assert each_once(records, 40)
    ends = {record["index"]: record["status"] for record in records if record["status"] != "ok"}
    assert ends == {3: "error", 5: "timeout", 7: "error"}
    assert [record["stdout"] for record in records] == [f"item {n}\n" for n in range(40)]


def test_a_coroutine_that_cancels_its_own_task_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "fetch.py").write_text(FETCH)
    job = spec(map="fetch.py:cancelling", over={"range": 16}, concurrency=2, chunksize=8)
    code, records = finish(tmp_path, job, *ONE)
    assert code == 1
    assert each_once(records, 16)
    kinds = [(record["error"] or {"type": None})["type"] for record in records]
    assert kinds == [None, "ValueError", "asyncio.exceptions.CancelledError", None] * 4
    assert {record["value"] for record in records} == {None}


@pytest.mark.parametrize("where", [ONE, ("--inline",)])
def test_a_task_that_exits_is_the_error_of_its_item(where: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "fetch.py").write_text(FETCH)
    job = spec(map="fetch.py:exits", over={"range": 6}, concurrency=3)
    code, records = finish(tmp_path, job, *where)
    assert code == 1
    assert each_once(records, 6)
    assert [record["index"] for record in records if record["status"] == "error"] == [2]
    assert sorted((tmp_path / "effects").read_text().split()) == ["0", "1", "3", "4", "5"]


def test_a_callback_that_exits_ends_no_engine(tmp_path: Path) -> None:
    (tmp_path / "fetch.py").write_text(FETCH)
    job = spec(map="fetch.py:exits_later", over={"range": 6}, concurrency=3, timeout=LIMIT)
    code, records = finish(tmp_path, job, *ONE)
    assert code == 0
    assert each_once(records, 6)


def test_a_command_that_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    command = "echo {}; if [ {} = 2 ]; then sleep 3600 & echo $! > pid; wait; fi"
    code, records = finish(
        tmp_path, spec(command=command, over={"range": 20}, concurrency=5, timeout=LIMIT), *ONE
    )
    assert code == 1
    assert each_once(records, 20)
    assert statuses(records) == {"ok": 19, "timeout": 1}
    assert records[2]["status"] == "timeout"
    assert records[2]["stdout"] == "2\n"
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not psutil.pid_exists(pid))  # whoever inherited it may not have buried it yet


def test_a_retry_is_counted_as_ever(tmp_path: Path) -> None:
    (tmp_path / "fetch.py").write_text(FETCH)
    job = spec(map="fetch.py:flaky", over={"range": 20}, concurrency=4, retries=3)
    code, records = finish(tmp_path, job, *ONE)
    assert code == 0
    assert each_once(records, 20)
    assert [record["attempt"] for record in records] == [3 if n % 2 else 1 for n in range(20)]


def test_an_engine_that_is_killed_costs_no_item(tmp_path: Path) -> None:
    job = json.dumps(
        {
            "cluster": {"engines": 2},
            "command": "echo {}; [ {} -lt 100 ] || until [ -e go ]; do sleep 0.02; done",
            "over": {"range": 400},
            "concurrency": 8,
        }
    )
    with running(tmp_path, job) as run:
        wait_until(lambda: len(run.lines()) > 20)
        psutil.Process(engines(run, 1)[0]["pid"]).kill()
        (tmp_path / "go").touch()
        assert run.wait() == 0
        assert each_once(run.lines(), 400)
        assert statuses(run.lines()) == {"ok": 400}


def test_the_item_that_kills_its_engine_is_found_among_its_neighbours(tmp_path: Path) -> None:
    code, records = finish(
        tmp_path,
        json.dumps(
            {
                "cluster": {"engines": 2},
                "command": "if [ {} = 5 ]; then kill -9 $PPID; fi; echo {}",
                "over": {"range": 30},
                "concurrency": 6,
            }
        ),
    )
    assert code == 1
    assert each_once(records, 30)
    assert statuses(records) == {"ok": 29, "lost": 1}
    assert records[5]["status"] == "lost"


def test_a_run_that_is_stopped_leaves_no_command_behind(tmp_path: Path) -> None:
    job = spec(command="echo $$ > pid{}; sleep 3600", over={"range": 30}, concurrency=5)
    with running(tmp_path, job, *ONE) as run:
        pids = [tmp_path / f"pid{n}" for n in range(5)]
        wait_until(lambda: all(path.exists() and path.read_text() for path in pids))
        begun = [int(path.read_text()) for path in tmp_path.glob("pid*") if path.read_text()]
        run.signal(15)
        assert run.wait() == 143
        assert each_once(run.lines())
    wait_until(lambda: not any(map(psutil.pid_exists, begun)))


def test_each_has_a_folder_of_its_own(tmp_path: Path) -> None:
    command = 'test -d "$ARCLI_OUTDIR" && echo {} > {outdir}/value'
    code, records = finish(
        tmp_path, spec(command=command, over={"range": 30}, concurrency=6, outdir="out/{}"), *ONE
    )
    assert code == 0
    assert each_once(records, 30)
    assert [int((tmp_path / f"out/{n}/value").read_text()) for n in range(30)] == list(range(30))


def test_it_works_in_arclis_own_process(tmp_path: Path) -> None:
    (tmp_path / "fetch.py").write_text(FETCH)
    job = json.dumps({"map": "fetch.py:mixed", "over": {"range": 12}, "concurrency": 4, "timeout": LIMIT})
    code, records = finish(tmp_path, job, "--inline")
    assert code == 1
    assert each_once(records, 12)
    assert statuses(records) == {"ok": 9, "error": 2, "timeout": 1}


def test_the_time_of_engines_is_not_counted_doubly(tmp_path: Path) -> None:
    with running(
        tmp_path, spec(command="sleep 0.05; : {}", over={"range": 100}, concurrency=10), *ONE
    ) as run:
        assert run.wait() == 0
        (job,) = run.manifest()["summary"]["jobs"]
    (engine,) = job["timing"]["engines"]
    assert job["timing"]["serial"] >= 100 * 0.05
    assert 0 < engine["compute"] <= engine["busy"] <= engine["present"] + 1e-3
    assert 0 < job["timing"]["efficiency"] <= 1


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"map": "f.py:plain", "over": [1]}, "is a plain function"),
        ({"map": "lambda x: x", "over": [1]}, "is a plain function"),
        ({"apply": "os:getpid"}, "one apply at a time"),
        ({"map": "f.py:mixed", "over": [1], "outdir": "o/{}"}, "for commands only"),
        ({"command": "true", "over": [1], "delay": "1s"}, "travel alone"),
        ({"command": "true", "over": [1], "chunksize": 2}, "chunksize: 2 is less"),
    ],
)
def test_a_spec_that_cannot_mean_it_says_why(job: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(FETCH)
    path = tmp_path / "s.json"
    path.write_text(json.dumps({**job, "concurrency": 4}))
    with pytest.raises(SpecError) as error:
        load(str(path))
    assert message in error.value.problems[0].message


def test_a_plain_function_that_only_engines_can_see_is_told_by_them(tmp_path: Path) -> None:
    job = spec(map="os.path:basename", over=["a"], concurrency=4)
    with running(tmp_path, job) as run:
        assert run.wait() == 6
        assert "job 'spec': concurrency is for commands and async functions: " in run.said()
        assert "'os.path:basename' is a plain function" in run.said()


def test_a_wrapped_function_is_told_before_any_job_has_begun(tmp_path: Path) -> None:
    source = "import functools\n@functools.cache\nasync def kept(x): return x\n"
    (tmp_path / "wrapped.py").write_text(source)
    first = {"name": "first", "command": "touch began", "over": [1]}
    later = {"name": "later", "map": "wrapped.py:kept", "over": [1], "concurrency": 2}
    with running(tmp_path, spec(jobs=[first, later])) as run:
        assert run.wait() == 6
        assert "of job 'later': concurrency is for commands and async functions" in run.said()
        assert "'wrapped.py:kept' is wrapped in a plain function" in run.said()
    assert not (tmp_path / "began").exists()


@pytest.mark.parametrize(("n", "width"), [(1, 1), (3, 2), (7, 2)])
def test_j_is_how_many_run_at_a_time_on_all_engines_together(n: int, width: int, tmp_path: Path) -> None:
    """Each command notes how many are under way: never more than N, and N at some time.

    The first N wait for one another, so that the first of them to go on finds all of them.
    """
    (tmp_path / "begun").mkdir()
    (tmp_path / "now").mkdir()
    command = f"touch now/{{}} begun/{{}}; until [ $(ls begun | wc -l) -ge {n} ]; do sleep 0.05; done; "
    command += "ls now | wc -l; sleep 0.05; rm now/{}"
    job = spec(command=command, over={"range": 40}, cluster={"engines": width})
    run = started(tmp_path, job, "-j", str(n))
    assert run.wait() == 0
    assert each_once(run.lines(), 40)
    assert max(int(record["stdout"]) for record in run.lines()) == n
    assert len({record["engine_id"] for record in run.lines()}) == min(n, width)


@pytest.mark.parametrize("items", [{"command": "echo {}"}, {"map": "str"}])
def test_n_is_the_most_engines_that_j_takes(items: dict[str, Any], tmp_path: Path) -> None:
    run = started(tmp_path, spec(**items, over={"range": 6}), "-n", "3", "-j", "1")
    assert run.wait() == 0
    assert each_once(run.lines(), 6)
    assert len(run.manifest()["engines"]) == 1


def test_j_of_plain_functions_is_the_number_of_engines(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "f.py").write_text(FETCH)
    run = started(tmp_path, spec(map="f.py:plain", over={"range": 3}, timeout="60s"), "-j", "3")
    assert run.wait() == 0
    assert len(run.manifest()["engines"]) == 3


@pytest.mark.parametrize("words", [["run", "spec.json"], ["map", "echo {}", ":::", *"abcdefgh"]])
def test_j_of_commands_takes_one_engine_a_cpu(words: list[str], tmp_path: Path) -> None:
    """Each engine more would be a process more, and no command would begin earlier for it."""
    (tmp_path / "spec.json").write_text(spec(command="echo {}", over={"range": 8}))
    cpu = min(os.sched_getaffinity(0))
    run = Run(tmp_path, [*words, "-j", "8"], preexec=lambda: os.sched_setaffinity(0, {cpu}))
    assert run.wait() == 0
    assert len(run.manifest()["engines"]) == 1


def test_map_takes_it_as_gnu_parallel_does(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    items = [str(n) for n in range(8)]
    run = Run(tmp_path, ["map", "-j", "8", "-q", "--timeout", "60s", MEETING, ":::", *items])
    assert run.wait() == 0
    run = Run(tmp_path, ["map", "-j", "8", "--save", "s.yaml", "echo {}", ":::", *items])
    assert run.wait() == 0
    assert load(str(tmp_path / "s.yaml")).jobs[0].concurrency == 8


def test_j_of_functions_with_a_folder_each_is_the_number_of_engines(tmp_path: Path) -> None:
    (tmp_path / "fetch.py").write_text(FETCH)
    run = started(
        tmp_path, spec(map="fetch.py:own_folder", over={"range": 6}, outdir="out/{index}"), "-j", "3"
    )
    assert run.wait() == 0
    assert [(tmp_path / "out" / str(n) / "item").read_text() for n in range(6)] == [*"012345"]


@pytest.mark.parametrize("more", [{"delay": "1ms"}, {"chunksize": 1}])
def test_j_of_items_that_travel_alone_is_the_number_of_engines(
    more: dict[str, Any], tmp_path: Path
) -> None:
    """Each command waits until five have begun; for commands beside others one CPU has one engine."""
    (tmp_path / "spec.json").write_text(
        spec(command=MEETING.replace("8", "5"), over={"range": 5}, timeout="60s", **more)
    )
    (tmp_path / "here").mkdir()
    words = ["run", "spec.json", "--format", "jsonl", "-j", "5"]
    cpu = min(os.sched_getaffinity(0))
    run = Run(tmp_path, words, preexec=lambda: os.sched_setaffinity(0, {cpu}))
    assert run.wait() == 0
    assert each_once(run.lines(), 5)
