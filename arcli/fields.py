"""What the models of a spec are made of: their base, and the kinds of values that keys have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from msgspec import Struct
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from arcli.units import DURATION, MOST, parse_duration


class Deferred(Struct, frozen=True):
    """A ``${…}`` whose value is known only at run time.

    ``kind`` is ``ref`` (a name in each engine's namespace), ``engines`` (``slots`` or ``count``) or
    ``jobs`` (``NAME.value`` of an earlier job); ``name`` is what follows the first dot. Inside a
    longer string it is a part of a ``DeferredText``.
    """

    kind: Literal["ref", "engines", "jobs"]
    name: str

    def __str__(self) -> str:
        return f"${{{self.kind}.{self.name}}}"


class DeferredText(Struct, frozen=True):
    """A string with late values inside: literal text and ``Deferred`` in turn."""

    parts: tuple[str | Deferred, ...]

    def __str__(self) -> str:
        return "".join(map(str, self.parts))


class Unknown(Struct, frozen=True):
    """What stands for a value with a ``${…}`` that means nothing; that has been told already."""


Word = Annotated[str, WithJsonSchema({"type": ["string", "number"]})]
"""Text where a number may stand in a file: it is the text that was written."""
Template = Word | Deferred | DeferredText
"""A text of a command: with ``{placeholders}`` for an item's values, and with late values."""


def _duration(value: Any) -> Any:
    # `true` is a number to Python, and no time to people.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("give a duration such as 250ms, 30s, 5m, 2h, or a number of seconds")
    return parse_duration(value)


def _not_zero(value: float) -> float:
    if value == 0:
        raise ValueError("must be more than 0; null is no limit")
    return value


_DURATION_FORMS = [
    {"type": "number", "minimum": 0},
    {"type": "string", "pattern": rf"^\s*({DURATION}|[0-9.]+)\s*$"},
]
_PERCENT = r"\s*(\d+(?:\.\d+)?)\s*%\s*"
PERCENT_FORM = {"type": "string", "pattern": f"^{_PERCENT}$"}
"""A percentage, as JSON Schema has it."""
# Durations are read before pydantic looks at the type, for it takes no text for a number.
Seconds = Annotated[float, BeforeValidator(_duration), WithJsonSchema({"anyOf": _DURATION_FORMS})]
Limit = Annotated[Seconds, AfterValidator(_not_zero)]
Count = Annotated[int, Field(ge=1, le=MOST)]
CountFromZero = Annotated[int, Field(ge=0, le=MOST)]


def one_or_more(value: Any) -> Any:
    """Return a text as a list of it, and all else as it is."""
    return [value] if isinstance(value, str) else value


Texts = Annotated[
    list[str],
    BeforeValidator(one_or_more),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""Texts, of which a single one needs no list around it."""


class Model(BaseModel):
    """Frozen, strict, and without room for keys that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


def deferred_values(tree: Any) -> Iterator[Deferred]:
    """Yield all late values of a tree of data."""
    return (late for _, late in deferred_places(tree))


def deferred_places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Deferred]]:
    """Yield all late values of a tree of data at ``path``, each with the path to the text that it is in."""
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(tree, Deferred):
        yield path, tree
    elif isinstance(tree, DeferredText):
        yield from ((path, part) for part in tree.parts if isinstance(part, Deferred))
    elif isinstance(tree, list):
        parts = enumerate(tree)
    elif isinstance(tree, Mapping):
        parts = tree.items()
    # Inputs of other packages keep what they do not know in extra fields.
    elif isinstance(tree, Model):
        fields = type(tree).model_fields.items()
        named = [(field.alias or name, getattr(tree, name)) for name, field in fields]
        parts = [*named, *(tree.model_extra or {}).items()]
    for step, part in parts:
        yield from deferred_places(part, (*path, step))


def jobs_in(tree: Any) -> Iterator[str]:
    """Yield the jobs whose ``${jobs.NAME.value}`` stands somewhere in a tree of data."""
    return (late.name.removesuffix(".value") for late in deferred_values(tree) if late.kind == "jobs")


class Share(Model):
    """So many of a job's items: a count, or a percentage."""

    count: int | None = None
    """A number of items."""
    percent: float | None = None
    """A percentage of the items that are known to be there."""


def _percent(value: Any) -> float | None:
    """Read a percentage such as ``3%``; None for anything else."""
    match = re.fullmatch(_PERCENT, value) if isinstance(value, str) else None
    return float(match[1]) if match else None


def _share(value: Any) -> Any:
    if isinstance(value, Share | dict):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST:
        return {"count": value}
    percent = _percent(value)
    if percent is not None and percent <= 100:
        return {"percent": percent}
    raise ValueError("give a number of items such as 3, or a percentage such as 3%")


Portion = Annotated[Share, BeforeValidator(_share)]
"""A number of items such as ``3``, or a percentage such as ``3%``."""


def _time_limit(value: Any) -> Any:
    """Read ``200%`` as a share of the median, and anything else as a duration. Raises ValueError."""
    if (percent := _percent(value)) is not None:
        if percent <= 100:
            raise ValueError(f"{value} of the median would end every other item: give more than 100%")
        return Share(percent=percent)
    return value if isinstance(value, Share) else _not_zero(_duration(value))


TimeLimit = Annotated[
    float | Share,
    BeforeValidator(_time_limit),
    WithJsonSchema({"anyOf": [*_DURATION_FORMS, PERCENT_FORM]}),
]
"""Seconds, or a share of the median of an item's seconds."""
