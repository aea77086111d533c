"""The engine's end of arcli: one function, ``handle``, that takes a request and gives a reply."""

from __future__ import annotations

import contextlib
import os
import pickle
import platform
import random
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping, MutableSequence
from contextlib import ExitStack
from typing import Any

from .arrays import pickled
from .capture import NoCapture, make_capture
from .command import Command
from .depend import Lacking, meet
from .encode import Unfit, decode, encode
from .functions import (
    Unresolved,
    assembled,
    caller,
    import_into,
    opened,
    raising,
    require,
    resolve,
    with_references,
    working_directory,
)
from .hints import hint_for
from .item import Opaque, Outcome, Process, Runner, describe, safe_repr, user_traceback
from .keys import salted
from .limits import Timer
from .live import Live, Patrol
from .notebook import NoKernel, Notebook, preflight
from .outdir import ItemFolder
from .position_file import NOWHERE, PositionFile
from .program import BadInput, Program, Shown
from .protocol import (
    Again,
    Assign,
    ChunkReply,
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
    PickledValue,
    Preflight,
    Reply,
    Request,
    RunChunk,
    Setup,
    Unmet,
    ValueReply,
    decode_request,
    encode_reply,
)
from .script import Script, environment
from .tally import Status, Tally
from .visit import Abort, Visit

PUBLISH_EVERY = 0.25
"""Seconds after which a chunk that still runs hands out the records it has finished."""


class _Job:
    """A job as this engine knows it: everything that its items share."""

    def __init__(self, job: JobDefinition, namespace: dict[str, Any], capture: NoCapture) -> None:
        # What a constant has of an earlier job's values may not load: that is each item's error.
        self.broken: BaseException | None = None
        try:
            self.plan = job._replace(args=opened(job.args), kwargs=opened(job.kwargs))
        except BaseException as error:  # noqa: BLE001 - unpickling runs the user's code
            self.plan, self.broken = job._replace(args=(), kwargs={}), error
        self.capture = capture
        self.salt = salted(job.salt)
        self.function: Callable[..., Any] | None = None
        if job.kind in {"map", "apply"}:
            self.function = resolve(job.function, namespace, job.folder)
        elif job.notebook is not None:
            preflight(job.notebook)

    def lacking(self, passing: tuple[type[BaseException], ...]) -> str | None:
        """What the function depends on and this engine has not, in words; None where all is there."""
        if self.function is None:
            return None
        try:
            meet(self.function)
        except Lacking as lacking:
            return str(lacking)
        except passing:
            raise
        except BaseException as error:  # noqa: BLE001 - what is asked is the user's code
            self.broken = error
        return None

    def runner(
        self,
        namespace: dict[str, Any],
        watchdog: bool,
        passing: tuple[type[BaseException], ...],
        shared: bool,
        patrol: Patrol,
        slot: int,
    ) -> tuple[Runner, Timer]:
        """A runner for one chunk, its references looked up now."""
        plan = self.plan
        call: Callable[[Any], Any] | None = None
        program: Program | None = None
        # A command ends its own process group in time; the engine needs no watchdog for it.
        timer = Timer(plan.timeout, watchdog=watchdog and plan.kind != "command")
        broken: BaseException | None = self.broken
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        try:
            args = with_references(plan.args, namespace)
            kwargs = with_references(plan.kwargs, namespace)
        except BaseException as error:  # noqa: BLE001 - a reference is the user's expression
            broken = broken or error
        if broken is not None:
            call = raising(broken)
        elif self.function is not None:
            call = caller(self.function, plan.unpack, args, kwargs)
        elif plan.kind == "notebook":
            program = Notebook(plan, kwargs, self.capture, patrol)
        else:
            program = Command(plan, kwargs, patrol, environment(os.environ) if shared else None, slot)
        runner = Runner(
            job=plan.name,
            call=call,
            program=program,
            capture=self.capture,
            timer=timer,
            salt=self.salt,
            keep_opaque=plan.keep_opaque,
            folder=ItemFolder(plan) if plan.outdir else None,
            passing=passing,
            hint=lambda error, item: hint_for(error, item, namespace, plan.folder),
        )
        return runner, timer


