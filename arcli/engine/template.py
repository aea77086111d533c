"""The texts of a command, with names in braces in the places of an item's values."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import PurePath
from typing import Any, NamedTuple

from .encode import to_tree
from .shell import places

_NAME = r"([A-Za-z_]\w*(?:\.\w+)*)?"
GIVEN = "arcli."
"""How the names of what is given for all items begin; no item's do."""
_PLAIN = r"[^\s{}'\"`$\\,:;&|<>()]*"
"""What in doubled braces stands for itself in single ones, as ``{{1}}`` does for ``{1}``."""
_BRACES = re.compile(rf"\{{\{{(?!{GIVEN}){_PLAIN}\}}\}}|(?<!\$)\{{{_NAME}\}}")
_STRANGE = re.compile(
    rf"(?<![\${{])\{{(?!\}}|{_NAME}\}}|[^{{}}]*\.\.[^{{}}]*\}}){_PLAIN}\}}|\{{=.*?=\}}", re.DOTALL
)
"""Braces that look like a placeholder of another tool, and are none here."""
COUNTED = ("index", "number", "attempt", "slot")
"""What every item has: its number from 0, from 1, its attempt from 1, its engine's slot from 0."""
PATH_PARTS = ("stem", "suffix", "parent", "name", "root", "path")
"""Parts of a path; the root is all of it but its suffix, as in ``os.path.splitext``."""


class BadTemplate(ValueError):
    """A placeholder that cannot be filled in; the message names it."""


class Names(Mapping[str, str]):
    """What placeholders stand for; ``{}`` is under the empty name.

    Texts are made when they are asked for: what is not used may have none.
    """

    def __init__(
        self,
        item: Any,
        index: int,
        given: Mapping[str, Any] | None = None,
        *,
        attempt: int = 1,
        slot: int = 0,
    ) -> None:
        keys = item if isinstance(item, Mapping) else {}
        subject = next(iter(keys.values())) if len(keys) == 1 else item
        self.counted = dict(zip(COUNTED, (index, index + 1, attempt, slot), strict=True))
        self._values = {"": subject, **self.counted, **{str(key): keys[key] for key in keys}}
        self._values.update(given or {})
        paths = [value for value in (keys.values() if keys else [item]) if _is_path(value)]
        self._path = paths[0] if len(paths) == 1 else None

    def __getitem__(self, name: str) -> str:
        if name in self._values:
            return text_of(self._values[name])
        key, _, part = name.rpartition(".")
        value = self._values.get(key) if key else self._path
        if part not in PATH_PARTS or not _is_path(value):
            raise KeyError(name)
        return _parts(PurePath(text_of(value)), part)

    def __iter__(self) -> Iterator[str]:
        yield from self._values
        if self._path is not None:
            yield from (part for part in PATH_PARTS if part not in self._values)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _is_path(value: Any) -> bool:
    return isinstance(value, str | bytes | os.PathLike)


def _parts(path: PurePath, part: str) -> str:
    if part == "path":
        return os.path.abspath(path)  # noqa: PTH100 - as text
    if part == "root":
        return os.path.splitext(path)[0]  # noqa: PTH122 - as text
    return str(getattr(path, part))


