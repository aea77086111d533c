"""What only a terminal gets to see: the bar, colours, lines that are cut to its width."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from runs import PATIENCE, Run, wait_until

SPEC = """
name: naps
setup: {imports: [time]}
map: "lambda x: time.sleep(0.02) or 'y' * 200"
over: {range: 40}
"""
FEW = ["--inline", "--limit", "5"]
WIDTH = 80
HIDE_CURSOR = "\x1b[?25l"
SHOW_CURSOR = "\x1b[?25h"
COLOR = re.compile(r"\x1b\[[0-9;]*m")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PLAIN = {"TERM": "xterm-256color", "NO_COLOR": "", "FORCE_COLOR": "", "CI": "", "COLUMNS": ""}


class Screen:
    """A pseudo-terminal, and everything that was ever written to it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(WIDTH)
        self.raw = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def resize(self, columns: int) -> None:
        """Make it so wide."""
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def _read(self) -> None:
        with suppress(OSError):  # EIO: the last one who could write has gone
            while data := os.read(self.ours, 65536):
                self.raw += data

    def close(self) -> None:
        """Nobody writes any more; what was written is all read."""
        os.close(self.theirs)
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive()
        os.close(self.ours)

    @property
    def text(self) -> str:
        """What was written so far, which may end within a letter."""
        return self.raw.decode(errors="replace")


@contextmanager
def on_terminal(
    folder: Path,
    *words: str,
    stdout: bool = False,
    stderr: bool = True,
    pipe: Any = None,
    spec: str = SPEC,
    **env: str,
) -> Iterator[tuple[Run, Screen]]:
    """A run whose stdout and stderr are a terminal, or not; wait for it before looking."""
    (folder / "spec.yaml").write_text(spec)
    screen = Screen()

    def put_stderr() -> None:
        if stderr:
            os.dup2(screen.theirs, 2)

    try:
        run = Run(
            folder,
            ["run", "spec.yaml", "-n", "2", *words],
            env={**PLAIN, **env},
            stdout=screen.theirs if stdout else pipe,
            preexec=put_stderr,
        )
        try:
            yield run, screen
        finally:
            if run.process.poll() is None:
                run.process.kill()
            run.wait()
    finally:
        if screen._reader.is_alive():
            screen.close()


def shown(folder: Path, *words: str, **more: Any) -> tuple[int, Run, str]:
    """A run to its end: its exit code, and what the terminal got."""
    with on_terminal(folder, *words, **more) as (run, screen):
        code = run.wait()
        screen.close()
        return code, run, screen.text


def test_progress_is_on_the_terminal_and_results_are_not(tmp_path: Path) -> None:
    code, run, seen = shown(tmp_path, "--format", "jsonl")
    assert code == 0
    assert HIDE_CURSOR in seen
    assert "/40" not in seen[seen.rindex("\x1b[2K") :]  # it is gone when the run is over
    assert seen.rfind(SHOW_CURSOR) > seen.rfind(HIDE_CURSOR)  # and it is given back
    assert "naps" in seen
    assert "/40" in seen
    assert re.search(r"[12] engines?", seen)  # the second one may come when all is done
    assert len(run.lines()) == 40
    assert b"\x1b" not in run.out.read_bytes()


def test_no_terminal_gets_no_progress_and_no_escape_codes(tmp_path: Path) -> None:
    code, run, seen = shown(tmp_path, stderr=False)
    assert (code, seen) == (0, "")
    assert "\x1b" not in run.said() + run.out.read_text()
    assert "/40" not in run.said()


def test_results_and_bar_share_one_terminal(tmp_path: Path) -> None:
    code, _, seen = shown(tmp_path, stdout=True)
    assert code == 0
    lines = re.split(r"[\r\n]+", ESCAPE.sub("", seen))
    results = [line.split() for line in lines if line.endswith("…") and "yyy" in line]
    assert [int(words[0]) for words in results] == list(range(40))
    assert HIDE_CURSOR in seen
    assert "40 of 40 items ok" in seen


