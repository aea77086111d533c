"""Who is whose child, and how many processors there are to use."""

from __future__ import annotations

import itertools
import json
import os
import platform
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from runs import PATIENCE, wait_until

from arcli.cluster import processes
from arcli.cluster.embedded import forks
from arcli.cluster.embedded.supervisor_process import cgroup_quota, usable_cpus
from arcli.cluster.processes import (
    descendants,
    ending,
    kill_all,
    kill_below,
    kill_marked,
    kill_tree,
    marked,
    strays,
    table,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
TREE = "sleep 300 & (sleep 300 & sleep 300; :) & echo ready; wait"


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[bytes]]:
    """A shell with three grandchildren or so, in a session of its own."""
    with subprocess.Popen(["sh", "-c", TREE], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        wait_until(lambda: len(list(descendants(process.pid))) == 4)
        yield process
        kill_tree(process.pid)


def test_the_table_knows_this_process() -> None:
    (me,) = (process for process in table() if process.pid == os.getpid())
    assert (me.parent, me.session) == (os.getppid(), os.getsid(0))


def test_a_name_with_spaces_and_brackets_does_not_confuse_the_table(tmp_path: Path) -> None:
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([str(odd), "300"]) as process:
        try:
            parents = wait_until(lambda: [p.parent for p in table() if p.pid == process.pid])
            assert parents == [os.getpid()]
        finally:
            process.kill()


def test_descendants_are_all_of_them_nearest_first(shell: subprocess.Popen[bytes]) -> None:
    found = list(descendants(shell.pid))
    parents = {process.pid: process.parent for process in table()}
    assert [parents[pid] == shell.pid for pid in found] == [True, True, False, False]
    assert shell.pid in descendants(os.getpid())
    assert list(descendants(found[-1])) == []


def test_kill_tree_leaves_nothing_of_a_tree(shell: subprocess.Popen[bytes]) -> None:
    tree = set(descendants(shell.pid))
    kill_tree(shell.pid)
    assert shell.wait(PATIENCE) == -signal.SIGKILL
    wait_until(lambda: not tree & running())


GROWS = """
import os, time
for _ in range(200):
    if os.fork():
        time.sleep(300)
"""
"""A chain of processes: each starts the next one, which goes on with it."""


def test_nothing_gets_away_from_kill_tree_by_starting_another_one() -> None:
    """What a process starts after a look at the table would be nobody's child by the time of the next."""
    with subprocess.Popen([sys.executable, "-c", GROWS], start_new_session=True) as process:
        wait_until(lambda: len(list(descendants(process.pid))) > 20)
        tree = kill_tree(process.pid)
        process.wait(PATIENCE)
        wait_until(lambda: not set(tree) & running())
        assert not {other.pid for other in table() if other.session == process.pid} & running()


def test_a_process_that_cannot_be_stopped_is_killed_all_the_same(tmp_path: Path) -> None:
    """It waits for one that it lends its memory to, and that one for somebody to write to its pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    spawn = "os.posix_spawn('/bin/true', ['true'], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, path, 0, 0)])"
    program = f"import os, sys; path = sys.argv[1]; {spawn}"
    with subprocess.Popen([sys.executable, "-c", program, pipe], start_new_session=True) as process:
        wait_until(lambda: list(descendants(process.pid)))
        tree = kill_tree(process.pid)
        assert process.wait(PATIENCE) == -signal.SIGKILL
        wait_until(lambda: not set(tree) & running())


def test_what_cannot_be_stopped_and_starts_ever_more_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a program of another user's does, which an item has started by ``sudo``."""
    beyond = itertools.count(1 << 22)  # nobody has such an id
    monkeypatch.setattr(processes, "descendants", lambda *of: iter([next(beyond)]))
    monkeypatch.setattr(processes, "ENDS", 0.05)
    assert kill_below(os.getpid())


def test_nothing_gets_away_from_kill_marked(tmp_path: Path) -> None:
    env = {"ARCLI_TEST_MARK": str(tmp_path)}
    mark = f"ARCLI_TEST_MARK={tmp_path}".encode()
    with subprocess.Popen([sys.executable, "-c", GROWS], env=env, start_new_session=True):
        wait_until(lambda: len(list(marked(mark))) > 20)
        kill_marked(mark)
        assert not list(marked(mark))  # when it returns, not some time later


def test_who_ends_what_is_marked_goes_on_where_it_hangs_on_that_itself(tmp_path: Path) -> None:
    """``arcli clean`` in a script that an item has left behind: it would stop itself, for good."""
    mark = f"ARCLI_TEST_MARK={tmp_path}"
    program = (
        f"from arcli.cluster.processes import kill_marked; kill_marked({mark.encode()!r}); print('on')"
    )
    script = f'{sys.executable} -c "$PROGRAM"; :'
    env = {**os.environ, "PROGRAM": program, "ARCLI_TEST_MARK": str(tmp_path)}
    ended = subprocess.run(
        ["sh", "-c", script], env=env, stdout=subprocess.PIPE, timeout=PATIENCE, check=False
    )
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, b"on\n")


def running() -> set[int]:
    """The processes that are more than an entry that nobody has asked for yet."""
    alive = set()
    for process in table():
        try:
            state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            alive.add(process.pid)
    return alive


def test_signalling_those_that_are_gone_is_no_error() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    kill_all([process.pid])


