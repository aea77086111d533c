"""Items from a generator of the user's, which runs here, and may do anything."""

from __future__ import annotations

import inspect
import os
import pickle
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import arcli
from arcli import syntax
from arcli.engine.encode import PLAIN
from arcli.engine.functions import Unresolved, copied, find, kind_of
from arcli.errors import ArcliError, InputError
from arcli.inputs.base import Input, Source, SourceContext, Stream

_OURS = (os.path.dirname(arcli.__file__) + os.sep, "<frozen importlib")  # noqa: PTH120


class Python(Input):
    """What a generator of the user's yields: ``module:name`` or ``file.py:name``."""

    key: ClassVar[str] = "python"
    short: ClassVar[str] = "call"
    only_in_runs: ClassVar[bool] = True
    call: str
    """A generator or a function that returns items: `module:name` or `file.py:name`."""
    args: list[Any] = []
    """Its positional arguments."""
    kwargs: dict[str, Any] = {}
    """Its arguments by name."""

    def check(self, folder: Path) -> Iterator[InputError]:
        """See Input."""
        if kind_of(self.call) == "expression":
            hint = "module:generator, or file.py:generator"
            yield InputError("not a generator's name", hint=hint, path=("call",))
            return
        for fault in syntax.faults_of(self.call, folder, None):
            yield InputError(fault.message, hint=fault.hint, path=("call",))

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        return Stream(lambda: generated(self, context))


def generated(source: Python, context: SourceContext) -> Iterator[Any]:
    """Yield what a generator yields, one by one, as it yields it; whatever it raises is the input's."""
    try:
        call = context.load_callable(source.call)
        yield from _rows(_each(call(*context.resolve(source.args), **context.resolve(source.kwargs))))
    except (ArcliError, GeneratorExit):
        raise
    except Unresolved as error:
        raise InputError(f"python: {error}") from None
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a generator ends it, not arcli
        raise _failed(source.call, error, context.python) from None


def _rows(items: Iterable[Any]) -> Iterator[Any]:
    """Yield items as they are when they are yielded: many generators go on to fill the same map or array.

    Rows that only know their database, such as ``sqlite3.Row``, become mappings: they have keys and no
    way to another process. A type is judged by its first item.
    """
    made: dict[type, Callable[[Any], Any] | None] = dict.fromkeys(PLAIN)
    for item in items:
        kind = type(item)
        if kind not in made:
            made[kind] = dict if _is_row(item) else copied
        make = made[kind]
        yield item if make is None else make(item)


def _is_row(item: Any) -> bool:
    if isinstance(item, dict) or not hasattr(item, "keys"):
        return False
    try:
        pickle.dumps(item)
    except Exception:  # noqa: BLE001 - whatever the user's class does there
        return True
    return False


def _each(found: Any) -> Iterator[Any]:
    """Yield the items of whatever a call came to, which may be asynchronous."""
    if not (inspect.isawaitable(found) or hasattr(found, "__aiter__")):
        yield from found
        return
    # One loop for all items: an asynchronous generator belongs to the loop that it was begun in.
    import asyncio

    with asyncio.Runner() as runner:
        if inspect.isawaitable(found):
            yield from runner.run(_awaited(found))
            return
        items = aiter(found)
        end = object()
        while (item := runner.run(_awaited(anext(items, end)))) is not end:
            yield item


async def _awaited(found: Any) -> Any:
    return await found


def _failed(call: str, error: BaseException, python: str | None) -> InputError:
    message = f"python: {call} failed: {type(error).__name__}: {error}".removesuffix(": ")
    if isinstance(error, ImportError) and python is not None:
        return InputError(
            f"{message}; sources are read by arcli's own Python, {sys.executable}, and not by "
            f"cluster.python, {python}",
            hint="install the module there, too, or write the items to a file first",
        )
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(_OURS)]
    return InputError(message, details="".join(traceback.format_list(theirs)).rstrip() or None)


def loader(folder: Path, path: Iterable[str] = ()) -> Callable[[str], Any]:
    """Return what finds the callable that ``module:name`` or ``file.py:name`` means.

    ``folder`` is the spec's, ``path`` its ``setup: path``.
    """
    folders = [str(folder), *(str(folder / part) for part in path)]

    def load(text: str) -> Any:
        # Before what is installed, and behind Python's own modules: arcli itself is still going to import
        # some of these, and a `random.py` beside the spec must not take their place.
        installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        places = [at for at, folder in enumerate(sys.path) if folder in installed]
        at = min(places, default=len(sys.path))
        sys.path[at:at] = [folder for folder in folders if folder not in sys.path]
        return find(text, {}, str(folder))

    return load
