"""What people trip over in YAML, in words that say what to do."""

from __future__ import annotations

import re
from typing import Any

from arcli.errors import Problem
from arcli.spec.text import Text

_VALUE = re.compile(r"""^\s*(?:-\s+)?(?:[\w.-]+:\s+)?(?P<value>[^\s"'|>#].*?)\s*$""")
_TOKEN = re.compile(r"[^\s,\[\]{}]+")
_GLUED = re.compile(r"\s*(?P<key>\w+):(?P<value>[^\s:]\S*)\s*$")
_UNQUOTED = re.compile(r"""(?<!["'$\w])\$\{[^}]*\}""")


def syntax_problem(error: Any, text: Text) -> Problem:
    """What PyYAML found wrong, a YAMLError, with a hint where a known trap is near."""
    mark = getattr(error, "problem_mark", None)
    said = " ".join(str(getattr(error, "problem", None) or error).split())
    if mark is None:
        return text.problem(f"not YAML: {said}")
    line, column = mark.line, mark.column
    source = text.line(line)
    if column < len(source) and source[: column + 1].strip() == "" and source[column] == "\t":
        return text.problem(
            "a tab, where YAML allows only spaces", line, column, "indent with spaces"
        )
    if "\t" in source[: column + 1]:
        tab = source.index("\t")
        return text.problem("a tab, where YAML allows only spaces", line, tab, "use spaces")
    if "nesting depth" in said:  # libyaml's own limit, which its scanner meets first
        return text.problem("nested too deeply", line, column)
    context = getattr(error, "context_mark", None)
    if context is not None and line >= text.text.count("\n") and column >= len(source):
        what = str(error.context).removeprefix("while parsing ").removeprefix("while scanning ")
        if "flow" in what or "quoted" in what:
            what = what.replace("a flow sequence", "this [").replace("a flow mapping", "this {")
            what = what.replace("a quoted scalar", "this quote")
            return text.problem(f"{what} is never closed", context.line, context.column)
    if "alphabetic or numeric" in said:
        for token in _TOKEN.finditer(source):
            if token[0][0] in "*&" and token.start() <= column <= token.end():
                hint = f"quote it: {quoted(token[0])}"
                return text.problem(f"not YAML: {said}", line, token.start(), hint)
    if context is not None and (glued := _GLUED.match(text.line(context.line))):
        hint = f"YAML wants a space after the colon: {glued['key']}: {glued['value']}"
        return text.problem(f"not YAML: {said}", context.line, glued.start("key"), hint)
    line, column, hint = _hint(error, text, line, column)
    return text.problem(f"not YAML: {said}", line, column, hint)


def undefined_alias(event: Any, text: Text) -> Problem:
    """``*name`` without an ``&name``: nearly always a pattern that was not quoted."""
    mark = event.start_mark
    message = f"*{event.anchor} is an alias in YAML, and there is no &{event.anchor}"
    return text.problem(message, mark.line, mark.column, _quote(text.line(mark.line)))


def _hint(error: Any, text: Text, line: int, column: int) -> tuple[int, int, str]:
    """The place and the hint: that of the trap, if one is in the line or in the one before."""
    context = getattr(error, "context_mark", None)
    lines = dict.fromkeys([line, *([context.line] if context is not None else []), line - 1])
    for number in (number for number in lines if number >= 0):
        source = text.line(number)
        if (found := _UNQUOTED.search(source)) and _in_flow(source, found.start()):
            quoted = f'"{found[0]}"'
            return number, found.start(), f"quote it: {quoted}"
        if number != line and number != getattr(context, "line", line):
            continue
        if hint := _quote(source):
            return line, column, hint
    return line, column, ""


def _in_flow(source: str, place: int) -> bool:
    before = source[:place]
    return before.count("{") + before.count("[") > before.count("}") + before.count("]")


def _quote(source: str) -> str:
    """How the value in a line is written as text, if it looks like text and is not in YAML."""
    match = _VALUE.match(source)
    if match is None:
        return ""
    value = match["value"]
    trap = (
        value.startswith(("lambda", "*", "&", "!", "%", "@", "`", "{"))
        or ": " in value
        or value.endswith(":")
    )
    if not trap or (value.startswith("{") and value.endswith("}") and value.count("{") == 1):
        return ""
    return f"quote it: {quoted(value)}"


def quoted(value: str) -> str:
    """A text as YAML reads it back: in the quotes that need the fewest escapes."""
    if '"' not in value and "\\" not in value:
        return f'"{value}"'
    return "'" + value.replace("'", "''") + "'"
