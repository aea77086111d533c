"""Joining a cluster that somebody else has started, with real controllers and engines."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from connections import GOOD, write_connection
from foreign import Foreign, foreign
from runs import PATIENCE, each_once, running, statuses, wait_until

from arcli.cluster import joined as joined_module
from arcli.cluster import named as named_clusters
from arcli.cluster import watched_cluster
from arcli.cluster.base import ClusterDown, ClusterEvent, ClusterOptions, EngineDown, EngineUp
from arcli.cluster.connection import Connection
from arcli.cluster.joined import JoinedCluster
from arcli.errors import ClusterError

SPEC = """
cluster: {cluster_id: theirs, start_timeout: 90s}
setup: {imports: [os, time], push: {scale: 3}, run: "offset = 1"}
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    """One cluster of two engines for all tests that leave it as it is."""
    with foreign(tmp_path_factory.mktemp("theirs"), 2) as cluster:
        yield cluster


class Joined:
    """A joined cluster and what it has reported."""

    def __init__(self, theirs: Foreign, silence: float = PATIENCE, **options: Any) -> None:
        options = {"engines": 0, "start_timeout": PATIENCE, **options}
        self.cluster = JoinedCluster(ClusterOptions(**options), theirs.connection)
        self.cluster.silence = silence
        self.events: list[ClusterEvent] = []

    def __enter__(self) -> Joined:
        try:
            self.cluster.start(self.events.append)
        except BaseException:
            self.cluster.stop()
            raise
        # A run begins with those that have answered after a second; here all are waited for.
        wait_until(lambda: len(self.cluster.engines()) == self.cluster.slots, self.cluster.diagnose)
        return self

    def __exit__(self, *exc: object) -> None:
        self.cluster.stop()

    def of(self, kind: type) -> list[Any]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


def test_its_engines_are_those_that_are_there(theirs: Foreign) -> None:
    with Joined(theirs) as joined:
        engines = joined.cluster.engines()
        assert {info.engine_id: info.pid for info in engines} == theirs.pids()
        assert {info.host for info in engines} == {socket.gethostname()}


def test_a_number_of_engines_is_the_most_that_are_used(theirs: Foreign) -> None:
    with Joined(theirs, engines=1) as joined:
        assert (joined.cluster.slots, len(joined.cluster.engines())) == (1, 1)
    with Joined(theirs, engines=7) as joined:
        assert (joined.cluster.slots, len(joined.cluster.engines())) == (2, 2)


def test_a_spare_engine_takes_the_place_of_one_that_is_let_go(theirs: Foreign) -> None:
    with Joined(theirs, engines=1) as joined:
        (first,) = joined.cluster.engines()
        wait_until(lambda: joined.cluster._spares)  # the other one has answered, too
        joined.cluster.release(first.engine_id)
        wait_until(lambda: len(joined.of(EngineUp)) == 2)
        joined.cluster.replace(0)
        (second,) = joined.cluster.engines()
        assert (second.slot, second.engine_id == first.engine_id) == (0, False)


def test_an_engine_that_is_let_go_comes_back_when_it_answers(theirs: Foreign, tmp_path: Path) -> None:
    with Joined(theirs) as joined:
        (busy, _) = joined.cluster.engines()
        wait = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)"
        held = theirs.client[busy.engine_id].apply_async(exec, wait, {})
        joined.cluster.release(busy.engine_id)
        joined.cluster.replace(busy.slot)
        wait_until(lambda: joined.of(EngineDown))
        assert not held.ready()
        (tmp_path / "go").touch()
        wait_until(lambda: len(joined.of(EngineUp)) == 3)
        assert held.get(PATIENCE) is None  # nobody has interrupted it
        assert busy in joined.cluster.engines()


def test_a_run_leaves_the_engines_as_they_were(theirs: Foreign, tmp_path: Path) -> None:
    theirs.client[:].push({"scale": "mine", "kept": 1}, block=True)
    before, pids = theirs.names(), theirs.pids()
    (tmp_path / "helps.py").write_text("def f(x):\n    return x * 10\n")
    spec = SPEC.replace("offset = 1", "class C(int): offset = 1")
    spec += "jobs:\n- {name: a, map: 'helps:f', over: [1, 2], push_as: tens, collect: list}\n"
    spec += "- {name: b, map: 'lambda x: x * scale + C.offset + tens[0]', over: {range: 20}}\n"
    spec += "- {name: c, map: C, over: [1, 2], reduce: 'lambda a, b: C(a + kept + b.offset)'}\n"
    with running(tmp_path, spec, env=theirs.env) as run:
        assert run.wait() == 0, run.said()
        records = run.lines()
    assert [r["value"] for r in records if r["job"] == "b"] == [x * 3 + 11 for x in range(20)]
    wait_until(lambda: theirs.names() == before, lambda: str(theirs.names()))
    assert theirs.client[:].pull("scale", block=True) == ["mine", "mine"]
    left = "[n for n in __import__('sys').modules if 'arcli' in n or n == 'helps']"
    assert theirs.client[:].apply_async(eval, left).get(PATIENCE) == [[], []]
    paths = theirs.client[:].apply_async(eval, "__import__('sys').path").get(PATIENCE)
    assert not any(str(tmp_path) in path for path in paths)
    assert theirs.pids() == pids


