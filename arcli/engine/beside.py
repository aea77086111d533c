"""Items side by side in one engine: coroutines in one loop, each with its own output."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar, copy_context
from typing import Any

from .capture import CAP, NOTHING, CappedText, Capture
from .functions import Unresolved
from .live import Live, Patrol

ASK = 0.05
"""Seconds between two looks at whether another chunk could have the places that are free."""

STOPPED = "Event loop stopped before Future completed."
"""What asyncio raises where somebody has called the loop's ``stop``."""


def require_async(function: Callable[..., Any], text: str) -> None:
    """Raise Unresolved for a plain function: while it runs, no other one can begin."""
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if _is_async(inner):
        return
    # What a decorator has made of an async function, such as a cache, is called as a plain one is.
    is_wrapped = _is_async(inspect.unwrap(inner, stop=_is_async))
    what = "is wrapped in a plain function" if is_wrapped else "is a plain function"
    raise Unresolved(
        f"concurrency is for commands and async functions: {text.strip()!r} {what}, "
        "and a second call in the same engine could not begin before the first one has ended"
    )


def _is_async(function: Any) -> bool:
    """Tell whether a call gives a coroutine or an async generator."""
    made = (function, getattr(type(function), "__call__", None))  # noqa: B004 - an object may be called, too
    return any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each) for each in made)


class TaskPool:
    """Places for a job's items on this engine, and the event loop that they run in.

    Both last from one chunk to the next: items that are under way when a chunk is answered go on with
    the next one, and a user's sessions live in the loop.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._runner: asyncio.Runner | None = None
        self._items: Iterator[Coroutine[Any, Any, None]] = iter(())
        self._context = copy_context()
        self._all_begun = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] | None = None
        self._raised: BaseException | None = None

    def run(self, items: Iterator[Coroutine[Any, Any, None]], overlap: Callable[[], bool]) -> None:
        """Run items side by side, each in a task of its own; none is taken before there is a place for it.

        Returns when all have ended, or, once ``overlap`` says so, when there is none left to begin and a
        place is free. Where one raises, or somebody interrupts them, the others are cancelled and have
        ended, too, with all that they had started.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        self._items, self._all_begun, self._context = items, False, copy_context()
        loop, feed = self._runner.get_loop(), None
        try:
            while feed is None or not feed.done() or feed.cancelled():
                if feed is None or feed.cancelled():
                    feed = loop.create_task(self._feed(overlap))
                # asyncio lets SystemExit of any task or callback out of the loop, and an item may stop the
                # loop or cancel all of its tasks. That is for whoever awaits the task: the loop is run on.
                try:
                    self._runner.run(_wait(feed))
                except (SystemExit, asyncio.CancelledError):
                    continue
                except RuntimeError as error:
                    if str(error) != STOPPED:
                        raise
            feed.result()
        except BaseException:
            self.close()
            raise

    async def _feed(self, overlap: Callable[[], bool]) -> None:
        while len(self._tasks) < self._width and not self._all_begun:
            self._begin()
        while not self._all_begun:
            await self._next_end()
        while self._tasks and not overlap():
            await self._next_end(ASK)

    def _begin(self) -> None:
        """Begin the next item, if there is one."""
        if (item := next(self._items, None)) is None:
            self._all_begun = True
            return
        self._start(item)

    def _start(self, item: Coroutine[Any, Any, None]) -> None:
        # What one item has set, the next one, which may begin in its task, is not to find.
        task = asyncio.create_task(self._run_through(item), context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._end, item))

    async def _run_through(self, item: Coroutine[Any, Any, None]) -> None:
        await item
        # The next one has its place at once: it would wait otherwise for all that the loop has to do by the
        # time that somebody else hears of the end. By then this one has to be out of the count, too.
        task = asyncio.current_task()
        if self._raised is None and task is not None:
            self._tasks.discard(task)
            self._begin()

    async def _next_end(self, seconds: float | None = None) -> None:
        """Wait until an item ends with none left to begin, or for so many seconds.

        Raises what one of them has raised.
        """
        self._ended = asyncio.get_running_loop().create_future()
        if seconds is None:
            await self._ended
        else:
            await asyncio.wait([self._ended], timeout=seconds)
        if self._raised is not None:
            raise self._raised

    def _end(self, item: Coroutine[Any, Any, None], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # An item that cancels all tasks may meet one that was made and has not begun: it begins now.
        unbegun = task.cancelled() and inspect.getcoroutinestate(item) == inspect.CORO_CREATED
        if unbegun and self._runner is not None:
            self._start(item)
        if not task.cancelled():
            self._raised = self._raised or task.exception()
        news = self._all_begun or self._raised is not None
        if news and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def close(self) -> None:
        """Cancel what still runs, and let go of the loop."""
        runner, self._runner = self._runner, None
        try:
            if runner is not None:
                runner.close()
        finally:
            # Closing runs the loop once more, and what comes out of that must not keep any place.
            self._tasks.clear()
            self._ended = self._raised = None


async def _wait(task: asyncio.Task[None]) -> None:
    """Wait for the end of a task, which is not cancelled with the one that waits."""
    await asyncio.wait([task])


class TaskCapture(Capture):
    """Catches what each item's task, and those that it starts, write to ``sys.stdout`` and ``sys.stderr``.

    C code and child processes write to descriptors, which belong to all items alike: that is not caught.
    """

    def __init__(self, live: Live, patrol: Patrol) -> None:
        super().__init__(patrol)
        self._live = live
        self._printing: ContextVar[_Printing | None] = ContextVar("arcli-printing", default=None)
        self._items: dict[int, _Printing] = {}

    def _streams(self) -> tuple[_ByTask, _ByTask]:
        out, err = self._before
        return _ByTask(self._printing, 0, out), _ByTask(self._printing, 1, err)

    def look(self, live: Live) -> None:
        """See Watched."""
        for printing in list(self._items.values()):
            for text in printing.texts:
                text.lines.look(live, printing.index, printing.attempt)

    def begin(self, index: int, attempt: int) -> None:
        """See NoCapture: the task that calls this is the item's."""
        printing = _Printing(self._live, index, attempt)
        self._items[index] = printing
        self._printing.set(printing)

    def take(self) -> tuple[str, str, bool]:
        """See NoCapture: what the task's own item has printed."""
        printing = self._printing.get()
        if printing is None:
            return NOTHING
        self._items.pop(printing.index, None)
        out, err = printing.texts
        if not out.written and not err.written:
            return NOTHING
        cut = out.written > CAP or err.written > CAP
        return out.drain(), err.drain(), cut


class _Printing:
    """What one item has printed so far."""

    def __init__(self, live: Live, index: int, attempt: int) -> None:
        self.index = index
        self.attempt = attempt
        self.texts = CappedText(live, "out"), CappedText(live, "err")


class _ByTask:
    """A stream that is another one for each task; ``otherwise`` for what belongs to none."""

    def __init__(self, printing: ContextVar[_Printing | None], number: int, otherwise: Any) -> None:
        self._printing = printing
        self._number = number
        self._otherwise = otherwise

    def __getattr__(self, name: str) -> Any:
        printing = self._printing.get()
        return getattr(self._otherwise if printing is None else printing.texts[self._number], name)
