"""``arcli run`` as a shell sees it: streams, files, flags, and what it leaves in ``.arcli``."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import platform
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from runs import PATIENCE, Run, each_once, finish, running, wait_until

import arcli

SQUARES = """
name: squares
map: "lambda x: print('seen', x) or x * x"
over: {range: 4}
"""
ONE_FAILS = """
map: "lambda x: 6 // x"
over: [1, 0, 3]
"""
SLOW = """
setup: {imports: [time]}
map: "lambda x: time.sleep(0.05) or x"
over: {range: 4000}
"""


def ended(folder: Path, spec: str, *words: str, **more: Any) -> tuple[int, str, str]:
    """A run from start to end: its exit code, stdout and stderr."""
    with running(folder, spec, *words, **more) as run:
        code = run.wait()
        return code, run.out.read_text(), run.said()


@pytest.fixture(params=[(), ("--inline",)], ids=["engines", "inline"])
def where(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The flags for the two places in which items can run."""
    words: tuple[str, ...] = request.param
    return words


def test_text_has_results_on_stdout_and_tables_beside(tmp_path: Path, where: tuple[str, ...]) -> None:
    code, out, err = ended(tmp_path, SQUARES, "--format", "text", *where)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["item", "engine", "at", "took", "input", "result"]
    assert [line.split()[-1] for line in lines[1::2]] == ["0", "1", "4", "9"]
    assert [line.partition("| ")[2] for line in lines[2::2]] == [f"seen {n}" for n in range(4)]
    assert re.match(
        r"✓ squares  4 of 4 items ok in \S+ m?s  \(\d engines?\)\n  run    \S+   tables: arcli report", err
    )
    assert "\x1b" not in out + err
    assert "\r" not in err


@pytest.mark.parametrize("how", [("--summary", "full"), ()], ids=["flag", "variable"])
def test_tables_where_they_are_asked_for(tmp_path: Path, how: tuple[str, ...]) -> None:
    env = {} if how else {"ARCLI_SUMMARY": "full"}
    code, _, err = ended(tmp_path, SQUARES, "--format", "text", "--inline", *how, env=env)
    assert code == 0
    table = next(line.split() for line in err.splitlines() if line.startswith("squares "))
    assert table[:4] == ["squares", "4", "4", "0"]
    for word in ("wall", "serial", "speed-up", "efficiency", "engine", "idle"):
        assert word in err


def test_a_variable_that_says_nothing_is_named(tmp_path: Path) -> None:
    code, _, err = ended(tmp_path, SQUARES, "--inline", env={"ARCLI_SUMMARY": "much"})
    assert code == 2
    assert "ARCLI_SUMMARY" in err


def test_jsonl_is_records_and_nothing_else(tmp_path: Path, where: tuple[str, ...]) -> None:
    code, out, err = ended(tmp_path, SQUARES, *where)
    assert (code, err) == (0, "")
    records = [json.loads(line) for line in out.splitlines()]
    assert each_once(records, 4)
    assert [record["value"] for record in records] == [0, 1, 4, 9]
    assert [record["stdout"] for record in records] == [f"seen {n}\n" for n in range(4)]
    assert {record["job"] for record in records} == {"squares"}


def test_json_is_one_document(tmp_path: Path, where: tuple[str, ...]) -> None:
    code, out, err = ended(tmp_path, SQUARES, "--format", "json", *where)
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert (document["run"]["status"], document["run"]["exit_code"]) == ("ok", 0)
    (job,) = document["jobs"]
    assert job["counts"]["ok"] == 4
    assert each_once(job["items"], 4)


def test_quiet_prints_nothing_when_all_is_well(tmp_path: Path) -> None:
    assert ended(tmp_path, SQUARES, "--format", "text", "-q") == (0, "", "")


def test_quiet_tells_of_failures(tmp_path: Path) -> None:
    code, out, err = ended(tmp_path, ONE_FAILS, "--format", "text", "-q", "--inline")
    assert (code, out) == (1, "")
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err.splitlines()[0]


def test_verbose_shows_how_items_travelled(tmp_path: Path) -> None:
    code, out, _ = ended(tmp_path, SQUARES, "--format", "text", "-v")
    assert code == 0
    assert len(re.findall(r"msg \| \S+ chunk \d+", out)) == 4