class Worker:
    """State of one engine. ``namespace`` is the user's; ``publish`` hands out early records.

    Where the engine is arcli's own process, ``passing`` are the exceptions that interrupt an item
    and are not its own, and ``stopping`` says that no further item should begin. On an engine that
    is shared with others ``unwanted`` is called where a chunk begins, and gives what tells whether
    that chunk has been aborted.
    """

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
        Process.is_the_engine()
        self._namespace = namespace
        self._publish = publish
        self._watchdog = watchdog
        self._passing = passing
        self._stopping = stopping
        self._jobs: dict[str, _Job] = {}
        self._captures: dict[str, NoCapture] = {}
        self._functions: dict[tuple[str, str], Callable[..., Any]] = {}
        self._position_file: PositionFile | None = None
        self._slot = 0
        self._home = working_directory()
        self._unwanted = unwanted
        self._shared = unwanted is not None
        self._visit = Visit()
        self._script = Script()
        self._live = Live(publish)
        self._patrol = Patrol(self._live)

    def handle(self, request: bytes) -> bytes:
        """Do what an encoded request asks, and encode the reply (see ``protocol``)."""
        with self._script:
            reply = self._reply(decode_request(request))
        return encode_reply(reply)

    def _reply(self, request: Request) -> Reply:
        match request:
            case RunChunk():
                lacking = self._jobs[request.job].lacking(self._passing)
                return self._run_chunk(request) if lacking is None else Unmet(lacking)
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

    def handle_part(self, requests: list[bytes]) -> list[bytes]:
        """The replies to a part of a sequence of requests, as a parallel function gets it."""
        return [self.handle(request) for request in requests]

    def _hello(self, request: Hello) -> HelloReply:
        """Say who and where this engine is."""
        random.seed()
        self._slot = request.slot
        if not self._shared and not self._passing:  # neither somebody else's nor arcli itself
            clean = environment(os.environ)
            os.environ.clear()
            os.environ.update(clean, ARCLI_SLOT=str(request.slot))
        if request.position_file is not None:
            try:
                self._position_file = PositionFile(request.position_file)
                self._live.attend(request.position_file)
            except OSError:  # another host: the client does without
                self._position_file = None
        return HelloReply(
            pid=os.getpid(),
            host=socket.gethostname(),
            python=platform.python_version(),
            executable=sys.executable,
            slot=request.slot,
            position_file=self._position_file is not None,
        )

    def _setup(self, request: Setup) -> Done | Failure:
        """Do the spec's setup, step by step."""
        stage = "files"
        try:
            for name, (content, mode) in request.files.items():
                _write_beside(name, content, mode)
            self._visit.add_path(request.path)
            for statement in request.imports:
                stage = f"import {statement}"
                import_into(self._namespace, statement)
            stage = "push"
            self._namespace.update(with_references(request.push, self._namespace))
            if request.run is not None:
                stage = "run"
                exec(compile(request.run, "<setup.run>", "exec"), self._namespace)  # noqa: S102 - a spec is code
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything
            return _failed(stage, error)
        return Done()

    def _preflight(self, request: Preflight) -> Done | Failure:
        """Look for what jobs run that are defined later, by their names."""
        stage = ""
        try:
            for job, text in request.functions:
                stage = f"function {text!r} of job {job!r}"
                require(text, self._namespace, request.folder)
            for job, path in request.notebooks:
                stage = f"notebook of job {job!r}"
                preflight(path)
        except BaseException as error:  # noqa: BLE001 - importing runs the user's code
            return _failed(stage, error, folder=request.folder)
        return Done()

    def _define(self, job: JobDefinition) -> Done | Failure:
        """Learn a job: resolve its function once, check its reducers."""
        stage = f"function of job {job.name!r}"
        if not self._shared and not self._passing:
            os.environ["ARCLI_RUN"] = os.path.basename(job.run_folder)  # noqa: PTH119 - nothing heavier here
        mode = "none" if job.kind == "command" else job.capture
        capture = self._captures.setdefault(mode, make_capture(mode, self._live, self._patrol))
        try:
            self._jobs[job.name] = _Job(job, self._namespace, capture)
            for text in job.reducers:
                stage = f"reducer {text!r} of job {job.name!r}"
                self._function(text, job.folder)
        except BaseException as error:  # noqa: BLE001 - importing runs the user's code
            return _failed(stage, error, folder=job.folder)
        return Done()

    def _run_chunk(self, request: RunChunk) -> ChunkReply | Failure:
        """Run the items of a chunk, one after another."""
        known, number = self._jobs[request.job], request.chunk
        began, begin = time.time(), time.perf_counter()
        marks: Any = [*NOWHERE]
        if self._position_file is not None:
            marks = self._position_file.marks
            self._position_file.begin(request.chunk, int(began * 1e9))
        self._live.begin(request, marks)
        results = _Results(request.chunk, request.attempt, known.plan.retries)
        try:
            items, broken = _loaded(request, self._passing)
        except BaseException as error:  # noqa: BLE001 - unpickling runs the user's code
            return _failed(f"a chunk of job {request.job!r}", error)
        runner, timer = known.runner(
            self._namespace, self._watchdog, self._passing, self._shared, self._patrol, self._slot
        )
        published = time.perf_counter_ns()
        with ExitStack() as around:
            abort = None
            if self._unwanted is not None:
                abort = around.enter_context(Abort(self._unwanted()))
            around.enter_context(known.capture)
            for position, index in enumerate(request.indices):
                if self._stopping is not None and self._stopping():
                    break
                if marks[3] <= number and _is_recalled(marks, number, position):
                    break
                marks[1] = position
                occurrence = request.occurrences[position] if request.occurrences is not None else 0
                if broken and position in broken:
                    outcome = runner.refuse(index, *broken[position], request.attempt, occurrence)
                else:
                    outcome = runner.run(index, items[position], request.attempt, occurrence, marks)
                results.add(position, outcome)
                if self._home is not None:
                    os.fchdir(self._home)
                if abort is not None and abort.came:
                    break
                if outcome.end - published > PUBLISH_EVERY * 1e9 and self._publish is not None:
                    published = outcome.end
                    early = results.since_last(began, time.perf_counter() - begin)
                    self._publish(encode_reply(early))
        if self._position_file is not None:
            self._position_file.idle()
        timer.rest()
        return results.reply((0, 0, 0), began, time.perf_counter() - begin)

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
            return _failed(request.stage, error, item=index)

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
            return _failed("finish", error)

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
            return _failed(f"push_as: {request.name}", error)
        return Done()

    def _look(self, request: Look) -> ValueReply | Failure:
        """Evaluate a name or an expression in the user's namespace."""
        try:
            value = eval(request.name, self._namespace)  # noqa: S307 - as ipyparallel.Reference does
            text, exact = _shown(value)
            many = isinstance(value, list | tuple) or type(value).__name__ == "ndarray"
            return ValueReply(exact, many, text.encode(), pickled(value))
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything
            return _failed(f"gather: {request.name}", error)

    def _divide(self, request: Divide) -> ElementsReply | Failure:
        """Divide a value into elements; those of a flat array are Python's own numbers or texts."""
        texts: list[str] = []
        raw: list[bytes] = []
        try:
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
            return _failed("over", error)
        return ElementsReply(texts, [len(each) for each in raw], b"".join(raw))

    def leave(self) -> None:
        """The run is over, and the engine goes on without it."""
        self._patrol.close()
        self._visit.leave()

    def _function(self, text: str, folder: str) -> Callable[..., Any]:
        found = self._functions.get((text, folder))
        if found is None:
            found = resolve(text, self._namespace, folder)
            self._functions[text, folder] = found
        return found


