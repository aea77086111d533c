"""Items of several inputs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict

from arcli.errors import InputError
from arcli.inputs.base import Input, Source, SourceContext
from arcli.inputs.combine import factors, zipped
from arcli.inputs.over import Items, Over


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
