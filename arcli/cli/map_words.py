"""Read the words of ``arcli map``, what its marks part and what it all adds up to.

It is cheap to import: an embedded cluster starts as soon as the words are read, and what makes a spec
of them (:mod:`arcli.cli.map_spec`) is imported while it comes up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from arcli.errors import UsageError

MARKS = (":::", ":::+", "::::", "::::+")
"""Items, items beside those before them, files of items, files of items beside those before them."""


class Input(Struct, frozen=True, kw_only=True):
    """One input of the command line: items, or a file whose lines are the items (``-``: stdin).

    ``linked``: its items go side by side with those of the input before it. ``label`` is how it was
    written, for messages.
    """

    label: str
    items: tuple[str, ...] = ()
    file: str | None = None
    linked: bool = False


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part a command line at its first mark: what the command's flags are, and what the inputs."""
    first = next((at for at, word in enumerate(words) if word in MARKS), len(words))
    return list(words[:first]), list(words[first:])


def marked_inputs(words: Sequence[str], options: Sequence[str]) -> Iterator[Input]:
    """Yield the inputs that marks and words stand for; each word after ``::::`` is a file of its own.

    ``options`` are the long options of the command. Raises UsageError for one among the words, where
    it would silently become an item, and for a mark that has nothing before it to go beside.
    """
    at, first = 0, True
    while at < len(words):
        mark = words[at]
        end = next((place for place in range(at + 1, len(words)) if words[place] in MARKS), len(words))
        group = words[at + 1 : end]
        # A flag behind the marker would silently become an item.
        late = next((word for word in group if word.partition("=")[0] in options), None)
        if late is not None:
            raise UsageError(
                f"{late} stands after {mark}, where items are",
                hint=f"flags go before {mark}; items that look like them can come from a file or stdin",
            )
        # A plus links an input with the one before it, as GNU parallel does.
        linked = mark.endswith("+")
        if linked and first:
            raise UsageError(f"{mark} goes side by side with an input before it, and there is none")
        if mark.startswith("::::"):
            if not group:
                raise UsageError(f"{mark} needs a file", hint="- is standard input")
            for file in group:
                yield Input(label=f"{mark} {file}", file=file, linked=linked)
        else:
            yield Input(label=" ".join((mark, *group)), items=tuple(group), linked=linked)
        at, first = end, False


def own_names(inputs: Sequence[Input]) -> list[str]:
    """Return the names of inputs that marks and words stand for, and those of inputs that are linked."""
    groups: list[list[str]] = []
    for number, part in enumerate(inputs, 1):
        if not part.linked:
            groups.append([])
        groups[-1].append(f"arg{number}")
    return [name for group in groups for name in dict.fromkeys((*group, "_".join(group)))]


class Batch(Struct, frozen=True, kw_only=True):
    """What ``arcli map`` was asked for.

    ``call`` are the words of the command, one a shell string and several an argv; ``function``
    stands in its place. ``inputs`` come from marks, ``over`` from ``--over NAME=…``; ``source`` is
    the key and the value of a source that is all of ``over:``, such as a CSV file. ``outdir`` is the
    pattern of the items' folders. ``job`` and ``top`` have further keys of the job and of the spec.
    """

    call: Sequence[str] = ()
    function: str | None = None
    inputs: Sequence[Input] = ()
    over: Sequence[tuple[str, str]] = ()
    source: tuple[str, Any] | None = None
    outdir: str | None = None
    job: Mapping[str, Any] = field(default_factory=dict)
    top: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many items a call gets as one; 0 where it gets each alone."""
        return int(self.job.get("batch", 0))

    @property
    def name(self) -> str:
        """What the spec and its job are called: as the program, or the function."""
        if self.function is not None:
            name = self.function.rpartition(":")[2]
        else:
            parts = self.call[0].split() if self.call else []
            name = Path(parts[0]).name if parts else ""
        return name if name.replace("_", "").replace("-", "").replace(".", "").isalnum() else "map"

    @property
    def names(self) -> list[str]:
        """The names of the inputs, empty for one that has none: its items are ``{}``."""
        if not self.over and len(self.inputs) < 2:
            return []
        return [
            *(f"arg{number}" for number, _ in enumerate(self.inputs, 1)),
            *(name for name, _ in self.over),
        ]
