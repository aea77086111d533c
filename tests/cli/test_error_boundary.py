"""Whatever goes wrong becomes one message and one exit code."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest

from arcli import errors
from arcli.cli import VERBS, main
from arcli.cli.error_boundary import Call, guard, option_value
from arcli.errors import ArcliError, ExitCode, Problem

Captured = pytest.CaptureFixture[str]


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def action() -> NoReturn:
        raise error

    return action


PLAIN = {
    errors.UsageError: 2,
    errors.InputError: 2,
    errors.ClusterError: 3,
    errors.OutputError: 4,
    errors.ExpectationError: 5,
    errors.SetupError: 6,
    errors.LockedError: 75,
    errors.DeadlineError: 124,
}
"""Errors that are made of a sentence."""
SIGNALS = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143}


def test_every_class_of_errors_is_in_these_tests() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    known = {*PLAIN, errors.SpecError, errors.ReaderGone, errors.Interrupted, ArcliError}
    assert {kind for kind in kinds if issubclass(kind, ArcliError)} == known


@pytest.mark.parametrize(("kind", "code"), PLAIN.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_an_error_has_its_exit_code_and_one_message(
    capfd: Captured, kind: type[ArcliError], code: int
) -> None:
    assert guard(raising(kind("the disk is gone", hint="look for it")), Call()) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "arcli: the disk is gone\nhint: look for it\n"


def test_details_stand_between_the_message_and_the_hint(capfd: Captured) -> None:
    error = errors.SetupError("it broke", hint="mend it", details="File a\n  b\x1b").at("s.yaml:1")
    assert guard(raising(error), Call(format="json")) == 6
    out, err = capfd.readouterr()
    assert err == "arcli: s.yaml:1: it broke\n    File a\n      b\\x1b\nhint: mend it\n"
    assert json.loads(out)["error"]["details"] == "File a\n  b\x1b"
    assert str(error) == "s.yaml:1: it broke"


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal(capfd: Captured, number: signal.Signals) -> None:
    assert guard(raising(errors.Interrupted(number)), Call()) == SIGNALS[number]
    assert capfd.readouterr().err == f"arcli: stopped by {number.name}\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()], ids=["key", "click"])
def test_ctrl_c_before_anything_can_be_stopped_is_quiet(capfd: Captured, error: BaseException) -> None:
    assert guard(raising(error), Call(format="json")) == 130
    assert capfd.readouterr() == ("", "")


def without_thread() -> NoReturn:
    try:
        raise RuntimeError("can't start new thread")
    finally:
        raise RuntimeError("cannot join thread before it is started")


@pytest.mark.parametrize("action", [raising(RuntimeError("can't start new thread")), without_thread])
def test_a_thread_that_the_system_does_not_start_is_no_bug(
    capfd: Captured, action: Callable[[], NoReturn]
) -> None:
    assert guard(action, Call()) == 3
    err = capfd.readouterr().err
    assert err.startswith("arcli: arcli cannot start another thread: ")
    assert "ulimit -v" in err


def test_a_reader_that_left_needs_no_message(capfd: Captured) -> None:
    assert guard(raising(errors.ReaderGone("nobody reads")), Call(format="json")) == 141
    assert capfd.readouterr() == ("", "")


PROBLEMS = [
    Problem(message="unknown key ovr", file="a.yaml", line=3, column=1, source="ovr: 1", hint="over?"),
    Problem(message="no function", file="a.yaml"),
]


def test_every_problem_of_a_spec_is_shown_with_its_place(capfd: Captured) -> None:
    assert guard(raising(errors.SpecError(PROBLEMS)), Call()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "a.yaml:3:1: unknown key ovr"
    assert "a.yaml: no function" in lines
    assert "  3 | ovr: 1" in lines
    assert "  hint: over?" in lines
    assert lines[-1] == "arcli: 2 problems in the spec"


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("form", ["json", "jsonl", "text"])
def test_a_program_gets_errors_where_it_reads_them(capfd: Captured, form: str, as_json: bool) -> None:
    """One object on stdout in place of a document; on stderr where it asks for it; no record's place."""
    guard(raising(errors.SpecError(PROBLEMS)), Call(format=form, as_json=as_json))
    out, err = capfd.readouterr()
    assert bool(out) == (form == "json")
    for line in (*out.splitlines(), *(err.splitlines() if as_json else ())):
        assert json.loads(line)["error"]["exit_code"] == 2
    assert as_json or "2 problems" in err


def test_a_reader_of_json_gets_one_object(capfd: Captured) -> None:
    call = Call(format="json")
    assert guard(raising(errors.SpecError(PROBLEMS)), call) == 2
    out, err = capfd.readouterr()
    (line,) = out.splitlines()
    error = json.loads(line)["error"]
    assert error["type"] == "SpecError"
    assert error["exit_code"] == 2
    assert [problem["line"] for problem in error["problems"]] == [3, None]
    assert error["problems"][0]["hint"] == "over?"
    assert "2 problems" in err  # people are told as well
    assert call.reported


