"""Real runs of arcli in processes of their own, watched closely, with nothing left behind."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import termios
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock
from zlib import crc32

import psutil
import pytest
from coverage import Coverage

from arcli.cli import main

PATIENCE = 90.0
"""Seconds until a condition that does not come true is a failure; a busy machine needs some."""
MARK = "ARCLI_TEST_RUN"
SUPERVISOR = "arcli.cluster.embedded.supervisor"
"""What a supervisor's command line has, and those of what it forks."""
ROOT = Path(__file__).parents[1]


def measured(verb: str | None) -> list[str]:
    """The words that have a process of arcli measured where the tests are; not what it starts in turn.

    What most of them do, a run, is measured in every fourth test, by its name: the others would add little
    to the lines, and a third to the time that all tests take. What is started in a state that a test has
    made for it is left alone: coverage itself may not bear that.
    """
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    if Coverage.current() is None or (verb in {"run", "map"} and crc32(test.encode()) % 4):
        return []
    data = ROOT / "build" / "coverage" / "data"
    return ["-m", "coverage", "run", f"--rcfile={ROOT / 'pyproject.toml'}", "-p", f"--data-file={data}"]


def wait_until(condition: Callable[[], Any], what: Callable[[], str] | str = "") -> Any:
    """Wait for a condition, and say how things stand where it never comes true."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"never came true: {what() if callable(what) else what}")
        time.sleep(0.02)  # a poll's pause, not a wait
    return found


def waiting_in(pipe: int) -> int:
    """Return how many bytes are in a pipe that nobody has read."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie that nobody has reaped yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def words_of(process: psutil.Process) -> list[str]:
    """A process's command line; empty where it has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def marked(mark: str) -> list[psutil.Process]:
    """Every living process that has this mark in its environment, zombies aside."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != "zombie":
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@dataclass
class Run:
    """One process of arcli, and all that it starts; they are found by a mark in the environment."""

    folder: Path
    words: list[str]
    env: dict[str, str] = field(default_factory=dict)
    stdout: Any = None
    stdin: Path = Path(os.devnull)
    preexec: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.mark = uuid.uuid4().hex
        measurement = measured(next(iter(self.words), None)) if self.preexec is None else []
        self.out = self.folder / f"stdout-{self.mark[:6]}"
        self.err = self.folder / f"stderr-{self.mark[:6]}"
        with (
            self.stdin.open("rb") as stdin,
            self.out.open("wb") as out,
            self.err.open("wb") as err,
        ):
            self.process = subprocess.Popen(
                [sys.executable, *measurement, "-m", "arcli", *self.words],
                cwd=self.folder,
                env={**os.environ, **self.env, MARK: self.mark},
                stdin=stdin,
                stdout=out if self.stdout is None else self.stdout,
                stderr=err,
                start_new_session=True,
                preexec_fn=self.preexec,
            )
        _started.append(self)

    def end(self) -> None:
        """Kill it, if it still runs, and whatever it has started."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for process in self.relatives():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def relatives(self) -> list[psutil.Process]:
        """Every process that this run started and that still lives, zombies aside."""
        return [process for process in marked(self.mark) if process.pid != self.process.pid]

    def lines(self) -> list[dict[str, Any]]:
        """The records that are on stdout so far."""
        raw = self.out.read_bytes()
        return [json.loads(line) for line in raw.splitlines(keepends=True) if line.endswith(b"\n")]

    def manifest(self) -> dict[str, Any]:
        """The manifest of the newest run below the folder."""
        newest = max((self.folder / ".arcli" / "runs").iterdir(), key=lambda path: path.name)
        manifest: dict[str, Any] = json.loads((newest / "manifest.json").read_text())
        return manifest

    def wait(self) -> int:
        """The exit code; whatever arcli started is gone when this returns."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.end()
            raise
        wait_until(lambda: not self.relatives(), lambda: f"left behind: {self.relatives()}")
        return code

    def signal(self, number: int) -> None:
        """Signal arcli itself."""
        self.process.send_signal(number)

    def said(self) -> str:
        """What is on stderr."""
        return self.err.read_text("utf-8", "replace")

    def child(self, name: str) -> psutil.Process:
        """The supervisor, or the controller, which is its first; arcli has other children, as git."""
        children = psutil.Process(self.process.pid).children()
        (supervisor,) = (child for child in children if SUPERVISOR in words_of(child))
        if name == "supervisor":
            return supervisor
        return min(supervisor.children(), key=lambda process: process.create_time())


