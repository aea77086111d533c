"""An embedded cluster while it is up: private, small, and as it was asked for."""

from __future__ import annotations

import errno
import inspect
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ipyparallel.controller import heartmonitor
from own_cluster import CHILD, Own, own_cluster, supervisor_of
from runs import PATIENCE, running, wait_until
from tornado.ioloop import PeriodicCallback

from arcli.cluster.base import ClusterDown, ClusterEvent
from arcli.cluster.client import RawClient
from arcli.cluster.embedded import cluster, controller
from arcli.cluster.embedded.controller import CALM_MS, HEARTBEAT_MS, HURRY, calming
from arcli.cluster.embedded.supervisor_process import (
    THREAD_LIMITS,
    WAVE,
    Settings,
    SupervisorProcess,
)
from arcli.errors import ClusterError


@pytest.fixture(scope="module")
def own() -> Iterator[Own]:
    """One cluster for all tests that only look at it."""
    with own_cluster(env={"COLOUR": "blue", "MKL_NUM_THREADS": "7"}, threads=3) as started:
        yield started


def test_an_engine_is_the_process_that_it_is_said_to_be(own: Own) -> None:
    who = "os.getpid(), os.environ['ARCLI_SLOT'], os.environ['ARCLI_ENGINE']"
    engines = sorted(own.cluster.engines(), key=lambda info: info.engine_id)
    assert own.ask(who) == [(info.pid, str(info.slot), info.uuid) for info in engines]


def test_the_folder_is_nobody_elses(own: Own) -> None:
    """The key that lets one run code on the engines is in there."""
    folder = own.folder()
    files = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert any(path.name == "ipcontroller-engine.json" for path in files)
    # IPython copies its README, as it is installed, into every profile.
    assert {path.name for path, mode in files.items() if mode != 0o600} <= {"README"}


def test_it_has_no_port_and_nobody_else_can_enter_the_folder_of_its_sockets(own: Own) -> None:
    processes = own.processes()
    assert [c for process in processes for c in process.net_connections(kind="inet")] == []
    sockets = [path for path in own.folder().iterdir() if path.is_socket()]
    assert len(sockets) >= 10
    assert stat.S_IMODE(own.folder().stat().st_mode) == 0o700


def test_it_is_a_supervisor_a_controller_and_its_engines(own: Own) -> None:
    """Each further process would take a part of a cold start, and memory for all of a run."""
    assert len(own.processes()) == 2 + len(own.cluster.engines())


@pytest.mark.parametrize(("whose", "options"), [("client", {}), ("engine", {"spawn": True})])
def test_whoever_connects_finds_somebody_who_listens(whose: str, options: dict[str, bool]) -> None:
    """ZeroMQ tries to connect again, ten times a second, also where a scheduler has been left out."""
    with own_cluster(engines=1, **options) as own:
        text = (own.folder() / "profile" / "security" / f"ipcontroller-{whose}.json").read_text()
        info = json.loads(text)
        path = info["interface"].removeprefix("ipc://")
        for name in ("mux", "task", "control", "broadcast", "iopub", "registration"):
            port = info[name][0] if isinstance(info[name], list) else info[name]
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(f"{path}:{port}")


SCHEDULER_THAT_FAILS = """
import time, zmq
from arcli.cluster.embedded.controller import Scheduler
scheduler = Scheduler(zmq.ROUTER, zmq.ROUTER, zmq.PUB, b"in", b"out")
scheduler.bind_in("tcp://no such address")
scheduler.start()
time.sleep(60)
"""


