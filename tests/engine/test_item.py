"""One item's envelope: whatever it does, its record is whole and the next item is unharmed."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import has_ended, wait_until

from arcli.engine.blank_files import BlankFiles
from arcli.engine.capture import NOTHING, NoCapture, make_capture
from arcli.engine.command import Command, CommandLine
from arcli.engine.encode import SAFE
from arcli.engine.errors import describe, safe_repr
from arcli.engine.item import Outcome, Runner, ShortItems
from arcli.engine.keys import Head, heads, item_key, salted
from arcli.engine.limits import UNKNOWN, TimeLimit, Timer
from arcli.engine.live import Live, Patrol
from arcli.engine.protocol import JobDefinition
from arcli.plan.job import with_templates

LIVE = Live(None)
PATROL = Patrol(LIVE)
KEYS = [
    "index", "key", "input", "status", "reason", "value", "exact", "error", "stdout", "stderr",
    "truncated", "attempt", "started", "completed", "seconds",
]  # fmt: skip


def kind(value: Any) -> str:
    return type(value).__name__


def make_runner(
    call: Callable[[Any], Any] | None = None,
    *,
    program: Command | None = None,
    capture: NoCapture | None = None,
    timer: Timer | None = None,
    timeout: float | None = None,
    keep_opaque: bool = False,
    attempt: int = 1,
) -> Runner:
    return Runner(
        job="job",
        call=call,
        program=program,
        capture=capture or NoCapture(),
        timer=timer or Timer(timeout, watchdog=False),
        salt=salted("{}"),
        keep_opaque=keep_opaque,
        attempt=attempt,
        marks=[0, 0, 0],
    )


def run(
    call: Callable[[Any], Any], item: Any = 1, *, begun: Head | None = None, **options: Any
) -> tuple[dict[str, Any], Outcome]:
    """An item's record as far as the engine writes it, and its outcome."""
    outcome = make_runner(call, **options).run(3, item, 0, begun)
    assert "\n" not in outcome.line
    record: dict[str, Any] = json.loads("{" + outcome.line + "}")
    return record, outcome


def test_a_row_that_its_function_changes_is_recorded_as_it_was_sent() -> None:
    row = {"b": 1, "a": 2.5}
    assert heads(salted("{}"), [row, row], [0, 1]) is None
    begun = heads(salted("{}"), [row, {**row}], [0, 1])
    assert begun is not None
    for head in (None, begun.at(0)):
        record, _ = run(lambda item: item.pop("b"), {**row}, begun=head)
        assert record["input"] == row
        assert record["key"] == item_key(salted("{}"), row)


plain_values = (
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(1 - SAFE, SAFE - 1)
    | st.text(st.characters(max_codepoint=127), max_size=20)
)
spans = st.tuples(st.integers(0, 10**11), st.integers(0, 10**9 - 1) | st.integers(0, 10**12))


@given(st.lists(st.tuples(plain_values, spans), min_size=1, max_size=5), st.integers(1, 3))
def test_items_together_are_written_as_each_by_itself(
    ended: list[tuple[Any, tuple[int, int]]], attempt: int
) -> None:
    """Readings of the clock may be of other seconds than the one that the chunk began in."""
    numbers = range(7, 7 + len(ended))
    runner, begun = (
        make_runner(len, attempt=attempt),
        heads(salted("{}"), ["x"] * len(ended), [*range(len(ended))]),
    )
    assert begun is not None
    readings = [(value, begin, begin + took) for value, (begin, took) in ended]
    each = [
        runner.ended(index, "x", index - 7, begin, value, None, end, NOTHING).line
        for index, (value, begin, end) in zip(numbers, readings, strict=True)
    ]
    short = ShortItems(*map(list, zip(*readings, strict=True)))
    assert runner.written(begun, numbers, short).decode() == "".join(f"{line}\n" for line in each)


def test_a_short_item_is_taken_when_all_of_it_is_there() -> None:
    """What has ended before a long one is written down by another thread, at any moment."""
    short = ShortItems(["a", "b", "c"], [1, 2], [11])
    assert short.take(5) == (["a"], [1], [11])
    assert short.take(5) == ([], [], [])
    short.ends.append(12)
    assert short.take(5) == (["b"], [2], [12])
    short.begins.append(3)
    short.ends.append(13)
    assert short.take(0) == ([], [], [])
    assert short.take(1) == (["c"], [3], [13])


