"""Items meet what a script meets: arguments, loops, variables, signals."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from runs import finish

from arcli.engine import interpreter
from arcli.engine.interpreter import Script, clean_environment, leave_shell


def test_arguments_are_the_scripts_for_its_time() -> None:
    before = sys.argv
    with Script():
        assert sys.argv == interpreter.ARGV
        sys.argv.append("changed by an item")
    assert sys.argv is before
    with Script():
        assert sys.argv == ["arcli"]


def test_a_shells_own_way_to_end_is_no_programs() -> None:
    """IPython's ``exit`` sets a flag and comes back: an item that gave up would be ok."""
    zmqshell: Any = importlib.import_module("ipykernel.zmqshell")
    shell: Any = importlib.import_module("IPython.core.interactiveshell")
    names = {"exit": zmqshell.ZMQExitAutocall(), "quit": len, "open": shell._modified_open}
    leave_shell(names)
    assert names == {"quit": len}


@pytest.mark.parametrize("words", [("--inline",), (), ("--set", "cluster.launcher=local")])
def test_an_item_that_exits_has_failed(tmp_path: Path, words: tuple[str, ...]) -> None:
    spec = """\
setup: {run: "def f(x): exit('enough')"}
map: "lambda x: f(x) if x else quit(4)"
over: [0, 1]
"""
    code, records = finish(tmp_path, spec, *words)
    assert code == 1
    assert [(r["status"], r["error"]["type"], r["error"]["message"]) for r in records] == [
        ("error", "SystemExit", "4"),
        ("error", "SystemExit", "enough"),
    ]


def test_no_loop_runs_for_an_item_and_the_engines_is_back_afterwards() -> None:
    conditions = Script()

    async def value() -> int:
        return 5

    async def engine() -> None:
        outer, policy = asyncio.get_running_loop(), asyncio.get_event_loop_policy()
        with conditions:
            assert asyncio.run(value()) == 5
            asyncio.set_event_loop(asyncio.new_event_loop())
        assert asyncio.get_running_loop() is outer
        assert asyncio.get_event_loop_policy() is policy
        with conditions:  # the loop that an item has set is there for the next one
            loop = asyncio.get_event_loop_policy().get_event_loop()
            assert loop is not outer
            assert loop.run_until_complete(value()) == 5
            loop.close()

    asyncio.run(engine())


def test_variables_are_as_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter._before_the_kernel.cache_clear()
    before = Path("/proc/self/environ").read_bytes().split(b"\0")
    terminal = dict(entry.split(b"=", 1) for entry in before if b"=" in entry).get(b"TERM")
    monkeypatch.setattr(os, "environ", {
        "MINE": "1", "FORCE_COLOR": "1", "MPLBACKEND": "module://inline", "TERM": "xterm-color",
        "IPP_CONNECTION_INFO": "a key", "ARCLI_SLOT": "0",
    })  # fmt: skip
    clean_environment()
    assert os.environ.get("TERM") == (None if terminal is None else os.fsdecode(terminal))
    assert {**os.environ, "TERM": ""} == {"MINE": "1", "ARCLI_SLOT": "0", "TERM": ""}
    interpreter._before_the_kernel.cache_clear()


class Engine:
    """A handler as frameworks have them: a method of a class in a module of theirs."""

    def stop(self, number: int, frame: Any) -> None:
        raise AssertionError("an engine's handler ran in a fork")


def users(number: int, frame: Any) -> None:
    os._exit(7)


@pytest.mark.parametrize(("module", "status"), [("ipyparallel.engine.app", -15), (__name__, 7)])
def test_forks_lose_the_engines_handlers_and_keep_the_users(
    module: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine.stop, "__module__", module)
    before = signal.signal(signal.SIGTERM, Engine().stop if status < 0 else users)
    try:
        pid = os.fork()
        if not pid:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
    finally:
        signal.signal(signal.SIGTERM, before)
