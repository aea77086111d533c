"""Lines of JSON and what is in them, where the fast library alone would lose something."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

# orjson reads an integer beyond 64 bits as a float, and refuses lone surrogates.
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


def decode(line: bytes) -> dict[str, Any]:
    """One record's line as a dict; raises ValueError for what is not a JSON object."""
    tree = _fast(line) if _LONG_NUMBER.search(line) is None else _exact(line)
    if not isinstance(tree, dict):
        raise ValueError("not a record")
    return tree


def dump(tree: Any) -> bytes:
    """Compact JSON of plain data: integers of any size, surrogates as escapes."""
    try:
        return orjson.dumps(tree)
    except TypeError:
        return json.dumps(tree, separators=(",", ":")).encode("ascii")


def _fast(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return _exact(line)


def _exact(line: bytes) -> Any:
    return json.loads(line)
