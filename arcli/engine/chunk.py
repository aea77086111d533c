"""Run a chunk: the items of one message, one after another or side by side, their records in one reply."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from functools import partial
from time import perf_counter_ns
from typing import Any

from .beside import TaskPool, require_async
from .blank_files import BlankFiles
from .capture import NOTHING, NoCapture
from .chunk_results import Results
from .command import Command, CommandLine
from .constants import Constants
from .encode import SAFE
from .errors import describe, failed, hint_for, user_traceback
from .functions import Lacking, find, meet, raising, resolve
from .item import KeyedHeads, Process, Runner
from .keys import Head, Heads, heads, salted
from .limits import UNKNOWN, Abort, Timer
from .live import Live, Patrol, publish_pause
from .notebook import Notebook, preflight
from .position_file import NOWHERE, PositionFile
from .program import BadInput, ItemFolder, Program, Shown
from .protocol import ChunkReplies, ChunkReply, Failure, JobDefinition, RunChunk, Unmet
from .spawn import Exits, inheritable
from .variables import DIGITS, NAME, Places, Variables

SMALL = 1 << 12
"""Bytes of an input, on average, and of a value, below which those of a chunk are written together."""


class Engine:
    """What all chunks on an engine share.

    ``namespace`` is the user's; ``publish`` hands out early records and lines. Where the engine is
    arcli's own process, ``passing`` are the exceptions that interrupt an item and are not its own,
    and ``stopping`` says that no further item should begin. On an engine that is shared with others
    ``unwanted`` is called where a chunk begins, and gives what tells whether that chunk has been
    aborted. ``home`` is a descriptor of the working directory.
    """

    def __init__(
        self,
        namespace: dict[str, Any],
        publish: Callable[[bytes], None] | None,
        *,
        watchdog: bool,
        passing: tuple[type[BaseException], ...],
        stopping: Callable[[], bool] | None,
        unwanted: Callable[[], Callable[[], bool]] | None,
        home: int | None,
    ) -> None:
        self.namespace = namespace
        self.publish = publish
        self.watchdog = watchdog
        self.passing = passing
        self.stopping = stopping
        self.unwanted = unwanted
        self.home = home
        self.files = BlankFiles()
        self.live = Live(publish)
        self.patrol = Patrol(self.live, ours=self.ours)
        self.position_file: PositionFile | None = None
        self.marks: Any = [*NOWHERE]
        self.variables = Variables()
        self.slot = 0
        self.publish_pause = publish_pause(1)

    def leave(self) -> None:
        """Let go of what a process that goes on would hold on to."""
        self.patrol.close()
        self.files.close()
        if self.home is not None:
            os.close(self.home)
        if self.position_file is not None:
            self.position_file.close()

    @property
    def shared(self) -> bool:
        """Whether other people's tasks run on it, too."""
        return self.unwanted is not None

    @property
    def ours(self) -> bool:
        """Whether it is a process of its own, made for this run: neither shared nor arcli itself."""
        return not self.shared and not self.passing


