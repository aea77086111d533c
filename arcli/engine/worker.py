"""The engine's end of arcli: one function, ``handle``, that takes a request and gives a reply."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .beside import TaskCapture, require_async
from .capture import FdCapture, NoCapture, make_capture, printed_path
from .chunk import Engine, Job
from .constants import with_references
from .encode import Unfit, decode, encode, pickled
from .errors import failed, safe_repr
from .functions import assembled, import_into, require, resolve, working_directory
from .interpreter import Script, Visit, clean_environment, leave_shell
from .item import Process
from .live import publish_pause
from .notebook import preflight
from .position_file import NOWHERE, PositionFile
from .protocol import (
    Assign,
    Define,
    Divide,
    Done,
    ElementsReply,
    Failure,
    Finish,
    Fold,
    FoldReply,
    Hello,
    HelloReply,
    Initial,
    InitialReply,
    JobDefinition,
    Look,
    Preflight,
    Reply,
    RunChunk,
    Setup,
    Step,
    Steps,
    ValueReply,
    decode_request,
    encode_reply,
)


class Worker:
    """State of one engine; for the arguments see ``Engine``."""

    def __init__(
        self,
        namespace: dict[str, Any],
        publish: Callable[[bytes], None] | None = None,
        *,
        watchdog: bool = True,
        passing: tuple[type[BaseException], ...] = (),
        stopping: Callable[[], bool] | None = None,
        unwanted: Callable[[], Callable[[], bool]] | None = None,
    ) -> None:
        # What all jobs share is made once; an engine keeps what it has learnt of each job by its name.
        Process.is_the_engine()
        leave_shell(namespace)
        self._engine = Engine(
            namespace,
            publish,
            watchdog=watchdog,
            passing=passing,
            stopping=stopping,
            unwanted=unwanted,
            home=working_directory(),
        )
        self._namespace = namespace
        self._jobs: dict[str, Job] = {}
        self._captures: dict[str, NoCapture] = {}
        self._functions: dict[tuple[str, str], Callable[..., Any]] = {}
        self.visit = Visit()
        self._script = Script(shared=self._engine.shared)

    def handle(self, request: bytes) -> bytes:
        """Do what an encoded request asks, and encode the reply (see ``protocol``)."""
        with self._script:
            decoded = decode_request(request)
            reply = self._do_steps(decoded) if isinstance(decoded, Steps) else self._reply(decoded)
        return encode_reply(reply)

    def _reply(self, request: Step) -> Reply:
        # One line for each request of the protocol, the most frequent first.
        match request:
            case RunChunk():
                return self._jobs[request.job].run(request)
            case Hello():
                return self._hello(request)
            case Setup():
                return self._setup(request)
            case Preflight():
                return self._preflight(request)
            case Define():
                return self._define(request.job)
            case Fold():
                return self._fold(request)
            case Finish():
                return self._finish(request)
            case Initial():
                return self._initial(request)
            case Assign():
                return self._assign(request)
            case Look():
                return self._look(request)
            case Divide():
                return self._divide(request)

    def _do_steps(self, steps: Steps) -> Reply:
        """Do one request after the other, while none fails."""
        replies: list[Reply] = []
        for request in steps.requests:
            step = decode_request(request)
            assert not isinstance(step, Steps)
            replies.append(self._reply(step))
            if isinstance(replies[-1], Failure):
                return replies[-1]
        return replies[0]

    def handle_part(self, requests: list[bytes]) -> list[bytes]:
        """The replies to a part of a sequence of requests, as a parallel function gets it."""
        return [self.handle(request) for request in requests]

    def _hello(self, request: Hello) -> HelloReply:
        """Say where this engine is."""
        engine = self._engine
        engine.slot = request.slot
        engine.patrol.engines = request.engines
        engine.publish_pause = publish_pause(request.engines)
        # A fork has its sibling's random numbers, and variables that only tell of the cluster.
        random.seed()
        if engine.ours:
            clean_environment()
            os.environ["ARCLI_SLOT"] = str(request.slot)
        if request.position_file is not None:
            try:
                engine.position_file = PositionFile(request.position_file)
                engine.marks = engine.position_file.marks
                engine.live.attend(request.position_file)
            except OSError:  # another host: the client does without
                engine.position_file = None
        return HelloReply(socket.gethostname(), position_file=engine.position_file is not None)

    def _setup(self, request: Setup) -> Done | Failure:
        """Do the spec's setup, step by step."""
        stage = "files"
        try:
            # In the order in which the spec's reference tells of them; ``stage`` is what a failure names.
            for name, (content, mode) in request.files.items():
                _write_beside(name, content, mode)
            self.visit.add_path(request.path)
            for statement in request.imports:
                stage = f"import {statement}"
                import_into(self._namespace, statement)
            stage = "push"
            self._namespace.update(with_references(request.push, self._namespace))
            if request.run is not None:
                stage = "run"
                exec(compile(request.run, "<setup.run>", "exec"), self._namespace)  # noqa: S102 - a spec is code
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything
            return failed(stage, error)
        return Done()

    def _preflight(self, request: Preflight) -> Done | Failure:
        """Look for what jobs run that are defined later, by their names."""
        stage = ""
        try:
            for job, text, beside in request.functions:
                stage = f"function {text!r} of job {job!r}"
                function = require(text, self._namespace, request.folder)
                if beside and function is not None:
                    require_async(function, text)
            for job, path in request.notebooks:
                stage = f"notebook of job {job!r}"
                preflight(path)
        except BaseException as error:  # noqa: BLE001 - importing runs the user's code
            return failed(stage, error, folder=request.folder)
        return Done()

    def _define(self, job: JobDefinition) -> Done | Failure:
        """Learn a job: resolve its function once, check its reducers."""
        stage = f"function of job {job.name!r}"
        # What was recalled of the job before it, and how long its items had, is none of this one's.
        for place, value in enumerate(NOWHERE):
            self._engine.marks[place] = value
        if self._engine.ours:
            os.environ["ARCLI_RUN"] = os.path.basename(job.run_folder)  # noqa: PTH119 - nothing heavier here
        try:
            self._jobs[job.name] = Job(job, self._engine, self._capture_of(job))
            for text in job.reducers:
                stage = f"reducer {text!r} of job {job.name!r}"
                self._function(text, job.folder)
        except BaseException as error:  # noqa: BLE001 - importing runs the user's code
            return failed(stage, error, folder=job.folder)
        return Done()

    def _capture_of(self, job: JobDefinition) -> NoCapture:
        """Return what catches the output of a job's items; jobs of one kind share it."""
        live, patrol = self._engine.live, self._engine.patrol
        mode = "none" if job.kind == "command" else job.capture
        if job.concurrency > 1 and mode != "none":
            mode = "task"

        def path_of(stream: str) -> str:
            return printed_path(job.run_folder, job.name, *live.running(), stream)

        whole = mode == "fd" and job.whole_output
        shared_by = f"the items of {job.name}" if whole else mode
        if shared_by not in self._captures:
            if whole:
                capture: NoCapture = FdCapture(patrol, path_of)
            else:
                capture = TaskCapture(live, patrol) if mode == "task" else make_capture(mode, live, patrol)
            self._captures[shared_by] = capture
        return self._captures[shared_by]

    def _fold(self, request: Fold) -> FoldReply | Failure:
        """Fold values into what is accumulated."""
        index = -1
        try:
            reduce = self._function(request.function, request.folder)
            pending = [] if request.accumulated is None else [pickle.loads(request.accumulated)]  # noqa: S301
            for item in request.values:
                index, text, raw = item
                value = decode(text) if text is not None else pickle.loads(raw or b"")  # noqa: S301
                pending = [reduce(pending[0], value) if pending else value]
            return FoldReply(not pending, pickled(pending[0]) if pending else b"")
        except BaseException as error:  # noqa: BLE001 - the user's reducer may raise anything
            return failed(request.stage, error, item=index)

    def _finish(self, request: Finish) -> ValueReply | Failure:
        """Have the value of a job; where JSON has none, its text is null with a ``repr``."""
        try:
            value = pickle.loads(request.accumulated)  # noqa: S301
            if request.function is not None:
                finish = self._function(request.function, request.folder)
                value = finish(value) if request.items is None else finish(value, request.items)
            text, exact = _shown(value)
            return ValueReply(exact, False, text.encode(), pickled(value))
        except BaseException as error:  # noqa: BLE001 - the user's function may raise anything
            return failed("finish", error)

    def _initial(self, request: Initial) -> InitialReply:
        """Pickle the start of a fold, and see whether every part of it may start with that."""
        neutral = False
        if request.combine is not None:
            try:
                join = self._function(request.combine, request.folder)
                neutral = bool(join(decode(request.text), decode(request.text)) == decode(request.text))
            except Exception:  # noqa: BLE001 - then it is none
                neutral = False
        return InitialReply(neutral, pickled(decode(request.text)))

    def _assign(self, request: Assign) -> Done | Failure:
        """Bind a job's value to a name; see ``assembled``."""
        try:
            self._namespace[request.name] = assembled(request.form, request.parts)
        except BaseException as error:  # noqa: BLE001 - unpickling runs the user's code
            return failed(f"push_as: {request.name}", error)
        return Done()

    def _look(self, request: Look) -> ValueReply | Failure:
        """Evaluate a name or an expression in the user's namespace."""
        try:
            value = eval(request.name, self._namespace)  # noqa: S307 - as ipyparallel.Reference does
            text, exact = _shown(value)
            many = isinstance(value, list | tuple) or type(value).__name__ == "ndarray"
            return ValueReply(exact, many, text.encode(), pickled(value))
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything
            return failed(f"gather: {request.name}", error)

    def _divide(self, request: Divide) -> ElementsReply | Failure:
        """Divide a value into elements; those of a flat array are Python's own numbers or texts."""
        texts: list[str] = []
        raw: list[bytes] = []
        try:
            # Dividing runs the user's classes, so it is done where they can be imported: here.
            value: Any = assembled(request.form, request.parts)
            if type(value).__name__ == "ndarray" and value.ndim == 1 and value.dtype.kind in "biufU":
                value = value.tolist()
            if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
                raise TypeError(f"a value of type {type(value).__name__} has no elements to be items")
            for element in value:
                text, exact = _shown(element)
                texts.append(text)
                raw.append(b"" if exact else pickled(element))
        except BaseException as error:  # noqa: BLE001 - unpickling and iterating run the user's code
            return failed("over", error)
        return ElementsReply(texts, [len(each) for each in raw], b"".join(raw))

    def limit(self, seconds: float) -> None:
        """End each item after ``seconds`` whose limit was not known when it was sent. From any thread."""
        self._engine.marks[6] = int(seconds * 1e9)

    def leave(self) -> None:
        """The run is over, and the engine goes on without it."""
        for job in self._jobs.values():
            job.leave()
        self._engine.leave()
        for capture in self._captures.values():
            capture.close()
        self.visit.leave()

    def _function(self, text: str, folder: str) -> Callable[..., Any]:
        function = self._functions.get((text, folder))
        if function is None:
            function = self._functions[text, folder] = resolve(text, self._namespace, folder)
        return function


def _shown(value: Any) -> tuple[str, bool]:
    """A job's value as JSON; where it has none, what can be said of it."""
    try:
        return encode(value)
    except Unfit:
        return '{"$pickle":null,"repr":' + encode(safe_repr(value))[0] + "}", False


def _write_beside(name: str, content: bytes, mode: int) -> None:
    """A file of the spec's, for engines that do not share its disk; an equal one is left alone.

    It is there as a whole or not at all, as several engines may write it side by side. Raises
    FileExistsError for a file that is another one: it is the user's.
    """
    if not os.path.lexists(name):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)  # noqa: PTH103, PTH120
        part = f"{name}.arcli-{socket.gethostname()}-{os.getpid()}"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with open(handle, "wb") as file:  # noqa: PTH123
                file.write(content)
            os.chmod(part, mode)  # noqa: PTH101
            with contextlib.suppress(FileExistsError):
                os.link(part, name)
                return
        finally:
            os.unlink(part)  # noqa: PTH108
    try:
        with open(name, "rb") as file:  # noqa: PTH123
            same = file.read() == content
    except OSError:
        same = False
    if not same:
        where = os.path.abspath(name)  # noqa: PTH100
        raise FileExistsError(f"{where} is another file than the spec's, and is not replaced")