def test_a_controller_ends_with_one_of_its_schedulers() -> None:
    command = [sys.executable, "-c", SCHEDULER_THAT_FAILS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert "ZMQError" in done.stderr
    assert "a part of the controller has ended" in done.stderr


def test_every_process_is_a_descendant_in_a_session_of_its_own(own: Own) -> None:
    """A Ctrl-C in the terminal is arcli's to handle."""
    assert len(own.processes()) >= 4
    assert os.getsid(0) not in {os.getsid(process.pid) for process in own.processes()}


def test_threads_of_numerical_libraries_are_capped_except_where_the_spec_says_so(own: Own) -> None:
    limits = f"{{name: os.environ.get(name) for name in {THREAD_LIMITS}}}"
    assert "OMP_NUM_THREADS" in THREAD_LIMITS
    wanted = {**dict.fromkeys(THREAD_LIMITS, "3"), "MKL_NUM_THREADS": "7"}
    assert own.ask(limits) == [wanted, wanted]


def test_the_specs_environment_reaches_engines_and_not_this_process(own: Own) -> None:
    assert own.ask("os.environ.get('COLOUR')") == ["blue", "blue"]
    assert "COLOUR" not in os.environ


def test_the_engines_random_streams_differ(own: Own) -> None:
    """They are forks of one process, whose generator's state they would share."""
    draws = own.ask("[random.random() for _ in range(3)]")
    assert draws[0] != draws[1]
    assert not set(draws[0]) & set(draws[1])


KERNEL = "__import__('IPython').get_ipython().kernel"


def test_an_engine_is_a_kernel_of_its_own_though_it_was_made_before_the_fork(own: Own) -> None:
    engines = sorted(own.cluster.engines(), key=lambda info: info.engine_id)
    names = own.ask(f"{KERNEL}.ident, {KERNEL}.session.session, {KERNEL}.session.pid == os.getpid()")
    assert names == [(info.uuid, info.uuid, True) for info in engines]
    same = f"{KERNEL}.shell.kernel is {KERNEL}, {KERNEL}.shell.user_ns is {KERNEL}.user_ns"
    assert own.ask(same) == [(True, True), (True, True)]
    # What it hands on to its shell when it is made, before it has any of them.
    publishers = f"[{KERNEL}.shell.displayhook, {KERNEL}.shell.display_pub, {KERNEL}.shell.data_pub]"
    sessions = f"all(each.session is {KERNEL}.session for each in {publishers})"
    sockets = f"all(each.pub_socket is {KERNEL}.iopub_socket for each in {publishers})"
    assert own.ask(f"({sessions}, {sockets})") == [(True, True), (True, True)]
    topic = f"{KERNEL}.shell.displayhook.topic"
    assert own.ask(topic) == [b"engine.%d.execute_result" % info.engine_id for info in engines]


def test_what_is_open_in_an_engines_namespace_is_written_at_its_end(tmp_path: Path) -> None:
    """Its end leaves alone what engines share, which the namespace is not."""
    with own_cluster() as own:
        own.ask(f"globals().update(file=open(f'{tmp_path}/{{os.getpid()}}', 'w'))")
        own.ask("file.write('not flushed')")
        pids = [info.pid for info in own.cluster.engines()]
    assert [(tmp_path / f"{pid}").read_text() for pid in pids] == ["not flushed"] * 2


def test_what_engines_print_is_not_on_our_terminal(own: Own, capfd: pytest.CaptureFixture[str]) -> None:
    own.ask("os.write(1, b'to the descriptor')")
    assert capfd.readouterr().out == ""


def test_what_killed_an_engine_is_said_and_its_replacement_has_its_slot() -> None:
    with own_cluster() as own:
        os.kill(own.pid(own.cluster.engines()[1].engine_id), signal.SIGKILL)
        (down,) = wait_until(own.down)
        assert "killed by SIGKILL" in down.reason
        own.cluster.replace(down.slot)
        wait_until(lambda: len(own.up()) == 3, own.cluster.diagnose)
        wait_until(lambda: down.engine_id not in own.cluster.client.ids)
        assert sorted(own.ask("int(os.environ['ARCLI_SLOT'])")) == [0, 1]


def test_kill_ends_an_engine_and_what_it_started() -> None:
    with own_cluster() as own:
        first, second = own.ask(CHILD)
        engines = sorted(own.cluster.engines(), key=lambda info: info.engine_id)
        own.cluster.kill(engines[0].engine_id)
        wait_until(own.down)
        wait_until(lambda: first not in {process.pid for process in own.processes()})
        assert second in {process.pid for process in own.processes()}


def test_what_an_engine_leaves_when_it_dies_goes_with_it() -> None:
    with own_cluster() as own:
        first, second = own.ask(CHILD)
        os.kill(own.cluster.engines()[0].pid or 0, 9)
        wait_until(own.down)
        gone = wait_until(lambda: {first, second} - {process.pid for process in own.processes()})
        assert len(gone) == 1


def test_engines_that_do_not_come_in_time_are_an_error_with_their_log() -> None:
    with pytest.raises(ClusterError) as caught:  # noqa: SIM117 - which of the two raises matters
        with own_cluster(python="/bin/false", start_timeout=20.0):
            pass
    assert "0 of 2 engines came up" in caught.value.message
    assert "1 are needed" in caught.value.message


def test_fewer_engines_than_asked_for_will_do_where_the_spec_says_so(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "$ARCLI_SLOT" = 1 ] && exit 7\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with own_cluster(python=str(python)) as own:
        assert [info.slot for info in own.cluster.engines()] == [0]
        (down,) = wait_until(own.down)
        assert (down.engine_id, down.slot) == (None, 1)
        assert "exited with status 7" in down.reason


def test_engines_whose_news_is_missed_while_the_client_subscribes_are_asked_for_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One run in six had an engine that was given its first item half a second after the others."""
    monkeypatch.setattr(cluster, "MISSED", 1e9)  # what is asked later than that is asked too late
    monkeypatch.setattr(RawClient, "_register_engine", lambda _client, _news: None)
    with own_cluster(engines=3) as own:
        assert sorted(event.info.slot for event in own.up()) == [0, 1, 2]


class Clock:
    """A cluster's clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        """Stands for ``time.monotonic``."""
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cluster, "time", clock)
    return clock