@pytest.mark.parametrize("stdout", [True, False])
def test_the_bar_is_erased_before_what_items_say_on_stderr(tmp_path: Path, stdout: bool) -> None:
    spec = "command: 'echo err{} >&2; sleep 0.3'\nover: [1, 2]\n"
    words = ["--format", "raw", "--progress", "bar"]
    code, _, seen = shown(tmp_path, *words, stdout=stdout, spec=spec)
    assert code == 0
    assert {"err1", "err2"} <= {*re.split(r"[\r\n]+", ESCAPE.sub("", seen))}


@pytest.mark.parametrize("progress", ["bar", "never"])
@pytest.mark.parametrize("where", ["", ">&2"])
def test_the_verdict_begins_a_line_whatever_items_leave(tmp_path: Path, progress: str, where: str) -> None:
    spec = f"command: 'printf x{{}} {where}; sleep 0.1'\nover: [1, 2]\n"
    words = ["--format", "raw", "--progress", progress]
    code, _, seen = shown(tmp_path, *words, stdout=True, spec=spec)
    assert code == 0
    lines = re.split(r"[\r\n]+", ESCAPE.sub("", seen))
    (verdict,) = [at for at, line in enumerate(lines) if "2 of 2 items ok" in line]
    assert lines[verdict].startswith("✓")
    assert lines[verdict - 1].endswith("x1x2")


@pytest.mark.parametrize("words", [[], ["--progress", "bar"]], ids=["auto", "bar"])
def test_no_bar_beside_what_a_pipe_may_bring_to_the_same_terminal(tmp_path: Path, words: list[str]) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as cat:
        with on_terminal(tmp_path, "--limit", "5", *words, pipe=cat.stdin) as (run, screen):
            assert run.wait() == 0
            screen.close()
        assert cat.stdin is not None
        cat.stdin.close()
    assert (HIDE_CURSOR in screen.text) == bool(words)
    assert "5 of 5 items ok" in screen.text


ONE_WAITS = """
name: a-run-with-a-long-name
setup:
  run: |
    import os, time
    def wait(x):
        while x > 0 and not os.path.exists("go"):
            time.sleep(0.01)
        return "y" * 200
map: wait
over: {range: 2}
chunksize: 1
"""


@pytest.mark.parametrize("columns", [50, 120])
def test_lines_are_as_wide_as_the_terminal_has_become(tmp_path: Path, columns: int) -> None:
    words = ("--inline", "--progress", "never")
    with on_terminal(tmp_path, *words, spec=ONE_WAITS, stdout=True) as (run, screen):
        wait_until(lambda: "yyy" in screen.text)
        screen.resize(columns)
        (tmp_path / "go").touch()
        assert run.wait() == 0
        screen.close()
    _, first, second, *end = [ESCAPE.sub("", line) for line in screen.text.splitlines()]
    assert (len(first), len(second)) == (WIDTH, columns)
    assert max(len(line) for line in end) <= columns


def test_lines_are_cut_to_the_terminal(tmp_path: Path) -> None:
    _, _, seen = shown(tmp_path, *FEW, stdout=True)
    lines = [ESCAPE.sub("", line) for line in seen.splitlines()]
    results = [line for line in lines if line.endswith("…")]
    assert len(results) == 5
    assert max(len(line) for line in lines) <= WIDTH


def test_columns_overrides_the_terminals_width(tmp_path: Path) -> None:
    _, _, seen = shown(tmp_path, *FEW, stdout=True, COLUMNS="60")
    lines = [ESCAPE.sub("", line) for line in seen.splitlines() if line.endswith("…")]
    assert {len(line) for line in lines} == {60}


def test_colours_on_a_terminal(tmp_path: Path) -> None:
    _, _, seen = shown(tmp_path, *FEW, stdout=True)
    assert COLOR.search(seen)


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["no-color", "dumb"])
def test_no_colours_where_they_are_not_wanted(tmp_path: Path, env: dict[str, str]) -> None:
    _, _, seen = shown(tmp_path, stdout=True, **env)
    numbers = [int(number) for code in COLOR.findall(seen) for number in re.findall(r"\d+", code)]
    assert {number for number in numbers if number >= 30} == set()  # faint is not a colour
    assert HIDE_CURSOR in seen or "\x1b" not in seen


