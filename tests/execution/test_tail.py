"""What running items print is seen while they run: here, in other shells; and where their code is."""

from __future__ import annotations

import io
import json
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from runs import PATIENCE, Run, running, wait_until
from sessions import make_spec

from arcli.cli import tail
from arcli.execution.context import Options
from arcli.execution.run import execute
from arcli.outputs.base import Outputs
from arcli.outputs.stream import Stream
from arcli.outputs.target import StreamTarget
from arcli.record import PrintedLines
from arcli.session.interfaces import NoListener
from arcli.store.channel import LiveFile, LiveReader, ask_stacks, listening
from arcli.store.folder import RunFolder
from arcli.store.manifest import Manifest
from arcli.store.storage import RunStorage

# Items go on when the test has seen what they printed.
WAITING = """
import os, sys, time


def work(x):
    print(f"begin {x}", flush=True)
    print("to stderr", file=sys.stderr)
    os.system("echo child")
    while not os.path.exists("go"):
        time.sleep(0.01)
    print("end")
    return x
"""
COMMAND = "echo begin {}; echo to stderr >&2; echo child; until [ -e go ]; do sleep 0.01; done; echo end"
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "cells": [
        {
            "id": name,
            "cell_type": "code",
            "execution_count": None,
            "outputs": [],
            "metadata": {"tags": tags},
            "source": source,
        }
        for name, tags, source in [
            ("a", ["parameters"], "x = 0"),
            ("b", [], "print('begin', x); import os, sys, time; print('to stderr', file=sys.stderr)"),
            ("c", [], "print('child')\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('end')"),
        ]
    ],
}
JOBS: dict[str, dict[str, Any]] = {
    "function": {"map": "f.py:work", "over": [7]},
    "sys": {"map": "f.py:work", "over": [7], "capture": "sys"},
    "command": {"command": COMMAND, "over": [7]},
    "notebook": {"notebook": "n.ipynb", "over": {"cases": [{"x": 7}]}},
}


