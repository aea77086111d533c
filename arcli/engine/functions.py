"""From the text of a function to something that can be called with an item, where all is that it needs."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import importlib
import importlib.util
import os
import pickle
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .encode import PLAIN, decode
from .protocol import ValueParts

_ENTRY_POINT = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
_IN_FILE = re.compile(r"(.+\.py):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)", re.DOTALL)


class Unresolved(Exception):
    """The text of a function does not lead to a callable here, or to none that can be called so."""


def kind_of(text: str) -> str:
    """``module``, ``file`` or ``expression``: how the text of a function is to be read."""
    if _IN_FILE.fullmatch(text.strip()):
        return "file"
    return "module" if _ENTRY_POINT.fullmatch(text.strip()) else "expression"


def resolve(text: str, namespace: dict[str, Any], folder: str) -> Callable[..., Any]:
    """Return what ``find`` finds, with what it gives as a value: generators as lists, coroutines run."""
    return _settling(find(text, namespace, folder))


def find(text: str, namespace: dict[str, Any], folder: str) -> Callable[..., Any]:
    """Return the callable that ``module:attribute``, ``path/file.py:function`` or an expression means.

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
    # An attribute may be one of a class: module:Class.method.
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


def _near(name: str, names: list[str]) -> str:
    import difflib

    matches = difflib.get_close_matches(name, names, 1)
    return f": did you mean {matches[0]!r}?" if matches else ""


def require(text: str, namespace: dict[str, Any], folder: str) -> Callable[..., Any] | None:
    """Return what ``find`` finds, as far as that can be known without evaluating anything, else None.

    What an expression means may depend on what earlier jobs do; only a name in a module does not. Raises
    what ``find`` would raise.
    """
    if kind_of(text) != "expression":
        return find(text, namespace, folder)
    # Expressions may use what setup defines later; only names of modules can be
    # looked up now.
    first, *names = text.strip().split(".")
    owner = namespace.get(first)
    for name in names:
        if not isinstance(owner, types.ModuleType) or not name.isidentifier():
            return None
        if not hasattr(owner, name):
            near = _near(name, dir(owner))
            raise Unresolved(f"{owner.__name__!r} has no {name!r}{near}")
        owner = getattr(owner, name)
    return None