def text_of(value: Any) -> str:
    """Return a value as a command's argument: text as it is, numbers as Python prints them, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return os.fsdecode(value)
    if value is None or isinstance(value, bool | list | dict):
        return json.dumps(to_tree(value)[0])
    return str(value)


class Placeholder(NamedTuple):
    """A name in braces in a shell string; ``inside``: what it must not stand in, or None."""

    name: str
    start: int
    inside: str | None


def escaped(text: str) -> str:
    """Return a text that means itself, braces and all."""
    return _BRACES.sub(r"{\g<0>}", text)


def words_in_braces(text: str) -> Iterator[Placeholder]:
    """Yield the placeholders of a text that no shell reads."""
    for match in _BRACES.finditer(text):
        if not match[0].startswith("{{"):
            yield Placeholder(match[1] or "", match.start(), None)


def placeholders(text: str) -> Iterator[Placeholder]:
    """Yield the placeholders of a shell string, with the quoting that they stand in."""
    for piece in _pieces(text):
        if piece.name is not None:
            yield Placeholder(piece.name, piece.start, piece.inside)


def strange_braces(text: str, *, shell: bool) -> Iterator[Placeholder]:
    """Yield braces that are neither a placeholder nor what a program or a shell means by them.

    Plain are braces that hold blanks, quotes, commas, colons, brackets, ``..`` or nothing that could
    be a name; in a shell string all that stand in quotes.
    """
    found = {match.start(): match for match in _STRANGE.finditer(text)}
    inside = dict(places(text, found)) if shell else dict.fromkeys(found)
    for start, quoting in inside.items():
        yield Placeholder(found[start][0], start, quoting)


class _Piece(NamedTuple):
    """A part of a shell string: braces, and the text before them. ``name``: None if they are just
    braces, which are written as ``plain``.
    """

    before: str
    start: int
    name: str | None
    inside: str | None
    plain: str


@lru_cache(maxsize=32)
def _pieces(text: str) -> tuple[_Piece, ...]:
    matches = {match.start(): match for match in _BRACES.finditer(text)}
    pieces, end = [], 0
    for start, inside in places(text, matches):
        braces, name = matches[start][0], matches[start][1] or ""
        doubled = braces.startswith("{{")
        plain = braces[1:-1] if doubled else braces
        pieces.append(_Piece(text[end:start], start, None if doubled else name, inside, plain))
        end = start + len(braces)
    return (*pieces, _Piece(text[end:], len(text), None, None, ""))


def shell_text(text: str, names: Mapping[str, str], write: Mapping[str, str]) -> str:
    """Return a shell string with what ``write`` has for each name in its place. Raises BadTemplate.

    Braces in quotes are the program's own, unless they name something of the item's: that is what
    a column of a table can do; others are found before the run.
    """
    parts = []
    for piece in _pieces(text):
        parts.append(piece.before)
        if piece.name is None or (piece.inside is not None and piece.name not in names):
            parts.append(piece.plain)
        elif piece.inside is None:
            parts.append(write[_known(piece.name, names)])
        else:
            message = f"{{{piece.name}}} stands inside {piece.inside}"
            raise BadTemplate(f"{message}: leave the quotes out")
    return "".join(parts)


class _Variables(dict[str, str]):
    """A shell variable for each name that is asked for."""

    def __missing__(self, name: str) -> str:
        self[name] = f'"${{arcli_{len(self) + 1}}}"'
        return self[name]


def shell_call(text: str, names: Mapping[str, str]) -> list[str]:
    """Return a shell string and its values as an argv: the values travel as positional parameters.

    Nothing of a value ever becomes shell text: each placeholder turns into ``"${arcli_1}"``,
    ``"${arcli_2}"``, …. These are set from the positional parameters before all else, because
    functions and ``set --`` have positional parameters of their own; they are not exported, because
    an environment has no room for large values. Raises BadTemplate.
    """
    variables = _Variables()
    script = shell_text(text, names, variables)
    if variables:
        assignments = " ".join(f"arcli_{at}=${{{at}}}" for at in range(1, len(variables) + 1))
        script = f"{assignments}; {script}"
    return ["/bin/sh", "-c", script, "sh", *(names[name] for name in variables)]


def filled(text: str, names: Mapping[str, str]) -> str:
    """Return a text that no shell reads with its placeholders filled in. Raises BadTemplate."""

    def fill(match: re.Match[str]) -> str:
        if match[0].startswith("{{"):
            return match[0][1:-1]
        return names[_known(match[1] or "", names)]

    return _BRACES.sub(fill, text)


def argv_call(argv: list[str], names: Mapping[str, str]) -> list[str]:
    """Return an argv list with its placeholders filled in. Raises BadTemplate."""
    return [filled(part, names) for part in argv]


def _known(name: str, names: Mapping[str, str]) -> str:
    if name in names:
        return name
    listing = ", ".join(f"{{{key}}}" for key in names if "." not in key)
    message = f"there is no {{{name}}} in this item, which has {listing}"
    raise BadTemplate(f"{message}; {{{{{name}}}}} is {{{name}}} itself")
