"""Problems for people: the place, the line, a caret, and what to do next."""

from __future__ import annotations

import click

from arcli.errors import Problem
from arcli.escape import plain

WIDEST = 100
"""Characters of a source line that are shown, around the place."""
TAB = "→"
"""A tab as one column, that can be seen."""


def render(problem: Problem, *, color: bool = False) -> str:
    """Say in a few lines what is wrong and where; safe to print whatever is in the file."""
    place, caret = f"{plain(problem.place)}:", "^"
    if color:
        place, caret = click.style(place, bold=True), click.style(caret, fg="red", bold=True)
    lines = [f"{place} {plain(problem.message)}"]
    if problem.source is not None and problem.source.strip() and problem.line is not None:
        source, column = _window(problem.source.replace("\t", TAB), problem.column)
        number = str(problem.line)
        lines.append(f"  {number} | {plain(source).rstrip()}")
        if column is not None:
            lines.append(f"  {' ' * len(number)} | {' ' * (column - 1)}{caret}")
    if problem.hint:
        lines.append(f"  hint: {plain(problem.hint)}")
    return "\n".join(lines)


def _window(source: str, column: int | None) -> tuple[str, int | None]:
    """Return the part of a line around a column, and the column within it, counted from 1."""
    if len(source) <= WIDEST:
        return source, column
    start = max(0, (column or 1) - WIDEST // 2)
    part = source[start : start + WIDEST]
    before, after = "…" if start else "", "…" if start + WIDEST < len(source) else ""
    inside = None if column is None else column - start + len(before)
    return f"{before}{part}{after}", inside
