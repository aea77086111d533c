"""Files whose paths match patterns.

One language for what is wanted and what is left out: ``*`` and ``?`` stop at ``/``, ``[ab]`` is one
of these characters, ``{a,b}`` a or b, ``~`` the home folder, and ``**`` any number of folders, none
included. Links to folders are not
followed under ``**``, so that a link to a folder above does not repeat everything for ever.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import translate
from glob import escape
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, ClassVar, TypeAlias

from arcli.errors import InputError
from arcli.fields import Texts
from arcli.inputs.base import Fixed, Input, Source, SourceContext

MOST = 1000
"""Patterns that the braces of one may stand for."""
_MAGIC = re.compile(r"[*?[]")
_BRACES = re.compile(r"(?<!\[)\{([^{}]*)\}")
"""The innermost braces of a pattern; ``[{]`` is a brace itself."""
_Matches: TypeAlias = Callable[[str], object]


class Glob(Input):
    """Files whose paths match one of the patterns, sorted."""

    key: ClassVar[str] = "glob"
    short: ClassVar[str] = "patterns"
    named: ClassVar[bool] = False
    patterns: Texts
    """Patterns of paths; `**` is any folders."""
    exclude: Texts = []
    """Patterns of paths, or of names, that are left out."""

    def check(self, folder: Path) -> Iterator[InputError]:
        """See Input."""
        for pattern in (*self.patterns, *self.exclude):
            if len(list(islice(_expanded([pattern]), MOST + 1))) > MOST:
                yield InputError(f"the braces of {pattern!r:.60} are more than {MOST:,} patterns")
            if pattern.count("{") != pattern.count("}"):
                hint = "[{] is a brace itself"
                yield InputError(f"{pattern!r} has a brace without its other half", hint=hint)

    def check_excluded(self, patterns: Sequence[Any]) -> Iterator[InputError]:
        """See Input."""
        for at, pattern in enumerate(patterns):
            if isinstance(pattern, str) and set(pattern) & set("*?["):
                hint = "glob: {patterns: […], exclude: […]} leaves out what matches"
                yield InputError(f"{pattern!r} is no file's path", hint=hint, path=(at,))

    def reads(self, folder: Path) -> Iterator[Path]:
        """See Input."""
        for path in map(Path, paths_of(self, folder)):
            yield path
            if path.is_dir():
                yield from path.rglob("*")

    def nothing(self) -> str:
        """See Input."""
        return f"no file matches {' or '.join(map(repr, self.patterns))}"

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        return Fixed(paths_of(self, context.folder), distinct=True)


def paths_of(source: Glob, folder: Path) -> list[str]:
    """Return the files that match, sorted, each once; folders, for a pattern that ends in ``/``.

    Patterns are relative to the spec; the paths work from the working directory: relative to it
    where they are below it, absolute elsewhere. Names that begin with a dot have to be asked for.
    """
    base = Path.cwd()
    excluded = [_excluder(pattern) for pattern in _expanded(source.exclude)]
    paths: set[str] = set()
    # What is left out is told by its path below the spec, as it is written there; what is found gets a
    # name that works where commands run.
    for pattern in _expanded(source.patterns):
        root = "/" if pattern.startswith("/") else str(folder)
        for path in _below(root, pattern.lstrip("/").split("/")):
            inside = os.path.relpath(path, folder)
            if not any(excludes(inside) for excludes in excluded):
                paths.add(_from(base, path))
    return sorted(paths)


def _expanded(patterns: Iterable[str]) -> Iterator[str]:
    """Yield patterns with their braces expanded as a shell does, and ``~`` as the home folder."""
    for pattern in patterns:
        if match := _BRACES.search(pattern):
            before, after = pattern[: match.start()], pattern[match.end() :]
            yield from _expanded(f"{before}{choice}{after}" for choice in match[1].split(","))
        else:
            home, slash, below = pattern.partition("/")
            yield escape(os.path.expanduser(home)) + slash + below if home[:1] == "~" else pattern  # noqa: PTH111


def _below(folder: str, parts: list[str]) -> Iterator[str]:
    """Yield the paths below a folder that match the parts of a pattern."""
    # One part of the pattern a level: only folders that can still lead to a match are looked into.
    part, *rest = parts
    if part == "**" and not rest:
        rest = ["*"]
    if part == "":
        if not rest:
            yield folder
        else:
            yield from _below(folder, rest)
    elif part == "**":
        yield from _below(folder, rest)
        for entry in _entries(folder):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _below(entry.path, parts)
    else:
        for path in _named(folder, part):
            if not rest and os.path.isfile(path):  # noqa: PTH113 - text, and no object, for each
                yield path
            elif rest and os.path.isdir(path):  # noqa: PTH112
                yield from _below(path, rest)


def _named(folder: str, part: str) -> Iterator[str]:
    """Yield what a folder has under a name, or under names like it."""
    if not _MAGIC.search(part):
        yield os.path.join(folder, part)  # noqa: PTH118 - keeps ".."
        return
    matches = _name(part)
    for entry in _entries(folder):
        hidden = entry.name.startswith(".") and not part.startswith(".")
        if not hidden and matches(entry.name):
            yield entry.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # as a shell does: what cannot be looked into has nothing that matches
        return []


def _name(part: str) -> _Matches:
    return re.compile(translate(part)).match


def _excluder(pattern: str) -> _Matches:
    """Tell whether a path is left out: it, or a folder that it is in, matches.

    A pattern without ``/`` is for names, wherever they are.
    """
    parts = pattern.rstrip("/").split("/")
    if len(parts) == 1:
        parts = ["**", *parts]
    return lambda path: _leaves_out(parts, PurePath(path).parts)


def _leaves_out(parts: list[str], names: tuple[str, ...]) -> bool:
    if not parts:
        return True
    # A folder that matches takes all that is in it along: what is left of the path may be anything.
    if parts[0] == "**":
        return any(_leaves_out(parts[1:], names[at:]) for at in range(len(names)))
    return bool(names and _name(parts[0])(names[0])) and _leaves_out(parts[1:], names[1:])


def _from(here: Path, path: str) -> str:
    absolute = os.path.abspath(path)  # noqa: PTH100 - a link keeps its name
    below = os.path.relpath(absolute, here)
    return absolute if below.startswith(os.pardir + os.sep) or below == os.pardir else below
