"""Only folders that are certainly arcli's, and certainly nobody's, are stale."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from runs import PATIENCE, wait_until

from arcli.cluster.embedded.private_folder import LOG, MARK, Stale, end_processes, find_stale
from arcli.cluster.embedded.supervisor_process import Settings, SupervisorProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="certain only with /proc")


def stale_folders(base: Path) -> list[Path]:
    """The folders below a base that are stale."""
    return [stale.folder for stale in find_stale([base])]


def aged(folder: Path) -> Path:
    """The folder, as if nothing had happened in it for an hour."""
    past = time.time() - 3600
    for path in (folder / LOG, folder):
        os.utime(path, (past, past), follow_symlinks=False)
    return folder


def left(temporary: Path, name: str = "") -> Path:
    """A folder that looks like a cluster's; its name is nobody else's, for any process counts."""
    folder = temporary / (name or f"arcli-{secrets.token_hex(4)}")
    folder.mkdir(mode=0o700)
    (folder / LOG).write_text("")
    return aged(folder)


def test_a_clusters_folder_is_stale_when_its_supervisor_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    helper = SupervisorProcess(Settings(engines=1))
    try:
        aged(helper.folder)
        assert stale_folders(tmp_path) == []
        os.kill(helper.process.pid, signal.SIGKILL)
        helper.process.wait()
        # What it had forked takes a moment to die with it.
        wait_until(lambda: stale_folders(aged(helper.folder).parent) == [helper.folder])
    finally:
        helper.close()
    assert stale_folders(tmp_path) == []


def test_one_that_looks_right_is_stale_and_others_are_not(tmp_path: Path) -> None:
    good = left(tmp_path)
    for name in ("arcli-abcd_12", "arcli-ABCD_123", "arcli-abcd_1234", "xarcli-abcd_123"):
        left(tmp_path, name)
    left(tmp_path, "arcli-readable").chmod(0o755)
    (left(tmp_path, "arcli-withoutl") / LOG).unlink()
    elsewhere = left(tmp_path, "elsewhere")
    (tmp_path / "arcli-linkedto").symlink_to(elsewhere)
    fresh = left(tmp_path, "arcli-freshone")
    os.utime(fresh)
    assert stale_folders(tmp_path) == [good]
    assert stale_folders(tmp_path / "none") == []


@pytest.mark.parametrize("how", ["command", "environment"])
def test_one_that_a_process_names_is_in_use(tmp_path: Path, how: str) -> None:
    folder = left(tmp_path)
    words = [str(folder)] if how == "command" else []
    env = {**os.environ, **({"IPYTHONDIR": str(folder)} if how == "environment" else {})}
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()", *words],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # a process that has only just begun has no command line yet
        assert stale_folders(tmp_path) == []
        process.communicate()
    assert stale_folders(tmp_path) == [folder]


def test_one_whose_log_is_locked_is_in_use(tmp_path: Path) -> None:
    folder = left(tmp_path)
    hold = "import fcntl, sys; f = open(sys.stdin.readline().strip()); fcntl.flock(f, 2); "
    with subprocess.Popen(
        [sys.executable, "-c", hold + "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{folder / LOG}\n")
        process.stdin.flush()
        process.stdout.readline()
        assert stale_folders(tmp_path) == []
        process.communicate()
    assert stale_folders(tmp_path) == [folder]


def test_what_an_item_had_started_is_found_by_its_mark_and_ended(tmp_path: Path) -> None:
    folder = left(tmp_path)
    stray = subprocess.Popen(
        ["sleep", "300"], env={**os.environ, MARK: str(folder)}, start_new_session=True
    )
    try:
        # A process has an environment to be read a moment after its program was found.
        stale = Stale(folder, (stray.pid,))
        wait_until(lambda: find_stale([tmp_path]) == [stale])
        end_processes(stale)
        assert stray.wait(PATIENCE) == -signal.SIGKILL
        assert find_stale([tmp_path]) == [Stale(folder)]
    finally:
        stray.kill()
        stray.wait()
