"""The command of ``arcli map`` as a spec has it: every item has its place in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from arcli.engine.shell import places
from arcli.engine.template import placeholders, words_in_braces

_NUMBERED = re.compile(r"\{([1-9]\d*)\}")


def literal(text: str) -> str:
    """A text that a spec takes as it is: there are no ``${…}`` of a spec's on a command line."""
    return text.replace("${", "$${")


def shell_string(text: str, names: Sequence[str]) -> str:
    """A shell string with the items in it: ``{1}`` by its name, appended where no place is named.

    ``names`` are those of the inputs; none: there is one input, whose items are ``{}``.
    """
    numbered = {match.start(): match for match in _NUMBERED.finditer(text)}
    parts, end = [], 0
    for start, inside in places(text, numbered):
        match = numbered[start]
        if inside is None:
            parts += [text[end:start], _named(match, names)]
            end = match.end()
    text = "".join([*parts, text[end:]])
    named = any(place.inside is None or place.name in names for place in placeholders(text))
    return text if named else " ".join([text, *_all(names)])


def argv(words: Sequence[str], names: Sequence[str]) -> list[str]:
    """A program and its arguments, which no shell reads, with the items in them likewise."""
    filled = [_NUMBERED.sub(lambda match: _named(match, names), word) for word in words]
    return (
        filled if any(True for word in filled for _ in words_in_braces(word)) else [*filled, *_all(names)]
    )


def _named(match: re.Match[str], names: Sequence[str]) -> str:
    """The name of the input with this number; what has no such input stays, and is told later."""
    number = int(match[1])
    if not names and number == 1:
        return "{}"
    return f"{{{names[number - 1]}}}" if number <= len(names) else match[0]


def _all(names: Sequence[str]) -> list[str]:
    return [f"{{{name}}}" for name in names] or ["{}"]
