"""Values of earlier jobs that only engines can open, on their way to be items."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from msgspec import Struct

from arcli.errors import InputError

SHOWN = 60
"""Characters of a value that an error shows."""


class PickledInput(Struct, frozen=True, kw_only=True, eq=False):
    """An input that only engines can decode: a pickle, and the JSON text that its record shows.

    As a part of another input it travels with it, and is itself again where that is unpickled. What it is
    equal to is not known here: comparing it raises InputError.
    """

    pickled: bytes
    text: str

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return pickle.loads, (self.pickled,)

    def refusal(self) -> InputError:
        """Return the error for who wants to know what it is."""
        shown = self.text if len(self.text) <= SHOWN else f"{self.text[:SHOWN]}…"
        return InputError(
            f"where and exclude cannot look into {shown}: it is a value that only engines can open",
            hint="leave items out in the function, or have the earlier job return lists in place of tuples",
        )

    def refuse(self, *operands: object) -> NoReturn:
        """Raise InputError."""
        raise self.refusal()

    __eq__ = __hash__ = __bool__ = refuse


def pickled_part(item: Any) -> PickledInput | None:
    """Return the first part of an item that only engines can open."""
    if isinstance(item, PickledInput):
        return item
    parts = item.values() if isinstance(item, Mapping) else item if isinstance(item, list) else ()
    return next((found for part in parts if (found := pickled_part(part)) is not None), None)