@pytest.mark.parametrize("form", [None, "text"])
def test_nobody_else_gets_it(capfd: Captured, form: str | None) -> None:
    guard(raising(errors.ClusterError("gone")), Call(format=form))
    assert capfd.readouterr().out == ""


def test_an_error_that_the_document_tells_is_not_told_twice(capfd: Captured) -> None:
    guard(raising(errors.ClusterError("gone")), Call(format="json", reported=True))
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "arcli: gone\n"


@pytest.mark.parametrize("form", [None, "json"])
def test_a_bug_has_its_traceback(capfd: Captured, form: str | None) -> None:
    def mistaken() -> None:
        os.environ["NOT THERE"]

    assert guard(mistaken, Call(format=form)) == 70
    out, err = capfd.readouterr()
    assert "in mistaken" in err
    assert "a bug in arcli" in err
    assert "please report" in err
    if form == "json":
        assert json.loads(out)["error"]["type"] == "KeyError"
        assert json.loads(out)["error"]["exit_code"] == 70
    else:
        assert out == ""


@pytest.mark.parametrize("message", ["\x1b[2J\x1b]0;title\x07", "back\x08space\rhome"])
def test_no_message_reaches_the_terminal_raw(capfd: Captured, message: str) -> None:
    spec = errors.SpecError([Problem(message=message, file=message, line=1, column=1, source=message)])
    for error in (errors.UsageError(message, hint=message), spec, RuntimeError(message)):
        guard(raising(error), Call())
    err = capfd.readouterr().err
    assert [letter for letter in err if ord(letter) < 32 and letter != "\n"] == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_under_stdout(capfd: Captured, number: int) -> None:
    assert guard(raising(OSError(number, os.strerror(number))), Call()) == 4
    assert "standard output" in capfd.readouterr().err


@pytest.mark.parametrize("error", [OSError(errno.EIO, "bad"), BrokenPipeError(errno.EPIPE, "pipe")])
def test_any_other_error_of_the_system_is_a_bug(capfd: Captured, error: OSError) -> None:
    """A broken pipe too, unless it is stdout that nobody reads."""
    assert guard(raising(error), Call()) == 70
    assert "a bug in arcli" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("result", "code"), [(None, 0), (0, 0), (1, 1), (ExitCode.EXPECTATION, 5), (False, 0)]
)
def test_what_a_verb_returns_is_the_exit_code(result: Any, code: int) -> None:
    assert guard(lambda: result, Call()) == code
    assert guard(raising(SystemExit(result)), Call()) == code


def test_leaving_with_a_sentence(capfd: Captured) -> None:
    assert guard(raising(SystemExit("no more")), Call()) == 1
    assert capfd.readouterr().err == "no more\n"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("run a.yaml", None),
        ("run a.yaml --format json", "json"),
        ("run a.yaml --format=jsonl --bogus", "jsonl"),
        ("run --format json --format text", "text"),
        ("run a.yaml --format", None),
    ],
)
def test_the_format_is_known_even_where_the_command_line_is_wrong(words: str, wanted: str | None) -> None:
    assert option_value(words.split(), "--format") == wanted


def called(words: Sequence[str]) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as leaving:
        main.main(list(words))
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


@pytest.mark.parametrize(
    ("words", "near"),
    [("rnu", "'run'"), ("chekc", "'check'"), ("schemas", "'schema'"), ("frobnicate", "run, map, check")],
)
def test_a_mistyped_verb(capfd: Captured, words: str, near: str) -> None:
    assert called([words]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert near in err
    assert "Traceback" not in err


def test_a_mistyped_option(capfd: Captured) -> None:
    assert called(["run", "spec.yaml", "--lmit", "3", "--format", "json"]) == 2
    out, err = capfd.readouterr()
    assert "--limit" in err
    error = json.loads(out)["error"]
    assert (error["type"], error["exit_code"]) == ("UsageError", 2)


@pytest.mark.parametrize(
    "words",
    [
        "run",
        "run a.yaml --engines 0",
        "run a.yaml -n two",
        "run a.yaml --limit -1",
        "run a.yaml --deadline soon",
        "run a.yaml -p n",
        "run a.yaml --set =3",
        "run a.yaml --format yaml",
        "run a.yaml --progress loud",
        "run a.yaml --run 20260101-000000-abcd",
        "run a.yaml b.yaml",
    ],
)
def test_flags_that_make_no_sense(
    capfd: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert called(words.split()) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err.strip()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(capfd: Captured, verb: str) -> None:
    assert called([verb, "--help"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith(f"Usage: arcli {verb}")
    assert err == ""


def test_the_help_names_every_verb(capfd: Captured) -> None:
    assert called(["--help"]) == 0
    out = capfd.readouterr().out
    assert all(f"  {name} " in out and verb.help in out for name, verb in VERBS.items())