@given(st.integers(0, 10**12))
def test_a_reading_of_the_clock_is_a_time_of_the_wall_clock(reading: int) -> None:
    runner = make_runner(len)
    line = runner.ended(0, "x", 0, reading, None, None, reading, NOTHING).line
    micros = (reading + runner.offset) // 1000
    at = datetime.fromtimestamp(micros // 10**6, UTC).replace(microsecond=micros % 10**6)
    assert json.loads("{" + line + "}")["started"] == f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"


def raiser(error: BaseException) -> Callable[[Any], Any]:
    def call(item: Any) -> Any:
        raise error

    return call


def test_a_record_of_an_item_that_is_ok() -> None:
    record, outcome = run(lambda item: item + 1, 41)
    assert list(record) == KEYS
    assert record["seconds"] == outcome.seconds > 0
    began, ended = (datetime.fromisoformat(record[at]) for at in ("started", "completed"))
    assert began <= ended
    assert abs(began.timestamp() - time.time()) < 60
    del record["seconds"], record["started"], record["completed"]
    assert record == {
        "index": 3,
        "key": item_key(salted("{}"), 41),
        "input": 41,
        "status": "ok",
        "reason": None,
        "value": 42,
        "exact": True,
        "error": None,
        "stdout": "",
        "stderr": "",
        "truncated": False,
        "attempt": 1,
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
        max_leaves=5,
    ),
    st.integers(0, 2),
)
def test_the_key_in_a_record_is_the_one_that_a_client_makes(item: Any, occurrence: int) -> None:
    outcome = make_runner(lambda item: None).run(0, item, occurrence)
    record = json.loads("{" + outcome.line + "}")
    assert record["key"] == item_key(salted("{}"), item, occurrence)


def test_an_error_has_its_type_its_message_and_the_users_traceback() -> None:
    record, outcome = run(lambda item: {"a": 1}["missing key"])
    assert record["status"] == outcome.status == "error"
    assert record["value"] is None
    assert record["error"]["type"] == "KeyError"
    assert record["error"]["message"] == "'missing key'"
    trace = record["error"]["traceback"]
    assert "test_item.py" in trace
    assert "engine/item.py" not in trace
    assert record["reason"] == outcome.reason == "KeyError: 'missing key'"


