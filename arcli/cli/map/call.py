"""The command of ``arcli map`` as a spec has it: every item has its place in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from arcli.engine.shell import places
from arcli.engine.template import placeholders, words_in_braces
from arcli.errors import UsageError

_SHORT = re.compile(r"\{(?=[^}])([1-9]\d*)?(/\.|//|/|\.|#|%)?\}(?!\})")
"""GNU parallel's placeholders, https://www.gnu.org/software/parallel/man.html, but ``{}`` itself."""
_PARTS = {None: "", ".": "root", "/": "name", "//": "parent", "/.": "stem"}
_OF_THE_RUN = {"#": "{number}", "%": "{slot}"}


def literal(text: str) -> str:
    """Return a text that a spec takes as it is: there are no ``${…}`` of a spec's on a command line."""
    return text.replace("${", "$${")


def shell_string(text: str, names: Sequence[str]) -> str:
    """Give the items their places in a shell string; they are appended where no place is named.

    ``names`` are those of the inputs; none: there is one input, whose items are ``{}``. What stands
    in quotes stays as it is. Raises UsageError for a place that no input has.
    """
    short = {match.start(): match for match in _SHORT.finditer(text)}
    parts, end = [], 0
    for start, inside in places(text, short):
        match = short[start]
        if inside is None:
            parts += [text[end:start], _spelled(match, names)]
            end = match.end()
    text = "".join([*parts, text[end:]])
    known = names or [""]
    named = any(place.inside is None or place.name in known for place in placeholders(text))
    return text if named else " ".join([text, *_all(names)])


def argv(words: Sequence[str], names: Sequence[str]) -> list[str]:
    """Give the items their places in a program's arguments likewise, which no shell reads."""
    spelled = [place(word, names) for word in words]
    named = any(True for word in spelled for _ in words_in_braces(word))
    return spelled if named else [*spelled, *_all(names)]


def place(text: str, names: Sequence[str]) -> str:
    """Spell the short placeholders of a text that no shell reads. Raises UsageError."""
    return _SHORT.sub(lambda match: _spelled(match, names), text)


def _spelled(match: re.Match[str], names: Sequence[str]) -> str:
    """Return the name that a spec has for a short placeholder. Raises UsageError where there is none."""
    number, kind = match[1], match[2]
    if kind in _OF_THE_RUN and number is None:
        return _OF_THE_RUN[kind]
    part = _PARTS.get(kind)
    if part is None or (number is None and names):
        hint = (
            f"say which: {{1{kind}}}" if part is not None else "arcli map --help has those that there are"
        )
        raise UsageError(f"the place {match[0]} means nothing here", hint=hint)
    if int(number or 1) > max(1, len(names)):
        inputs = f"there are {len(names)} inputs" if names else "there is one input"
        raise UsageError(
            f"the place {match[0]} has no input: {inputs}", hint=f"{{{match[0]}}} is {match[0]} itself"
        )
    key = names[int(number or 1) - 1] if names else ""
    return f"{{{'.'.join(filter(None, (key, part)))}}}"


def _all(names: Sequence[str]) -> list[str]:
    return [f"{{{name}}}" for name in names] or ["{}"]
