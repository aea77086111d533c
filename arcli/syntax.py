"""What can be known of a function without running it: its syntax, its file, its names."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from pathlib import Path
from symtable import SymbolTable, symtable
from typing import NamedTuple

from arcli.engine.functions import kind_of
from arcli.paths import is_file, is_folder
from arcli.suggest import did_you_mean

WHERE_NAMES_COME_FROM = "setup: imports, push, scatter and run put names there"
_ANY_NAME = {"exec", "globals", "__import__", "eval"}
"""With these, code can reach any name."""


class Fault(NamedTuple):
    """What is wrong in a piece of Python: line and column count from 0 within the text."""

    message: str
    hint: str = ""
    line: int = 0
    column: int = 0


def faults_of(text: str, folder: Path, names: set[str] | None) -> Iterator[Fault]:
    """Yield what is wrong with the text of a function.

    ``names`` are those that the engines' namespace has, None where that cannot be known.
    """
    # A module cannot be looked at without importing it, which runs code: it is met on the engines.
    kind = kind_of(text)
    if kind == "file":
        path, _, name = text.strip().rpartition(":")
        yield from _in_file(folder / path, path, name.partition(".")[0])
    elif kind == "expression":
        yield from _expression(text, names)


def _expression(text: str, names: set[str] | None) -> Iterator[Fault]:
    if not text.strip():
        yield Fault("a function is missing")
        return
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError) as error:
        hint = "a function is module:name, file.py:name or an expression such as lambda x: x * x"
        yield Fault(f"not a function: {_message(error)}", hint, *_place(error))
        return
    # Literals are evaluated without an error, and are never what was meant.
    if isinstance(tree.body, ast.Constant | ast.List | ast.Dict | ast.Tuple | ast.JoinedStr):
        hint = "write lambda: … for a call that always gives this" if text.strip() else ""
        yield Fault(f"{text.strip()} is a value, which cannot be called", hint)
        return
    if names is None:
        return
    # In the order of the text, so that the first message is about the first
    # mistake.
    for name in sorted(free_names(tree), key=lambda free: (free.lineno, free.col_offset)):
        if name.id not in names and not hasattr(builtins, name.id):
            yield Fault(
                f"there is no {name.id!r} on the engines",
                _missing(name.id, tree.body, names),
                name.lineno - 1,
                name.col_offset,
            )


def parsed(text: str) -> ast.Expression:
    """Return the tree of an expression. Raises ValueError, which says why it is none."""
    try:
        return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(f"{text!r} is no expression: {getattr(error, 'msg', None) or error}") from None


def is_async(text: str, folder: Path) -> bool | None:
    """Tell whether the text of a function leads to an async function; None where only running tells."""
    kind = kind_of(text)
    path, _, name = text.strip().rpartition(":")
    try:
        if kind == "expression":
            body = ast.parse(text.strip(), mode="eval").body
            return False if isinstance(body, ast.Lambda) else None
        tree = ast.parse((folder / path).read_bytes()) if kind == "file" else ast.Module([], [])
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    # The last definition counts, unless something else binds the name, such as a decorator does.
    for node in reversed(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return None if node.decorator_list else isinstance(node, ast.AsyncFunctionDef)
    return None


def _missing(name: str, body: ast.expr, names: set[str]) -> str:
    # `model.score` with no `model` is mostly a file or a module that was meant.
    if near := did_you_mean(name, names):
        return near
    if isinstance(body, ast.Attribute) and isinstance(body.value, ast.Name):
        if body.attr == "py":
            return f"a function in a file is {name}.py:NAME"
        return f"add {name} to setup: imports, or write {name}:{body.attr}"
    return WHERE_NAMES_COME_FROM


def free_names(tree: ast.AST) -> Iterator[ast.Name]:
    """Yield the first use of each name that an expression takes from outside."""
    # Scopes are not told apart: a name that is bound anywhere in the expression counts as its own. That
    # may miss a mistake, and never makes one of what is right.
    bound = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    seen: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in bound | seen:
            seen.add(node.id)
            yield node


def dotted_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that an expression takes from outside, with those that follow them after dots.

    That are no methods which it calls: of `value.name.upper()` it is `value.name`.
    """
    free = {name.id for name in free_names(tree)}
    methods = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    begun = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if id(node) in begun:
            continue
        called, words = id(node) in methods, []
        while isinstance(node, ast.Attribute):
            words.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id in free:
            yield ".".join([node.id, *reversed(words[1:] if called else words)])


def _in_file(path: Path, shown: str, name: str) -> Iterator[Fault]:
    if not is_file(path):
        names = [match.name for match in path.parent.glob("*.py")] if is_folder(path.parent) else []
        yield Fault(f"there is no file {shown}", did_you_mean(path.name, names))
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        yield Fault(f"{shown}:{line}: {_message(error)}")
        return
    except OSError as error:
        yield Fault(f"{shown} cannot be read: {error.strerror}")
        return
    # A star import may bind anything: then nothing can be said.
    defined = set(bound_names(tree))
    if name not in defined and "*" not in defined:
        near_name = did_you_mean(name, defined)
        yield Fault(f"{shown} has no {name!r}", near_name or "it must be at the file's top level")


def bound_names(tree: ast.AST) -> Iterator[str]:
    """Yield names that a module's code may bind at its top level; ``*`` where that cannot be known."""
    # Wherever it stands: in an `if`, a `try`, a `with`. What a function binds inside is its own, and is
    # yielded all the same: nothing that is right may be refused.
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Name) and node.id in _ANY_NAME:
            yield "*"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]


def imported(text: str) -> list[str] | None:
    """Return the names that an entry of ``setup: imports`` binds; None where it is no import."""
    text = text.strip()
    try:
        tree = ast.parse(text if text.startswith("from ") else f"import {text}")
    except (SyntaxError, ValueError):
        return None
    one = len(tree.body) == 1 and isinstance(tree.body[0], ast.Import | ast.ImportFrom)
    return list(bound_names(tree)) if one else None


def source_faults(text: str) -> Iterator[Fault]:
    """Yield what is wrong with ``setup: run``."""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        yield Fault(f"not Python: {_message(error)}", "", *_place(error))


def used_names(texts: Iterable[str], run: str | None) -> set[str] | None:
    """Return names of the engines' namespace that functions use; None where that cannot be known.

    ``run`` is the source in ``setup: run``, whose functions use names, too.
    """
    # A function that ``setup: run`` defines may use names in turn: once one of its names is used, all
    # that its code reads counts.
    used: set[str] = set()
    try:
        for text in texts:
            if kind_of(text) == "expression":
                used |= _read(symtable(text.strip(), "<function>", "eval"))
        if run is not None and used & set(bound_names(ast.parse(run))):
            used |= _read(symtable(run, "<setup.run>", "exec"))
    except (SyntaxError, ValueError, RecursionError):
        return None
    return None if used & _ANY_NAME else used


def _read(scope: SymbolTable) -> set[str]:
    """Return the names that code reads and that are none of its functions' own."""
    # What is bound at the top, as by a comprehension, is read there as it was bound.
    top = scope.get_type() == "module"
    names = {
        symbol.get_name()
        for symbol in scope.get_symbols()
        if symbol.is_referenced() and symbol.is_global() and not (top and symbol.is_assigned())
    }
    return names.union(*map(_read, scope.get_children()))


def _message(error: Exception) -> str:
    return str(getattr(error, "msg", None) or error)


def _place(error: Exception) -> tuple[int, int]:
    line = getattr(error, "lineno", None) or 1
    column = getattr(error, "offset", None) or 1
    return max(0, line - 1), max(0, column - 1)
