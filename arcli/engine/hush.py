"""Warnings are for the user's code: what arcli and ipyparallel do meanwhile raises and prints none."""

from __future__ import annotations

import re
import warnings

_EVERYTHING = "(?s).*"
_HUSHED = re.compile(_EVERYTHING, re.IGNORECASE)


def hush() -> None:
    """Ignore all warnings, also where PYTHONWARNINGS says that they are errors."""
    warnings.filterwarnings("ignore", message=_EVERYTHING)


def unhush() -> bool:
    """Have warnings filtered as the user's interpreter does; returns whether they were ignored."""
    filters = [entry for entry in warnings.filters if entry[1] != _HUSHED]
    hushed = len(filters) < len(warnings.filters)
    warnings.filters[:] = filters  # type: ignore[index]
    return hushed
