"""``arcli run --detach``: a run in a session of its own, which goes on when its shell has ended.

Two processes have a part in it. The one that was called starts the other, forwards what that says on
stderr, and leaves when the cluster is up, or with the other's exit code where it ended before. The
other runs the spec; its stdout and stderr are files, which move into the run's folder.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import click
from msgspec import Struct

PART = "ARCLI_DETACHED"
"""In the environment of the process that goes on: where it reports, and where its streams are."""
LOOK = 0.2
STREAMS = ("stdout", "stderr")


class Detached(Struct, frozen=True, kw_only=True):
    """The part of the process that goes on: ``report`` is a descriptor, ``folder`` has its streams."""

    report: int
    folder: Path

    @classmethod
    def take(cls, environ: dict[str, str] | os._Environ[str]) -> Detached | None:
        """Take the part that was given to this process, None where there is none."""
        text = environ.pop(PART, None)
        if text is None:
            return None
        number, _, folder = text.partition(":")
        os.set_inheritable(int(number), False)
        return cls(report=int(number), folder=Path(folder))

    def adopt(self, run: Path) -> None:
        """Move the files that the streams are into the run's folder."""
        with suppress(OSError):  # what is written goes to the files wherever they are
            for name in STREAMS:
                (self.folder / name).rename(run / name)
            self.folder.rmdir()

    def up(self, run: str) -> None:
        """Report that the cluster is up."""
        with suppress(OSError):  # whoever waited for it has gone
            os.write(self.report, f"{run}\n".encode())
            os.close(self.report)


def start(argv: Sequence[str], root: Path, environ: Mapping[str, str]) -> int:
    """Start ``arcli`` with these arguments in a session of its own, and wait until it is up.

    Prints the run's id. Returns 0, or the exit code of a run that ended before its cluster was up.
    Raises OutputError.
    """
    from arcli.store.files import make_private, make_root, refusing

    with refusing(root):
        make_root(root)
        make_private(root / "runs")
        folder = Path(tempfile.mkdtemp(prefix=".starting-", dir=root / "runs")).absolute()
    # A pipe tells that it is up: a file would have to be looked for, and a signal can come too early.
    receive, report = os.pipe()
    stdin = subprocess.DEVNULL if sys.stdin is None or sys.stdin.isatty() else None
    with (folder / "stdout").open("ab") as out, (folder / "stderr").open("ab") as err:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "arcli", *argv],  # -P: a file in the working folder is no module
            env={**environ, PART: f"{report}:{folder}"},
            stdin=stdin,
            stdout=out,
            stderr=err,
            pass_fds=[report],
            start_new_session=True,
        )
        os.close(report)
        # The files may move while they are read, which open ones do not mind.
        with (folder / "stdout").open("rb") as results, (folder / "stderr").open("rb") as messages:
            run = _wait(process, receive, messages.fileno())
            if run is not None:
                click.echo(run)
                return 0
            code = process.wait()
            _forward(messages.fileno(), sys.stderr)
            _forward(results.fileno(), sys.stdout)
    shutil.rmtree(folder, ignore_errors=True)  # it is there where no run folder was made
    return code if code >= 0 else 128 - code


def _wait(process: subprocess.Popen[bytes], receive: int, messages: int) -> str | None:
    """Forward what a process says until it reports its run's id, or ends (None)."""
    while True:
        try:
            ready, _, _ = select.select([receive], [], [], LOOK)
            _forward(messages, sys.stderr)
            if ready:
                return os.read(receive, 100).decode().strip() or None
            if process.poll() is not None:
                return None
        except KeyboardInterrupt:
            # It is in a session of its own, where the terminal's Ctrl-C does not reach it.
            process.send_signal(signal.SIGINT)


def _forward(source: int, target: TextIO | None) -> None:
    """Copy what a file has from its present place on, as far as the stream takes it; None is closed."""
    while block := os.read(source, 1 << 16):
        with suppress(OSError):  # the run goes on by itself, and its folder has what it says
            if target is not None:
                os.write(target.fileno(), block)
