"""What the placeholders of a command's texts stand for, and the texts with it filled in.

Where the placeholders are is found out once, by the client (``arcli.placeholders``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from numbers import Number
from pathlib import PurePath
from typing import Any

from .encode import Unfit, to_tree

Part = str | tuple[str, str, str | None]
Template = Sequence[Part]
"""A text in parts: text as it is, and placeholders: ``(name, braces, inside)``.

``braces`` is how one is written, ``inside`` what of the shell's it stands in, None: in nothing."""
COUNTED = ("index", "number", "attempt", "slot")
"""What every item has: its number from 0, from 1, its attempt from 1, its engine's slot from 0."""
PATH_PARTS = ("stem", "suffix", "parent", "name", "root", "path")
"""Parts of a path; the root is all of it but its suffix, as in ``os.path.splitext``."""


_ENDS = r"[^\x00-/:-@\[-^`{-\x7f\s]"
_BETWEEN = r"[^\x00-,/:-@\[-^`{-\x7f\s.]"
_PIECE = rf"{_ENDS}(?:{_BETWEEN}*{_ENDS})?"
NAME = rf"(?=[0-9]*[^0-9}}]){_PIECE}(?:\.{_PIECE})*"
"""What can be named in braces: letters, digits, ``_``, signs beyond ASCII, between these ``-`` and ``.``.

Not digits alone, which in braces are a number of times to patterns, and an input to GNU parallel."""


class BadTemplate(ValueError):
    """A placeholder that cannot be filled in; the message names it."""


class Names(Mapping[str, str]):
    """What placeholders stand for; ``{}`` is under the empty name.

    Texts are made when they are asked for: what is not used may have none. Of a ``batch`` of so many
    items, ``{}`` is all of them, ``{arg1}`` the first; what the last batch has not is empty.
    """

    def __init__(
        self,
        item: Any,
        index: int,
        constants: Mapping[str, Any] | None = None,
        *,
        attempt: int = 1,
        slot: int = 0,
        batch: int = 0,
    ) -> None:
        # A batch has no keys of its own: its items are counted, and `{}` is all of them.
        self._batch = [text_of(_subject(part)) for part in item] if batch else None
        subject = _subject(item)
        if self._batch is not None:
            texts = [*self._batch, *[""] * (batch - len(self._batch))]
            subject, item = " ".join(self._batch), {f"arg{at}": text for at, text in enumerate(texts, 1)}
        keys = item if isinstance(item, Mapping) else {}
        self.counted = dict(zip(COUNTED, (index, index + 1, attempt, slot), strict=True))
        self._values = {"": subject, **self.counted, **{str(key): keys[key] for key in keys}}
        self._values.update(constants or {})
        # A column can be without a name, as the first that pandas writes is: `{}` is the item all the same.
        self._values[""] = subject
        # `{stem}` alone is clear only where one value can be a path.
        paths = [value for value in (keys.values() if keys else [item]) if _is_path(value) and not batch]
        self._path = paths[0] if len(paths) == 1 else None

    def __getitem__(self, name: str) -> str:
        if name in self._values:
            return text_of(self._values[name])
        key, _, part = name.rpartition(".")
        value = self._values.get(key) if key else self._path
        if part not in PATH_PARTS or not _is_path(value):
            raise KeyError(name)
        text = text_of(value)
        path = PurePath(text)
        if part == "path":
            return os.path.abspath(path)  # noqa: PTH100 - as text
        # Of a name that ends in a dot, PurePath's stem is all of it, and not so in Python 3.14.
        if part in {"stem", "suffix"}:
            return os.path.splitext(path.name)[part == "suffix"]  # noqa: PTH122
        text_part = os.path.splitext(path)[0] if part == "root" else str(getattr(path, part))  # noqa: PTH122
        # What `find .` writes before a name keeps one that begins with a dash from being an option.
        spelled_out = text.startswith("./") and part in {"root", "parent"} and text_part != "."
        return f"./{text_part}" if spelled_out else text_part

    def words(self, name: str) -> list[str]:
        """Return what a placeholder becomes in a command: one word, or one for each item of a batch."""
        return self._batch if name == "" and self._batch is not None else [self[name]]

    def __iter__(self) -> Iterator[str]:
        yield from self._values
        if self._path is not None:
            yield from (part for part in PATH_PARTS if part not in self._values)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _subject(item: Any) -> Any:
    """Return what ``{}`` means: the item, or of a mapping of one key what that key has."""
    return next(iter(item.values())) if isinstance(item, Mapping) and len(item) == 1 else item