def _module_from(path: Path) -> Any:
    """Return the module in a file, loaded once and importable by its name, so that it can be pickled.

    The name is the file's stem, unless that is another module's.
    """
    path = path.resolve()
    name = path.stem
    # Two files of one name are two modules, as two specs on the same engines may
    # have them.
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) != str(path):
        name = f"{name}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise Unresolved(f"there is no file {str(path)!r} on this host")
    module = importlib.util.module_from_spec(spec)
    # Before it is executed, as the import system does it: dataclasses and pickle
    # look there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _settling(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, with what it gives as a value; classes and C's functions give values anyway."""
    if isinstance(function, type | types.BuiltinFunctionType | types.MethodDescriptorType):
        return function

    def call(*args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        return _settled(value) if type(value) in _UNSETTLED else value

    vars(call)["__wrapped__"] = function  # as functools.wraps has it
    return call


_UNSETTLED = frozenset({types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType})


def _settled(value: Any) -> Any:
    """Return the list that a generator makes, or what a coroutine comes to."""
    return list(value) if isinstance(value, types.GeneratorType) else asyncio.run(settle(value))


async def settle(value: Any) -> Any:
    """Return what a coroutine comes to, of generators the list that they make; else the value as it is."""
    # A coroutine may return one of them in turn.
    while type(value) in _UNSETTLED:
        if isinstance(value, types.CoroutineType):
            value = await value
        elif isinstance(value, types.GeneratorType):
            value = list(value)
        else:
            value = [part async for part in value]
    return value


def assembled(form: str, parts: ValueParts) -> Any:
    """Return a value of an earlier job: the ``one`` part, a ``list`` of all, a ``dict`` by their keys, or
    lists ``joined`` (parts that are elements have no key). Raises what unpickling raises.
    """
    # JSON where that is the whole value, else its pickle: the client has opened neither.
    values = [
        (key, decode(text) if text is not None else pickle.loads(pickled or b""))  # noqa: S301
        for key, text, pickled in parts
    ]
    if form == "one":
        return values[0][1]
    if form == "dict":
        return dict(values)
    if form == "joined":
        return [part for key, value in values for part in (value if key else [value])]
    return [value for _, value in values]


def in_parts(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Return a list or a map with each of its parts changed, anything else as it is."""
    if isinstance(tree, list):
        return [change(part) for part in tree]
    if isinstance(tree, Mapping):
        return {key: change(part) for key, part in tree.items()}
    return tree


def copied(value: Any) -> Any:
    """Return a value whose lists, maps, sets and arrays are its own: nobody else changes them.

    Of other classes, and of what contains itself, it is the value itself.
    """
    try:
        return _copied(value)
    except RecursionError:
        return value


def _copied(value: Any) -> Any:
    kind = type(value)
    # Rows are maps of plain values, whose copy costs little; what is inside of others is copied, too.
    if kind is dict:
        plain = PLAIN.issuperset(map(type, value.values()))
        return value.copy() if plain else {key: _copied(part) for key, part in value.items()}
    if kind is list or kind is tuple:
        return kind(value if PLAIN.issuperset(map(type, value)) else map(_copied, value))
    array = kind.__name__ == "ndarray" and kind.__module__ == "numpy"
    return copy.copy(value) if array or kind is set or kind is bytearray else value


def raising(error: BaseException) -> Callable[[Any], Any]:
    """Return a function of one item, in the place of one whose constants are broken."""
    trace = error.__traceback__

    def call(item: Any) -> Any:
        raise error.with_traceback(trace)  # else it would grow with each item

    return call


def import_into(namespace: dict[str, Any], statement: str) -> None:
    """Do one entry of ``setup.imports``: ``math``, ``numpy as np`` or ``from a import b``."""
    text = statement.strip()
    exec(text if text.startswith("from ") else f"import {text}", namespace)  # noqa: S102


def working_directory() -> int | None:
    """Return a descriptor of the working directory, to return to after each item."""
    try:
        return os.open(".", os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:
        return None


_DEPENDENT = ("ipyparallel.controller.dependency", "dependent")


class Lacking(Exception):
    """A dependency of a function does not hold on this engine."""


def meet(function: Callable[..., Any]) -> None:
    """See to it that all that a function depends on is there. Raises Lacking, and what is asked raises."""
    # Asked again for each chunk: what depends on a file or a GPU may change while the engine lives.
    for dependent in _dependents(getattr(function, "__wrapped__", function)):
        asked = dependent.df
        name = getattr(asked, "__qualname__", type(asked).__qualname__)  # a partial function has none
        try:
            if name == "_require":
                _bring(dependent)
            elif asked(*dependent.dargs, **dependent.dkwargs) is False:
                raise Lacking(f"{name}() is false")
        except Exception as error:
            if type(error).__name__ == "UnmetDependency":  # ipyparallel need not be imported for it
                raise Lacking(str(error) or f"{name}() says so") from None
            raise


def _dependents(function: Any) -> Iterator[Any]:
    """The decorated functions around a function, from the outside in."""
    while (type(function).__module__, type(function).__qualname__) == _DEPENDENT:
        yield function
        function = function.f


def _bring(dependent: Any) -> None:
    """Import what is required, and bind it where the function looks for it, unless it is there."""
    function = dependent.f
    while hasattr(function, "f"):
        function = function.f
    names = function.__globals__
    # Of `a.b` the name that code uses is `a`, as it is after an import statement.
    for name in dependent.dargs:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise Lacking(str(error)) from None
        top = name.partition(".")[0]
        names.setdefault(top, sys.modules[top])
    for name, value in dependent.dkwargs.items():
        if name not in names:
            from ipyparallel.serialize import uncan

            names[name] = uncan(value, names)
