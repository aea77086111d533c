"""What is sent to engines of ipyparallel, and what need not be."""

from __future__ import annotations

from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, cast

import pytest

from arcli.session.interfaces import Reply
from arcli.session.transport import ipyparallel
from arcli.session.transport.ipyparallel import IpyparallelTransport


def test_a_fork_is_prepared_without_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has arcli's code, and is registered when it can be reached; each other engine costs one."""
    monkeypatch.setattr(
        ipyparallel, "gc", SimpleNamespace(freeze=lambda: None)
    )  # these objects do not stay
    cluster = SimpleNamespace(owned=True, forked=True, client=SimpleNamespace(), coming=set, engines=list)
    transport = IpyparallelTransport(cast("Any", cluster))
    events: SimpleQueue[Any] = SimpleQueue()
    transport.open(cast("Any", events))
    first, second = transport.prepare(0), transport.prepare(1)
    assert first != second
    assert [events.get_nowait(), events.get_nowait()] == [Reply(msg_id=first), Reply(msg_id=second)]
