"""Problems inside a text of the spec: at their own line and column."""

from __future__ import annotations

from arcli.errors import Problem
from arcli.specfile.places import Places
from arcli.syntax import Fault


def in_text(fault: Fault, places: Places, path: tuple[str | int, ...]) -> Problem:
    """Return a fault at its place in the file, as far as the text stands there as it is."""
    node, _ = places.root.follow(path)
    # A block's lines are indented in the file and not in the value.
    if node.block:
        line = node.line + 1 + fault.line
        source = node.text.line(line)
        indent = len(source) - len(source.lstrip())
        within = node.value.split("\n")[fault.line] if fault.line < node.value.count("\n") + 1 else ""
        indent -= len(within) - len(within.lstrip())
        return node.text.problem(fault.message, line, max(0, indent) + fault.column, fault.hint)
    # A folded or escaped text is not in the file as it is in the value: then its
    # beginning is the place.
    start = node.text.line(node.line).find(str(node.value).strip(), node.column)
    if start < 0 or fault.line:
        return node.problem(fault.message, fault.hint)
    return node.text.problem(fault.message, node.line, start + fault.column, fault.hint)