def start(folder: Path, spec: object, *words: str, code: str = WAITING) -> Run:
    (folder / "f.py").write_text(code)
    (folder / "n.ipynb").write_text(json.dumps(NOTEBOOK))
    (folder / "spec.json").write_text(json.dumps(spec))
    return Run(folder, ["run", "spec.json", "--format", "jsonl", *words])


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("function", ["-n", "1"]),
        ("function", ["-n", "1", "--set", "cluster.launcher=local"]),
        ("function", ["--inline"]),
        ("sys", ["-n", "1"]),
        ("command", ["-n", "1"]),
        ("command", ["--inline"]),
        ("notebook", ["-n", "1"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_lines_are_shown_while_their_item_runs(job: str, words: list[str], tmp_path: Path) -> None:
    run = start(tmp_path, JOBS[job], *words, "--tail")
    child = [] if job == "sys" else ["0: child"]  # of which Python knows nothing
    expected = {"0: begin 7", "0: to stderr", *child}
    wait_until(lambda: expected <= set(run.said().splitlines()), run.said)
    assert "0: end" not in run.said()
    (tmp_path / "go").touch()
    assert run.wait() == 0
    assert run.said().splitlines().count("0: end") == 1
    assert run.said().splitlines().count("0: begin 7") == 1
    (record,) = run.lines()
    assert record["stdout"].splitlines() == ["begin 7", *(["child"] if child else []), "end"]
    assert record["stderr"].endswith("to stderr\n")  # kernels of notebooks have words of their own


FAILING = """\
import os, sys, time
from pathlib import Path

def work(x):
    attempt = len(list(Path().glob("attempt-*"))) + 1
    Path(f"attempt-{attempt}").touch()
    print("begins", attempt, flush=True)
    while attempt == 2 and not os.path.exists("go"): time.sleep(0.01)
    print("fails", attempt, file=sys.stderr)
    assert attempt == 3
"""


@pytest.mark.parametrize("capture", ["fd", "sys"])
@pytest.mark.parametrize("words", [["-n", "1"], ["--inline"]], ids=" ".join)
def test_what_every_attempt_prints_is_shown_once(words: list[str], capture: str, tmp_path: Path) -> None:
    spec = {"map": "f.py:work", "over": [7], "retries": 2, "capture": capture}
    run = start(tmp_path, spec, *words, "--tail", code=FAILING)
    wait_until(lambda: "0: begins 2" in run.said(), run.said)
    (tmp_path / "go").touch()
    assert run.wait() == 0
    shown = [line for line in run.said().splitlines() if line.startswith("0: ")]
    assert sorted(shown) == [
        f"0: {verb} {attempt}" for verb in ("begins", "fails") for attempt in (1, 2, 3)
    ]


@pytest.mark.parametrize("concurrency", [1, 2])
def test_commands_that_fail_at_once_say_why_at_each_attempt(concurrency: int, tmp_path: Path) -> None:
    command = "a={attempt}; echo because of X at $a >&2; exit $((3-a))"
    spec = {"command": command, "over": [1], "retries": 2, "concurrency": concurrency}
    run = start(tmp_path, spec, "-n", "1", "--tail")
    assert run.wait() == 0
    shown = [line for line in run.said().splitlines() if line.startswith("0: ")]
    assert shown == [f"0: because of X at {attempt}" for attempt in (1, 2, 3)]


def test_jobs_say_which_streams_are_shown_and_lines_have_their_job(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    jobs = [
        {"name": "one", "tail": "err", **JOBS["function"]},
        {"name": "two", "tail": True, **JOBS["command"]},
        {"name": "three", **JOBS["command"]},
    ]
    run = start(tmp_path, {"jobs": jobs}, "-n", "1", "-q")
    assert run.wait() == 0
    shown = [line for line in run.said().splitlines() if line.startswith(("one", "two", "three"))]
    assert sorted(shown) == [
        "one 0: to stderr",
        "two 0: begin 7",
        "two 0: child",
        "two 0: end",
        "two 0: to stderr",
    ]


def test_a_flood_is_cut_on_the_screen_and_whole_in_the_record(tmp_path: Path) -> None:
    spec = 'map: "lambda x: [print(n) for n in range(20000)] and None"\nover: [1]\n'
    with running(tmp_path, spec, "--tail") as run:
        assert run.wait() == 0
        (record,) = run.lines()
        assert record["stdout"] == "".join(f"{n}\n" for n in range(20000))
        shown = [line for line in run.said().splitlines() if line.startswith("0: ")]
        assert 200 <= len(shown) < 2000
        assert any("lines left out" in line for line in shown)


def test_what_a_terminal_would_obey_is_shown_as_text(tmp_path: Path) -> None:
    spec = "map: \"lambda x: print(chr(27) + chr(93) + '0;title')\"\nover: [1]\n"
    with running(tmp_path, spec, "--tail") as run:
        assert run.wait() == 0
        assert "0: \\x1b]0;title\n" in run.said()


@pytest.mark.parametrize("job", ["function", "command"])
def test_another_shell_hears_of_an_item_that_runs_already(job: str, tmp_path: Path) -> None:
    (tmp_path / "late").mkdir()
    text = WAITING.replace(
        'print(f"begin', 'while not os.path.exists("late/go"): time.sleep(0.01)\n    print(f"begin'
    )
    spec = dict(JOBS[job])
    if job == "command":
        spec["command"] = f"until [ -e late/go ]; do sleep 0.01; done; {COMMAND}"
    run = start(tmp_path, spec, "-n", "1", code=text)
    folder = wait_until(lambda: next((tmp_path / ".arcli" / "runs").glob("*/engines/0"), None)).parents[1]
    lines: list[str] = []
    with listening(folder):
        reader = LiveReader(folder)
        wait_until(lambda: (folder / "engines" / "tail").exists())
        (tmp_path / "late" / "go").touch()

        def heard() -> bool:
            for entry in reader.read():
                assert (entry.job, entry.index) == ("spec", 0)
                lines.extend(entry.lines)
            return "child" in lines

        wait_until(heard, lambda: str(lines))
    wait_until(lambda: not (folder / "engines" / "tail").exists())
    (tmp_path / "go").touch()
    assert run.wait() == 0
    assert not list((folder / "listeners").iterdir())
    assert "begin" not in run.said()


def test_a_line_that_a_full_disk_has_cut_is_passed_over(tmp_path: Path) -> None:
    reader, writer = LiveReader(tmp_path), LiveFile(tmp_path)
    first, second, third = (
        PrintedLines(job="j", index=index, stream="out", lines=[f"{index}\udcff"]) for index in range(3)
    )
    writer.write([first])
    with (tmp_path / "live.jsonl").open("ab") as file:
        file.write(b'{"job": "j", "ind')
    writer.write([second])
    with (tmp_path / "live.jsonl").open("ab") as file:
        file.write(b'[]\n{"job": 1}\n')
    writer.write([third])
    assert reader.read() == [first, third]


def test_one_listener_that_leaves_silences_no_other(tmp_path: Path) -> None:
    """Its file may go between two looks of the run."""
    folder = tmp_path / "listeners"
    folder.mkdir()
    (folder / "stays").touch()
    leaving = folder / "leaves"
    leaving.symlink_to("gone")  # as a file is that has a name no more
    assert LiveFile(tmp_path).listening()


def test_engines_say_where_in_the_users_code_they_are(tmp_path: Path) -> None:
    run = start(tmp_path, JOBS["function"], "-n", "1")
    folder = wait_until(lambda: next((tmp_path / ".arcli" / "runs").glob("*/engines/0"), None)).parents[1]

    def stack() -> str:
        return ask_stacks(folder, [0], 1.0).get(0, "")

    text = wait_until(lambda: next((text for text in [stack()] if "time.sleep(0.01)" in text), None))
    assert "in work" in text
    assert "arcli/" not in text.replace(str(tmp_path), "")

    def status() -> str:
        run = Run(tmp_path, ["status", "--stacks"])
        assert run.wait() == 0
        return run.out.read_text()

    # The state is written once a second: what it says may be of before the item began.
    wait_until(lambda: "in work" in status(), status)
    (tmp_path / "go").touch()
    assert run.wait() == 0


def test_arcli_tail_shows_lines_beside_the_results(tmp_path: Path) -> None:
    again = 'print("again", flush=True); time.sleep(0.2)'
    (tmp_path / "g.py").write_text(WAITING.replace("time.sleep(0.01)", again))
    run = start(tmp_path, {"map": "g.py:work", "over": [7]}, "-n", "1")
    wait_until(lambda: next((tmp_path / ".arcli" / "runs").glob("*/state.json"), None))
    tail = Run(tmp_path, ["tail"])
    wait_until(lambda: "0: again" in tail.said(), tail.said)
    (tmp_path / "go").touch()
    assert tail.wait() == 0
    assert run.wait() == 0
    assert "7" in tail.out.read_text()


def test_arcli_tail_tells_of_an_item_that_there_is_not(tmp_path: Path) -> None:
    assert start(tmp_path, {"map": "abs", "over": [7]}, "--inline").wait() == 0
    for words, code in ((["--item", "0", "--failed"], 0), (["--item", "99"], 2)):
        tail = Run(tmp_path, ["tail", *words])
        assert tail.wait() == code
        assert ("has no record of item 99\nhint: `arcli show`" in tail.said()) == (code == 2)


def test_arcli_tail_shows_the_last_lines_of_a_run_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "LOOK", PATIENCE)  # only what comes behind the last look is looked at
    shown = io.BytesIO()
    ended = threading.Event()
    stderr = Stream(target=StreamTarget(shown))
    with tail._live(RunFolder(tmp_path), stderr, ended, several=False, item=None):
        wait_until(lambda: list(tmp_path.glob("listeners/*")))
        LiveFile(tmp_path).write([PrintedLines(job="j", index=7, stream="out", lines=["last"])])
        ended.set()
    assert shown.getvalue() == b"7: last\n"


def test_a_run_has_shown_its_last_lines_before_it_says_that_it_has_ended(tmp_path: Path) -> None:
    storage = RunStorage(RunFolder.create(tmp_path / ".arcli", Manifest()))
    seen: list[tuple[int, int | None]] = []

    class Closing(NoListener):
        """Looks at the run when all its lines have come."""

        def close(self) -> None:
            run = storage.folder.fresh()
            seen.append((run.journal.read_bytes().count(b"\n"), run.manifest.exit_code))

    spec = make_spec(tmp_path, {"name": "one", "map": "abs", "over": [1, 2]})
    with closing(storage):
        execute(spec, Options(listener=Closing()), storage, Outputs([]))
    assert seen == [(2, None)]
    assert storage.folder.fresh().manifest.exit_code == 0
