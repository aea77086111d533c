"""What to do about errors that many people meet, in a line."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Container
from typing import Any

from .frames import is_ours

_ARGUMENTS = re.compile(r"missing \d+ required .*argument|positional arguments? but|unexpected keyword")


def hint_for(error: BaseException, item: Any, names: Container[str], folder: str) -> str | None:
    """Tell what helps, None where nobody knows.

    ``names`` are those that ``setup`` has bound, ``folder`` is the spec's.
    """
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing(error.name, folder)
    if isinstance(error, NameError) and error.name and error.name in names:
        return (
            f"setup binds {error.name!r} for expressions; a function of a file has it as an argument: "
            f'args: ["${{ref.{error.name}}}"]'
        )
    if isinstance(error, TypeError) and _is_the_calls(error) and _ARGUMENTS.search(str(error)):
        if isinstance(item, list | tuple):
            return "unpack: args passes the parts of an item as arguments"
        if isinstance(item, dict):
            return "unpack: kwargs passes the keys of an item as arguments"
    return None


def _missing(name: str, folder: str) -> str:
    """Which interpreter has no such module, and which environment beside the spec has."""
    top = name.partition(".")[0]
    for base in dict.fromkeys([folder, os.getcwd()]):  # noqa: PTH109 - nothing heavier on an engine
        for venv in (".venv", "venv"):
            pattern = os.path.join(glob.escape(base), venv, "lib", "python*", "site-packages", top)  # noqa: PTH118
            python = os.path.join(base, venv, "bin", "python")  # noqa: PTH118
            if (glob.glob(pattern) or glob.glob(f"{pattern}.py")) and not _is_this(python):  # noqa: PTH207
                return f"{sys.executable} has no {top}, {python} has: cluster: {{python: {python}}}"
    return f"install it for the engines' Python, {sys.executable}, or name its folder under setup: path"


def _is_this(python: str) -> bool:
    return os.path.abspath(python) == os.path.abspath(sys.executable)  # noqa: PTH100


def _is_the_calls(error: BaseException) -> bool:
    """Whether it was raised by the call of the user's function, and not inside of it."""
    trace = error.__traceback__
    while trace is not None:
        if not is_ours(trace.tb_frame.f_code.co_filename):
            return False
        trace = trace.tb_next
    return True