def test_forced_colours_in_a_pipe(tmp_path: Path) -> None:
    _, run, _ = shown(tmp_path, *FEW, stderr=False, FORCE_COLOR="1")
    assert COLOR.search(run.out.read_text())


@pytest.mark.parametrize("env", [{"CI": "true"}, {"TERM": "dumb"}], ids=["ci", "dumb"])
def test_lines_instead_of_a_bar_where_a_terminal_cannot_do_better(
    tmp_path: Path, env: dict[str, str]
) -> None:
    _, _, seen = shown(tmp_path, "--format", "jsonl", **env)
    assert HIDE_CURSOR not in seen
    assert re.search(r"^arcli: naps: \d+ of 40 items", seen, flags=re.MULTILINE)


@pytest.mark.parametrize("words", [["-q"], ["--progress", "never"], ["--inline"]])
def test_no_progress_where_it_is_not_wanted(tmp_path: Path, words: list[str]) -> None:
    _, _, seen = shown(tmp_path, "--format", "jsonl", *words)
    assert HIDE_CURSOR not in seen
    assert "/40" not in seen
    assert words != ["-q"] or seen == ""


def test_progress_in_a_log_where_it_is_asked_for(tmp_path: Path) -> None:
    _, run, _ = shown(tmp_path, "--format", "jsonl", "--progress", "plain", stderr=False)
    assert "arcli: naps: " in run.said()
    assert "\x1b" not in run.said()
    assert len(run.lines()) == 40


def test_a_stopped_run_gives_the_cursor_back(tmp_path: Path) -> None:
    with on_terminal(tmp_path, "--format", "jsonl", spec=SPEC.replace("40", "4000")) as (run, screen):
        wait_until(lambda: "/4,000" in screen.text, lambda: screen.text)
        run.signal(signal.SIGINT)
        assert run.wait() == 130
        screen.close()
        assert screen.text.rfind(SHOW_CURSOR) > screen.text.rfind(HIDE_CURSOR)


def test_a_run_that_is_quit_gives_the_cursor_back_and_ends_by_the_signal(tmp_path: Path) -> None:
    with on_terminal(tmp_path, "--format", "jsonl", spec=SPEC.replace("40", "4000")) as (run, screen):
        wait_until(lambda: "/4,000" in screen.text, lambda: screen.text)
        run.signal(signal.SIGQUIT)
        assert run.wait() == -signal.SIGQUIT
        wait_until(lambda: screen.text.endswith(SHOW_CURSOR), lambda: screen.text)


def test_ctrl_c_typed_at_the_terminal(tmp_path: Path) -> None:
    """The terminal signals the whole foreground group; the engines are not in it."""
    (tmp_path / "spec.yaml").write_text(SPEC.replace("40", "4000"))
    screen = Screen()

    def take_terminal() -> None:
        fcntl.ioctl(screen.theirs, termios.TIOCSCTTY, 0)
        os.dup2(screen.theirs, 2)

    run = Run(
        tmp_path,
        ["run", "spec.yaml", "-n", "2", "--format", "jsonl"],
        env=PLAIN,
        preexec=take_terminal,
    )
    try:
        wait_until(lambda: len(run.lines()) > 3, lambda: screen.text)
        os.write(screen.ours, b"\x03")
        assert run.wait() == 130
        records = run.lines()
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.wait()
        screen.close()
    assert {record["status"] for record in records} <= {"ok", "cancelled"}
    assert [record["index"] for record in records] == list(range(len(records)))
    assert "SIGINT" in screen.text
    assert json.dumps(records[0]["value"]) == json.dumps("y" * 200)


WAITING = """
setup: {imports: [os, time]}
map: "lambda x: ([time.sleep(0.01) for _ in iter(lambda: os.path.exists('gone'), True)], x)[1]"
over: {range: 4}
"""


