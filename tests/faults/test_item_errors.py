"""Items that go wrong in every way that Python knows."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from runs import each_once, finish, running, statuses, wait_until

HOSTILE = """
setup:
  run: |
    class Odd(Exception):
        def __str__(self): raise RuntimeError("no words")
    class Heavy(Exception):
        def __init__(self): self.lock = __import__("threading").Lock()
    class PickledInput:
        def __reduce__(self): raise TypeError("not to be pickled")
    class Custom:
        def __init__(self, n): self.n = n
    def work(kind):
        if kind == "odd": raise Odd
        if kind == "heavy": raise Heavy
        if kind == "opaque": return PickledInput()
        if kind == "custom": return Custom(3)
        if kind == "exit": raise SystemExit(5)
        if kind == "interrupt": raise KeyboardInterrupt
        if kind == "deep": return work(kind)
        if kind == "lambda": return lambda: 1
        return kind
map: work
over: [odd, heavy, opaque, custom, exit, interrupt, deep, lambda, fine]
chunksize: 9
"""


def test_errors_and_results_that_do_not_travel_become_ordinary_records(tmp_path: Path) -> None:
    code, records = finish(tmp_path, HOSTILE)
    assert code == 1
    by = {r["input"]: r for r in records}
    assert each_once(records, 9)
    assert [k for k, r in by.items() if r["status"] == "ok"] == ["custom", "fine"]
    assert by["odd"]["error"]["type"].endswith("Odd")
    assert "cannot be had" in by["odd"]["error"]["message"]
    assert by["exit"]["error"]["type"] == "SystemExit"
    assert by["deep"]["error"]["type"] == "RecursionError"
    saved = by["custom"]["value"]["$pickle"]
    (folder,) = (tmp_path / ".arcli" / "runs").iterdir()
    assert (folder / saved).is_file()
    assert by["custom"]["exact"] is False


def test_tracebacks_show_the_users_frames_only(tmp_path: Path) -> None:
    _, records = finish(tmp_path, 'map: "lambda x: 1 // x"\nover: [0]\n')
    trace = records[0]["error"]["traceback"]
    assert "ZeroDivisionError" in trace
    assert "arcli" not in trace


def test_retries_count_attempts_and_a_late_success_is_ok(tmp_path: Path) -> None:
    code, records = finish(
        tmp_path,
        """
setup:
  run: |
    import os
    def third_time(x):
        tries = [name for name in os.listdir() if name.startswith(f"try-{x}-")]
        open(f"try-{x}-{len(tries)}", "w").close()
        if len(tries) < 2: raise ValueError(x)
        return x
map: third_time
over: [1, 2, 3]
retries: 2
retry_delay: 10ms
chunksize: 3
""",
    )
    assert code == 0
    assert [(r["value"], r["attempt"]) for r in records] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(60)",
        "swallow()",
        "ctypes.PyDLL(None).sleep(60)",
        "os.kill(os.getpid(), 19)",
        "late()",
    ],
    ids=["sleep", "swallows", "holds-the-gil", "stopped", "returns-late"],
)
def test_an_item_that_takes_too_long_is_a_timeout_and_costs_nobody_else(tmp_path: Path, body: str) -> None:
    code, records = finish(
        tmp_path,
        f"""
setup:
  imports: [time, ctypes, os]
  run: |
    def swallow():
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
    def late():
        try:
            time.sleep(60)
        except BaseException:
            return "late"
map: "lambda x: {body} if x == 4 else x"
over: {{range: 10}}
chunksize: 5
timeout: 2s
""",
    )
    assert code == 1
    assert each_once(records, 10)
    assert statuses(records) == {"ok": 9, "timeout": 1}
    assert records[4]["status"] == "timeout"


def test_neighbours_that_were_done_keep_their_results_when_the_engine_is_ended(
    tmp_path: Path,
) -> None:
    _, records = finish(
        tmp_path,
        """
setup: {imports: [time, ctypes]}
map: "lambda x: ctypes.PyDLL(None).sleep(60) if x == 9 else time.sleep(0.06) or time.time()"
over: {range: 10}
chunksize: 10
timeout: 3s
""",
    )
    assert statuses(records) == {"ok": 9, "timeout": 1}
    # Published while the chunk ran: not computed again on the engine that came after.
    assert records[0]["engine_id"] in {0, 1}


def test_halt_soon_stops_after_the_failures_that_are_allowed(tmp_path: Path) -> None:
    code, records = finish(
        tmp_path,
        """
