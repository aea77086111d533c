from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from runs import wait_until

from arcli.errors import ExitCode, LockedError, OutputError
from arcli.store.lock import Lock, holder_of, is_held, lock_for

HOLDER = """
import os, subprocess, sys
from pathlib import Path
from arcli.store.lock import Lock
lock = Lock.hold(Path(sys.argv[1]), "it")
helper = 0
if sys.argv[2] == "fork":
    helper = os.fork()
    if helper == 0:
        os.close(1)
        os.read(0, 1)
        os._exit(0)
elif sys.argv[2] == "helper":
    code = "import os; os.read(0, 1)"
    helper = subprocess.Popen([sys.executable, "-c", code], stdout=2, close_fds=False).pid
print(os.getpid(), helper, flush=True)
os.read(0, 1)
"""


@contextmanager
def holder(path: Path, kind: str = "alone") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds the lock until its stdin ends, and the pid of what it started."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        pid, helper = map(int, process.stdout.readline().split())
        assert pid == process.pid
        yield process, helper


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a.lock"
    with holder(path) as (process, _):
        assert is_held(path)
        with pytest.raises(LockedError, match=rf"a\.yaml is locked by process {process.pid} on"):
            Lock.hold(path, "a.yaml")
        found = holder_of(path)
        assert found is not None
        assert found.pid == process.pid
    assert LockedError("").exit_code == ExitCode.LOCKED
    assert not is_held(path)
    Lock.hold(path, "a.yaml").release()


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with holder(path) as (process, _):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not is_held(path)
        with Lock.hold(path, "a"):
            assert is_held(path)


@pytest.mark.parametrize("kind", ["fork", "helper"])
def test_what_the_holder_started_does_not_inherit_the_lock(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.lock"
    with holder(path, kind) as (process, helper):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert exists(helper)
        wait_until(lambda: not is_held(path))  # a fork lets go of it with its first steps
        Lock.hold(path, "a").release()
        assert exists(helper)


def test_a_fork_does_not_take_the_lock_away(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with holder(path, "fork") as (_, helper):
        os.kill(helper, signal.SIGKILL)
        assert is_held(path)


def test_a_process_cannot_hold_a_lock_twice(tmp_path: Path) -> None:
    with Lock.hold(tmp_path / "a.lock", "a"):
        with pytest.raises(LockedError):
            Lock.hold(tmp_path / "a.lock", "a")
        assert is_held(tmp_path / "a.lock")
    Lock.hold(tmp_path / "a.lock", "a").release()


def test_releasing_twice_is_releasing_once(tmp_path: Path) -> None:
    lock = Lock.hold(tmp_path / "a.lock", "a")
    lock.release()
    lock.release()
    assert not is_held(tmp_path / "a.lock")


def test_a_lock_file_without_words_still_locks(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with Lock.hold(path, "a"):
        path.write_text("")
        with pytest.raises(LockedError, match="another process"):
            Lock.hold(path, "a")


def test_where_no_lock_can_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Not a directory"):
        Lock.hold(tmp_path / "file" / "a.lock", "a")


def test_a_spec_has_one_lock_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tmp_path / "night job.yaml"
    spec.write_text("")
    (tmp_path / "link.yaml").symlink_to(spec)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "night job.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    root, environ = Path(".arcli"), {"XDG_STATE_HOME": str(tmp_path / "state")}
    lock = lock_for(root, str(spec), environ)
    assert lock.parent == tmp_path / "state" / "arcli" / "locks"
    (tmp_path / "file").write_text("")
    elsewhere = lock_for(root, str(spec), {"XDG_STATE_HOME": str(tmp_path / "file")})
    assert elsewhere == root / "locks" / lock.name
    assert lock_for(root, "night job.yaml", environ) == lock
    assert lock_for(root, "link.yaml", environ) == lock
    assert lock_for(root, "other/night job.yaml", environ) != lock
