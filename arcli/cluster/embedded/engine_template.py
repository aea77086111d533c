"""An engine as far as all engines of an embedded cluster are the same, made once and forked.

What IPython builds for a kernel takes several times as long as a fork, so it is built before. Only the
supervisor imports this, when it has imported what all of it needs.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import tempfile
from typing import Any

import zmq
from ipyparallel.engine.kernel import IPythonParallelKernel
from ipyparallel.util import _disable_session_extract_dates
from jupyter_client.session import Session
from traitlets.config import Config

from arcli.cluster.connection import session_of
from arcli.cluster.embedded import forks
from arcli.cluster.embedded.answers import Answers
from arcli.cluster.embedded.engine_end import Shared
from arcli.cluster.embedded.forked_engine import ForkedEngine, Publisher
from arcli.engine.interpreter import text_publisher


class EngineTemplate:
    """An engine without a number, a thread or a socket: only then is a fork safe."""

    def __init__(self) -> None:
        # Nobody here asks a message for its dates, and finding them takes longer than reading the rest.
        # https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/engine/app.py
        _disable_session_extract_dates()
        self._names: dict[str, Any] = {}
        config = Config({"HistoryManager": {"enabled": False, "hist_file": ":memory:"}})
        log = logging.getLogger("arcli.engine")
        kernel: Any = IPythonParallelKernel.instance(
            config=config, user_ns=self._names, session=Session(), log=log
        )
        kernel.shell.extension_manager.load_extension("storemagic")
        self._kernel, self._publisher = kernel, Publisher()
        sys.path.insert(0, "")
        # What each engine's first item would look for.
        text_publisher()
        tempfile.gettempdir()
        answers = vars(sys.modules[forks.ENGINE_PACKAGE])["handlers"] = Answers(kernel)
        # The visit stays at the end: it has the names of all modules, on as many pages.
        self._worker, self._visit = answers.worker, answers.worker.visit
        # What an interactive shell tidies up is all among the user's names, which end in any case.
        atexit.unregister(kernel.shell.atexit_operations)
        self._shared = Shared()

    def connect(self, info: dict[str, Any]) -> None:
        """Learn where the controller is."""
        self._info = info
        kernel = self._kernel
        kernel.session, kernel.iopub_socket = session_of(info), self._publisher
        for teller in (kernel.shell.displayhook, kernel.shell.display_pub, kernel.shell.data_pub):
            teller.session, teller.pub_socket = kernel.session, self._publisher
        # What reading a first message would leave in Python's caches, in each engine anew.
        parts = kernel.session.serialize(kernel.session.msg("rehearsal"))
        _, frames = kernel.session.feed_identities([zmq.Frame(part) for part in parts], copy=False)
        kernel.session.deserialize(frames, copy=False)

    def run(self, engine_id: int, slot: int, uuid: str) -> bool:
        """Be an engine, in a fork; it finds its number, slot and uuid in its environment, too.

        Returns whether it has ended all that an interpreter's end would.
        """
        for name, value in forks.engine_environment(slot, uuid).items():
            os.environ[name] = value
        forks.reseed()
        kernel = self._kernel
        # A session refuses to send in a fork, unless it is told that it is no longer what it was.
        kernel.session.pid, kernel.session.session = os.getpid(), uuid
        kernel.engine_id, kernel.ident = engine_id, uuid
        kernel.shell.displayhook.topic = f"engine.{engine_id}.execute_result".encode()
        kernel.shell.display_pub.topic = f"engine.{engine_id}.displaypub".encode()
        ForkedEngine(kernel, self._info, self._publisher).serve()
        return self._shared.end_others(self._names, vars(self._worker))
