"""``over:`` of a job: one input, and what is done to its items."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, Field, create_model, model_validator

from arcli.errors import InputError
from arcli.fields import Deferred, Model
from arcli.inputs import combine
from arcli.inputs.base import Fixed, Input, Source, SourceContext, within
from arcli.inputs.registry import inputs
from arcli.inputs.where import check as check_where

_Path = tuple[str | int, ...]


class Sample(Model):
    """A random choice of ``n`` items, the same for the same seed."""

    n: Annotated[int, Field(ge=0)]
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
        input_: Input = next(part for key in inputs() if (part := getattr(self, f"{key}_")) is not None)
        return input_

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        keys = [key for key in inputs() if getattr(self, f"{key}_") is not None]
        if len(keys) != 1:
            number = f"{', '.join(keys)} are given" if keys else "none is given"
            raise ValueError(f"exactly one source is needed, {number}; one of: {', '.join(inputs())}")
        return self

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
        filters = [key for key in ("where", "exclude", "sample") if getattr(self, key)]
        if not filters:
            return self.input.nothing()
        return f"{self.input.nothing()}, or {' and '.join(filters)} left none"

    def open(self, context: SourceContext) -> Source:
        """Open the source; nothing of the user's is run before it is iterated. Raises InputError."""
        given, where = self.input, self.where
        if given.picks_rows and getattr(given, "where", None) is None:
            # A table compares values, also where its items are the text of cells.
            given, where = given.model_copy(update={"where": where}), None
        with within(self.kind):
            source = given.open(context)
        if where is not None:
            check_where(where, source.names)
        exclude, sample = context.resolve(self.exclude), self.sample
        kept = combine.picking(combine.excluding(source, exclude), where)
        shuffle = self.shuffle
        if isinstance(source, Fixed) and not isinstance(kept, Fixed):
            # What is shuffled by number needs no memory, and stays so when some are left out.
            source, shuffle = combine.shuffled(source, shuffle), None
            kept = combine.picking(combine.excluding(source, exclude), where)
        if sample is not None:
            kept = combine.sampled(kept, sample.n, sample.seed)
        return combine.shuffled(kept, shuffle)

    @property
    def only_in_runs(self) -> bool:
        """Whether reading the items runs something of the user's, or needs earlier results."""
        return any(part.input.only_in_runs for _, part in self.walk())


if TYPE_CHECKING:
    Over = _Arranged
else:

    def _expanded(kind: type[Input]) -> BeforeValidator:
        """Turn the short form of an input into its long one."""

        def expand(value: Any) -> Any:
            return value if isinstance(value, dict | BaseModel | None) else {kind.short: value}

        return BeforeValidator(expand if kind.short else lambda value: value)

    Over = create_model(
        "Over",
        __base__=_Arranged,
        __doc__=_Arranged.__doc__,
        **{
            f"{key}_": (Annotated[kind, _expanded(kind)] | None, Field(default=None, alias=key))
            for key, kind in inputs().items()
        },
    )


def _with_list(value: Any) -> Any:
    return {"list": value} if isinstance(value, list | Deferred) else value


Items = Annotated[Over, BeforeValidator(_with_list)]
"""What stands under ``over`` and for a factor of a combination: a list of items is short for one."""

# Combinations hold what they are a part of; only now is there something to refer to.
for _kind in inputs().values():
    _kind.model_rebuild(_types_namespace={"Items": Items})
Over.model_rebuild(force=True, _types_namespace={"Items": Items})