def test_a_failed_item_costs_its_neighbours_nothing(tmp_path: Path, where: tuple[str, ...]) -> None:
    code, out, err = ended(tmp_path, ONE_FAILS, "--format", "text", *where)
    assert code == 1
    assert "error: ZeroDivisionError" in out
    assert "ZeroDivisionError" in err
    assert [line.split()[-1] for line in out.splitlines()[1::2]] == ["6", "2"]


def test_limit_takes_the_first_items(tmp_path: Path) -> None:
    code, records = finish(tmp_path, SQUARES, "--limit", "2", "--inline")
    assert code == 0
    assert each_once(records, 2)


@pytest.mark.parametrize("where", [["--inline"], ["-n", "1"]])
def test_whoever_means_never_may_say_any_time(tmp_path: Path, where: list[str]) -> None:
    """The timers behind these hold less, each its own."""
    keys = ("timeout", "deadline", "cluster.start_timeout", "retry_delay")
    never = [word for key in keys for word in ("--set", f"{key}=1e300")]
    limits = ["--deadline", "300000000d", "--limit", str(10**20), "-j", str(10**20)]
    spec = "command: 'true {}'\nover: [1]\n"
    assert ended(tmp_path, spec, *where, *never, *limits, "-q", "--format", "text") == (0, "", "")


def test_limit_of_none_is_a_run_too(tmp_path: Path) -> None:
    code, records = finish(tmp_path, SQUARES, "--limit", "0", "--inline")
    assert (code, records) == (0, [])


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_engines_as_asked_for(tmp_path: Path, count: int) -> None:
    spec = "apply: os:getpid\ntargets: all\n"
    code, records = finish(tmp_path, spec, "-n", str(count))
    assert code == 0
    assert len({record["value"] for record in records}) == len(records) == count


def test_inline_is_this_very_process(tmp_path: Path) -> None:
    with running(tmp_path, "map: os:getppid\nover: [[]]\nunpack: args\n", "--inline") as run:
        assert run.wait() == 0
        assert [record["value"] for record in run.lines()] == [os.getpid()]


# -- files --------------------------------------------------------------------------------------


def test_every_suffix_has_its_format(tmp_path: Path, where: tuple[str, ...]) -> None:
    words = [word for suffix in ("jsonl", "json", "csv", "txt") for word in ("-o", f"out.{suffix}")]
    code, out, _ = ended(tmp_path, SQUARES, *words, *where)
    assert code == 0
    assert (tmp_path / "out.jsonl").read_text() == out
    document = json.loads((tmp_path / "out.json").read_text())
    assert [item["value"] for item in document["jobs"][0]["items"]] == [0, 1, 4, 9]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row["value"] for row in rows] == ["0", "1", "4", "9"]
    assert [row["stdout"] for row in rows] == [f"seen {n}\n" for n in range(4)]
    assert "seen 3" in (tmp_path / "out.txt").read_text()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("out.*")}
    umask = os.umask(0)
    os.umask(umask)
    assert modes == {0o666 & ~umask}


