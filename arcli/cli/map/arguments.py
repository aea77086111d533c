"""The words of ``arcli map``: those before the first ``:::``, and the inputs that follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from arcli.errors import UsageError

MARKS = (":::", ":::+", "::::", "::::+")
"""Items, items beside those before them, files of items, files of items beside those before them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One input of the command line: items, or a file whose lines are the items (``-``: stdin).

    ``linked``: its items go side by side with those of the input before it. ``label`` is how it was
    written, for messages.
    """

    label: str
    items: tuple[str, ...] = ()
    file: str | None = None
    linked: bool = False


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part a command line at its first mark: what the command's flags are, and what the inputs."""
    first = next((at for at, word in enumerate(words) if word in MARKS), len(words))
    return list(words[:first]), list(words[first:])


def inputs(words: Sequence[str], options: Sequence[str]) -> Iterator[Input]:
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
                f"{late} stands after {mark}, where everything is an item",
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
