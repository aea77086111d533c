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
    # From what is certain to what is only near: the first trap that fits says what to do.
    mistake = _Found(error, message, text, mark.line, mark.column, getattr(error, "context_mark", None))
    if problem := _layout(mistake) or _quoting(mistake):
        return problem
    line, column, hint = _hint(mistake)
    return mistake.problem(hint, line, column)


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


def _layout(found: _Found) -> Problem | None:
    """Return a tab, a quote or bracket that is never closed, or keys that are not in one column."""
    source, column, context = found.source, found.column, found.context
    if "\t" in source[: column + 1]:
        tab = source.index("\t")
        hint = "indent with spaces" if source[:tab].strip() == "" else "use spaces"
        return found.text.problem("a tab, where YAML allows only spaces", found.line, tab, hint)
    # libyaml's scanner has a limit of its own, which it meets before the composer meets its.
    if "nesting depth" in found.said:
        return found.text.problem("nested too deeply", found.line, column)
    if context is None:
        return None
    # What is never closed runs to the end of the file, which says nothing: the place is its beginning.
    what = str(found.error.context).removeprefix("while parsing ").removeprefix("while scanning ")
    at_the_end = found.line >= found.text.text.count("\n") and column >= len(source)
    if at_the_end and ("flow" in what or "quoted" in what):
        what = what.replace("a flow sequence", "this [").replace("a flow mapping", "this {")
        what = what.replace("a quoted scalar", "this quote")
        return found.text.problem(f"{what} is never closed", context.line, context.column)
    # A line that begins beside the column of the keys around it, where the parser stumbles at once.
    indent = len(source) - len(source.lstrip())
    expected = "find expected" in found.said or "<block mapping start>" in found.said
    if expected and indent != context.column and indent == column:
        return found.problem("indent it as much as the keys that it belongs to")
    return None


def _quoting(found: _Found) -> Problem | None:
    """Return a hint for text that has a character which means something else in YAML."""
    # A backslash means something in double quotes, and `"\\d+"` is no escape that there is.
    text = _DOUBLE.search(found.source)
    if "escape" in found.said and text is not None:
        return found.problem(f"backslashes stay as they are in {quoted(text['inside'])}")
    # A pattern or a shell's word that begins like an alias, an anchor or a directive.
    if "alphabetic or numeric" in found.said or "cannot start any token" in found.said:
        for token in _TOKEN.finditer(found.source):
            if token[0][0] in "*&%@`" and token.start() <= found.column <= token.end():
                return found.problem(f"quote it: {quoted(token[0])}", found.line, token.start())
    return None


def undefined_alias(event: Any, text: Text) -> Problem:
    """Return a ``*name`` without an ``&name``: nearly always a pattern that was not quoted."""
    mark = event.start_mark
    message = f"*{event.anchor} is an alias in YAML, and there is no &{event.anchor}"
    return text.problem(message, mark.line, mark.column, _quote(text.line(mark.line)))


def _hint(found: _Found) -> tuple[int, int, str]:
    """Return the place and the hint: that of the trap, if one is in the line or in the one before."""
    context, text = found.context, found.text
    begun = context.line if context is not None else found.line
    # `key:value` without a space is text, which is noticed in the line below, at the next key's colon.
    below = context is None and found.line and "mapping values" in found.said
    number = begun - bool(below)
    if glued := _GLUED.match(text.line(number)):
        hint = f"YAML wants a space after the colon: {glued['key']}: {glued['value']}"
        return number, glued.start("key"), hint
    # The parser stumbles behind the mistake: the line it began in and the one before may have it.
    for number in dict.fromkeys((found.line, begun, found.line - 1)):
        if number < 0:
            continue
        # In `[${a}]` the braces are a map to YAML; outside of brackets they are text.
        source = text.line(number)
        if unquoted := _UNQUOTED.search(source):
            before = source[: unquoted.start()]
            if before.count("{") + before.count("[") > before.count("}") + before.count("]"):
                return number, unquoted.start(), f'quote it: "{unquoted[0]}"'
        if number in {found.line, begun} and (hint := _quote(source)):
            return found.line, found.column, hint
    return found.line, found.column, ""


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
