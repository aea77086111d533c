"""The arguments that all items of a job have, beside what is each item's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from .functions import assembled, copied, in_parts
from .protocol import ValueParts
from .template import text_of


class HandedOn:
    """An earlier job's value, in the place where it is used. Nobody looks into it."""

    def __init__(self, form: str, parts: ValueParts) -> None:
        """Open it. Raises what unpickling raises."""
        self._source = form, parts
        value = assembled(form, parts)
        self._opened = [value]
        # A copy of what JSON holds costs a fraction of opening it again; nobody can change bytes.
        self._copied = type(value) is bytes or all(text is not None for _, text, _ in parts)

    def own(self) -> Any:
        """Return the value for one call, which may change it. Raises what unpickling raises."""
        if self._copied:
            return copied(self._opened[0])
        return self._opened.pop() if self._opened else assembled(*self._source)

    @cached_property
    def text(self) -> str:
        """The value in a command. Raises what the user's classes raise."""
        return text_of(self.own())


class Constants:
    """Positional and keyword arguments, with what is late in them.

    Lists and maps that stand in the spec, and earlier jobs' values, are new ones in each call, for a
    function may change what it gets. References are the same objects in all of them.
    """

    def __init__(self, args: list[Any], kwargs: dict[str, Any]) -> None:
        """Open the values of earlier jobs. Raises what unpickling raises."""
        self._args, self._kwargs = _opened(args), _opened(kwargs)
        parts = (*self._args, *self._kwargs.values())
        self._change = any(isinstance(part, list | dict | HandedOn) for part in parts)

    def values(self, namespace: dict[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments. Raises what looking up references raises."""
        values: dict[str, Any] = _renewed(self._kwargs, with_references(self._kwargs, namespace))
        return values

    def texts(self, namespace: dict[str, Any]) -> dict[str, str]:
        """Return the keyword arguments as a command has them. Raises as ``values`` does."""
        filled = with_references(self._kwargs, namespace)
        return {
            name: part.text if isinstance(part, HandedOn) else text_of(part)
            for name, part in filled.items()
        }

    def caller(
        self, function: Callable[..., Any], unpack: str, namespace: dict[str, Any]
    ) -> Callable[[Any], Any]:
        """Return a function of one item, its references looked up now; for ``unpack`` see ``caller``."""
        args, kwargs = with_references(self._args, namespace), with_references(self._kwargs, namespace)
        if not self._change:
            return caller(function, unpack, args, kwargs)
        return lambda item: caller(
            function, unpack, _renewed(self._args, args), _renewed(self._kwargs, kwargs)
        )(item)


def _opened(tree: Any) -> Any:
    """Constants with the values of earlier jobs in them, ``("value", form, parts)``, opened."""
    if isinstance(tree, tuple) and tree[0] == "value":
        return HandedOn(*tree[1:])
    if isinstance(tree, tuple) and tree[0] == "text":
        parts = map(_opened, tree[1])
        return ("text", [str(part.own()) if isinstance(part, HandedOn) else part for part in parts])
    return in_parts(tree, _opened)


def with_references(tree: Any, namespace: dict[str, Any]) -> Any:
    """Return constants with their references filled in; what earlier jobs have handed on stays.

    YAML has no tuples, so a tuple marks what is late: ``("ref", name)`` is evaluated in the
    engine's namespace, ``("text", parts)`` is a string with such parts inside.
    """
    if isinstance(tree, tuple):
        if tree[0] == "ref":
            return eval(tree[1], namespace)  # noqa: S307 - as ipyparallel.Reference does
        return "".join(str(with_references(part, namespace)) for part in tree[1])
    return in_parts(tree, lambda part: with_references(part, namespace))


def _renewed(tree: Any, value: Any) -> Any:
    """Return ``value``, which are the constants of ``tree`` filled in, for one call."""
    if isinstance(tree, HandedOn):
        return tree.own()
    if isinstance(tree, dict):
        return {key: _renewed(part, value[key]) for key, part in tree.items()}
    if isinstance(tree, list):
        return list(map(_renewed, tree, value))
    return value


def caller(
    function: Callable[..., Any], unpack: str, args: list[Any], kwargs: dict[str, Any]
) -> Callable[[Any], Any]:
    """Return a function of one item: ``f(item, …)``, ``f(*item, …)`` or ``f(**item, …)``.

    ``unpack`` is ``none``, ``args`` (a mapping gives its values), ``kwargs``, or ``nothing`` for an
    apply, which has no item.
    """
    if unpack == "kwargs":
        return lambda item: function(*args, **{**kwargs, **item})
    if unpack == "args":
        return lambda item: function(
            *(item.values() if isinstance(item, Mapping) else item), *args, **kwargs
        )
    if unpack == "nothing":
        return lambda item: function(*args, **kwargs)
    if args or kwargs:
        return lambda item: function(item, *args, **kwargs)
    return function
