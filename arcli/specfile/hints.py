"""What people trip over in YAML, in words that say what to do."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from arcli.errors import Problem
from arcli.specfile.tree import Text
from arcli.suggest import quoted

_VALUE = re.compile(r"""^\s*+(?:-\s+)?+(?P<key>[\w.-]+:\s+)?+(?P<value>[^\s"'|>#].*?)\s*$""")
_TOKEN = re.compile(r"[^\s,\[\]{}]+")
_DOUBLE = re.compile(r'"(?P<inside>[^"]*)"')
_GLUED = re.compile(r"\s*(?P<key>\w+):(?P<value>[^\s:]\S*)\s*$")
_UNQUOTED = re.compile(r"""(?<!["'$\w])\$\{[^}]*\}""")


def syntax_problem(error: Any, text: Text) -> Problem:
    """Return what PyYAML found wrong, a YAMLError, with a hint where a known trap is near."""
    mark = getattr(error, "problem_mark", None)
    message = " ".join(str(getattr(error, "problem", None) or error).split())
    if mark is None:
        return text.problem(f"not YAML: {message}")
    mistake = _Found(error, message, text, mark.line, mark.column, getattr(error, "context_mark", None))
    for trap in (_tab, _too_deep, _unclosed, _escape, _indent, _no_plain_text, _glued):
        if problem := trap(mistake):
            return problem
    line, column, hint = _hint(error, text, mark.line, mark.column)
    return text.problem(f"not YAML: {message}", line, column, hint)


class _Found(NamedTuple):
    """What PyYAML said, where it noticed, and the beginning of what it was reading there."""

    error: Any
    said: str
    text: Text
    line: int
    column: int
    context: Any

    @property
    def source(self) -> str:
        return self.text.line(self.line)

    def problem(self, hint: str, line: int | None = None, column: int | None = None) -> Problem:
        line, column = self.line if line is None else line, self.column if line is None else column
        return self.text.problem(f"not YAML: {self.said}", line, column, hint)


def _tab(found: _Found) -> Problem | None:
    source, column = found.source, found.column
    if "\t" not in source[: column + 1]:
        return None
    tab = source.index("\t")
    hint = "indent with spaces" if source[:tab].strip() == "" else "use spaces"
    return found.text.problem("a tab, where YAML allows only spaces", found.line, tab, hint)


def _too_deep(found: _Found) -> Problem | None:
    """Return the scanner of libyaml has a limit of its own, which it meets first."""
    if "nesting depth" not in found.said:
        return None
    return found.text.problem("nested too deeply", found.line, found.column)


def _unclosed(found: _Found) -> Problem | None:
    context, text = found.context, found.text
    at_the_end = found.line >= text.text.count("\n") and found.column >= len(found.source)
    if context is None or not at_the_end:
        return None
    what = str(found.error.context).removeprefix("while parsing ").removeprefix("while scanning ")
    if "flow" not in what and "quoted" not in what:
        return None
    what = what.replace("a flow sequence", "this [").replace("a flow mapping", "this {")
    what = what.replace("a quoted scalar", "this quote")
    return text.problem(f"{what} is never closed", context.line, context.column)


def _escape(found: _Found) -> Problem | None:
    """Return a backslash in double quotes, where it means something."""
    text = _DOUBLE.search(found.source)
    if "escape" not in found.said or text is None:
        return None
    return found.problem(f"backslashes stay as they are in {quoted(text['inside'])}")


def _indent(found: _Found) -> Problem | None:
    if "find expected" not in found.said and "<block mapping start>" not in found.said:
        return None
    indent = len(found.source) - len(found.source.lstrip())
    if found.context is None or indent == found.context.column or indent != found.column:
        return None
    return found.problem("indent it as much as the keys that it belongs to")


def _no_plain_text(found: _Found) -> Problem | None:
    """Return a hint for text that begins with a character which means something else in YAML."""
    if "alphabetic or numeric" in found.said or "cannot start any token" in found.said:
        for token in _TOKEN.finditer(found.source):
            if token[0][0] in "*&%@`" and token.start() <= found.column <= token.end():
                return found.problem(f"quote it: {quoted(token[0])}", found.line, token.start())
    return None


def _glued(found: _Found) -> Problem | None:
    """``key:value`` is noticed in the line below, where the next key is."""
    below = found.line and "mapping values" in found.said
    line = found.context.line if found.context is not None else found.line - bool(below)
    glued = _GLUED.match(found.text.line(line))
    if glued is None:
        return None
    hint = f"YAML wants a space after the colon: {glued['key']}: {glued['value']}"
    return found.problem(hint, line, glued.start("key"))


def undefined_alias(event: Any, text: Text) -> Problem:
    """``*name`` without an ``&name``: nearly always a pattern that was not quoted."""
    mark = event.start_mark
    message = f"*{event.anchor} is an alias in YAML, and there is no &{event.anchor}"
    return text.problem(message, mark.line, mark.column, _quote(text.line(mark.line)))


def _hint(error: Any, text: Text, line: int, column: int) -> tuple[int, int, str]:
    """Return the place and the hint: that of the trap, if one is in the line or in the one before."""
    context = getattr(error, "context_mark", None)
    # The parser stumbles behind the mistake: the line it began in and the one
    # before may have it.
    lines = dict.fromkeys([line, *([context.line] if context is not None else []), line - 1])
    for number in (number for number in lines if number >= 0):
        source = text.line(number)
        if (unquoted := _UNQUOTED.search(source)) and _in_flow(source, unquoted.start()):
            quoted = f'"{unquoted[0]}"'
            return number, unquoted.start(), f"quote it: {quoted}"
        if number != line and number != getattr(context, "line", line):
            continue
        if hint := _quote(source):
            return line, column, hint
    return line, column, ""


def _in_flow(source: str, place: int) -> bool:
    before = source[:place]
    return before.count("{") + before.count("[") > before.count("}") + before.count("]")


def _quote(source: str) -> str:
    """Tell how the value in a line is written as text, if it looks like text and is not in YAML."""
    match = _VALUE.match(source)
    if match is None:
        return ""
    value = match["value"]
    # Text that begins or goes on in a way that means something to YAML.
    trap = (
        value.startswith(("lambda", "*", "&", "!", "%", "@", "`", "{"))
        or ": " in value
        or (match["key"] is not None and value.endswith(":"))
    )
    if not trap or (value.startswith("{") and value.endswith("}") and value.count("{") == 1):
        return ""
    return f"quote it: {quoted(value)}"
