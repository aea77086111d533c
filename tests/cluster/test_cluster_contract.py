"""The laws that all clusters keep, however their engines were started and whoever's they are."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from foreign import foreign
from runs import MARK, PATIENCE, has_ended, marked, wait_until

from arcli import launchers
from arcli.cluster.base import Cluster, ClusterEvent, ClusterOptions, EngineDown, EngineInfo, EngineUp
from arcli.cluster.embedded.cluster import EmbeddedCluster
from arcli.cluster.joined import JoinedCluster
from arcli.cluster.launched.cluster import LaunchedCluster

pytestmark = pytest.mark.cluster
KINDS = ["embedded", "spawned", "launched", "joined"]


@dataclass
class Started:
    """A started cluster of two engines, what it has reported, and its processes."""

    cluster: Cluster
    processes: Callable[[], list[psutil.Process]]
    events: list[ClusterEvent] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def note(self, event: ClusterEvent) -> None:
        self.threads.add(threading.get_ident())
        self.events.append(event)

    def up(self) -> list[EngineInfo]:
        """The engines that were reported up, in the order of the reports."""
        return [event.info for event in self.events if isinstance(event, EngineUp)]

    def down(self) -> list[EngineDown]:
        """The engines that were reported gone."""
        return [event for event in self.events if isinstance(event, EngineDown)]


@contextmanager
def started(kind: str, folder: Path) -> Iterator[Started]:
    """A cluster of this kind, with all of its engines; stopped at the end."""
    with ExitStack() as stack:
        mark = uuid.uuid4().hex
        options = ClusterOptions(
            engines=2, start_timeout=PATIENCE, env={MARK: mark}, spawn=kind == "spawned"
        )
        cluster: Cluster
        if kind == "joined":
            theirs = stack.enter_context(foreign(folder, 2))
            cluster, mark = JoinedCluster(options, theirs.connection), theirs.mark
        elif kind == "launched":
            launcher = launchers.named("local")
            assert launcher is not None
            # ipyparallel's launcher of that name: the same path as a batch system's, without one.
            cluster = LaunchedCluster(launcher, options, {}, folder / "cluster")
        else:
            cluster = EmbeddedCluster(options)
        stack.callback(cluster.stop)
        these = Started(cluster, lambda: marked(mark))
        cluster.start(these.note)
        wait_until(lambda: len(these.up()) == 2, cluster.diagnose)
        yield these


@pytest.mark.parametrize("kind", KINDS)
def test_engines_are_told_apart_reported_and_gone_with_what_is_arclis_own(
    kind: str, tmp_path: Path
) -> None:
    with started(kind, tmp_path) as these:
        engines = these.cluster.engines()
        assert sorted(info.slot for info in engines) == [0, 1] == [*range(these.cluster.slots)]
        assert len({info.engine_id for info in engines}) == len({info.uuid for info in engines}) == 2
        assert {info.pid for info in engines} <= {process.pid for process in these.processes()}
        wait_until(lambda: not these.cluster.coming())
        assert sorted(these.cluster.client.ids) == sorted(info.engine_id for info in engines)
        assert sorted(these.up(), key=lambda info: info.slot) == sorted(engines, key=lambda info: info.slot)
        assert these.down() == []
        # On one thread, which is the cluster's.
        assert len(these.threads) == 1
        assert threading.get_ident() not in these.threads

        these.cluster.stop()
        these.cluster.stop()
        if these.cluster.owned:
            wait_until(lambda: not these.processes(), lambda: f"left behind: {these.processes()}")
        else:
            assert {info.pid for info in engines} <= {process.pid for process in these.processes()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_that_dies_is_reported_once_and_its_slot_is_asked_for(kind: str, tmp_path: Path) -> None:
    with started(kind, tmp_path) as these:
        before = {info.slot: info for info in these.cluster.engines()}
        victim, other = before[1], before[0]
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        (down,) = wait_until(these.down, these.cluster.diagnose)
        assert (down.engine_id, down.slot) == (victim.engine_id, victim.slot)
        assert str(victim.pid) in down.reason
        assert these.cluster.engines() == [other]

        these.cluster.replace(victim.slot)
        # Nobody starts another one where the engines are somebody else's.
        if not these.cluster.owned:
            refused = wait_until(lambda: these.down()[1:], these.cluster.diagnose)[0]
            assert (refused.engine_id, refused.slot) == (None, victim.slot)
            return
        wait_until(lambda: len(these.up()) == 3, these.cluster.diagnose)
        new = these.up()[-1]
        assert new.slot == victim.slot
        assert new.engine_id not in {info.engine_id for info in before.values()}
        wait_until(lambda: sorted(these.cluster.client.ids) == sorted([other.engine_id, new.engine_id]))
        assert these.down() == [down]


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_that_is_ended_or_let_go_is_reported_and_the_other_one_stays(
    kind: str, tmp_path: Path
) -> None:
    with started(kind, tmp_path) as these:
        first, second = sorted(these.cluster.engines(), key=lambda info: info.slot)
        pid = first.pid
        assert pid is not None
        these.cluster.kill(first.engine_id)
        (down,) = wait_until(these.down, these.cluster.diagnose)
        assert (down.engine_id, down.slot) == (first.engine_id, first.slot)
        wait_until(lambda: has_ended(pid))
        these.cluster.kill(first.engine_id)  # it is gone already: nothing happens
        assert these.cluster.engines() == [second]

        these.cluster.release(second.engine_id)
        released = wait_until(lambda: these.down()[1:], these.cluster.diagnose)[0]
        assert (released.engine_id, released.slot) == (second.engine_id, second.slot)
        alive = second.pid in {process.pid for process in these.processes()}
        if not these.cluster.owned:  # it may be running something of its owner's
            assert alive
