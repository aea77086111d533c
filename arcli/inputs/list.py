"""Items that stand in the spec itself, or are an earlier job's value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from arcli.errors import InputError
from arcli.fields import Deferred
from arcli.inputs.base import Fixed, Input, Source, SourceContext


class List(Input):
    """Items as they stand in the spec, or the list that an earlier job came to."""

    key: ClassVar[str] = "list"
    short: ClassVar[str] = "items"
    items: list[Any] | Deferred
    """The items."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        items = context.resolve(self.items)
        if not isinstance(items, list):
            raise InputError(f"over: {type(items).__name__} is not a list of items")
        return Fixed(items)

    def keys(self, source: Source) -> Iterable[str] | None:
        """See Input."""
        if not isinstance(self.items, list) or any(isinstance(item, Deferred) for item in self.items):
            return None
        return [str(key) for item in self.items if isinstance(item, dict) for key in item]
