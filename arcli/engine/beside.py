"""Items side by side in one engine: coroutines in one loop, each with its own output."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeVar

from .capture import CAP, NOTHING, CappedText, Capture
from .live import Live, Patrol

T = TypeVar("T")


class NotAsync(Exception):
    """A function that cannot run beside another one in the same engine."""


def require_async(function: Callable[..., Any], text: str) -> None:
    """Raise NotAsync for a plain function: while it runs, no other one can begin."""
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    made = (inner, getattr(type(inner), "__call__", None))  # noqa: B004 - an object may be called, too
    if not any(map(inspect.iscoroutinefunction, made)):
        raise NotAsync(
            f"concurrency is for commands and async functions, and {text!r} is a plain function: "
            "a second call in the same engine could not begin before the first one has ended"
        )


async def apart(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine does, run in a task of its own.

    An item that cancels its own task, or sets context variables, must not do that to the next one in line.
    Raises CancelledError where the task that waits for it is cancelled.
    """
    results: list[T] = []

    async def own() -> None:
        results.append(await work)

    waiting = asyncio.current_task()
    assert waiting is not None
    with suppress(asyncio.CancelledError):
        await asyncio.create_task(own())
    if waiting.cancelling() or not results:
        raise asyncio.CancelledError
    return results[0]


class Loop:
    """The event loop of a job on this engine, from one chunk to the next: a user's sessions live in it."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None

    def run(self, lanes: list[Coroutine[Any, Any, None]]) -> None:
        """Run coroutines side by side, until all have ended.

        Where one raises, or somebody interrupts them, the others are cancelled and have ended, too, with
        all that they had started.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()

        async def together() -> None:
            await asyncio.gather(*lanes)

        try:
            self._runner.run(together())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Cancel what still runs, and let go of the loop."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()


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
        self._items.clear()
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
        return out.text(), err.text(), out.written > CAP or err.written > CAP


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
