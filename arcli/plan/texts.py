"""The texts of a command, with placeholders in the places of late values.

What a late value turns out to be must never become shell text, so it travels as items' values do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from arcli.engine.template import GIVEN, placeholders
from arcli.errors import InputError
from arcli.fields import Deferred, DeferredText
from arcli.inputs.base import Source, Stream
from arcli.specfile.model import Job


class Texts:
    """The texts of a job's command; ``given`` has what their late values are called."""

    def __init__(self, job: Job) -> None:
        self.given: dict[str, Deferred] = {}
        self.command: str | list[str] | None
        if isinstance(job.command, list):
            self.command = [self._text(part) for part in job.command]
        else:
            self.command = None if job.command is None else self._text(job.command)
        self.stdin = None if job.command_stdin is None else self._text(job.command_stdin)
        self.cwd = None if job.cwd is None else self._text(job.cwd)
        self.env = {name: self._text(text) for name, text in job.env.items()}

    def _text(self, template: Any) -> str:
        parts = template.parts if isinstance(template, DeferredText) else (template,)
        return "".join(part if isinstance(part, str) else self._called(part) for part in parts)

    def _called(self, late: Deferred) -> str:
        name = f"{GIVEN}{len(self.given)}"
        self.given[name] = late
        return f"{{{name}}}"


def without_quoted(source: Source, job: Job) -> Source:
    """Return the source of a command, which breaks at an item with a key that stands in quotes.

    What items are called is known before the run where it can be; a value in the middle of other
    text of the shell's is a mistake in the spec all the same, and not of that one item.
    """
    command = Texts(job).command
    names = placeholders(command) if isinstance(command, str) else ()
    quoted = {place.name: place.inside for place in names if place.inside is not None}
    if not quoted:
        return source

    # Keys are only known as items come: a placeholder that none of them fills is
    # plain text.
    def read() -> Iterator[Any]:
        for number, item in enumerate(source):
            keys = quoted.keys() & item.keys() if isinstance(item, Mapping) else ()
            for name in keys:
                where = f"{{{name}}} stands inside {quoted[name]} in the command of job {job.name!r}"
                hint = "leave the quotes out: values arrive whole, blanks, quotes and all"
                raise InputError(f"{where}, and item {number} has a {name!r}", hint=hint)
            yield item

    return Stream(read, source.length, source.distinct, source.unpack)
