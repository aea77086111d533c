"""Inputs made of inputs: every combination, side by side, or written out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

from arcli.errors import InputError
from arcli.inputs.base import Fixed, Input, Source, SourceContext
from arcli.inputs.combine import factors, product, zipped
from arcli.inputs.over import Items, Over


class Product(Input):
    """All combinations of several inputs, the last one varying fastest."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Items]
    key: ClassVar[str] = "product"
    merges: ClassVar[bool] = True

    def check(self, folder: Path) -> Iterator[InputError]:
        """See Input."""
        if not self.parts():
            yield InputError("product needs at least one factor")

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        return product(factors(self.parts(), context))

    def parts(self) -> Mapping[str, Over]:
        """See Input."""
        return self.__pydantic_extra__


class Zip(Input):
    """Items of several inputs side by side."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Items]
    key: ClassVar[str] = "zip"
    merges: ClassVar[bool] = True
    recycle: bool = False
    """Let shorter inputs begin again, until the longest has ended."""

    def check(self, folder: Path) -> Iterator[InputError]:
        """See Input."""
        if not self.parts():
            yield InputError("zip needs at least one factor")

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        return zipped(factors(self.parts(), context), recycle=self.recycle)

    def parts(self) -> Mapping[str, Over]:
        """See Input."""
        return self.__pydantic_extra__


class Cases(Input):
    """Combinations that are written out: a list of maps."""

    key: ClassVar[str] = "cases"
    short: ClassVar[str] = "items"
    merges: ClassVar[bool] = True
    items: list[dict[str, Any]]
    """Maps, each of them an item."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        cases = context.resolve(self.items)
        names = tuple(dict.fromkeys(name for case in cases for name in case))
        return Fixed(cases, unpack="kwargs", names=names)
