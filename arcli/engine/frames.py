"""Which frames of a stack are arcli's own, and not for people to read."""

from __future__ import annotations

import importlib
import os

_IMPORTLIB = importlib.__file__
_FOLDER = os.path.dirname(os.path.abspath(__file__)) if "__file__" in globals() else "<arcli/"  # noqa: PTH100, PTH120 - sent as source, it has no file


def is_ours(filename: str) -> bool:
    """Tell whether a file is one of the engine's, or of Python's own imports."""
    return filename.startswith(("<arcli/", "<frozen importlib", _FOLDER, _IMPORTLIB))