def test_runs_leave_no_file_open_on_engines(theirs: Foreign, tmp_path: Path) -> None:
    """Engines of somebody else go on for days."""
    spec = SPEC + "jobs:\n- {name: a, map: print, over: {range: 4}}\n"
    spec += "- {name: b, command: echo, over: [1, 2]}\n"

    def opened() -> int:
        with running(tmp_path, spec, env=theirs.env) as run:
            assert run.wait() == 0, run.said()
        return sum(psutil.Process(pid).num_fds() for pid in theirs.pids().values())

    after_first = opened()  # what is imported once may keep some
    opened()
    wait_until(lambda: opened() <= after_first)


def test_what_a_spec_says_of_engines_that_are_there_is_told_to_be_unused(
    theirs: Foreign, tmp_path: Path
) -> None:
    spec = "cluster: {env: {A: b}, threads_per_engine: 2}\nmap: abs\nover: [-1]\n"
    with running(tmp_path, spec, "--cluster", "theirs", env=theirs.env) as run:
        assert run.wait() == 0, run.said()
        assert "cluster: {env, threads_per_engine} is not for theirs" in run.said()


def test_two_runs_may_share_engines(theirs: Foreign, tmp_path: Path) -> None:
    """The same names of a job and in setup, another meaning: nobody gets the other's values."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    slow = SPEC + 'map: "lambda x: time.sleep(0.02) or scale * x"\nover: {range: 40}\nchunksize: 4\n'
    other = slow.replace("scale: 3", "scale: 5")
    with (
        running(tmp_path / "one", slow, env=theirs.env) as one,
        running(tmp_path / "two", other, env=theirs.env) as two,
    ):
        assert (one.wait(), two.wait()) == (0, 0)
        assert [r["value"] for r in one.lines()] == [x * 3 for x in range(40)]
        assert [r["value"] for r in two.lines()] == [x * 5 for x in range(40)]


def test_an_interrupted_run_interrupts_its_own_items_and_nothing_else(
    theirs: Foreign, tmp_path: Path
) -> None:
    pids = theirs.pids()
    spec = SPEC + 'map: "lambda x: time.sleep(300 if x else 0)"\nover: {range: 40}\n'
    with running(tmp_path, spec, env=theirs.env) as run:
        wait_until(run.lines, run.said)
        run.signal(signal.SIGINT)
        wait_until(lambda: "once more" in run.said(), run.said)
        run.signal(signal.SIGINT)
        assert run.wait() == 130
        assert each_once(run.lines())
    assert theirs.pids() == pids  # and they answer: what ran has ended


def test_a_time_limit_costs_no_engine_where_the_item_listens(theirs: Foreign, tmp_path: Path) -> None:
    pids = theirs.pids()
    spec = SPEC + 'map: "lambda x: time.sleep(x)"\nover: [0, 300, 0]\ntimeout: 200ms\n'
    with running(tmp_path, spec, env=theirs.env) as run:
        assert run.wait() == 1
        assert statuses(run.lines()) == {"ok": 2, "timeout": 1}
    assert theirs.pids() == pids


@pytest.mark.parametrize("name", ["theirs", "default:theirs"])
def test_a_run_joins_by_name_whatever_its_spec_says(theirs: Foreign, tmp_path: Path, name: str) -> None:
    spec = "cluster: {engines: 5, launcher: inline}\nmap: 'lambda x: os.getppid()'\n"
    spec += "setup: {imports: [os]}\nover: {range: 4}\n"
    with running(tmp_path, spec, "--cluster", name, env=theirs.env) as run:
        assert run.wait() == 0
        assert {record["value"] for record in run.lines()} == {os.getpid()}
        assert run.manifest()["summary"]["engines"] == 2


@pytest.mark.parametrize("words", [["--cluster", "theirs"], ["-n", "2"], []])
@pytest.mark.parametrize("job", ["command: echo", "map: str"])
def test_of_more_engines_than_items_at_a_time_the_others_stay_idle(
    job: str, words: list[str], theirs: Foreign, tmp_path: Path
) -> None:
    with running(tmp_path, f"{SPEC}{job}\nover: {{range: 4}}\n", "-j", "1", *words, env=theirs.env) as run:
        assert run.wait() == 0
        assert len({record["engine_id"] for record in run.lines()}) == 1


def test_a_cluster_that_nobody_knows_is_named_with_those_that_are(theirs: Foreign, tmp_path: Path) -> None:
    spec = "map: abs\nover: [1]\n"
    with running(tmp_path, spec, "--cluster", "others", env=theirs.env) as run:
        assert run.wait() == 3
        assert "there is no cluster 'others'" in run.said()
        assert "known are: theirs" in run.said()
        assert "Traceback" not in run.said()


def test_names_of_clusters(theirs: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(theirs.ipython))
    (only,) = named_clusters.known()
    assert (only.name, only.connection_file) == ("theirs", theirs.file)
    assert named_clusters.find("theirs") == named_clusters.find("default:theirs") == only
    with pytest.raises(ClusterError, match="there is no cluster 'x:'"):
        named_clusters.find("x:")


def test_an_engine_that_comes_takes_the_place_of_one_that_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_cluster, "LINGERS", PATIENCE)
    with foreign(tmp_path, 2) as theirs, Joined(theirs) as joined:
        victim, other = joined.cluster.engines()
        os.kill(theirs.pids()[victim.engine_id], signal.SIGKILL)
        wait_until(lambda: joined.of(EngineDown))
        joined.cluster.replace(victim.slot)  # nobody starts one
        wait_until(lambda: joined.of(EngineDown)[1:])
        theirs.start_engines(1)
        wait_until(lambda: len(joined.of(EngineUp)) == 3)
        new = joined.of(EngineUp)[-1].info
        assert new.slot == victim.slot
        assert new.engine_id not in {victim.engine_id, other.engine_id}
        joined.cluster.kill(new.engine_id)
        wait_until(lambda: joined.of(EngineDown)[2:])
        assert "is gone" in joined.of(EngineDown)[-1].reason  # its nanny has killed it


def test_an_engine_whose_registration_was_not_heard_of_is_found(tmp_path: Path) -> None:
    """It registers while a client subscribes: here, while the clients do not listen."""
    with foreign(tmp_path, 1) as theirs, Joined(theirs) as joined:
        for client in (joined.cluster.client, joined.cluster._scout):
            client._notification_handlers["registration_notification"] = lambda message: None
        os.kill(next(iter(theirs.pids().values())), signal.SIGKILL)
        wait_until(lambda: joined.of(EngineDown) and not theirs.client.ids)
        theirs.start_engines(1)
        wait_until(lambda: len(joined.of(EngineUp)) == 2)
        (new,) = joined.cluster.engines()
        assert theirs.client[new.engine_id].apply_sync(os.getpid) == new.pid


def test_a_run_goes_on_when_an_engine_dies_and_ends_when_all_have(tmp_path: Path) -> None:
    spec = SPEC + 'map: "lambda x: time.sleep(0.05) or os.getpid()"\nover: {range: 4000}\n'
    with foreign(tmp_path, 2) as theirs, running(tmp_path, spec, env=theirs.env) as run:
        first, second = theirs.pids().values()
        wait_until(lambda: len(run.lines()) > 3, run.said)
        os.kill(first, signal.SIGKILL)
        done = len(run.lines())
        wait_until(lambda: len(run.lines()) > done + 10, run.said)
        assert run.process.poll() is None
        os.kill(second, signal.SIGKILL)
        assert run.wait() == 3
        records = [record for record in run.lines() if "index" in record]
    assert each_once(records)
    assert set(statuses(records)) == {"ok", "lost"}
    assert "no engine is left" in run.said()
    assert "Traceback" not in run.said()


def test_what_only_a_dead_engine_could_run_is_lost_and_does_not_hang(tmp_path: Path) -> None:
    spec = """