class Nasty(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise ArithmeticError

    __repr__ = __str__


class Unpicklable:
    def __reduce__(self) -> Any:
        raise Nasty

    def __repr__(self) -> str:
        raise Nasty


class Trap(Mapping[str, Any]):
    """A mapping that raises when it is read."""

    def __getitem__(self, key: str) -> Any:
        raise Nasty

    def __iter__(self) -> Iterator[str]:
        raise OSError("no keys today")

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (ValueError("a\nb"), "ValueError", "ValueError: a"),
        (ValueError(), "ValueError", "ValueError"),
        (ValueError("x" * 10_000), "ValueError", "ValueError: x{188}"),
        (ValueError("\ud800 \x00"), "ValueError", r"ValueError: \\ud800 \x00"),
        (SystemExit(3), "SystemExit", "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt", "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit", "GeneratorExit"),
        (MemoryError(), "MemoryError", "MemoryError"),
        (RecursionError("too deep"), "RecursionError", "RecursionError: too deep"),
        (json.JSONDecodeError("bad", "{", 1), "json.decoder.JSONDecodeError", "json.decoder.+"),
        (Nasty(), "test_item.Nasty", "test_item.Nasty: <its text cannot be had: ArithmeticError>"),
        (ExceptionGroup("many", [OSError("a")]), "ExceptionGroup", "ExceptionGroup: many.*"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_raised_ends_up_in_the_record(error: BaseException, kind: str, reason: str) -> None:
    record, _ = run(raiser(error))
    assert record["status"] == "error"
    assert record["error"]["type"] == kind
    assert re.fullmatch(reason, record["reason"])


def test_a_traceback_is_cut_where_it_is_very_long() -> None:
    record, _ = run(raiser(ValueError("y" * 10**6)))
    assert len(record["error"]["traceback"]) < 100_000
    assert len(record["error"]["message"]) < 100_000


def test_endless_recursion_is_an_error_like_any_other() -> None:
    def dive(item: Any) -> Any:
        return dive(item)

    record, _ = run(dive)
    assert record["error"]["type"] == "RecursionError"


def test_a_value_that_json_cannot_hold_is_saved_as_a_pickle() -> None:
    record, outcome = run(lambda item: 1j)
    assert record["value"] == {"$pickle": "values/job/3.pkl", "repr": "1j"}
    assert (record["status"], record["exact"]) == ("ok", False)
    assert outcome.opaque is not None
    assert outcome.opaque.saved
    assert pickle.loads(outcome.opaque.raw) == 1j


@pytest.mark.parametrize("keep", [True, False])
def test_a_value_that_is_not_exact_travels_only_if_somebody_needs_it(keep: bool) -> None:
    record, outcome = run(lambda item: (1, 2), keep_opaque=keep)
    assert (record["value"], record["exact"]) == ([1, 2], False)
    assert (outcome.opaque is not None) == keep
    assert outcome.opaque is None or not outcome.opaque.saved


@pytest.mark.parametrize("value", [Unpicklable(), Trap(), lambda: None, sys], ids=kind)
def test_a_value_that_cannot_travel_at_all_is_an_error_of_its_item(value: Any) -> None:
    record, outcome = run(lambda item: value)
    assert record["status"] == "error"
    assert record["value"] is None
    assert outcome.opaque is None


class Nowhere(NamedTuple):
    """A class that is not where pickle looks for it."""

    x: int


Nowhere.__qualname__ = "nowhere"


@pytest.mark.parametrize("value", [Nowhere(1), [Nowhere(1)]])
@pytest.mark.parametrize("keep", [True, False])
def test_what_json_can_only_show_does_not_take_the_values_place(value: Any, keep: bool) -> None:
    """Later jobs would have another type than the job's own, if it does not travel."""
    record, outcome = run(lambda item: value, keep_opaque=keep)
    assert outcome.opaque is None
    if keep:
        assert (record["status"], record["value"]) == ("error", None)
        assert "PicklingError" in record["reason"]
        assert "hint: later jobs and reducers get the value itself" in record["error"]["traceback"]
    else:
        assert (record["status"], record["value"]) == ("ok", json.loads(json.dumps(value)))


@pytest.mark.parametrize("item", [Unpicklable(), Trap(), object(), lambda: None], ids=kind)
def test_an_input_that_cannot_be_shown_harms_nobody(item: Any) -> None:
    record, _ = run(lambda item: "done", item)
    assert (record["status"], record["value"]) == ("ok", "done")
    assert record["input"]["$pickle"] is None
    assert isinstance(record["input"]["repr"], str)
    assert len(record["key"]) == 24


def test_a_time_limit_ends_an_item_that_sleeps() -> None:
    record, outcome = run(lambda item: time.sleep(60), timeout=0.05)
    assert outcome.status == record["status"] == "timeout"
    assert record["reason"] == "took longer than 0.05 s"
    assert record["value"] is None
    assert record["error"] is None
    assert record["seconds"] < 30


def test_an_item_that_catches_exceptions_does_not_catch_its_time_limit() -> None:
    def stubborn(item: Any) -> Any:
        while True:
            try:
                time.sleep(60)
            except Exception:  # noqa: BLE001 - the point
                continue

    assert run(stubborn, timeout=0.05)[0]["status"] == "timeout"


def test_an_item_that_swallows_its_time_limit_counts_as_timed_out() -> None:
    def swallow(item: Any) -> Any:
        try:
            time.sleep(60)
        except BaseException:  # noqa: BLE001 - the point
            return "done anyway"

    record, _ = run(swallow, timeout=0.05)
    assert (record["status"], record["value"]) == ("timeout", None)


def test_after_a_timeout_the_next_item_has_all_its_time() -> None:
    runner = make_runner(time.sleep, timeout=1)
    statuses = [runner.run(0, seconds, 0).status for seconds in (60, 0, 60, 0)]
    assert statuses == ["timeout", "ok", "timeout", "ok"]


def test_time_limits_leave_no_alarm_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    run(lambda item: 1, timeout=100)
    run(raiser(ValueError()), timeout=100)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == before


@pytest.mark.parametrize("capture", ["fd", "sys"])
def test_what_each_item_prints_is_its_own(capture: str) -> None:
    caught = make_capture(capture, LIVE, PATROL)

    def speak(item: Any) -> None:
        print(f"out {item}")
        print(f"err {item}", file=sys.stderr)
        if item == 1:
            raise ValueError("in between")

    with caught:
        runner = make_runner(speak, capture=caught)
        lines = [runner.run(n, n, 0).line for n in range(3)]
    for number, line in enumerate(lines):
        record = json.loads("{" + line + "}")
        assert (record["stdout"], record["stderr"]) == (f"out {number}\n", f"err {number}\n")
        assert record["status"] == ("error" if number == 1 else "ok")


def test_a_child_that_an_item_forks_does_not_go_on_as_an_engine() -> None:
    children = []

    def fork(item: Any) -> Any:
        child = os.fork()
        if child:
            children.append(child)
        return child and "parent"

    record, _ = run(fork)
    assert record["value"] == "parent"
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


def run_command(
    text: str | list[str], item: Any = "x", timer: Timer | None = None, **more: Any
) -> dict[str, Any]:
    job = JobDefinition("commands", "command", **with_templates({"command": text, **more}))
    command = Command(CommandLine(job), {}, BlankFiles(), PATROL)
    runner = make_runner(program=command, timer=timer)
    line = runner.run(0, item, 0).line
    record: dict[str, Any] = json.loads("{" + line + "}")
    return record


def test_a_command_is_an_item_with_an_exit_status_and_usage() -> None:
    record = run_command("echo {}; echo oops >&2", "a b")
    assert record["value"] == {"exit": 0, "stdout": "a b\n", "stderr": "oops\n"}
    assert (record["stdout"], record["stderr"], record["status"]) == ("a b\n", "oops\n", "ok")
    assert set(record["usage"]) == {"user", "system", "peak_memory"}
    assert all(len(str(record["usage"][used]).partition(".")[2]) <= 6 for used in ("user", "system"))


def test_a_command_that_fails_keeps_what_it_said() -> None:
    record = run_command("echo before; exit 3")
    assert record["status"] == "error"
    assert record["reason"] == record["error"]["message"] == "exit status 3"
    assert record["error"] == {"type": "CommandFailed", "message": "exit status 3", "traceback": ""}
    assert record["value"] == {"exit": 3, "stdout": "before\n", "stderr": ""}
    assert run_command("exit 3", ok_exit=[0, 3])["status"] == "ok"
    assert run_command("kill -9 $$")["reason"] == "killed by SIGKILL"


def test_a_command_that_cannot_be_started_says_why_without_a_place_in_arcli(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("echo {}")
    reasons: dict[str, tuple[str | list[str], str, str]] = {
        "there is none": (["/no/such/program"], "x", "/no/such/program: No such file or directory"),
        "not executable": ([str(tmp_path / "text"), "{}"], "x", "text: Permission denied"),
        "no cwd": ("echo {}", "x", "gone: No such file or directory"),
        "empty cwd": ("echo {}", "", "not started: the empty name of a folder: No such file"),
        "NUL": ("echo {}", "a\0b", "an argument has a NUL"),
        "too long": ("echo {}", "x" * (16 << 20), "16,777,216 bytes: command_stdin"),
        "no text": ("echo {}", "\ud800", "surrogates not allowed"),
    }
    for name, (text, item, reason) in reasons.items():
        cwd = {"no cwd": str(tmp_path / "gone"), "empty cwd": "{}"}.get(name)
        record = run_command(text, item, cwd=cwd)
        assert (record["status"], record["error"]["type"]) == ("error", "NotStarted"), name
        assert reason in record["reason"], name
        assert record["reason"].startswith("not started: "), name
        assert not record["error"]["traceback"], name


def test_what_a_command_prints_can_be_parsed() -> None:
    assert run_command("echo '[1, 2]'", parse="json")["value"] == [1, 2]
    assert run_command("echo ' 1.5'", parse="float")["value"] == 1.5
    assert run_command("printf 'a\\nb'", parse="lines")["value"] == ["a", "b"]
    record = run_command("echo no", parse="float")
    assert record["status"] == "error"
    assert "stdout is not float" in record["reason"]


def test_a_commands_standard_input_directory_and_environment(tmp_path: Any) -> None:
    (tmp_path / "x").mkdir()
    where = run_command("pwd; cat; echo $V", command_stdin="<{}>", cwd=f"{tmp_path}/{{}}", env={"V": "v"})
    assert where["stdout"] == f"{tmp_path}/x\n<x>v\n"
    assert run_command("cat")["stdout"] == ""


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Any) -> None:
    # Its time is up when it has told what it started.
    file = tmp_path / "pid"
    timer = Timer(UNKNOWN, watchdog=False, told=lambda: 0.01 if file.exists() else UNKNOWN)
    started = f"sleep 300 & echo $! > {file}.part; mv {file}.part {file}; wait"
    record = run_command(started, timer=timer)
    assert record["status"] == "timeout"
    child = int(file.read_text())
    wait_until(lambda: has_ended(child))


def test_descriptions_never_raise() -> None:
    details, reason = describe(Nasty())
    assert json.loads(details)["type"] == "test_item.Nasty"
    assert reason
    assert safe_repr(Unpicklable()) == "<Unpicklable whose repr raises Nasty>"
    assert safe_repr("x" * 1000)[-1] == "…"
    assert len(safe_repr("x" * 1000)) == 200


def test_a_time_limit_is_no_exception_that_items_catch() -> None:
    assert not issubclass(TimeLimit, Exception)
