"""A running cluster that a run joins: its engines are used, and stay when the run has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from arcli.cluster.base import ClusterOptions, EngineDown, OnEvent
from arcli.cluster.connection import Connection, Line
from arcli.cluster.watched_cluster import WatchedCluster
from arcli.errors import ClusterError

ANSWERS = 2.0
"""Seconds without an answer after which the cluster's processes are looked at."""
COMPLETE = 1.0
"""Seconds that registered engines have to answer, once there are enough to go on with."""
NOT_REPLACED = "a joined cluster's engines are not replaced"


class JoinedCluster(WatchedCluster):
    """See Cluster. ``options.engines`` is the most that are used; 0: all that are there.

    How many slots there are is settled at the start; engines that come later take the places of
    those that have gone.
    """

    deals_first = True

    def __init__(self, options: ClusterOptions, find: Callable[[], Connection]) -> None:
        super().__init__(options)
        self._find = find
        self._vacant: set[int] = set()

    def prepare(self) -> None:
        """Nothing can be done beforehand."""

    def start(self, on_event: OnEvent) -> None:
        """Connect, and wait for ``min_engines`` that answer. Raises ClusterError.

        Events go to ``on_event`` from now on, those of the first engines included.
        """
        end = time.monotonic() + self._options.start_timeout
        connection = self._find()
        # Whether anybody listens is known in a moment; everything after it has to
        # wait.
        connection.check()
        self._attach(connection, end)
        needed = self._options.min_engines
        asked = time.monotonic()
        while len(self.client.ids) < needed and (now := time.monotonic()) < end:
            time.sleep(0.05)  # the client has no wait for engines that another one does not end
            if now - asked > ANSWERS:
                asked = now
                self._refuse_dead()
        # As many as there are when the run begins, and no more than were asked for.
        present = len(self.client.ids)
        self.slots = max(needed, min(present, self._options.engines or present))
        self._watch_from_now(on_event)
        while len(self._engines) < needed and self._gone is None and (now := time.monotonic()) < end:
            self._await(lambda: len(self._engines) >= needed, min(end, now + ANSWERS))
            if not self._engines:
                self._refuse_dead()
        # Registered is not answering: an engine may be stopped, or busy for hours
        # with somebody else's task.
        if len(self._engines) < needed:
            raise self._failure(self._too_few(present, connection.address))
        self._await(lambda: len(self._engines) >= self.slots, min(end, time.monotonic() + COMPLETE))

    def _answers(self, line: Line, end: float) -> bool:
        if line.answer(max(0.0, min(ANSWERS, end - time.monotonic()))) is not None:
            return True
        self._refuse_dead()
        return super()._answers(line, end)

    def _refuse_dead(self) -> None:
        """Raise ClusterError where the processes that were recorded of the cluster have ended."""
        from arcli.cluster.named import anew, of_connection_file, own_processes

        assert self._connection is not None
        one = of_connection_file(Path(self._connection.where))
        own = None if one is None else own_processes(one)
        if one is None or own is None:
            return
        # The hub takes a dead engine for one that is busy, until it has missed heartbeats. Those that
        # somebody else has added to the cluster have later ids.
        ids = () if self.client is None else self.client.ids
        if not own.controller:
            ended = "its controller has ended"
        elif own.started and not own.engines and max(ids, default=0) < own.started:
            ended = "its engines have ended"
        else:
            return
        raise ClusterError(f"no cluster: {one.name} is dead, {ended}", hint=anew(one))

    def _failure(self, message: str) -> ClusterError:
        return ClusterError(f"no cluster: {message}", hint=self._advice())

    def _advice(self) -> str:
        """Say what can be done about a cluster that cannot be joined."""
        if self.client is None or self._gone is not None:
            return "`arcli cluster list` shows which clusters run"
        registered = len(self.client.ids)
        if not registered:
            return (
                "`ipcluster engines` starts engines for it, `arcli cluster start` a cluster that has some"
            )
        if registered < self._options.min_engines:
            return "min_engines says how many are needed"
        return (
            "engines that do not answer are busy with somebody else's tasks, or stopped: "
            "`arcli cluster status NAME` shows what waits for each"
        )

    def _too_few(self, present: int, address: str) -> str:
        if self._gone is not None:
            return self._gone
        answered = len(self._engines)
        message = (
            f"{present or 'no'} {'engine is' if present < 2 else 'engines are'} registered at {address}"
        )
        if present > answered and present >= self._options.min_engines:  # else they were not asked
            message += f", and {answered or 'none'} of them answered"
        timeout, needed = self._options.start_timeout, self._options.min_engines
        return f"{message} within {timeout:g} s, {needed} {'is' if needed == 1 else 'are'} needed"

    def release(self, engine_id: int) -> None:
        """See Cluster: it may be running something of somebody else's, and stays as it is."""

        # It is asked who it is: when it answers, it has done with what it ran, and can be used again.
        def release_now() -> None:
            if engine_id in self._engines:
                self._greet(engine_id)
                self._let_go(engine_id, "was let go", deliberate=True)

        self._later(release_now)

    def replace(self, slot: int) -> None:
        """See Cluster: by an engine that is there and has no slot, if there is one."""

        def replace_now() -> None:
            self._vacant.add(slot)
            self._deal()

        self._later(replace_now)

    def _look(self, now: float) -> None:
        super()._look(now)
        self._vacant -= {info.slot for info in self._engines.values()}
        if self._vacant and not self._greeted:  # and nobody is to be expected
            for slot in sorted(self._vacant):
                self._report(EngineDown(engine_id=None, slot=slot, reason=NOT_REPLACED))
            self._vacant.clear()

    def stop(self) -> list[str]:
        """See Cluster. Nothing of it is stopped."""
        self._detach()
        return []