class Job:
    """A job as this engine knows it: everything that its items share."""

    def __init__(self, job: JobDefinition, engine: Engine, capture: NoCapture) -> None:
        self._engine = engine
        self._capture = capture
        self._salt = salted(job.salt)
        # What a constant has of an earlier job's values may not load: that is each item's error.
        self._broken: BaseException | None = None
        self._constants = Constants([], {})
        try:
            self._constants = Constants(job.args, job.kwargs)
        except BaseException as error:  # noqa: BLE001 - unpickling runs the user's code
            self._broken = error
        self._plan = job._replace(args=[], kwargs={})
        self._function: Callable[..., Any] | None = None
        self._command = CommandLine(self._plan) if job.kind == "command" else None
        # One more than others have those engines that come first, so that together they have as many
        # as were asked for.
        width = max(1, job.concurrency - (engine.slot >= job.wider > 0))
        self._pool: TaskPool | None = TaskPool(width) if job.concurrency > 1 else None
        self._exits = Exits()
        self._under_way: list[Results] = []
        if self._pool is not None and job.kind == "map":
            self._function = find(job.function, engine.namespace, job.folder)
            require_async(self._function, job.function)
        elif job.kind in {"map", "apply"}:
            self._function = resolve(job.function, engine.namespace, job.folder)
        elif job.notebook is not None:
            preflight(job.notebook)

    def run(self, request: RunChunk) -> ChunkReply | ChunkReplies | Failure | Unmet:
        """Run the items of a chunk, one after another, or as many side by side as the job says."""
        lacking = self._lacking() if request.indices else None
        if lacking is not None:
            return Unmet(lacking)
        engine = self._engine
        results = Results(
            request,
            self._plan.retries,
            engine.publish,
            engine.publish_pause,
            self._plan.announced,
            engine.live,
        )
        # The position file is written first: an engine that dies of what follows is known to have
        # had this chunk.
        marks = engine.marks
        if engine.position_file is not None:
            engine.position_file.begin(request.chunk, time.time_ns())
        engine.live.begin(request, marks)
        try:
            items, broken = _loaded(request, engine.passing)
        except BaseException as error:  # noqa: BLE001 - unpickling runs the user's code
            return failed(f"a chunk of job {request.job!r}", error)
        limit = self._plan.timeout if request.timeout is None else request.timeout
        watchdog = engine.watchdog and self._plan.kind != "command"
        timer = Timer(limit, watchdog=watchdog, told=lambda: marks[6] / 1e9 or UNKNOWN)
        # Of rows and lines the records' first parts are written together; for large ones that is no gain.
        alike = not broken and not request.keys and len(request.inputs) < SMALL * len(items)
        begun = heads(self._salt, items, request.occurrences, flat=request.flat) if alike else None
        keyed = KeyedHeads(request.keys, items, self._plan.sizes) if request.keys else None
        if self._command is not None:
            self._command.inherited = inheritable()
        with ExitStack() as around:
            abort = around.enter_context(Abort(engine.unwanted())) if engine.unwanted else None
            around.enter_context(self._capture)
            course = _Course(request, items, broken, begun or keyed, marks, abort, engine.stopping)
            if engine.publish is not None:
                for each in (*self._under_way, results):
                    around.enter_context(engine.patrol.over(each))
            places = around.enter_context(engine.variables.around(self._variables()))
            make_runner = self._runners(timer, request.attempt, alone=len(items) == 1)
            if self._pool is not None:
                self._run_beside(self._pool, request, course, make_runner, results)
            else:
                course.places = places
                runner = make_runner()
                if runner.plain is not None and begun is not None:
                    results.write_with(runner.written, begun)
                    self._run_short(course, runner, results)
                else:
                    self._run_items(course, runner, results)
        if engine.position_file is not None:
            engine.position_file.end(request.chunk)
        timer.rest()
        return self._reply(results)

    def _reply(self, results: Results) -> ChunkReply | ChunkReplies:
        """Answer for a chunk, and for earlier ones whose items have ended since their last answer."""
        if self._pool is None:
            return results.reply()
        # Its own reply last: it tells how long the engine was busy, and none of those may tell of more.
        earlier = [each.reply() for each in self._under_way if each.has_news]
        reply = results.reply()
        self._under_way = [each for each in (*self._under_way, results) if each.is_open]
        return ChunkReplies([*earlier, reply]) if earlier else reply

    def leave(self) -> None:
        """The run is over."""
        if self._pool is not None:
            self._pool.close()

    def _variables(self) -> dict[str, str]:
        """Return what all items find in their environment, where the engine has not got it for good."""
        run = os.path.basename(self._plan.run_folder)  # noqa: PTH119 - nothing heavier here
        return {} if self._engine.ours else {"ARCLI_RUN": run, "ARCLI_SLOT": str(self._engine.slot)}

    def _run_items(self, course: _Course, runner: Runner, results: Results) -> None:
        """Run items one after another: to the last one, or until somebody wants no more of them."""
        home, broken = self._engine.home, course.broken
        for position in course:
            index, occurrence, begun = course.about(position)
            if broken and position in broken:
                outcome = runner.refuse(index, *broken[position], occurrence)
            else:
                outcome = runner.run(index, course.items[position], occurrence, begun)
            results.add(position, outcome)
            # An item that changed the working directory must not move its neighbour.
            if home is not None:
                os.fchdir(home)

    def _run_short(self, course: _Course, runner: Runner, results: Results) -> None:
        """Run items as ``_run_items`` does, where there is nothing but a call and all records are begun.

        This is where trivial items spend their time: what is asked for each is a comparison or two, and
        those that are in order are written down later, many together.
        """
        home, items, marks = self._engine.home, course.items, course.marks
        call, take, passing, offset = runner.plain, self._capture.take, self._engine.passing, runner.offset
        assert call is not None
        add_value, add_begin, add_end = (column.append for column in results.short)
        for position in course:
            item = items[position]
            begin = perf_counter_ns()
            marks[2] = begin + offset
            try:
                value = call(item)
            except passing:
                raise
            except BaseException as error:  # noqa: BLE001 - sys.exit, anything at all
                index, occurrence, head = course.about(position)
                results.add(position, runner.failed(index, item, occurrence, begin, error, head))
            else:
                end = perf_counter_ns()
                # A fork of the item's that came back here would run the rest of the chunk a second time.
                if Process.forked:
                    os._exit(0)
                printed = take()
                kind = type(value)
                # What nobody can change, and no encoder refuses, is written as well later as now.
                if printed is NOTHING and (
                    (kind is int and -SAFE < value < SAFE)
                    or kind is float
                    or (kind is str and len(value) < SMALL and value.isascii())
                    or value is None
                    or kind is bool
                ):
                    add_value(value)
                    add_begin(begin)
                    add_end(end)
                    if end > results.due:
                        results.hand_out(end)
                else:
                    index, occurrence, head = course.about(position)
                    outcome = runner.ended(index, item, occurrence, begin, value, head, end, printed)
                    results.add(position, outcome)
            if home is not None:
                os.fchdir(home)

    def _run_beside(
        self,
        pool: TaskPool,
        request: RunChunk,
        course: _Course,
        make_runner: Callable[[], Runner],
        results: Results,
    ) -> None:
        """Run items side by side, beside those of earlier chunks that are still under way."""
        for each in self._under_way:
            each.go_on()
        # A runner is one item's at a time: a command's has what that has printed.
        free: list[Runner] = []

        async def run(runner: Runner, position: int) -> None:
            (index, occurrence, begun), item = course.about(position), course.items[position]
            outcome = await runner.run_beside(index, item, occurrence, begun)
            results.add(position, outcome)
            free.append(runner)

        async def refuse(position: int) -> None:
            (index, occurrence, _), (shown, failure) = course.about(position), course.broken[position]
            results.add(position, make_runner().refuse(index, shown, failure, occurrence))

        def begin() -> Iterator[Coroutine[Any, Any, None]]:
            for position in course:
                results.begun = position + 1
                if position in course.broken:
                    yield refuse(position)
                else:
                    yield run(free.pop() if free else make_runner(), position)

        def overlap() -> bool:
            # What is recalled is to be answered for, too: another chunk waits for places that are free.
            marks = course.marks
            return request.overlap or (self._engine.ours and marks[3] <= request.chunk <= marks[5])

        try:
            pool.run(begin(), overlap)
        except BaseException:
            self._under_way.clear()  # they were cancelled, too, and nobody will ask for them
            raise

    def _lacking(self) -> str | None:
        """Tell what the function depends on and this engine has not; None where all is there."""
        if self._function is None:
            return None
        try:
            meet(self._function)
        except Lacking as lacking:
            return str(lacking)
        except self._engine.passing:
            raise
        except BaseException as error:  # noqa: BLE001 - what is asked is the user's code
            self._broken = error
        return None

    def _runners(self, timer: Timer, attempt: int, *, alone: bool) -> Callable[[], Runner]:
        """Return what makes runners for one chunk, its references looked up now."""
        plan, engine, broken = self._plan, self._engine, self._broken
        call: Callable[[Any], Any] | None = None
        make_program: Callable[[], Program] | None = None
        try:
            if self._function is not None:
                call = self._constants.caller(self._function, plan.unpack, engine.namespace)
            elif self._command is not None:
                texts = self._constants.texts(engine.namespace)
                shared = engine.files, engine.patrol, engine.slot, self._exits
                make_program = partial(Command, self._command, texts, *shared)
            else:
                values = self._constants.values(engine.namespace)
                make_program = partial(Notebook, plan, values, self._capture, engine.patrol)
        except BaseException as error:  # noqa: BLE001 - a reference is the user's expression
            broken = broken or error
        # A function that could not be made fails in each item: it is items that have records.
        if broken is not None:
            call, make_program = raising(broken), None
        return lambda: Runner(
            job=plan.name,
            call=call,
            program=None if make_program is None else make_program(),
            capture=self._capture,
            timer=timer,
            salt=self._salt,
            keep_opaque=plan.keep_opaque,
            sizes=plan.sizes,
            folder=ItemFolder(plan, variable=self._pool is None) if plan.outdir else None,
            passing=engine.passing,
            alone=alone,
            attempt=attempt,
            marks=engine.marks,
            hint=lambda error, item: hint_for(error, item, engine.namespace, plan.folder, plan.unpack),
        )


