"""What ``ipyparallel.require`` and ``ipyparallel.depend`` ask of an engine before a function runs.

https://ipyparallel.readthedocs.io/en/latest/examples/dependencies.html
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

_DEPENDENT = ("ipyparallel.controller.dependency", "dependent")


class Lacking(Exception):
    """A dependency of a function does not hold on this engine."""


def meet(function: Callable[..., Any]) -> None:
    """See to it that all that a function depends on is there. Raises Lacking, and what is asked raises."""
    for dependent in _dependents(getattr(function, "__wrapped__", function)):
        asked = dependent.df
        try:
            if asked.__name__ == "_require":
                _bring(dependent)
            elif asked(*dependent.dargs, **dependent.dkwargs) is False:
                raise Lacking(f"{asked.__qualname__}() is false")
        except Exception as error:
            if type(error).__name__ == "UnmetDependency":  # ipyparallel need not be imported for it
                raise Lacking(str(error) or f"{asked.__qualname__}() says so") from None
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
