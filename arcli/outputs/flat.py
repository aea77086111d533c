"""Records as rows: nested parts spread into columns that are learnt as records pass."""

from __future__ import annotations

from typing import Any

from arcli.record import dump

MOST_INPUTS = 1000
"""Keys of inputs that get a column of their own; an input with others stays in one piece."""
_HEAD = ("job", "index", "status", "reason")
_TAIL = (
    "error.type", "error.message", "seconds", "attempt", "engine_id", "slot", "stdout", "stderr",
    "truncated", "exact", "submitted", "started", "completed", "received", "chunk", "msg_id", "key",
    "run",
)  # fmt: skip
_OPTIONAL = ("replayed", "usage")


class Columns:
    """The columns of a table of records. ``learn`` from every record, then make rows."""

    def __init__(self) -> None:
        self._inputs: dict[str, None] = {}
        self._whole = False
        self._optional: set[str] = set()

    def learn(self, record: dict[str, Any]) -> None:
        """See which columns a record needs."""
        self._optional.update(name for name in _OPTIONAL if record.get(name))
        spread = spread_keys(record.get("input"))
        if spread is not None and len(self._inputs.keys() | spread.keys()) <= MOST_INPUTS:
            self._inputs.update(spread)
        else:
            self._whole = True

    @property
    def names(self) -> list[str]:
        """The columns from left to right."""
        columns = ["input"] if self._whole or not self._inputs else []
        inputs = [f"input.{_bare(key)}" for key in self._inputs]
        optional = [name for name in _OPTIONAL if name in self._optional]
        return [*_HEAD, *columns, *inputs, "value", *_TAIL, *optional]

    def row(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record's cells by column: scalars, None, or JSON text of what is nested."""
        cells = {name: scalar(value) for name, value in record.items() if name != "input"}
        cells.pop("error", None)
        if error := record.get("error"):
            cells["error.type"], cells["error.message"] = error["type"], error["message"]
        input_: Any = record.get("input")
        spread = spread_keys(input_)
        if spread is None or not spread.keys() <= self._inputs.keys():
            cells["input"] = scalar(input_)
        else:
            cells.update({f"input.{_bare(key)}": scalar(input_[key]) for key in spread})
        return cells


def spread_keys(value: Any) -> dict[str, None] | None:
    """Return the keys of a mapping that may be spread, None for anything else, tagged values included."""
    if not isinstance(value, dict) or not value:
        return None
    tagged = any(key.startswith("$") and not key.startswith("$$") for key in value)
    return None if tagged else dict.fromkeys(value)


def scalar(value: Any) -> Any:
    """Return a scalar as it is, NaN and the infinities as floats, anything else as compact JSON text."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict) and len(value) == 1 and "$float" in value:
        return float(value["$float"])
    if isinstance(value, dict) and len(value) == 1 and "$int" in value:
        return value["$int"]
    return dump(value).decode()


def _bare(key: str) -> str:
    return key[1:] if key.startswith("$$") else key