setup: {imports: [time]}
map: "lambda x: 1 // 0 if x % 2 else time.sleep(0.05)"
over: {range: 400}
halt: soon
max_failures: 3
""",
    )
    assert code == 1
    assert each_once(records)
    assert 3 <= statuses(records)["error"] < 40
    assert len(records) < 100


@pytest.mark.parametrize("words", [[], ["--inline"]], ids=["engines", "inline"])
@pytest.mark.parametrize(("halt", "ends"), [("soon", "fails"), ("{ok: 1}", "holds")])
def test_a_halt_lets_nothing_else_of_a_chunk_begin(
    tmp_path: Path, words: list[str], halt: str, ends: str
) -> None:
    """What comes after the item that ends the job leaves it the time to be heard of."""
    spec = f"""
setup:
  run: |
    import pathlib, time
    def f(x):
        pathlib.Path(f"begun-{{x}}").touch()
        time.sleep(2 * (x > 3))
        if (x == 3) == ("{ends}" == "fails"):
            raise ValueError(x)
map: f
over: {{range: 40}}
chunksize: 40
halt: {halt}
"""
    _, records = finish(tmp_path, spec, "-n", "1", *words)
    assert each_once(records)
    assert {int(path.name.removeprefix("begun-")) for path in tmp_path.glob("begun-*")} <= set(range(5))


def test_halt_now_ends_what_runs(tmp_path: Path) -> None:
    code, records = finish(
        tmp_path,
        """
setup: {imports: [time]}
map: "lambda x: 1 // 0 if x == 1 else time.sleep(300)"
over: {range: 50}
halt: now
""",
    )
    assert code == 1
    assert each_once(records)
    assert statuses(records)["error"] == 1
    assert records[0]["status"] == "cancelled"
    assert "halted" in records[0]["reason"]


def test_the_first_success_is_enough_where_that_is_what_was_asked_for(tmp_path: Path) -> None:
    code, records = finish(
        tmp_path,
        """
setup: {imports: [time]}
map: "lambda x: 1 // 0 if x == 0 else time.sleep(300) if x > 1 else x"
over: {range: 50}
halt: {ok: 1, how: now}
collect: list
""",
    )
    assert code == 0
    assert each_once(records)
    counts = statuses(records)
    assert counts["ok"] == 1
    assert set(counts) <= {"ok", "error", "cancelled"}
    # How many had been read by then depends on how many engines had come up; none, with a single one.
    cancelled = [record["reason"] for record in records if record["status"] == "cancelled"]
    assert all("enough" in reason for reason in cancelled)


def test_a_success_that_never_comes_leaves_the_failures_what_they_are(tmp_path: Path) -> None:
    code, records = finish(tmp_path, 'map: "lambda x: 1 // 0"\nover: {range: 4}\nhalt: {ok: 1}\n')
    assert code == 1
    assert statuses(records)["error"] == 4


def test_a_map_of_halt_counts_failures_as_max_failures_does(tmp_path: Path) -> None:
    code, records = finish(
        tmp_path,
        'map: "lambda x: 1 // 0"\nover: {range: 400}\nchunksize: 1\nhalt: {failed: 3, ok: 50%}\n',
    )
    assert code == 1
    assert 3 <= statuses(records)["error"] < 40


def test_halt_by_percentage_is_judged_from_the_hundredth_item_on(tmp_path: Path) -> None:
    _, records = finish(
        tmp_path,
        """
map: "lambda x: 1 // (x % 10)"
over: {range: 5000}
chunksize: 10
halt: soon
max_failures: 5%
""",
    )
    done = [r for r in records if r["status"] in {"ok", "error"}]
    assert 100 <= len(done) < 5000


def test_a_jobs_deadline_keeps_what_is_done_and_lets_other_jobs_go_on(tmp_path: Path) -> None:
    code, records = finish(
        tmp_path,
        """
setup: {imports: [time]}
jobs:
  - name: slow
    map: "lambda x: x if x < 2 else time.sleep(300)"
    over: {range: 6}
    chunksize: 1
    deadline: 5s
  - name: next
    map: abs
    over: [-1]
""",
    )
    assert code == 124
    slow = [r for r in records if r["job"] == "slow"]
    assert each_once(slow)
    assert statuses(slow)["ok"] == 2
    assert "deadline" in slow[-1]["reason"]
    assert [r["value"] for r in records if r["job"] == "next"] == [1]


def test_gigabytes_of_output_are_cut_and_it_is_said(tmp_path: Path) -> None:
    _, records = finish(
        tmp_path,
        """
setup: {imports: [sys, os]}
map: "lambda x: [os.write(1, b'x' * 1_000_000) for _ in range(300)] and x"
over: [1, 2]
""",
    )
    assert [r["truncated"] for r in records] == [True, True]
    assert all(len(r["stdout"]) == 1 << 20 for r in records)


def test_output_of_every_origin_belongs_to_its_item(tmp_path: Path) -> None:
    _, records = finish(
        tmp_path,
        r"""
