"""``over:`` of a job: one input, and what is done to its items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from msgspec.structs import replace
from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema, create_model, model_validator

from arcli.errors import InputError
from arcli.fields import CountFromZero, Deferred, Model
from arcli.inputs.base import Fixed, Input, Source, SourceContext, within
from arcli.inputs.registry import BUILT_IN, keys, kind_of

INPUT = "$input"
"""What stands in a model's schema for that of an input, by its key, or of ``over`` itself."""
if TYPE_CHECKING:
    from arcli.inputs.where import Where

_Path = tuple[str | int, ...]


class Sample(Model):
    """A random choice of ``n`` items, the same for the same seed."""

    n: CountFromZero
    """How many items are chosen."""
    seed: int = 0
    """What the choice begins with: the same seed, the same items."""


class _Arranged(Model):
    """Where items come from: exactly one input, and what is done to its items.

    A plain list in the file is ``{list: […]}``.
    """

    where: str | dict[str, Any] | None = None
    """Only items for which this holds: an expression of their keys, or keys and values."""
    exclude: list[Any] = []
    """Items, or parts of their keys and values, that are left out."""
    sample: Sample | None = None
    """A random choice of the items."""
    shuffle: int | None = None
    """The items in another order, by this seed."""

    @property
    def kind(self) -> str:
        """The key of the one input that is given."""
        return self.input.key

    @property
    def input(self) -> Input:
        """The one input that is given."""
        return self._inputs()[0]

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        inputs = self._inputs()
        if len(inputs) != 1:
            given = [part.key for part in inputs]
            number = f"{' and '.join(given)} are given" if given else "none is given"
            # Mostly a parameter that nobody has given a value.
            fields = type(self).model_fields
            empty = [
                alias
                for name in sorted(self.model_fields_set)
                if getattr(self, name) is None and (alias := fields[name].alias)
            ]
            if empty and not given:
                number = f"{' and '.join(empty)} is null"
            raise ValueError(f"exactly one source is needed, {number}; one of: {', '.join(keys())}")
        return self

    def _inputs(self) -> list[Input]:
        return [part for name in type(self).model_fields if isinstance(part := getattr(self, name), Input)]

    def walk(self, path: _Path = ()) -> Iterator[tuple[_Path, Over]]:
        """Yield this and all that it is combined of, with their paths in the file."""
        yield path, self
        for name, part in self.input.parts().items():
            yield from part.walk((*path, self.kind, name))

    def check(self, folder: Path) -> Iterator[InputError]:
        """Yield what is wrong with all that it is combined of, each with its path."""
        for path, part in self.walk():
            for error in part.input.check(folder):
                error.path = (*path, part.kind, *error.path)
                yield error
            for error in part.input.check_excluded(part.exclude):
                error.path = (*path, "exclude", *error.path)
                yield error

    def nothing(self) -> str:
        """Say why there are no items, or what left none of them."""
        parts = [part for _, part in self.walk()]
        filters = [
            key for key in ("where", "exclude", "sample") if any(getattr(part, key) for part in parts)
        ]
        # A table's own `where` means the same as one beside it.
        inputs = [part.input for part in parts if part.input.picks_rows]
        if "where" not in filters and any(getattr(given, "where", None) for given in inputs):
            filters.insert(0, "where")
        if not filters:
            return self.input.nothing()
        return f"{self.input.nothing()}, or {' and '.join(filters)} left none"

    def open(self, context: SourceContext) -> Source:
        """Open the source; nothing of the user's is run before it is iterated. Raises InputError."""
        given, where = self.input, context.resolve(self.where)
        if given.picks_rows and (own := getattr(given, "where", None)) is not None:
            given = given.model_copy(update={"where": context.resolve(own)})
        elif given.picks_rows:
            # A table compares values, also where its items are the text of cells.
            given, where = given.model_copy(update={"where": where}), None
        # So it does where it is a part of what is compared: only what is left of it then is text.
        compared = context.texts and not context.compared and (where is not None or self.exclude != [])
        with within(self.kind):
            source = given.open(replace(context, compared=True) if compared else context)
        if (where, self.exclude, self.sample, self.shuffle) != (None, [], None, None):
            source = self._arrange(source, where, context)
        return self._as_written(source) if compared else source

    @staticmethod
    def _as_written(source: Source) -> Source:
        """Return a source in which rows of tables are the text of their cells."""
        from arcli.inputs.cells import as_written

        if isinstance(source, Fixed):  # a table, and what has one, is read as it goes
            return source
        read = source.read
        return replace(source, read=lambda: map(as_written, read()))

    def _arrange(self, source: Source, where: Where, context: SourceContext) -> Source:
        """Leave out items of the opened source, choose some, and put them into another order."""
        from arcli.inputs import arrange
        from arcli.inputs.where import check as check_where

        if where is not None:
            check_where(where, source.names)
        exclude, sample = context.resolve(self.exclude), self.sample
        kept = arrange.picking(arrange.excluding(source, exclude), where)
        shuffle = self.shuffle
        if isinstance(source, Fixed) and not isinstance(kept, Fixed):
            # What is shuffled by number needs no memory, and stays so when some are left out.
            source, shuffle = arrange.shuffled(source, shuffle), None
            kept = arrange.picking(arrange.excluding(source, exclude), where)
        if sample is not None:
            kept = arrange.sampled(kept, sample.n, sample.seed)
        return arrange.shuffled(kept, shuffle)

    @property
    def only_in_runs(self) -> bool:
        """Whether reading the items runs something of the user's, or needs earlier results."""
        return any(part.input.only_in_runs for _, part in self.walk())


def _validator(key: str) -> Callable[[Any], Input | None]:
    """Return what makes an input of its settings, or of their short form, once there are any."""

    def validate(value: Any) -> Input | None:
        if value is None:
            return None
        # A map is always settings: a short form that were one could not be told from them.
        kind = kind_of(key)
        short = kind.short and not isinstance(value, dict | BaseModel)
        return kind.model_validate({kind.short: value} if short else value)

    return validate


def _model(keys: Iterable[str]) -> type[_Arranged]:
    """Make the model that has these inputs. What one of them is made of is imported when it is used."""
    fields: dict[str, Any] = {}
    for key in keys:
        schema = WithJsonSchema({INPUT: key})
        kind = Annotated[Any, PlainValidator(_validator(key)), schema]
        fields[f"{key}_"] = (kind, Field(default=None, alias=key))
    return create_model("Over", __base__=_Arranged, __doc__=_Arranged.__doc__, **fields)


@cache
def with_other_packages() -> type[_Arranged]:
    """Return the model that also has the inputs of other packages: looking for them takes a while.

    Raises UsageError for an installed package whose input cannot be loaded.
    """
    return _model(keys())


def _arranged(value: Any) -> _Arranged:
    """Validate what stands under ``over``. Raises ValidationError, whose places are below it."""
    if isinstance(value, list | Deferred):
        value = {"list": value}
    keys_ = {field.alias or name for name, field in Over.model_fields.items()}
    strange = isinstance(value, dict) and not keys_.issuperset(value)
    return (with_other_packages() if strange else Over).model_validate(value)


if TYPE_CHECKING:
    Over = _Arranged
    Items = _Arranged
else:
    # What stands under ``over`` and for a factor of a combination: a list of items is short for one.
    Items = Annotated[Any, PlainValidator(_arranged), WithJsonSchema({INPUT: "over"})]
    Over = _model(BUILT_IN)