_started: list[Run] = []


@contextmanager
def ended_runs() -> Iterator[None]:
    """End each run that begins within: one that a failed test left behind would fail others, too."""
    before = len(_started)
    try:
        yield
    finally:
        for run in _started[before:]:
            if run.process.poll() is None:
                run.end()
        del _started[before:]


def signals_as_from_a_terminal() -> None:
    """Have what is started from here begin with each signal's default, also below ``nohup`` and ``&``.

    What is ignored stays so in a child, as arcli promises; what has a handler begins anew there. This
    process goes on without them: the handler does nothing.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[None]:
    """Mount something at a place; a test that needs that is skipped where nobody may."""
    mount = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if mount.returncode:
        pytest.skip(f"nothing can be mounted here: {mount.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def running(folder: Path, spec: str, *words: str, **more: Any) -> Iterator[Run]:
    """A run of a spec given as text; killed at the end if it is still there."""
    (folder / "spec.yaml").write_text(spec)
    run = Run(folder, ["run", "spec.yaml", "-n", "2", "--format", "jsonl", *words], **more)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()  # what it has started ends by itself
        wait_until(lambda: not run.relatives(), lambda: f"left behind: {run.relatives()}")


def finish(folder: Path, spec: str, *words: str, **more: Any) -> tuple[int, list[dict[str, Any]]]:
    """A run from start to end: its exit code and its records."""
    with running(folder, spec, *words, **more) as run:
        code = run.wait()
        return code, [record for record in run.lines() if "index" in record]


def gated(count: int, more: str = "") -> str:
    """A spec of so many squares; those from the twentieth on wait for a file ``go``, beside the spec.

    Whatever a test does to such a run comes while it goes on, on a busy machine, too.
    """
    return f"""
setup: {{imports: [os, time]}}
map: "lambda x: ([time.sleep(0.02) for _ in iter(lambda: x < 20 or os.path.exists('go'), True)], x * x)[1]"
over: {{range: {count}}}
{more}"""


def engines(run: Run, count: int) -> list[dict[str, Any]]:
    """The engines of a run, when its manifest tells of so many: it is written now and then."""
    wait_until(lambda: len(run.manifest()["engines"]) >= count, run.said)
    known: list[dict[str, Any]] = run.manifest()["engines"]
    return known


def called(folder: Path, *words: str, stdin: Path = Path(os.devnull)) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command that is called in this process.

    Most of the time of a process of its own would be its start. The command must start nothing, and run
    nothing of a user's.
    """
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as err,
        stdin.open(encoding="utf-8") as given,
        mock.patch.object(sys, "stdin", given),
        chdir(folder),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        with pytest.raises(SystemExit) as end:
            main(list(words))
        out.seek(0)
        err.seek(0)
        return int(end.value.code or 0), out.read(), err.read()


def statuses(records: list[dict[str, Any]]) -> dict[str, int]:
    """How many records there are of each status."""
    return dict(Counter(record["status"] for record in records))


def each_once(records: list[dict[str, Any]], count: int | None = None) -> bool:
    """Whether the indices are 0 … count - 1, each exactly once, in order."""
    indices = [record["index"] for record in records]
    return indices == list(range(len(indices) if count is None else count))


SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def stable_id(value: Any) -> str:
    """A parameter's name that is the same in every process: no addresses, no order of hashes."""
    text = repr(value)
    unstable = " at 0x" in text or isinstance(value, set | frozenset)
    return type(value).__name__ if unstable else text
