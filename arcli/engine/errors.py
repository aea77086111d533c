"""Exceptions of the user's code, as records and replies tell of them, and hints about common ones."""

from __future__ import annotations

import glob
import os
import re
import sys
import traceback
from collections.abc import Container
from contextlib import suppress
from typing import Any

from .encode import decode, encode
from .functions import Unresolved
from .notebook import NoKernel
from .own_code import is_ours
from .program import ProgramFailed
from .protocol import Failure
from .template import BadTemplate

_ARGUMENTS = re.compile(r"missing \d+ required .*argument|positional arguments? but|unexpected keyword")


def hint_for(
    error: BaseException, item: Any, names: Container[str], folder: str, unpack: str = "none"
) -> str | None:
    """Tell what helps, None where nobody knows.

    ``names`` are those that ``setup`` has bound, ``folder`` is the spec's, ``unpack`` the job's.
    """
    # Whoever raises may have left the working directory, or given the exception a name that is none: what
    # is only help must not fail.
    with suppress(Exception):
        if isinstance(error, ModuleNotFoundError) and error.name:
            return _missing(error.name, folder)
        if isinstance(error, NameError) and error.name and error.name in names:
            return (
                f"setup binds {error.name!r} for expressions; a function of a file has it as an argument: "
                f'args: ["${{ref.{error.name}}}"]'
            )
        # Only where the call itself did not fit: a TypeError from inside of the function has another cause.
        if isinstance(error, TypeError) and _is_the_calls(error) and _ARGUMENTS.search(str(error)):
            if isinstance(item, list | tuple):
                if unpack == "args":
                    return f"the item has {len(item)} parts, each of which is an argument"
                return "unpack: args passes the parts of an item as arguments"
            if isinstance(item, dict):
                if unpack == "kwargs":
                    keys = ", ".join(map(str, item)) or "no keys"
                    return f"the item has {keys}; unpack: none passes it as it is"
                return "unpack: kwargs passes the keys of an item as arguments"
    return None


def _missing(name: str, folder: str) -> str:
    """Which interpreter has no such module, and which environment beside the spec has."""
    top = name.partition(".")[0]
    this = os.path.abspath(sys.executable)  # noqa: PTH100 - nothing heavier on an engine
    for base in dict.fromkeys([folder, os.getcwd()]):  # noqa: PTH109 - nothing heavier on an engine
        for venv in (".venv", "venv"):
            pattern = os.path.join(glob.escape(base), venv, "lib", "python*", "site-packages", top)  # noqa: PTH118
            python = os.path.join(base, venv, "bin", "python")  # noqa: PTH118
            if os.path.abspath(python) == this:  # noqa: PTH100
                continue
            if glob.glob(pattern) or glob.glob(f"{pattern}.py"):  # noqa: PTH207
                return f"{sys.executable} has no {top}, {python} has: cluster: {{python: {python}}}"
    return f"install it for the engines' Python, {sys.executable}, or name its folder under setup: path"


def _is_the_calls(error: BaseException) -> bool:
    """Whether it was raised by the call of the user's function, and not inside of it."""
    trace = error.__traceback__
    while trace is not None:
        if not is_ours(trace.tb_frame.f_code.co_filename):
            return False
        trace = trace.tb_next
    return True


REPR = 200
TRACEBACK = 1 << 16
"""Characters of a value, or of a reason, that are shown, and of a message or a traceback."""


def describe(error: BaseException) -> tuple[str, str]:
    """Return an exception as the record's ``error`` (JSON), and as one short line of words."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except BaseException as broken:  # noqa: BLE001 - the user's __str__ may raise anything
        message = f"<its text cannot be had: {type(broken).__name__}>"
    # What says all by its message: no code of the user's has raised it.
    is_told = isinstance(error, ProgramFailed | BadTemplate)
    if is_told:
        name, trace = kind.__name__, error.trace if isinstance(error, ProgramFailed) else ""
    else:
        trace = user_traceback(error)
    details = {"type": name, "message": message[:TRACEBACK], "traceback": trace}
    reason = message if is_told else f"{name}: {message}"
    reason = reason.strip(": ").partition("\n")[0][:REPR]
    return encode(_clean(details))[0], _clean(reason)


def user_traceback(error: BaseException) -> str:
    """Return the traceback as text, without the frames of arcli's that called the user's code."""
    trace = error.__traceback__
    while trace is not None and is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    try:
        lines = traceback.format_exception(type(error), error, trace, limit=50)
    except BaseException:  # noqa: BLE001 - as above: __str__, __repr__, __notes__ of the user's
        lines = traceback.format_tb(trace, limit=50)
    text = "".join(lines)
    return text if len(text) <= TRACEBACK else text[: TRACEBACK // 2] + "\n…\n" + text[-1000:]


def _clean(value: Any) -> Any:
    """Return text that JSON can hold, whatever surrogates a message has."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return {key: _clean(part) for key, part in value.items()}


def safe_repr(value: Any) -> str:
    """``repr``, short, and never raising."""
    try:
        text = repr(value)
    except BaseException as error:  # noqa: BLE001 - the user's __repr__ may raise anything
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    text = text if len(text) <= REPR else text[: REPR - 1] + "…"
    cleaned: str = _clean(text)
    return cleaned


def kept(value: Any) -> tuple[str, bool]:
    """Return a value as JSON, and whether that is exact; where it has none, what can be said of it."""
    try:
        return encode(value)
    except BaseException:  # noqa: BLE001 - Unfit, and whatever the user's classes raise
        return '{"$pickle":null,"repr":' + encode(safe_repr(value))[0] + "}", False


def failed(stage: str, error: BaseException, *, item: int = -1, folder: str = ".") -> Failure:
    """Describe what the user's code raised, or what it needs and has not."""
    details, reason = describe(error)
    if isinstance(error, Unresolved | NoKernel | FileExistsError):
        reason = str(error)  # a whole sentence, and arcli's own
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    hint = hint_for(error, None, (), folder) or ""
    return Failure(stage, reason, **decode(details), missing=missing, item=item, hint=hint)
