"""``where:``, which rows of a table are wanted."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from arcli.errors import InputError
from arcli.inputs.cells import bad_cell
from arcli.inputs.pickled import PickledInput, pickled_part
from arcli.suggest import near_or_all
from arcli.syntax import free_names, parsed

Where: TypeAlias = str | Mapping[str, Any] | None
Condition: TypeAlias = Callable[[Any, str], bool]
"""Whether a row is wanted; its place in the file is for errors."""


def condition(where: Where) -> Condition:
    """Return what tells whether an item is wanted.

    ``where`` is a mapping of keys to values or lists of values; or an expression of the keys, or of
    ``item`` where items are no maps. An item of which it cannot be told, for a cell that cannot be
    read, is wanted: what is wrong with it is told when it is run.
    """
    if where is None:
        return lambda item, place: True
    if isinstance(where, str):
        return _expression(where)
    columns = {name: value if isinstance(value, list) else [value] for name, value in where.items()}

    def matches(item: Any, place: str) -> bool:
        if isinstance(item, PickledInput):
            item.refuse()
        if not isinstance(item, Mapping):
            raise InputError(f"{place}: where: needs rows with names, and this is {item!r:.100}")
        try:
            return all(item.get(name) in values for name, values in columns.items())
        except InputError:
            known = {name: values for name, values in columns.items() if bad_cell(item.get(name)) is None}
            return all(item.get(name) in values for name, values in known.items())

    return matches


def _expression(where: str) -> Condition:
    code = compile(where.strip(), "where", "eval")
    used = {name.id for name in free_names(parsed(where))}

    def holds(item: Any, place: str) -> bool:
        # A copy, since `eval` puts `__builtins__` into what it is given, and the item goes on from here.
        names = dict(item) if isinstance(item, Mapping) else {"item": item}
        try:
            # Of what stands for a value that nobody can see here, much can be asked, with a wrong answer.
            for name in used:
                if isinstance(part := names.get(name), PickledInput):
                    part.refuse()
            # As globals: these are in scope inside of comprehensions, too.
            return bool(eval(code, names))  # noqa: S307 - a spec is code
        except Exception as error:  # noqa: BLE001 - an expression of the user's
            if bad_cell(item) is not None:
                return True
            reason, hint = f"{type(error).__name__}: {error}", None
            if (part := pickled_part([names[name] for name in used if name in names])) is not None:
                reason, hint = part.refusal().message, part.refusal().hint
            raise InputError(f"{place}: where: {where!r} fails: {reason}", hint=hint) from None

    return holds


def check(where: Where, names: Sequence[str] | None) -> None:
    """Raise InputError for what cannot be right; ``names`` are the columns, if they are known."""
    # Names are checked before the run where the columns are known: a misspelt one would leave no item.
    if isinstance(where, str):
        try:
            tree = parsed(where)
        except ValueError as error:
            raise InputError(f"where: {error}", path=("where",)) from None
        used = {name.id for name in free_names(tree) if not hasattr(builtins, name.id)}
    else:
        used = set(where or ())
    if names is not None:
        require(used, names, "where")


def require(used: Iterable[str], names: Sequence[str], key: str) -> None:
    """Raise InputError for a column that a key of the source speaks of, and that is not there."""
    for name in sorted(set(used) - set(names)):
        hint = near_or_all(name, names)
        raise InputError(f"{key}: there is no column {name!r}", hint=hint, path=(key, name))
