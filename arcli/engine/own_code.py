"""Tell arcli's own code from the user's: whose stack frames and warnings are not for people to read."""

from __future__ import annotations

import importlib
import os
import re
import warnings

_IMPORTLIB = importlib.__file__
_FOLDER = os.path.dirname(os.path.abspath(__file__)) if "__file__" in globals() else "<arcli/"  # noqa: PTH100, PTH120 - sent as source, it has no file


def is_ours(filename: str) -> bool:
    """Tell whether a file is one of the engine's, or of Python's own imports."""
    return filename.startswith(("<arcli/", "<frozen importlib", _FOLDER, _IMPORTLIB))


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
