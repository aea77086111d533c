"""Values that only a running cluster knows: the client's share of them, and the engines'."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from arcli.engine.encode import canonical
from arcli.engine.functions import in_parts
from arcli.errors import InputError
from arcli.fields import Deferred, DeferredText
from arcli.inputs.base import Source, SourceContext, Stream
from arcli.inputs.cells import bad_cell
from arcli.placeholders import GIVEN, placeholders
from arcli.specfile.model import Job, Scatter


class JobValue(Struct, frozen=True):
    """An earlier job's value on its way to engines, which open it: the classes of it are theirs.

    For ``form`` and ``parts`` see ``engine.functions.assembled``.
    """

    form: str
    parts: list[tuple[Any, str | None, bytes | None]]

    @property
    def digest(self) -> str:
        """A hash that another value has not; an equal one may have another, if its pickle is another."""
        text = canonical([self.form, self.parts])[0]
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class _Text(Struct, frozen=True):
    """A string with parts that engines fill in."""

    parts: tuple[str | Deferred | JobValue, ...]


class Resolver:
    """Fills ``${engines.…}`` and ``${jobs.…}`` into trees of data; ``${ref.…}`` stays.

    ``slots`` is the number of engine slots; ``value_of`` gives an earlier job's value by its name,
    itself or as a ``JobValue``.
    """

    def __init__(self, slots: int, value_of: Callable[[str], Any]) -> None:
        self._slots = slots
        self._value_of = value_of

    def __call__(self, tree: Any) -> Any:
        """Return the tree with all that is known by now filled in."""
        if isinstance(tree, Deferred):
            match tree.kind:
                case "engines":
                    return list(range(self._slots)) if tree.name == "slots" else self._slots
                case "jobs":
                    return self._value_of(tree.name.removesuffix(".value"))
                case "ref":
                    return tree
        if isinstance(tree, DeferredText):
            parts = tuple(self(part) for part in tree.parts)
            # A job's value inside of a text stays what it is until the command is
            # put together.
            if any(isinstance(part, Deferred | JobValue) for part in parts):
                return _Text(tuple(p if isinstance(p, Deferred | JobValue) else str(p) for p in parts))
            return "".join(map(str, parts))
        return in_parts(tree, self)


def scattered_values(scatter: Scatter, folder: Path, resolve: Callable[[Any], Any]) -> Sequence[Any]:
    """Return what is dealt out to the engines; a source is read. Raises InputError."""
    if scatter.over is None:
        elements: Sequence[Any] = resolve(scatter.values)
        return elements
    elements = list(scatter.over.open(SourceContext(folder=folder, resolve=resolve)))
    # Here is no item whose error it could be.
    if (bad := bad_cell(elements)) is not None:
        bad.refuse()
    return elements


def to_engine(tree: Any) -> Any:
    """Return references in a form that needs no arcli on the other side: tuples, which YAML lacks."""
    if isinstance(tree, Deferred):
        return (tree.kind, tree.name)
    if isinstance(tree, JobValue):
        return ("value", tree.form, tree.parts)
    if isinstance(tree, DeferredText | _Text):
        return ("text", tuple(to_engine(part) for part in tree.parts))
    return in_parts(tree, to_engine)


class Texts:
    """The texts of a job's command, with placeholders in the places of late values.

    What a late value turns out to be must never become shell text, so it travels as items' values do;
    ``given`` has the late values by what they are called.
    """

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
        text = ""
        for part in template.parts if isinstance(template, DeferredText) else (template,):
            if isinstance(part, Deferred):
                name = f"{GIVEN}{len(self.given)}"
                self.given[name] = part
                part = f"{{{name}}}"
            text += part
        return text


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