@pytest.mark.parametrize(("stdout", "code"), [(False, 0), (True, 4)])
def test_a_terminal_that_has_gone_takes_no_more_than_what_was_written_to_it(
    tmp_path: Path, stdout: bool, code: int
) -> None:
    """As that of a shell whose window was closed, of a run that no signal tells of it."""
    (tmp_path / "spec.yaml").write_text(WAITING)
    ours, theirs = pty.openpty()

    def on_stderr() -> None:
        os.dup2(theirs, 2)

    run = Run(
        tmp_path,
        ["run", "spec.yaml", "-n", "2", "--progress", "bar"],
        env=PLAIN,
        stdout=theirs if stdout else None,
        preexec=on_stderr,
    )
    os.close(theirs)
    seen = bytearray()

    def has_bar() -> bool:
        seen.extend(os.read(ours, 65536))
        return b"0/4" in seen

    try:
        wait_until(has_bar, lambda: seen.decode(errors="replace"))
        os.close(ours)
        (tmp_path / "gone").touch()
        assert run.wait() == code
    finally:
        run.end()
    manifest = run.manifest()
    assert manifest["exit_code"] == code, "it is no run that was killed"
    assert stdout or manifest["summary"]["jobs"][0]["counts"]["ok"] == 4


LONG = """
name: long
map: work.py:work
over: {range: 100}
"""
WORK = """
import time

def work(n):
    for epoch in range(40):
        print(f"epoch {epoch} of {n}")
        time.sleep(0.1)
"""
ENGINE = re.compile(r"engine \d  item \d+ +\d[\d.]* m?s  epoch \d+ of \d")


@pytest.mark.parametrize("words", [["--progress", "full"], []], ids=["full", "auto"])
def test_long_items_have_a_line_an_engine_and_messages_stand_above_them(
    tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "work.py").write_text(WORK)
    with on_terminal(tmp_path, "--format", "jsonl", *words, spec=LONG) as (run, screen):
        # Whichever line is shown: each is there for a moment only.
        wait_until(lambda: ENGINE.search(screen.text), lambda: screen.text)
        run.signal(signal.SIGINT)
        assert run.wait() == 130
        screen.close()
    text = screen.text
    # The display is erased before a message is written, and drawn anew below it.
    assert "\x1b[2Karcli: SIGINT" in text
    assert text.rfind(SHOW_CURSOR) > text.rfind(HIDE_CURSOR)
    assert "engine" not in text[text.rindex("\x1b[2K") :].partition("ended")[0].replace("engines", "")


def test_a_caret_stands_under_its_place_however_narrow_the_terminal_is(tmp_path: Path) -> None:
    spec = f"command: {'echo ' * 20}${{params.missing}} {'word ' * 20}\nover: [1]\n"
    code, _, seen = shown(tmp_path, spec=spec, COLUMNS="")
    assert code == 2
    lines = ESCAPE.sub("", seen).splitlines()
    carets = [number for number, line in enumerate(lines) if line.strip(" |") == "^"]
    assert carets
    for number in carets:
        source, place = lines[number - 1], lines[number].index("^")
        assert len(source) <= WIDTH
        assert source[place:].startswith("${params.missing}")


@pytest.mark.parametrize(
    "verb", ["runs", "show", "report", "compare latest", "rerun 0", "tail", "check spec.yaml"]
)
def test_every_verb_that_has_colours_is_told_when(tmp_path: Path, verb: str) -> None:
    (tmp_path / "spec.yaml").write_text("map: 'lambda x: 1 / x'\nover: [0]\n")
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 1
    if verb.startswith("check"):
        (tmp_path / "spec.yaml").write_text("mapp: abs\n")
    seen = {}
    for mode in ("always", "never"):
        run = Run(tmp_path, [*verb.split(), "--color", mode], env=PLAIN)
        assert run.wait() in {0, 1, 2}
        seen[mode] = run.out.read_text() + run.said()
    assert COLOR.search(seen["always"])
    assert not COLOR.search(seen["never"])
