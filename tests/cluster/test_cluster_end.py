"""However a cluster ends, nothing of it is left: no process, no folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from own_cluster import CHILD, Own, folder_of, of_cluster, own_cluster, supervisor_of
from runs import MARK, PATIENCE, has_ended, marked, running, wait_until

from arcli.cluster import protocol
from arcli.cluster.base import ClusterDown
from arcli.cluster.protocol import ControllerEnded


def test_stop_ends_everything_and_may_be_called_again() -> None:
    with own_cluster() as own:
        folder = own.folder()
        own.cluster.stop()
        assert own.processes() == []  # when it returns, not some time later
        assert not folder.exists()
        own.cluster.stop()
        assert not [event for event in own.events if isinstance(event, ClusterDown)]
        assert own.down() == []


def test_stop_ends_what_users_started_and_engines_that_do_not_listen() -> None:
    deaf = "(__import__('signal').signal(15, __import__('signal').SIG_IGN), 0)[1]"
    with own_cluster() as own:
        own.ask(deaf)
        own.ask(CHILD)
        own.cluster.client[:].apply_async(exec, "import time; time.sleep(300)")
        own.cluster.stop()
        assert own.processes() == []


def test_a_user_who_starts_a_daemon_is_cleaned_up_after() -> None:
    """Forked twice, with an empty environment: only the tree of processes knows whose it is."""
    daemon = "subprocess.call(['env', '-i', 'sh', '-c', 'setsid sleep 300 & echo $! > ' + path])"
    with own_cluster(engines=1) as own:
        written = own.folder() / "daemon"
        own.cluster.client[:].push({"path": str(written)}, block=True)
        own.ask(daemon)
        pid = int(wait_until(lambda: written.exists() and written.read_text()))
        assert not has_ended(pid)
        own.cluster.stop()
        wait_until(lambda: has_ended(pid))


@pytest.mark.parametrize("processes", [1, 3], ids=["while it imports", "when it forks"])
def test_a_cluster_that_was_only_prepared_can_be_abandoned(processes: int) -> None:
    own = Own()
    own.cluster.prepare()
    folder = own.folder()
    wait_until(lambda: len(own.processes()) >= processes)
    own.cluster.stop()
    assert own.processes() == []
    assert not folder.exists()


def test_an_exception_in_the_middle_leaves_nothing() -> None:
    def go_wrong() -> None:
        with own_cluster() as own:
            own.cluster.client[:].apply_async(exec, "import time; time.sleep(300)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        go_wrong()


@pytest.mark.parametrize("victim", ["controller", "supervisor"])
def test_the_loss_of_a_central_process_is_reported(victim: str) -> None:
    with own_cluster() as own:
        pids = {info.pid for info in own.cluster.engines()}
        supervisor = supervisor_of(own.processes())
        (controller,) = (child for child in supervisor.children() if child.pid not in pids)
        (controller if victim == "controller" else supervisor).kill()
        wait_until(lambda: any(isinstance(event, ClusterDown) for event in own.events))
        (down,) = (event for event in own.events if isinstance(event, ClusterDown))
        assert ("killed by SIGKILL" if victim == "controller" else "supervises") in down.reason
        assert down.reason in own.cluster.diagnose()


SERVES = """
import sys
import time
from arcli.cluster.base import ClusterOptions
from arcli.cluster.embedded.cluster import EmbeddedCluster

if __name__ == "__main__":
    cluster = EmbeddedCluster(ClusterOptions(engines=2, start_timeout=90))
    if sys.argv[1] == "up":
        cluster.start(lambda event: None)
        while cluster.coming():
            time.sleep(0.01)
        cluster.client[:].apply_async(exec, "import subprocess; subprocess.Popen("
            "['sleep', '300'], start_new_session=True)").get(90)
        cluster.client[:].apply_async(exec, "import time; time.sleep(300)")
    else:
        cluster.prepare()
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def parent(tmp_path: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """A process with a cluster, its mark, and its cluster's folder."""
    script = tmp_path / "serves.py"
    script.write_text(SERVES)
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, str(script), *words],
        env={**os.environ, MARK: mark},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            # A process that has only just begun has no environment yet.
            inside = wait_until(lambda: [other for other in marked(mark) if other.pid != process.pid])
            yield process, mark, folder_of(inside)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("state", "number"),
    [("up", signal.SIGKILL), ("up", signal.SIGTERM), ("prepared", signal.SIGKILL)],
)
def test_a_parent_that_is_killed_takes_all_along(
    tmp_path: Path, state: str, number: signal.Signals
) -> None:
    with parent(tmp_path, state) as (process, mark, folder):
        if state == "up":
            wait_until(lambda: len([p for p in marked(mark) if p.name() == "sleep"]) == 2)
        process.send_signal(number)
        process.wait()
        wait_until(lambda: not marked(mark), lambda: f"left behind: {marked(mark)}")
        assert not folder.exists()


def test_a_parent_that_just_exits_takes_all_along(tmp_path: Path) -> None:
    with parent(tmp_path, "up") as (process, mark, folder):
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        wait_until(lambda: not marked(mark), lambda: f"left behind: {marked(mark)}")
        assert not folder.exists()


@pytest.mark.parametrize("processes", [1, 4], ids=["while it imports", "when it is up"])
def test_a_supervisor_that_was_stopped_leaves_nothing_when_arcli_is_killed(
    tmp_path: Path, processes: int
) -> None:
    """Nobody else would ever continue it."""
    with running(tmp_path, "setup: {imports: [time]}\nmap: time.sleep\nover: [300, 300]\n") as run:
        wait_until(lambda: len(of_cluster(run.relatives())) >= processes, run.said)
        supervisor_of(run.relatives()).suspend()
        run.process.kill()
        run.process.wait(PATIENCE)
        wait_until(lambda: not run.relatives(), lambda: f"left behind: {run.relatives()}")


def test_clusters_that_are_lost_one_after_another_are_replaced_one_at_a_time() -> None:
    """A second loss while the first one is being mended: there is one cluster at the end."""
    with own_cluster() as own:

        def lost() -> int:
            return sum(isinstance(event, ClusterDown) for event in own.events)

        def supervisors() -> list[psutil.Process]:
            ours = {process.pid for process in psutil.Process().children()}
            return [process for process in of_cluster(own.processes()) if process.pid in ours]

        for number in range(1, 4):
            wait_until(supervisors)[0].kill()
            wait_until(lambda: lost() == number, "the loss is reported")  # noqa: B023
            assert own.cluster.revive()
        wait_until(lambda: len(own.cluster.engines()) == 2 and not own.cluster.coming())
        assert lost() == 3
        assert len(supervisors()) == 1
        ids = [event.info.engine_id for event in own.up()]
        assert len(ids) == len(set(ids))


def test_a_process_that_is_ended_while_it_is_forked_does_end(tmp_path: Path) -> None:
    """Its first breath has the supervisor's handlers, and would go on as if nothing was said."""
    program = (
        "import os, runpy, signal;"
        "os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM));"
        "runpy.run_module('arcli.cluster.embedded.supervisor', run_name='__main__')"
    )
    ours, theirs = socket.socketpair()
    settings = json.dumps({"engines": 1, "python": None, "first_id": 0})
    arguments = [sys.executable, "-c", program, str(theirs.fileno()), str(tmp_path), settings]
    # The controller is the first that it forks.
    with theirs:
        process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()])
    with process, ours:
        ours.settimeout(PATIENCE)
        (event,) = protocol.Reader().feed(ours.recv(4096))
        assert event == ControllerEnded("killed by SIGTERM")
    assert process.returncode == 0
