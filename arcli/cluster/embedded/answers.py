"""What a forked engine answers arcli with: its worker, which is made before the fork."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ipyparallel.serialize import PrePickled

from arcli.cluster.embedded.forks import channel
from arcli.engine.item import Process
from arcli.engine.worker import Worker


class Raw(PrePickled):  # type: ignore[misc]  # ipyparallel has no types
    """Bytes that ipyparallel sends as they are, or publishes under a name."""

    def __init__(self, parts: list[bytes], name: str = "") -> None:
        self.buffers = parts
        self._name = name

    def keys(self) -> list[str]:
        """See dict; that is what people publish."""
        return [self._name]


class Answers(dict[str, Callable[[list[bytes]], Raw]]):
    """What answers a run's requests, by the run; an engine has one worker, as it is one run's alone.

    It has what ``arcli.session.transport.bundle`` brings to other engines.
    """

    def __init__(self, kernel: Any) -> None:
        self._publisher = kernel.shell.data_pub
        self._channel = ""
        self.worker = Worker(kernel.shell.user_ns, self._publish)

    def __missing__(self, run: str) -> Callable[[list[bytes]], Raw]:
        self._channel = channel(run)
        Process.is_the_engine()
        handle_part = self.worker.handle_part
        self[run] = lambda requests: Raw(handle_part(requests))
        return self[run]

    def _publish(self, envelope: bytes) -> None:
        self._publisher.publish_data(Raw([envelope], self._channel))