def test_strays_are_known_by_their_session_or_their_mark() -> None:
    mark = b"ARCLI_ENGINE=one"
    with ExitStack() as stack:

        def start(engine: str, new: bool) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                ["sleep", "300"], env={"ARCLI_ENGINE": engine}, start_new_session=new
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        marked, of_session, other = start("one", True), start("two", True), start("two", True)
        # A process that has only just begun has no environment yet.
        both = {marked.pid, of_session.pid}
        wait_until(lambda: both <= set(strays(os.getpid(), of_session.pid, mark)))
        assert other.pid not in strays(os.getpid(), of_session.pid, mark)
        assert strays(other.pid, of_session.pid, mark) == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os._exit(3)", "exited with status 3"),
        ("import os; os._exit(0)", "exited with status 0"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("import os; os.kill(os.getpid(), 40)", "killed by signal 40"),
    ],
)
def test_an_ending_in_words(code: str, words: str) -> None:
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", code])
    assert ending(os.waitpid(pid, 0)[1]) == words


BECOMES = """
import atexit, sys
from arcli.cluster.embedded.forks import become

atexit.register(lambda: print("at exit"))
try:
    become(lambda: {work})
finally:
    print("the code that forked goes on")
"""


@pytest.mark.parametrize(
    ("work", "status", "words"),
    [
        ("print('done')", 0, ""),
        ("sys.exit(7)", 7, ""),
        ("sys.exit('a sentence')", 1, ""),
        ("1 / 0", 1, "ZeroDivisionError"),
    ],
)
def test_a_fork_never_returns_to_the_code_that_forked(work: str, status: int, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BECOMES.format(work=work)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == status
    assert "goes on" not in done.stdout
    assert "at exit" in done.stdout
    assert words in done.stderr


def test_a_detached_fork_has_default_signals_nothing_to_read_and_a_private_log(
    tmp_path: Path,
) -> None:
    code = """
import json, os, signal, sys
from pathlib import Path
from arcli.cluster.embedded.forks import detach

signal.signal(signal.SIGINT, signal.SIG_IGN)
detach(Path(sys.argv[1]))
ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
os.write(2, json.dumps([sys.stdin.read(), ignored]).encode())
"""
    log = tmp_path / "engine.log"
    done = subprocess.run(
        [sys.executable, "-c", code, str(log)],
        input=b"for the parent",
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert json.loads(log.read_text()) == ["", False]
    assert log.stat().st_mode & 0o777 == 0o600


def test_numpys_generator_is_seeded_anew_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork shares it; ``random`` sees to itself, numpy does not."""
    stream = random.Random(1)
    expected = random.Random(1).random()
    monkeypatch.setitem(sys.modules, "numpy", SimpleNamespace(random=stream))
    forks.reseed()
    assert stream.random() != expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_affinity_is_what_counts_not_what_the_machine_has(tmp_path: Path) -> None:
    allowed = os.sched_getaffinity(0)
    assert usable_cpus(tmp_path) == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cpus(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, allowed)


def cgroups(root: Path, membership: str, **files: str) -> Path:
    """A machine's ``proc`` and ``sys``; names of files have ``__`` for ``/`` and ``_dot_``."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_no_quota_is_no_limit(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path) is None
    root = cgroups(tmp_path, "0::/a/b\n", a__b__cpu_dot_max="max 100000\n")
    assert cgroup_quota(root) is None


def test_the_tightest_quota_above_this_process_counts(tmp_path: Path) -> None:
    root = cgroups(
        tmp_path,
        "0::/a/b\n",
        a__b__cpu_dot_max="400000 100000\n",
        a__cpu_dot_max="150000 100000\n",
    )
    assert cgroup_quota(root) == 1.5
    assert usable_cpus(root) == min(2, len(os.sched_getaffinity(0)))


def test_a_quota_below_one_processor_still_gives_an_engine(tmp_path: Path) -> None:
    root = cgroups(tmp_path, "0::/\n", cpu_dot_max="20000 100000\n")
    assert cgroup_quota(root) == 0.2
    assert usable_cpus(root) == 1


def test_the_first_version_of_cgroups(tmp_path: Path) -> None:
    root = cgroups(
        tmp_path,
        "5:memory:/box\n4:cpu,cpuacct:/box\n",
        cpu__box__cpu_dot_cfs_quota_us="250000\n",
        cpu__box__cpu_dot_cfs_period_us="100000\n",
        cpu__cpu_dot_cfs_quota_us="-1\n",
        cpu__cpu_dot_cfs_period_us="100000\n",
    )
    assert cgroup_quota(root) == 2.5


def test_a_damaged_quota_is_none(tmp_path: Path) -> None:
    root = cgroups(tmp_path, "0::/\nnonsense\n", cpu_dot_max="what\n")
    assert cgroup_quota(root) is None


MESSAGES = """
import resource, sys
from arcli.cluster.processes import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
for _ in range(40):
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    messages = [b"x" * 3_000_000 for _ in range(4)]
    del messages
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_what_a_message_has_freed_is_there_for_the_next_one() -> None:
    """A fault for each 4 kB of each copy was half of what large values cost."""

    def faults(*arguments: str) -> int:
        command = [sys.executable, "-c", MESSAGES, *arguments]
        return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=PATIENCE).stdout)

    assert faults() > 1000
    assert faults("keep") < 100
