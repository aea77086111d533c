"""All combinations of several inputs, the last one varying fastest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict

from arcli.errors import InputError
from arcli.inputs.base import Input, Source, SourceContext
from arcli.inputs.combine import factors, product
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
