"""Inputs as people name them: a file's name, ``alpha=0.9 seed=3``."""

from __future__ import annotations

from typing import Any

from arcli.escape import one_line
from arcli.record import dump

LONGEST = 60
"""Characters of a label; the rest of a longer one is left out."""


def input_label(value: Any, index: int, *, longest: int = LONGEST) -> str:
    """Name an item by its input, in one harmless line; by its index where it has none.

    Of a long path the end is kept, of anything else the beginning.
    """
    if value is None:
        return f"item {index}"
    if isinstance(value, dict) and value and not _is_tagged(value):
        text = " ".join(f"{key.removeprefix('$$')}={_word(part)}" for key, part in value.items())
    else:
        text = _word(value)
    line = one_line(text) or '""'
    if len(line) <= longest:
        return line
    return "…" + line[1 - longest :] if "/" in line and " " not in line else line[: longest - 1] + "…"


def _word(value: Any) -> str:
    """Return a part of an input: text as it is, what JSON cannot hold by its repr, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and _is_tagged(value):
        return str(value.get("repr", next(iter(value.values()))))
    return dump(value).decode()


def _is_tagged(value: dict[str, Any]) -> bool:
    """Tell whether a mapping stands for a value that JSON lacks (``$float``, ``$pickle`` …)."""
    return any(key.startswith("$") and not key.startswith("$$") for key in value)
