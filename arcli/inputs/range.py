"""Whole numbers, as Python's ``range`` gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

from arcli.errors import InputError
from arcli.fields import Deferred
from arcli.inputs.base import Fixed, Input, Source, SourceContext, integral


def _whole(value: Any) -> Any:
    return [integral(part) for part in value] if isinstance(value, list) else integral(value)


class Range(Input):
    """Whole numbers as Python's range: ``100``, ``[start, stop]`` or ``[start, stop, step]``."""

    key: ClassVar[str] = "range"
    short: ClassVar[str] = "numbers"
    paths: ClassVar[bool] = False
    numbers: Annotated[int | list[int | Deferred] | Deferred, BeforeValidator(_whole)]
    """The stop, or [start, stop, step], as of Python's range."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        value = context.resolve(self.numbers)
        parts = value if isinstance(value, list) else [value]
        try:
            return Fixed(range(*map(integral, parts)), distinct=True)
        except (TypeError, ValueError) as error:
            raise InputError(f"range: {value!r} is not a range: {error}") from None

    def keys(self, source: Source) -> Iterable[str] | None:
        """See Input."""
        return ()