def _is_path(value: Any) -> bool:
    return isinstance(value, str | bytes | os.PathLike)


def is_name(key: str) -> bool:
    """Tell whether a key, or the empty one, which is the item, can stand in braces."""
    return not key or re.fullmatch(NAME, key) is not None


def text_of(value: Any) -> str:
    """Return a value as a command's argument: text as it is, numbers as Python prints them, else JSON.

    What has no JSON form is what ``str`` makes of it.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return os.fsdecode(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, Number):
        return str(value)
    # As it stands in a record: what `str` makes of a tuple or an array is for people, and lacks the middle
    # of a long one.
    try:
        tree = to_tree(value)[0]
    except Unfit:
        return str(value)
    return tree if isinstance(tree, str) else json.dumps(tree)


def shell_text(template: Template, names: Mapping[str, str], write: Mapping[str, str]) -> str:
    """Return a shell string with what ``write`` has for each name in its place. Raises BadTemplate.

    Braces in quotes are the program's own, unless they name something of the item's: that is what
    a column of a table can do; others are found before the run.
    """
    parts = []
    for part in template:
        if isinstance(part, str):
            parts.append(part)
            continue
        name, braces, inside = part
        # Only a word of its own can be put in safely; what stands in quotes is a program's own text.
        if inside is None:
            parts.append(write[_checked(name, names)])
        elif name in names:
            raise BadTemplate(f"{braces} stands inside {inside}: leave the quotes out")
        else:
            parts.append(braces)
    return "".join(parts)


class _Variables(dict[str, str]):
    """Shell variables for each name that is asked for; ``texts`` are their values."""

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__()
        self._names = names
        self.texts: list[str] = []

    def __missing__(self, name: str) -> str:
        texts = self._names.words(name) if isinstance(self._names, Names) else [self._names[name]]
        first = len(self.texts) + 1
        self.texts += texts
        self[name] = " ".join(f'"${{arcli_{first + at}}}"' for at in range(len(texts)))
        return self[name]


def shell_call(template: Template, names: Mapping[str, str], interpreter: str = "/bin/sh") -> list[str]:
    """Return a shell string and its values as an argv: the values travel as positional parameters.

    Nothing of a value ever becomes shell text: each placeholder turns into ``"${arcli_1}"``,
    ``"${arcli_2}"``, …. These are set from the positional parameters before all else, because
    functions and ``set --`` have positional parameters of their own; they are not exported, because
    an environment has no room for large values. Raises BadTemplate.
    """
    # Numbered as they are met, so that a value used twice travels once.
    variables = _Variables(names)
    script = shell_text(template, names, variables)
    if variables.texts:
        assignments = " ".join(f"arcli_{at}=${{{at}}}" for at in range(1, len(variables.texts) + 1))
        script = f"{assignments}; {script}"
    return [interpreter, "-c", script, os.path.basename(interpreter), *variables.texts]  # noqa: PTH119


def filled(template: Template, names: Mapping[str, str]) -> str:
    """Return a text that no shell reads with its placeholders filled in. Raises BadTemplate."""
    return "".join(part if isinstance(part, str) else names[_checked(part[0], names)] for part in template)


def argv_call(argv: Sequence[Template], names: Mapping[str, str]) -> list[str]:
    """Return an argv list with its placeholders filled in. Raises BadTemplate."""
    words: list[str] = []
    for part in argv:
        # A batch is as many arguments as it has items, where nothing else stands beside it.
        alone = isinstance(names, Names) and len(part) == 1 and part[0][0] == ""
        words += names.words("") if isinstance(names, Names) and alone else [filled(part, names)]
    return words


def _checked(name: str, names: Mapping[str, str]) -> str:
    if name in names:
        return name
    listing = ", ".join(f"{{{key}}}" for key in names if "." not in key and is_name(key))
    message = f"there is no {{{name}}} in this item, which has {listing}"
    raise BadTemplate(f"{message}; {{{{{name}}}}} is {{{name}}} itself")
