"""Runs code that somebody typed, among an engine's names, and says what came of it.

Its text is sent to engines of any Python 3.8 or newer: it imports nothing but the standard library.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import linecache
import traceback

NAME = "<exec>"
"""What tracebacks call the code."""


def run(text: str, names: dict[str, object]) -> str:
    """Run Python code in ``names``.

    Returns JSON of what it printed on stdout and on stderr, the ``repr`` of a last expression that is not
    None, and the traceback of what it raised.
    """
    out, err = io.StringIO(), io.StringIO()
    value = error = None
    linecache.cache[NAME] = (len(text), None, text.splitlines(keepends=True), NAME)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            value = _value(text, names)
        # Also what ends a process, and Ctrl-C: an engine goes on.
        except BaseException as raised:  # noqa: BLE001
            # The first frames are those of this module; a mistake in the code's syntax has no other.
            trace = raised.__traceback__
            while trace is not None and trace.tb_frame.f_code.co_filename != NAME:
                trace = trace.tb_next
            error = "".join(traceback.format_exception(type(raised), raised, trace))
    return json.dumps([out.getvalue(), err.getvalue(), value, error])


def _value(text: str, names: dict[str, object]) -> str | None:
    """Run the code; return the ``repr`` of a last expression, None where there is none or it is None."""
    tree = ast.parse(text, NAME)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NAME, "exec"), names)  # noqa: S102 - what was asked for
    if not isinstance(last, ast.Expr):
        return None
    result = eval(compile(ast.Expression(last.value), NAME, "eval"), names)  # noqa: S307
    return None if result is None else repr(result)
