"""From the text of a function to something that can be called with an item."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import re
import sys
from asyncio import events
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ENTRY_POINT = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
_IN_FILE = re.compile(r"(.+\.py):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)", re.DOTALL)


class Unresolved(Exception):
    """The text of a function does not lead to a callable here."""


def kind_of(text: str) -> str:
    """``module``, ``file`` or ``expression``: how the text of a function is to be read."""
    if _IN_FILE.fullmatch(text.strip()):
        return "file"
    return "module" if _ENTRY_POINT.fullmatch(text.strip()) else "expression"


def resolve(text: str, namespace: dict[str, Any], folder: str) -> Callable[..., Any]:
    """What ``find`` finds, as a call that returns a value: generators as lists, and so on."""
    return _plain_call(find(text, namespace, folder))


def find(text: str, namespace: dict[str, Any], folder: str) -> Callable[..., Any]:
    """The callable that ``module:attribute``, ``path/file.py:function`` or an expression means.

    Expressions are evaluated once, in ``namespace``; files are relative to ``folder``. Raises
    Unresolved with a sentence, and whatever importing or evaluating raises.
    """
    text = text.strip()
    if match := _IN_FILE.fullmatch(text):
        owner: Any = _module_from(Path(folder, match[1]))
    elif match := _ENTRY_POINT.fullmatch(text):
        owner = importlib.import_module(match[1])
    else:
        owner = eval(text, namespace)  # noqa: S307 - a spec is code
    for name in match[2].split(".") if match else ():
        try:
            owner = getattr(owner, name)
        except AttributeError:
            near = _near(name, dir(owner))
            raise Unresolved(f"{text.rpartition(':')[0]!r} has no {name!r}{near}") from None
    if not callable(owner):
        raise Unresolved(f"{text!r} is {type(owner).__name__}, which cannot be called")
    function: Callable[..., Any] = owner
    return function


def _near(name: str, known: list[str]) -> str:
    import difflib

    found = difflib.get_close_matches(name, known, 1)
    return f": did you mean {found[0]!r}?" if found else ""


def _module_from(path: Path) -> Any:
    """The module in a file, loaded once and importable by its stem, so that it can be pickled."""
    path = path.resolve()
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise Unresolved(f"there is no file {str(path)!r} on this host")
    module = importlib.util.module_from_spec(spec)
    if loaded is None:
        sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if loaded is None:
            sys.modules.pop(name, None)
        raise
    return module


def _plain_call(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, with generators as lists and coroutines run to their end."""
    if inspect.iscoroutinefunction(function):
        return lambda *args, **kwargs: run_coroutine(function(*args, **kwargs))
    if inspect.isgeneratorfunction(function):
        return lambda *args, **kwargs: list(function(*args, **kwargs))
    if inspect.isasyncgenfunction(function):
        return lambda *args, **kwargs: run_coroutine(_collect(function(*args, **kwargs)))
    return function


async def _collect(generator: Any) -> list[Any]:
    return [part async for part in generator]


def run_coroutine(coroutine: Any) -> Any:
    """Run a coroutine to its end, although an engine handles messages inside a running loop.

    asyncio refuses a second loop in a thread; hiding the outer one for the time of the call is what
    ``_set_running_loop`` is exported for
    (https://docs.python.org/3/library/asyncio-extending.html).
    """
    outer = events._get_running_loop()  # noqa: SLF001 - see above
    events._set_running_loop(None)  # noqa: SLF001
    try:
        return asyncio.run(coroutine)
    finally:
        events._set_running_loop(outer)  # noqa: SLF001


def with_references(tree: Any, namespace: dict[str, Any]) -> Any:
    """Constants with their references filled in.

    YAML has no tuples, so a tuple marks what is late: ``("ref", name)`` is evaluated in the
    engine's namespace, ``("text", parts)`` is a string with such parts inside.
    """
    if isinstance(tree, tuple):
        if tree[0] == "ref":
            return eval(tree[1], namespace)  # noqa: S307 - as ipyparallel.Reference does
        return "".join(str(with_references(part, namespace)) for part in tree[1])
    if isinstance(tree, list):
        return [with_references(part, namespace) for part in tree]
    if isinstance(tree, dict):
        return {key: with_references(part, namespace) for key, part in tree.items()}
    return tree


def caller(
    function: Callable[..., Any], unpack: str, args: list[Any], kwargs: dict[str, Any]
) -> Callable[[Any], Any]:
    """A function of one item: ``f(item, …)``, ``f(*item, …)`` or ``f(**item, …)``.

    ``unpack`` is ``none``, ``args``, ``kwargs``, or ``nothing`` for an apply, which has no item.
    """
    if unpack == "kwargs":
        return lambda item: function(*args, **{**kwargs, **item})
    if unpack == "args":
        return lambda item: function(*item, *args, **kwargs)
    if unpack == "nothing":
        return lambda item: function(*args, **kwargs)
    if args or kwargs:
        return lambda item: function(item, *args, **kwargs)
    return function


def import_into(namespace: dict[str, Any], statement: str) -> None:
    """Do one entry of ``setup.imports``: ``math``, ``numpy as np`` or ``from a import b``."""
    text = statement.strip()
    exec(text if text.startswith("from ") else f"import {text}", namespace)  # noqa: S102


def working_directory() -> int | None:
    """A descriptor of the working directory, to return to after each item."""
    try:
        return os.open(".", os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return None