def leftovers(folder: Path) -> set[str]:
    """What is in a folder beside what a run and this test put there themselves."""
    names = {path.name for path in folder.iterdir()}
    return {name for name in names if not name.startswith(("stdout-", "stderr-"))} - {
        "spec.yaml",
        ".arcli",
        "marks",
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_files_of_a_stopped_run_are_whole(tmp_path: Path, number: signal.Signals) -> None:
    words = ["-o", "new.json", "-o", "new.csv", "-o", "new.jsonl"]
    with running(tmp_path, SLOW, *words) as run:
        wait_until(lambda: len(run.lines()) >= 3, run.said)
        run.signal(number)
        assert run.wait() == 128 + number
        lines = run.lines()
    assert leftovers(tmp_path) == {"new.json", "new.csv", "new.jsonl"}

    def text(name: str) -> str:
        return (tmp_path / name).read_text()

    assert [json.loads(line) for line in text("new.jsonl").splitlines()] == lines
    document = json.loads(text("new.json"))
    assert document["run"]["exit_code"] == 128 + number
    assert document["jobs"][0]["items"] == lines
    rows = list(csv.DictReader(io.StringIO(text("new.csv"))))
    assert [row["index"] for row in rows] == [str(line["index"]) for line in lines]
    assert each_once(lines)


def test_a_killed_run_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("from before\n")
    with running(tmp_path, SLOW, "-o", "old.csv", "-o", "new.json") as run:
        wait_until(lambda: len(run.lines()) >= 3, run.said)
        run.signal(signal.SIGKILL)
        run.wait()
    assert (tmp_path / "old.csv").read_text() == "from before\n"
    assert not (tmp_path / "new.json").exists()


SOME = """
jobs:
- {name: a, map: abs, over: {range: 3}}
- {name: b, map: abs, over: {range: 3}}
output: [{path: a.csv, job: a}, {path: b.csv, job: b}, all.jsonl]
"""


def test_outputs_of_jobs_that_are_not_run_stay_as_they_are(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "all.jsonl"):
        (tmp_path / name).write_text("from before\n")
    assert ended(tmp_path, SOME, "--job", "b", "--inline")[0] == 0
    assert (tmp_path / "a.csv").read_text() == "from before\n"
    assert (tmp_path / "b.csv").read_text().count("\n") == 4
    assert (tmp_path / "all.jsonl").read_text().count("\n") == 3


NEVER_BEGAN = {
    "setup": ("setup: {run: 1 / 0}\nmap: abs\nover: [1]\n", 6),
    "input": ("map: abs\nover: {csv: bad.csv}\n", 2),
    "function": ("map: os:nothing\nover: [1]\n", 6),
}


@pytest.mark.parametrize("why", NEVER_BEGAN)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_run_that_never_began_a_job_leaves_the_files_of_the_last_one(
    tmp_path: Path, why: str, form: str
) -> None:
    (tmp_path / "bad.csv").write_text("n\n1,2\n")
    names = ["old.csv", "old.json", "old.jsonl", "old.txt"]
    for name in names:
        (tmp_path / name).write_text("from before\n")
    words = [word for name in [*names, "new.csv", "new.jsonl"] for word in ("-o", name)]
    spec, exit_code = NEVER_BEGAN[why]
    code, out, err = ended(tmp_path, spec, *words, "--format", form, "--inline")
    assert code == exit_code
    assert err
    assert {(tmp_path / name).read_text() for name in names} == {"from before\n"}
    assert leftovers(tmp_path) == {*names, "bad.csv"}
    if form == "json":
        document = json.loads(out)
        assert document["run"]["exit_code"] == exit_code
        assert [job["status"] for job in document["jobs"]] == ["failed"]


def test_a_run_without_items_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text("from before\n")
    code, _, _ = ended(tmp_path, "map: abs\nover: []\n", "-o", "old.jsonl", "--inline")
    assert (code, (tmp_path / "old.jsonl").read_text()) == (0, "")


@pytest.mark.parametrize(
    ("words", "number", "error"),
    [([], signal.SIGINT, "stopped by SIGINT"), (["--deadline", "1s"], None, "deadline passed")],
)
def test_the_document_says_what_ended_the_run(
    tmp_path: Path, words: list[str], number: signal.Signals | None, error: str
) -> None:
    more = ["--format", "json", "-o", "live.jsonl"]
    with running(tmp_path, SLOW, *more, *words) as run:
        if number is not None:
            live = tmp_path / "live.jsonl"
            wait_until(lambda: live.exists() and live.read_bytes().count(b"\n") > 2, run.said)
            run.signal(number)
        code = run.wait()
        document = json.loads(run.out.read_text())
    assert document["run"]["exit_code"] == code
    assert error in document["run"]["error"]


def test_after_an_output_that_fails_the_report_tells_what_was_done(tmp_path: Path) -> None:
    with (
        Path("/dev/full").open("wb") as full,
        running(tmp_path, SQUARES, "--inline", "--format", "text", stdout=full) as run,
    ):
        assert run.wait() == 4
        manifest = run.manifest()
    (job,) = manifest["summary"]["jobs"]
    assert job["ended"] == "output failed"
    assert job["counts"]["ok"] >= 1


@pytest.mark.parametrize("how", ["full", "closed", "unread"])
def test_a_stderr_that_takes_nothing_costs_no_result(tmp_path: Path, how: str) -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    full = os.open("/dev/full", os.O_WRONLY)

    def put_stderr() -> None:
        os.close(2) if how == "closed" else os.dup2(full if how == "full" else ours, 2)

    with running(tmp_path, ONE_FAILS, "--inline", "--format", "text", preexec=put_stderr) as run:
        assert run.wait() == 1
        assert run.out.read_text().count("\n") == 4
    os.close(full)
    os.close(ours)


@pytest.mark.parametrize("output", ["/dev/null", "/dev/stderr", "pipe"])
def test_a_device_gets_what_stdout_gets(tmp_path: Path, output: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with running(tmp_path, SQUARES, "--inline", "-o", output) as run:
        assert run.wait() == 0, run.said()
    assert os.read(reader, 1_000_000) == (run.out.read_bytes() if output == "pipe" else b"")
    os.close(reader)


@pytest.mark.parametrize("name", ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_log_that_a_descriptor_leads_to_is_not_replaced(tmp_path: Path, name: str, form: str) -> None:
    """As in ``2>>log``: it lost what was there before."""
    log = tmp_path / "log"
    log.write_text("before\n")
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    append = lambda: os.dup2(descriptor, 2)  # noqa: E731
    spec = f"{SQUARES}output: [{{path: {name}, format: {form}}}]\n"
    with running(tmp_path, spec, "--inline", "-q", preexec=append) as run:
        assert run.wait() == 0
    os.close(descriptor)
    lines = log.read_text().splitlines()
    assert lines[0] == "before"
    assert len(lines) > 2


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_stdout_named_as_a_device_is_written_to_once(tmp_path: Path, name: str) -> None:
    code, out, _ = ended(tmp_path, SQUARES, "--inline", "--format", "jsonl", "-o", name)
    assert code == 0
    indices = [json.loads(line)["index"] for line in out.splitlines()]
    assert len(indices) == len(set(indices)) > 1


def test_an_output_without_a_name(tmp_path: Path) -> None:
    code, _, err = ended(tmp_path, SQUARES, "--inline", "-o", "")
    assert code == 2
    assert "an output has no name" in err


MARKS = """
map: "lambda x: open(f'marks/{x}', 'w').close()"
over: {range: 3}
"""


@pytest.mark.parametrize("output", ["nowhere/out.csv", "folder.csv", "spec.yaml/out.json", "/proc/x.json"])
def test_an_output_that_cannot_be_written_is_found_before_any_work(tmp_path: Path, output: str) -> None:
    (tmp_path / "marks").mkdir()
    (tmp_path / "folder.csv").mkdir()
    words = ["-o", "good.json", "-o", output, "--format", "text"]
    code, out, err = ended(tmp_path, MARKS, *words, "--inline")
    assert (code, out) == (4, "")
    assert output in err
    assert list((tmp_path / "marks").iterdir()) == []
    assert leftovers(tmp_path) == {"folder.csv"}


@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_a_reader_of_json_is_told_of_an_output_that_cannot_be_written(tmp_path: Path, form: str) -> None:
    (tmp_path / "marks").mkdir()
    words = ["-o", "nowhere/out.csv", "--format", form, "--inline", "--errors", "json"]
    code, out, err = ended(tmp_path, MARKS, *words)
    assert code == 4
    error = json.loads(err)["error"]
    assert (error["type"], error["exit_code"]) == ("OutputError", 4)
    assert "directory does not exist" in error["hint"]
    # A document is one, so it tells of the error, too; lines are records and nothing else.
    assert out == (err if form == "json" else "")
    assert list((tmp_path / "marks").iterdir()) == []


@pytest.mark.parametrize("output", ["out.xlsx", "out"])
def test_an_unknown_suffix_is_a_mistake_in_the_command_line(tmp_path: Path, output: str) -> None:
    code, out, err = ended(tmp_path, SQUARES, "--format", "text", "--inline", "-o", output)
    assert (code, out) == (2, "")
    assert output in err
    assert ".jsonl" in err


def test_an_output_that_fails_at_the_end_spoils_no_document_on_stdout(tmp_path: Path) -> None:
    """A second object behind the document would make both unreadable."""
    spec = "map: \"lambda x: __import__('shutil').rmtree('gone')\"\nover: [1]\n"
    (tmp_path / "gone").mkdir()
    code, out, err = ended(tmp_path, spec, "-o", "gone/out.csv", "--format", "json", "--inline")
    assert code == 4
    assert "gone/out.csv" in err
    assert json.loads(out)["jobs"][0]["counts"]["ok"] == 1


def test_one_file_for_two_outputs_is_refused(tmp_path: Path) -> None:
    code, _, err = ended(tmp_path, SQUARES, "-o", "out.csv", "-o", "./out.csv", "--inline")
    assert code == 2
    assert "twice" in err


def test_a_closed_stdout_is_an_error_that_says_so(tmp_path: Path) -> None:
    with running(tmp_path, SQUARES, "--inline", preexec=lambda: os.close(1)) as run:
        assert run.wait() == 4
        assert "standard output is closed" in run.said()


@pytest.mark.parametrize(
    "verb",
    ["clean --dry-run", "clean --all", "schema", "doctor", "check spec.yaml", "cluster list", "runs"],
)
def test_no_verb_prints_to_a_closed_stdout(tmp_path: Path, verb: str) -> None:
    (tmp_path / "spec.yaml").write_text(SQUARES)
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 0
    run = Run(tmp_path, verb.split(), preexec=lambda: os.close(1))
    assert run.wait() == 4
    assert "standard output is closed\nhint: redirect it" in run.said()
    assert len(list((tmp_path / ".arcli" / "runs").iterdir())) == 1
    assert Run(tmp_path, ["wait"], preexec=lambda: os.close(1)).wait() == 0


def test_stdout_on_a_full_disk(tmp_path: Path) -> None:
    with (
        Path("/dev/full").open("wb") as full,
        running(tmp_path, SQUARES, "--inline", stdout=full) as run,
    ):
        assert run.wait() == 4
        assert "standard output" in run.said()
        assert "Traceback" not in run.said()


@pytest.mark.parametrize("form", ["text", "jsonl"])
def test_head_ends_it_quietly(tmp_path: Path, form: str) -> None:
    """A real ``head`` at the end of a real pipe."""
    with subprocess.Popen(["head", "-n", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as head:
        assert head.stdin is not None
        with running(tmp_path, SLOW, "--format", form, stdout=head.stdin) as run:
            head.stdin.close()
            assert run.wait() == 141, run.said()
            assert run.said() == ""
        assert head.stdout is not None
        assert head.stdout.read().count(b"\n") == 1


# -- where a spec comes from, and what it runs in -----------------------------------------------


def test_a_spec_from_stdin(tmp_path: Path) -> None:
    (tmp_path / "given").write_text(SQUARES)
    run = Run(tmp_path, ["run", "-", "-n", "2", "--format", "jsonl"], stdin=tmp_path / "given")
    assert run.wait() == 0
    assert each_once(run.lines(), 4)
    assert run.manifest()["spec_sha256"] is None
    assert run.manifest()["name"] == "squares"


def test_an_environment_with_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SQUARES)
    done = subprocess.run(
        ["env", "-i", sys.executable, "-m", "arcli", "run", "spec.yaml", "--format", "jsonl"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert each_once([json.loads(line) for line in done.stdout.splitlines()], 4)


def test_a_locale_that_knows_only_ascii(tmp_path: Path) -> None:
    spec = "map: \"lambda x: print('é ☃') or 'ü'\"\nover: [1]\n"
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, out, err = ended(tmp_path, spec, "--format", "text", "--inline", env=env)
    assert code == 0
    assert "Traceback" not in err
    assert len(out.splitlines()) == 3


@pytest.mark.parametrize("more", ["", "allow_empty: false\n"])
def test_a_limit_of_no_items_is_not_said_to_be_an_empty_source(tmp_path: Path, more: str) -> None:
    code, records = finish(tmp_path, SQUARES + more, "--inline", "--limit", "1")
    assert (code, len(records)) == (0, 1)
    with running(tmp_path, SQUARES + more, "--inline", "--limit", "0") as run:
        assert run.wait() == 0
        assert "there are no items" not in run.said()
        assert "job 'squares' runs none of its items, since --limit is 0" in run.said()


def test_names_that_the_locale_has_no_letters_for(tmp_path: Path) -> None:
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    (tmp_path / "ü.yaml").write_text("map: abs\nover: [-1]\n")
    (tmp_path / "names.yaml").write_text("map: abs\nover: [-1]\noutput: ['€.csv']\n")
    # What comes from the command line are bytes, which need no letters; a spec is text.
    run = Run(tmp_path, ["run", "ü.yaml", "--inline", "-o", "ö.csv"], env=env)
    assert run.wait() == 0, run.said()
    assert (tmp_path / "ö.csv").is_file()
    run = Run(tmp_path, ["run", "names.yaml", "--inline"], env=env)
    assert run.wait() == 2, run.said()
    assert "Traceback" not in run.said()
    assert "the locale's encoding is ascii" in run.said()
    assert "PYTHONUTF8=1" in run.said()


def test_paths_that_are_not_utf8(tmp_path: Path) -> None:
    folder, spec, table, page = map(os.fsdecode, (b"a\xff", b"s\xfe.yaml", b"t\xfd.csv", b"p\xfc.html"))
    (tmp_path / folder).mkdir()
    (tmp_path / folder / spec).write_text(SQUARES)
    for words in (
        ["run", spec, "--inline", "-q", "-o", table],
        ["run", spec, "--inline", "-q", "--resume"],
        ["runs", spec],
        ["show"],
        ["report", "-o", page],
        ["init", f"x{spec}"],
    ):
        run = Run(tmp_path / folder, words)
        assert run.wait() == 0, run.said()
    assert {spec, table, page, f"x{spec}"} <= {path.name for path in (tmp_path / folder).iterdir()}
    # Each spec remembers the folders that it was run in, whatever their names.
    assert Run(tmp_path, ["runs", f"{folder}/{spec}"]).wait() == 0


def test_the_line_that_goes_on_with_a_spec_of_any_bytes_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"a\xff b")
    folder.mkdir()
    spec = os.fsdecode(b"it's \xfe.yaml")
    (folder / spec).write_text(SQUARES.replace("x * x", "1 / (x - 1)"))
    first = Run(folder, ["run", spec, "--inline"])
    assert first.wait() == 1
    (line,) = re.findall(r"again {2}arcli (.*)", first.said())
    assert line == r"run $'it\'s \xfe.yaml' --inline --failed"
    for words in (
        f"{line} --explain",
        "rerun 1",
        "rerun 1 --job squares",
        "runs " + line.split("--")[0][4:],
    ):
        typed = ["bash", "-c", f'exec "$0" -m arcli {words}', sys.executable]
        done = subprocess.run(typed, cwd=folder, capture_output=True, timeout=PATIENCE, check=False)
        assert b"no run of" not in done.stderr
        assert done.returncode == (0 if words.startswith("runs") else 1), (words, done.stderr)
    # What a shell of another locale has run, others find; and what stands in JSON is text.
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    (folder / "ü.yaml").write_text(SQUARES)
    assert Run(folder, ["run", "ü.yaml", "--inline", "-q"], env=locale).wait() == 0
    assert Run(folder, ["rerun", "latest", "1"]).wait() == 0
    listed = Run(folder, ["runs", "ü.yaml", "--format", "json"])
    assert listed.wait() == 0
    (run,) = json.loads(listed.out.read_text())["runs"]
    assert run["spec_file"].endswith(r"a\udcff b/ü.yaml")


def test_modules_of_the_spec_are_found_wherever_one_stands(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "own_module.py").write_text("def triple(x): return 3 * x\n")
    (tmp_path / "below" / "own.yaml").write_text("map: own_module:triple\nover: [1, 2]\n")
    run = Run(tmp_path, ["run", "below/own.yaml", "-n", "1", "--format", "jsonl"])
    assert run.wait() == 0
    assert [record["value"] for record in run.lines()] == [3, 6]


def test_a_second_run_at_the_same_time_is_refused_where_that_is_asked_for(tmp_path: Path) -> None:
    with running(tmp_path, SLOW, "--no-overlap") as first:
        wait_until(lambda: first.lines(), first.said)
        code, out, err = ended(tmp_path, SLOW, "--no-overlap", "--errors", "json")
        assert (code, out) == (75, "")
        assert json.loads(err)["error"]["type"] == "LockedError"
        assert str(first.process.pid) in err
        code, records = finish(tmp_path, SLOW, "--limit", "1", "--inline")  # others may
        assert (code, len(records)) == (0, 1)
        first.signal(signal.SIGINT)
        assert first.wait() == 130


# -- the run's folder ---------------------------------------------------------------------------


PATIENT = "import arcli.store.describe\narcli.store.describe.GIT_SECONDS = 90.0\n"
"""A busy machine may take longer to start git than a run waits for it."""


def test_what_a_run_leaves_behind(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    commit = ["git", *author, "commit", "-q", "--allow-empty", "-m", "first"]
    subprocess.run(commit, cwd=tmp_path, check=True)
    # One engine, which has come when items have run: how many of several have is nobody's promise.
    (tmp_path / "sitecustomize.py").write_text(PATIENT)
    env = {"PYTHONPATH": str(tmp_path)}
    with running(tmp_path, SQUARES + "params: {n: 3}\n", "-p", "n=5", "-n", "1", env=env) as run:
        assert run.wait() == 0
        records, manifest = run.lines(), run.manifest()
    (folder,) = (tmp_path / ".arcli" / "runs").iterdir()
    assert folder.name == manifest["id"] == records[0]["run"]
    journal = (folder / "journal.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["index"] for line in journal if '"index"' in line) == [
        0,
        1,
        2,
        3,
    ]
    assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0

    assert manifest["name"] == "squares"
    spec = tmp_path / "spec.yaml"
    assert Path(manifest["spec_file"]).resolve() == spec.resolve()
    assert manifest["spec_sha256"] == hashlib.sha256(spec.read_bytes()).hexdigest()
    assert manifest["spec"]["jobs"][0]["over"]
    assert manifest["params"] == {"n": 5}
    assert manifest["argv"][1:] == run.words
    assert manifest["cwd"] == str(tmp_path)
    assert manifest["host"] == socket.gethostname()
    assert manifest["versions"] == {
        "arcli": arcli.__version__,
        "python": platform.python_version(),
        "ipyparallel": metadata.version("ipyparallel"),
    }
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert manifest["git"]["commit"] == head.stdout.strip()
    assert manifest["resumes"] is None
    assert manifest["started"] < manifest["ended"]
    assert manifest["exit_code"] == 0
    assert manifest["summary"]["jobs"][0]["counts"]["ok"] == 4
    assert [engine["slot"] for engine in manifest["engines"]] == [0]
    assert {engine["engine_id"] for engine in manifest["engines"]} >= {
        record["engine_id"] for record in records
    }


def test_runs_may_be_kept_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    code, _ = finish(tmp_path, SQUARES, "--inline", env={"ARCLI_DIR": str(elsewhere)})
    assert code == 0
    assert len(list((elsewhere / "runs").iterdir())) == 1
    assert not (tmp_path / ".arcli").exists()


def test_a_folder_for_runs_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = ended(tmp_path, SQUARES, "--inline", env={"ARCLI_DIR": "file/below"})
    assert code == 4
    assert "file/below" in err
    assert "Traceback" not in err


def test_the_reports_time_is_the_processs(tmp_path: Path) -> None:
    """Every second is told, interpreter, imports and outputs included, and the parts add up."""
    spec = "setup: {imports: [time], run: 'time.sleep(0.3)'}\n"
    spec += "map: 'lambda x: time.sleep(0.05)'\nover: {range: 9}\n"
    for _ in range(12):  # on a busy machine a process may wait for its own end
        began = time.monotonic()
        with running(tmp_path, spec, "-o", "x.csv") as run:
            assert run.process.wait() == 0  # without a limit, which would have it asked now and then
            took = time.monotonic() - began
            told = run.manifest()["summary"]
        parts = [told[name] for name in ("startup", "stopping", "writing")]
        jobs = told["wall"] - told["startup"] - told["finish"]
        assert sum(parts) + jobs == pytest.approx(told["wall"], abs=0.01)
        assert all(part >= 0 for part in parts)
        assert jobs >= 9 * 0.05 / 2
        assert 0 < told["reading"] < told["startup"]
        if abs(took - told["wall"] - 0.02 * took) <= 0.1:
            break
    else:
        pytest.fail("some of the time is never told")