def _loaded(
    request: RunChunk, passing: tuple[type[BaseException], ...]
) -> tuple[list[Any], dict[int, tuple[Shown, BadInput]]]:
    """The inputs of a chunk, and by their positions those that are broken: how they look, and why.

    Raises what unpickling raises where that is of one that nobody can tell from the others.
    """
    broken = {
        position: (Shown(text), BadInput(f"the input cannot be sent: {reason}"))
        for position, (text, reason) in request.unsent.items()
    }
    items: list[Any] = [None]
    if len(request.indices) > 1:
        items = pickle.loads(request.inputs)  # noqa: S301 - it comes from the client
        alone = request.opaque
    else:
        alone = request.opaque or ({} if broken else {0: request.inputs})
    for position, raw in alone.items():
        try:
            value = pickle.loads(raw)  # noqa: S301
            items[position] = value[0] if raw is request.inputs else value
        except passing:
            raise
        except BaseException as error:  # noqa: BLE001 - it runs the user's code
            failure = BadInput(f"the input does not load: {describe(error)[1]}")
            failure.trace = user_traceback(error)
            broken[position] = Shown("<an input that does not load>"), failure
    return items, broken


class _Results:
    """The records of a chunk as they come in."""

    def __init__(self, chunk: int, attempt: int, retries: int) -> None:
        self._chunk = chunk
        self._attempt = attempt
        self._final = attempt > retries
        self._positions: list[int] = []
        self._lines: list[str] = []
        self._seconds: list[float] = []
        self._statuses: list[str] = []
        self._again: list[Again] = []
        self._opaque: list[tuple[int, Opaque]] = []
        self._handed = (0, 0, 0)
        self._done = 0

    def add(self, position: int, outcome: Outcome) -> None:
        """Take an item's outcome: its record, or the wish to try it again."""
        line, seconds, _, status, reason, opaque = outcome
        self._done = position + 1
        if status != Status.OK and not self._final:
            self._again.append(Again(position, reason))
            return
        self._positions.append(position)
        self._lines.append(line)
        self._seconds.append(seconds)
        self._statuses.append(status)
        if opaque is not None:
            self._opaque.append((position, opaque))

    def since_last(self, began: float, busy: float) -> ChunkReply:
        """A reply with what has come in since the last call."""
        reply = self.reply(self._handed, began, busy)
        self._handed = (len(self._lines), len(self._again), len(self._opaque))
        return reply

    def reply(self, since: tuple[int, int, int], began: float, busy: float) -> ChunkReply:
        """Everything from ``since`` on: records, their tally, positions to try again, pickles."""
        first, again, handed = since
        tally = Tally()
        tally.add_all(self._statuses[first:], self._seconds[first:], self._attempt)
        pickles = self._opaque[handed:]
        lines = self._lines[first:]
        text = "\n".join(lines) + "\n" if lines else ""
        return ChunkReply(
            chunk=self._chunk,
            attempt=self._attempt,
            done=self._done,
            positions=_runs(self._positions[first:]),
            again=self._again[again:],
            values=[
                PickledValue(position, opaque.saved, len(opaque.raw), opaque.file)
                for position, opaque in pickles
            ],
            tally=tally,
            began=began,
            busy=busy,
            lines=text.encode(),
            pickles=b"".join([opaque.raw for _, opaque in pickles]),
        )


def _is_recalled(marks: MutableSequence[int], chunk: int, position: int) -> bool:
    """Tell whether the client has another engine do this item (see ``position_file``)."""
    first, start, last = marks[3:6]
    return chunk <= last and (chunk > first or position >= start)


def _runs(positions: list[int]) -> list[tuple[int, int]]:
    """Ascending positions as ``(first, count)`` of consecutive ones."""
    if positions and positions[-1] - positions[0] == len(positions) - 1:
        return [(positions[0], len(positions))]
    runs: list[list[int]] = []
    for position in positions:
        if runs and runs[-1][0] + runs[-1][1] == position:
            runs[-1][1] += 1
        else:
            runs.append([position, 1])
    return [(first, count) for first, count in runs]


def _failed(stage: str, error: BaseException, *, item: int = -1, folder: str = ".") -> Failure:
    """Describe what the user's code raised, or what it needs and has not."""
    details, reason = describe(error)
    if isinstance(error, Unresolved | NoKernel | FileExistsError):
        reason = str(error)  # a whole sentence, and arcli's own
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    hint = hint_for(error, None, (), folder) or ""
    return Failure(stage, reason, **decode(details), missing=missing, item=item, hint=hint)


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
