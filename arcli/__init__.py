"""arcli: batches of functions and commands, in parallel, from a YAML spec."""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as typing has it, whose import is much of the time before Ctrl-C can be met
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"
_FROM_API = {"Item", "Run", "load", "run"}


def __getattr__(name: str) -> Any:
    """Import what Python programs use when they do: the command line needs none of it."""
    if name in _FROM_API:
        return getattr(importlib.import_module("arcli.api"), name)
    raise AttributeError(f"module 'arcli' has no attribute {name!r}")