setup:
  run: |
    import ctypes, os, subprocess, sys, threading, time
    libc = ctypes.CDLL(None)
    def work(kind):
        if kind == "python": print("from python"); print("error", file=sys.stderr)
        if kind == "c": libc.puts(b"from c"); libc.fflush(None)
        if kind == "child": subprocess.run(["echo", "from a child"])
        if kind == "raw": os.write(1, b"\x00\xff\x1b[31m")
        if kind == "closes": sys.stdout.close()
        if kind == "closes-fd": os.close(1)
        if kind == "after": print("still here")
        if kind == "chdir": os.chdir("/")
        if kind == "where": print(os.getcwd())
        if kind == "forks" and os.fork() == 0: return "child"
        if kind == "thread": threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
        return kind
map: work
over: [python, c, child, raw, closes, after, closes-fd, after, chdir, where, forks, thread, quiet]
chunksize: 13
""",
    )
    by = {r["input"]: r for r in records}
    assert each_once(records, 13)
    assert statuses(records) == {"ok": 13}
    assert (by["python"]["stdout"], by["python"]["stderr"]) == ("from python\n", "error\n")
    assert by["c"]["stdout"] == "from c\n"
    assert by["child"]["stdout"] == "from a child\n"
    assert by["raw"]["stdout"] == "\x00\\xff\x1b[31m"
    assert [r["stdout"] for r in records if r["input"] == "after"] == ["still here\n"] * 2
    assert by["where"]["stdout"] == f"{tmp_path.resolve()}\n"
    assert by["quiet"]["stdout"] == ""


def test_a_slow_item_does_not_hold_back_the_records_before_it(tmp_path: Path) -> None:
    spec = """
setup: {imports: [time]}
map: "lambda x: time.sleep(300 if x == 3 else 0.3)"
over: {range: 4}
chunksize: 4
"""
    with running(tmp_path, spec) as run:
        began = time.monotonic()
        while len(run.lines()) < 2 and time.monotonic() - began < 60:
            time.sleep(0.05)
        assert [json.loads(json.dumps(r))["index"] for r in run.lines()][:2] == [0, 1]


def test_a_percentage_of_few_items_halts_at_the_third_failure(tmp_path: Path) -> None:
    # The engine has the fourth one already when the third has failed.
    text = """
command: "test {} -lt 4 || sleep 300; exit {}"
over: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
halt: now
max_failures: 20%
chunksize: 1
"""
    code, records = finish(tmp_path, text, "-n", "1")
    assert code == 1
    assert statuses(records)["error"] == 3
    assert records[0]["status"] == "ok"


def test_an_item_that_takes_many_times_the_median_is_ended(tmp_path: Path) -> None:
    code, records = finish(
        tmp_path,
        """
setup: {imports: [time]}
map: "lambda x: time.sleep(300 if x == 9 else 0.05)"
over: {range: 12}
chunksize: 1
timeout: 6000%
""",
    )
    assert code == 1
    assert statuses(records) == {"ok": 11, "timeout": 1}
    assert records[9]["status"] == "timeout"


def test_one_that_was_sent_before_there_was_a_median_is_ended_too(tmp_path: Path) -> None:
    code, records = finish(
        tmp_path,
        """
setup: {imports: [time]}
map: "lambda x: time.sleep(300 if x == 0 else 0.05)"
over: {range: 12}
chunksize: 1
timeout: 6000%
""",
    )
    assert code == 1
    assert statuses(records) == {"ok": 11, "timeout": 1}


def test_what_ends_before_a_long_item_of_its_chunk_does_not_wait_for_it(tmp_path: Path) -> None:
    spec = """
    setup: {imports: [time]}
    map: "lambda x: time.sleep(300) if x else x"
    over: [0, 1]
    chunksize: 2
    """
    with running(tmp_path, spec, "-n", "1") as run:
        (record,) = wait_until(run.lines)
        assert (record["index"], record["status"]) == (0, "ok")
        run.process.terminate()
        assert run.wait() == 143


def test_an_item_that_leaves_its_engine_unable_to_answer_is_found(
    tmp_path: Path,
) -> None:
    break_ = "lambda x: __import__('builtins').__dict__.update(len=None) if x == 13 else x"
    spec = json.dumps({"map": break_, "over": {"range": 40}, "chunksize": 20})
    code, records = finish(tmp_path, spec)
    assert code == 1
    assert each_once(records, 40)
    assert {record["index"] for record in records if record["status"] == "lost"} == {13}
    assert statuses(records) == {"ok": 39, "lost": 1}
