"""Which records are meant: conditions such as ``lr > 0.1 and status == "error"``, and their columns."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping
from typing import Any

from arcli.engine.encode import from_tree
from arcli.errors import UsageError
from arcli.suggest import did_you_mean
from arcli.syntax import free_names

FIELDS = (
    "job", "index", "status", "reason", "seconds", "attempt", "engine_id", "slot", "stdout", "stderr",
    "truncated", "exact", "submitted", "started", "completed", "received", "chunk", "msg_id", "key", "run",
    "replayed",
)  # fmt: skip


class Dotted(dict[str, Any]):
    """A mapping whose keys can be written as attributes, as in ``value.loss``; None where it has none."""

    def __getattr__(self, name: str) -> Any:
        return _dotted(self.get(name))


class Condition:
    """An expression of a record's fields, and of the keys of its input, that is true or not.

    ``input``, ``value`` and ``error`` are the record's; a key of the input stands for itself unless a
    field is called so. Where a name is not there, or cannot be compared, a record does not match.
    Raises UsageError for what is no expression.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError) as error:
            message = f"--where {text!r} is no expression: {getattr(error, 'msg', None) or error}"
            raise UsageError(message, hint="""such as 'lr > 0.1 and status == "error"'""") from None
        self._code = compile(tree, "where", "eval")
        self._names = {name.id for name in free_names(tree) if not hasattr(builtins, name.id)}
        self._missing = set(self._names)
        self._known: set[str] = set()

    def __call__(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record matches."""
        names = names_of(record)
        self._missing.difference_update(names)
        self._known.update(names)
        try:
            return bool(eval(self._code, {**dict.fromkeys(self._names), **names}))  # noqa: S307 - the caller's own
        except Exception:  # noqa: BLE001 - None that is compared, a text that is no number
            return False

    def check(self) -> None:
        """Raise UsageError for a name that none of the records had that were asked about."""
        if self._known:
            for name in sorted(self._missing):
                hint = did_you_mean(name, self._known) or f"there are: {', '.join(sorted(self._known))}"
                raise UsageError(f"--where: no item has {name!r}", hint=hint)


def names_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record has under which names, for conditions, sorting and columns."""
    names = {name: record.get(name) for name in FIELDS}
    given = from_tree(record.get("input"))
    names["input"], names["value"] = _dotted(given), _dotted(from_tree(record.get("value")))
    names["error"] = _dotted(record.get("error"))
    if isinstance(given, dict):
        names = {**{str(key): _dotted(value) for key, value in given.items()}, **names}
    return names


def cell_of(record: Mapping[str, Any], column: str) -> Any:
    """Return what a record has in a column: a name, or names with dots between; None where there is
    nothing.
    """
    names = names_of(record)
    if column in names:
        return names[column]
    value: Any = names
    for part in column.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def sort_key(value: Any) -> tuple[int, Any]:
    """Order values of several kinds: numbers, then texts, then the rest, nothing last."""
    if isinstance(value, bool | int | float):
        return (0, value) if value == value else (3, 0)
    if isinstance(value, str):
        return (1, value)
    return (3, 0) if value is None else (2, repr(value))


def _dotted(value: Any) -> Any:
    return Dotted(value) if isinstance(value, dict) else value
