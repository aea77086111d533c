"""The braces of patterns, each of which stands for several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from arcli.errors import InputError

MOST = 1000
"""Patterns that the braces of one may stand for."""


def brace_problems(pattern: str) -> Iterator[InputError]:
    """Yield what is wrong with the braces of a pattern."""
    import bracex

    try:
        bracex.expand(pattern, limit=MOST)
    except (bracex.ExpansionLimitException, RecursionError):
        yield InputError(f"the braces of {pattern!r:.60} are more than {MOST:,} patterns")
    braces = re.sub(r"\\.|\[[{}]\]", "", pattern)
    if braces.count("{") != braces.count("}"):
        hint = "[{] is a brace itself"
        yield InputError(f"{pattern!r} has a brace without its other half", hint=hint)


def expanded(patterns: Iterable[str]) -> Iterator[str]:
    """Yield patterns without braces: one of these may begin or end in what tells of its kind, ``/``."""
    import bracex

    for pattern in patterns:
        yield from bracex.expand(pattern, keep_escapes=True, limit=0)
