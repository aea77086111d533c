"""One whole process, cold, in a folder of its own: its seconds, its first line, its peak memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import psutil

HERE = Path(__file__).parent
TIME_LIMIT = 3600.0
SAMPLE_EVERY = 0.1
ENOUGH_SAMPLES = 3

Command = Sequence[str]


class BenchError(Exception):
    """A contender that did not do its work."""


def seconds(command: Command, folder: Path, lines: int | None = None) -> float:
    """Wall time from start to exit, stdout going to a file; ``lines`` are how many it must hold."""
    began = time.monotonic()
    with _started(command, folder) as process:
        process.wait()
        ended = time.monotonic()
    _check(process, command, folder, lines)
    return ended - began


def told(command: Command, folder: Path, lines: int, key: str) -> float:
    """A number that the process itself measured: ``key`` of the last line on its stderr."""
    seconds(command, folder, lines)
    return float(json.loads((folder / "stderr").read_text().splitlines()[-1])[key])


def ready_to_first_line(command: Command, folder: Path) -> float:
    """Seconds from an arcli run's cluster being ready, by its manifest, to its first record."""
    with _started(command, folder, piped=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.time()
        _drain(process.stdout)
        process.wait()
    _check(process, command, folder, None)
    manifest = _manifest(folder)
    summary = manifest["summary"]
    ended = datetime.fromisoformat(manifest["ended"]).timestamp()
    return first - (ended - float(summary["wall"]) + float(summary["startup"]))


def start_to_first_line(command: Command, folder: Path) -> float:
    """Seconds from the start of a process to the first line on its stdout."""
    began = time.monotonic()
    with _started(command, folder, piped=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.monotonic()
        _drain(process.stdout)
        process.wait()
    _check(process, command, folder, None)
    return first - began


def summary(folder: Path) -> dict[str, Any]:
    """What the one run in a folder says of itself."""
    return dict(_manifest(folder)["summary"])


def _manifest(folder: Path) -> dict[str, Any]:
    return dict(json.loads(next(folder.glob(".arcli/runs/*/manifest.json")).read_text()))


def peaks(command: Command, folder: Path, lines: int) -> list[float]:
    """Peak resident MB of every process of the run: the client, then the others, largest first.

    Which fork is which cannot be told from outside, and their order varies; their sizes do not.
    Processes that came and went between a few samples are left out.
    """
    peak: dict[tuple[float, int], float] = {}
    seen: dict[tuple[float, int], int] = defaultdict(int)
    with _started(command, folder) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            for who, megabytes in _resident(root):
                seen[who] += 1
                peak[who] = max(peak.get(who, 0.0), megabytes)
            with suppress(subprocess.TimeoutExpired):
                process.wait(SAMPLE_EVERY)
    _check(process, command, folder, lines)
    client, *others = [peak[who] for who in sorted(peak) if seen[who] >= ENOUGH_SAMPLES]
    return [client, *sorted(others, reverse=True)]


def _resident(root: psutil.Process) -> Iterator[tuple[tuple[float, int], float]]:
    try:
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            yield (process.create_time(), process.pid), _high_water(process)
        except (psutil.Error, OSError):
            continue


def _high_water(process: psutil.Process) -> float:
    # The kernel's own mark misses nothing between two samples; a zombie and macOS have none.
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return float(process.memory_info().rss) / 1e6


@contextmanager
def _started(command: Command, folder: Path, *, piped: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else out,
            stderr=err,
            start_new_session=True,
        )
        # Popen.wait with a timeout polls, up to 50 ms apart: too coarse for what is timed here.
        limit = threading.Timer(TIME_LIMIT, process.terminate)
        limit.start()
        try:
            yield process
        finally:
            limit.cancel()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _environment() -> dict[str, str]:
    # PYTHONUNBUFFERED would cost the peers a system call a line, PYTHONDONTWRITEBYTECODE would
    # have an editable install compiled at every start, ARCLI_DIR would lead out of the folder.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ARCLI_"))}
    return kept | {"PYTHONPATH": str(HERE)}


def _drain(stream: IO[bytes]) -> None:
    while stream.read(1 << 20):
        pass


def _check(process: subprocess.Popen[bytes], command: Command, folder: Path, lines: int | None) -> None:
    if process.returncode != 0:
        last = (folder / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
        raise BenchError(f"exit {process.returncode}: {' '.join(command)}: {' '.join(last)}")
    if lines is None:
        return
    with (folder / "stdout").open("rb") as out:
        written = sum(1 for _ in out)
    if written != lines:
        raise BenchError(f"{written} lines instead of {lines}: {' '.join(command)}")
