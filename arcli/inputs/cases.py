"""Combinations that are written out one by one."""

from __future__ import annotations

from typing import Any, ClassVar

from arcli.inputs.base import Fixed, Input, Source, SourceContext


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
