"""Standard output belongs to results."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from arcli.plan.readahead import aside, logged


def in_a_thread(text: str) -> None:
    thread = threading.Thread(target=print, args=[text])
    thread.start()
    thread.join()


def test_only_the_main_thread_prints_where_results_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sys.stdout
    with logged(tmp_path / "log"):
        print("a result")
        in_a_thread("got unknown result")
        with aside():
            print("a source's")
    assert sys.stdout is before
    said = capsys.readouterr()
    assert (said.out, said.err) == ("a result\n", "a source's\n")
    assert (tmp_path / "log").read_text() == "got unknown result\n"


def test_a_log_of_nothing_is_not_made(tmp_path: Path) -> None:
    with logged(tmp_path / "log"):
        print("a result")
    assert not (tmp_path / "log").exists()
