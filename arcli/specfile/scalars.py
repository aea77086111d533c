"""What a plain scalar means: the core schema of YAML 1.2.

``NO`` and ``on`` are text, ``010`` is ten, ``1e3`` a float, a date is text: PyYAML's own rules are
those of YAML 1.1. See https://yaml.org/spec/1.2.2/#103-core-schema.
"""

from __future__ import annotations

import math
import re
from typing import Any

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
MOST_DIGITS = 4300
"""Python's own limit on the digits of an integer in text."""


def resolve(text: str) -> Any:
    """Return the value of a plain scalar. Raises ValueError for a number that is too large."""
    if text in _WORDS:
        return _WORDS[text]
    # Almost all texts are decided by their first character.
    if not (text[0].isdigit() or text[0] in "+-."):
        return text
    # Python's own limit on digits would be an error without a place.
    decimal = _INT.fullmatch(text)
    if decimal or _BASED.fullmatch(text):
        if len(text) > MOST_DIGITS:
            raise ValueError(f"a number of {len(text):,} digits is too large; quote it if it is text")
        return int(text, 10 if decimal else 0)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise ValueError(f"{text} is too large for a float; quote it if it is text")
        return value
    if match := _INFINITE.fullmatch(text):
        return -math.inf if match[1] == "-" else math.inf
    return text


def tagged(tag: str, text: str) -> Any:
    """Return the value of a scalar with one of the core schema's tags. Raises ValueError."""
    if tag == "str":
        return text
    value = resolve(text)
    if tag == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kinds: dict[str, type] = {"int": int, "float": float, "bool": bool, "null": type(None)}
    if type(value) is not kinds[tag]:
        raise ValueError(f"{text!r} is not what the tag !!{tag} says")
    return value