cluster: {cluster_id: theirs, start_timeout: 90s}
setup:
  imports: [os, time]
  run: |
    def wait():
        open(f"{os.getpid()}.here", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.01)
        return os.getpid()
apply: wait
"""
    with foreign(tmp_path, 2) as theirs, running(tmp_path, spec, env=theirs.env) as run:
        first, second = (process.pid for process in theirs.engines)
        wait_until(lambda: len(list(tmp_path.glob("*.here"))) == 2, run.said)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(theirs.client.ids) == 1)
        (tmp_path / "go").touch()
        assert run.wait() == 1, run.said()
        assert statuses(run.lines()) == {"ok": 1, "lost": 1}
        assert [r["value"] for r in run.lines() if r["status"] == "ok"] == [second]


def test_a_controller_that_vanishes_is_noticed(tmp_path: Path) -> None:
    with foreign(tmp_path, 1) as theirs, Joined(theirs, silence=1.0) as joined:
        theirs.controller.kill()
        (down,) = wait_until(lambda: joined.of(ClusterDown))
        assert "has not answered" in down.reason
        assert joined.cluster._connection is not None
        assert joined.cluster._connection.address in down.reason
        assert down.reason not in joined.cluster.diagnose()


def test_a_file_that_nothing_stands_behind_is_said_to_be_old(tmp_path: Path) -> None:
    with foreign(tmp_path, 0) as theirs:
        info = json.loads(theirs.file.read_text())
    file = tmp_path / "old.json"
    with socket.socket() as taken:  # else another cluster may listen there by now
        taken.bind(("127.0.0.1", 0))
        file.write_text(json.dumps({**info, "registration": taken.getsockname()[1]}))
        with pytest.raises(ClusterError) as caught:
            Connection.read(file).check()
        assert "nothing listens" in caught.value.message
        assert str(file) in caught.value.message
        spec = f"cluster: {{connection_file: '{file}'}}\nmap: abs\nover: [1]\n"
        with running(tmp_path, spec) as run:
            assert run.wait() == 3
            assert "nothing listens" in run.said()


def test_a_controller_that_never_answers_ends_the_join_in_time(tmp_path: Path) -> None:
    """Something listens there, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        file = write_connection(tmp_path, {**GOOD, "registration": port})
        options = ClusterOptions(engines=0, start_timeout=0.5)
        cluster = JoinedCluster(options, lambda: Connection.read(file))
        with pytest.raises(ClusterError) as caught:
            cluster.start(lambda event: None)
        cluster.stop()
    said = caught.value.message
    assert f"tcp://127.0.0.1:{port}" in said
    assert str(file) in said
    assert "within 0.5 s" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "cannot read"), ("{", "not JSON"), ("[]", "'interface'"), ("{}", "'interface'")],
)
def test_files_that_are_no_connection(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "client.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ClusterError, match=words):
        Connection.read(file)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the time to start be over as soon as engines have been looked for in vain."""
    ahead = 0.0
    refuse_dead = JoinedCluster._refuse_dead

    def expire(cluster: JoinedCluster) -> None:
        nonlocal ahead
        refuse_dead(cluster)
        ahead = 2 * PATIENCE if cluster.client is not None else 0.0

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead, sleep=time.sleep)
    monkeypatch.setattr(JoinedCluster, "_refuse_dead", expire)
    monkeypatch.setattr(joined_module, "time", clock)
    monkeypatch.setattr(joined_module, "ANSWERS", 0.3)


@pytest.mark.usefixtures("impatient")
def test_too_few_engines_are_an_error_that_counts_them(theirs: Foreign) -> None:
    with pytest.raises(ClusterError) as caught, Joined(theirs, min_engines=3):
        pass
    assert f"2 engines are registered at tcp://{theirs.ip}" in caught.value.message
    assert f" within {PATIENCE:g} s, 3 are needed" in caught.value.message
    assert "answered" not in caught.value.message
    assert caught.value.hint == "min_engines says how many are needed"


@pytest.mark.usefixtures("impatient")
def test_engines_that_do_not_answer_are_told_with_what_to_do(theirs: Foreign) -> None:
    for pid in (pids := theirs.pids().values()):
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(ClusterError) as stopped, Joined(theirs):
            pass
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert "2 engines are registered" in stopped.value.message
    assert f"none of them answered within {PATIENCE:g} s, 1 is needed" in stopped.value.message
    assert "busy with somebody else's tasks, or stopped" in (stopped.value.hint or "")


@pytest.mark.usefixtures("impatient")
def test_a_cluster_without_engines_is_told_with_what_to_do(tmp_path: Path) -> None:
    with (
        foreign(tmp_path, 0) as empty,
        pytest.raises(ClusterError, match="no engine is registered") as none,
        Joined(empty),
    ):
        pass
    assert "`ipcluster engines` starts" in (none.value.hint or "")