def test_an_engine_is_late_after_the_one_before_it_however_many_there_are(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine hundreds take longer than the time to start, and yet none is late."""

    def note(own: Own, event: ClusterEvent) -> None:
        own.events.append(event)
        clock.ahead += 0.5 * PATIENCE

    monkeypatch.setattr(Own, "note", note)
    with own_cluster(engines=WAVE + 3) as own:
        wait_until(lambda: len(own.up()) == WAVE + 3)
        assert own.down() == []
        assert sorted(event.info.slot for event in own.up()) == list(range(WAVE + 3))


def only_the_first(folder: Path) -> Path:
    """An interpreter of which the first engine comes up, and every other one hangs."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\n[ "$ARCLI_SLOT" = 0 ] && exec {sys.executable} "$@"\nexec sleep 300\n')
    python.chmod(0o755)
    return python


def test_every_slot_whose_engine_is_given_up_is_reported(tmp_path: Path, clock: Clock) -> None:
    """Also those that were not even started, or a job would wait for them for ever."""
    own = Own(python=str(only_the_first(tmp_path)), engines=WAVE + 3)
    try:
        own.cluster.start(own.note)
        clock.ahead += 2 * PATIENCE
        wait_until(lambda: len(own.down()) == WAVE + 2, own.cluster.diagnose)
        assert own.cluster.coming() == set()
        assert sorted(event.slot for event in own.down()) == list(range(1, WAVE + 3))
    finally:
        own.cluster.stop()
        wait_until(lambda: not own.processes())


def test_a_supervisor_that_is_stopped_while_engines_come_is_noticed(tmp_path: Path) -> None:
    own = Own(python=str(only_the_first(tmp_path)))
    try:
        own.cluster.start(own.note)
        supervisor_of(own.processes()).suspend()
        wait_until(
            lambda: any(isinstance(event, ClusterDown) for event in own.events), own.cluster.diagnose
        )
    finally:
        own.cluster.stop()
        wait_until(lambda: not own.processes())


def test_too_few_engines_are_the_end_with_the_time_after_the_last_one(tmp_path: Path, clock: Clock) -> None:
    own = Own(python=str(only_the_first(tmp_path)), min_engines=2)
    try:
        own.cluster.start(own.note)
        clock.ahead += 2 * PATIENCE
        (down,) = wait_until(lambda: [event for event in own.events if isinstance(event, ClusterDown)])
        assert f"1 of 2 engines came up, and no other within {PATIENCE:g} s, 2 are needed" in down.reason
        assert not own.cluster.revive()
    finally:
        own.cluster.stop()
        wait_until(lambda: not own.processes())


def test_the_heart_beats_fast_while_engines_come_and_calmly_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An engine is ready with its first heartbeat: a monitor that begins calmly delays all of them."""
    now = 100.0
    monkeypatch.setattr(controller, "time", SimpleNamespace(monotonic=lambda: now))

    class HeartMonitor:
        """Stands for ipyparallel's, whose beats nobody can count from outside."""

        def __init__(self) -> None:
            self.caller = SimpleNamespace(callback_time=HEARTBEAT_MS)
            self.hearts: set[bytes] = set()

        def start(self) -> None:
            pass

        def handle_new_hearts(self, hearts: set[bytes]) -> None:
            self.hearts |= hearts

        def beat(self) -> None:
            pass

    monitor = calming(HeartMonitor)()
    assert type(monitor).__name__ == "HeartMonitor"
    monitor.start()
    monitor.beat()
    assert monitor.caller.callback_time == HEARTBEAT_MS
    monitor.handle_new_hearts({b"1"})
    monitor.beat()
    assert monitor.caller.callback_time == HEARTBEAT_MS
    monitor.handle_new_hearts({str(number).encode() for number in range(100)})
    monitor.beat()
    assert monitor.caller.callback_time == 100
    now += HURRY + 0.1
    monitor.beat()
    assert monitor.caller.callback_time == CALM_MS
    monitor.handle_new_hearts({b"a replacement"})
    monitor.beat()
    assert monitor.caller.callback_time < CALM_MS


def test_ipyparallels_heart_monitor_can_be_calmed() -> None:
    """What `calming` relies on: a start, and a caller that looks at its period each time."""
    source = inspect.getsource(heartmonitor.HeartMonitor.start)
    assert "self.caller = ioloop.PeriodicCallback(self.beat, self.period)" in source
    assert "callback_time" in inspect.getsource(PeriodicCallback._update_next)
    assert "= HeartMonitor(" in inspect.getsource(heartmonitor)


@pytest.mark.parametrize(
    ("launcher", "engines", "needed", "fit"), [("embedded", 16, 88, 4), ("local", 4, 88, 0)]
)
def test_too_few_open_files_are_told_before_anything_is_started(
    tmp_path: Path, launcher: str, engines: int, needed: int, fit: int
) -> None:
    spec = f"cluster: {{launcher: {launcher}}}\nmap: abs\nover: [-1]\n"
    with running(tmp_path, spec, "-n", str(engines), preexec=lambda: allow_files(64)) as run:
        assert run.wait() == 3
        assert f"{engines} engines need {needed} open files in a process, and 64 are allowed" in run.said()
        assert f"ulimit -n {needed}{f', or -n {fit}' if fit else ''}" in run.said()


@pytest.mark.parametrize(
    ("limit", "most", "words"),
    [
        (resource.RLIMIT_NOFILE, 8, "2 engines need 60 open files in a process, and 8 are allowed"),
        (resource.RLIMIT_AS, 300 << 20, "arcli needs 480 MiB of address space, and 300 are allowed"),
        (resource.RLIMIT_AS, 200 << 20, "arcli needs 480 MiB of address space, and 200 are allowed"),
    ],
)
def test_limits_that_are_too_low_to_begin_with_are_told_and_leave_nothing(
    tmp_path: Path, limit: int, most: int, words: str
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with running(
        tmp_path,
        "map: abs\nover: [-1]\n",
        env={"TMPDIR": str(temporary)},
        preexec=lambda: resource.setrlimit(limit, (most, most)),
    ) as run:
        assert run.wait() == 3, run.said()
        assert words in run.said()
    assert not [*temporary.iterdir()]


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.EMFILE, "ulimit -n"), (errno.EAGAIN, "ulimit -u"), (errno.ENOMEM, "ulimit -v")],
)
def test_a_supervisor_that_cannot_be_started_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", refuse)
    files = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(ClusterError, match=os.strerror(number)) as caught:
        SupervisorProcess(Settings(1))
    assert hint in (caught.value.hint or "")
    assert not [*tmp_path.iterdir()]
    assert len([*Path("/proc/self/fd").iterdir()]) == files


@pytest.mark.parametrize(("launcher", "engines", "files"), [("embedded", 4, 64), ("local", 2, 76)])
def test_as_many_open_files_as_are_asked_for_will_do(
    tmp_path: Path, launcher: str, engines: int, files: int
) -> None:
    """Also with engines that publish, each over one more connection."""
    spec = f"cluster: {{launcher: {launcher}}}\ncommand: echo {{}}; sleep 1\n"
    spec += f"over: {{range: {2 * engines}}}\nchunksize: 2\ntail: both\n"
    with running(tmp_path, spec, "-n", str(engines), preexec=lambda: allow_files(files)) as run:
        assert run.wait() == 0, run.said()
        assert {record["engine_id"] for record in run.lines() if "index" in record} == {*range(engines)}


def allow_files(most: int) -> None:
    """Let this process open so many files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