class _Course:
    """The items of a chunk that are still to be begun, each once, by whoever asks next.

    There are no more when arcli is stopping, when the chunk was aborted, and where the client has had
    back what it recalls (``marks``, see ``position_file``), for another engine runs that. ``places`` are
    where the number of the item goes, if it runs alone.
    """

    def __init__(
        self,
        request: RunChunk,
        items: list[Any],
        broken: dict[int, tuple[Shown, BadInput]],
        begun: Heads | KeyedHeads | None,
        marks: Any,
        abort: Abort | None,
        stopping: Callable[[], bool] | None,
    ) -> None:
        self.items = items
        self.broken = broken
        self.marks = marks
        self.places: Places | None = None
        self._indices, self._occurrences, self._heads = request.indices, request.occurrences, begun
        self._begun = self._begin(request, abort, stopping)

    def __iter__(self) -> Iterator[int]:
        return self._begun

    def about(self, position: int) -> tuple[int, int, Head | None]:
        """Tell of an item its number, its occurrence, and how its record begins, if that is written."""
        occurrence = 0 if self._occurrences is None else self._occurrences[position]
        begun = None if self._heads is None else self._heads.at(position)
        return self._indices[position], occurrence, begun

    def _begin(
        self, request: RunChunk, abort: Abort | None, stopping: Callable[[], bool] | None
    ) -> Iterator[int]:
        """Yield the position of the next item to begin."""
        marks, number = self.marks, request.chunk
        places, digits = self.places, b""
        pack = DIGITS.pack_into
        for position, index in enumerate(request.indices):
            if stopping is not None and stopping():
                return
            if abort is not None and abort.came:
                return
            # In this order: who recalls first says so, and looks then at where this is. So either this
            # sees the recall, or the client that the item has begun, however long anybody is held up.
            marks[1] = position
            if marks[3] <= number <= marks[5] and (number > marks[3] or position >= marks[4]):
                return
            if places is not None:
                held, text, put = places
                # Whoever restores an environment puts copies into it. Of a single byte there are none.
                if held.get(NAME) is not digits or len(digits) < 2:
                    put()
                held[NAME] = digits = b"%d" % index
                pack(text, 0, digits)
            yield position


def _loaded(
    request: RunChunk, passing: tuple[type[BaseException], ...]
) -> tuple[list[Any], dict[int, tuple[Shown, BadInput]]]:
    """The inputs of a chunk, and by their positions those that are broken: how they look, and why.

    Raises what unpickling raises where that is of one that nobody can tell from the others.
    """
    broken = {
        position: (Shown(text), BadInput(reason)) for position, (text, reason) in request.unsent.items()
    }
    items: list[Any] = [None]
    if len(request.indices) != 1:
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
