"""The tests pass wherever they are started: below nohup, in the background, in a terminal."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = [
    "tests/faults/test_run_loss.py::test_a_signal_keeps_what_is_done",
    "tests/cli/test_terminal.py::test_ctrl_c_typed_at_the_terminal",
]
"""They send signals that ``nohup`` and ``&`` have ignored in all that is started from there."""


def _ignore() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def test_tests_that_send_signals_pass_in_the_background() -> None:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *TESTS]
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=_ignore
    ) as tests:
        said, _ = tests.communicate()
    assert tests.returncode == 0, said
