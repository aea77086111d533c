"""``-p KEY=VALUE`` and ``--set PATH=VALUE``: changes to a spec from the command line."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from arcli.errors import Problem, SpecError
from arcli.specfile import scalars
from arcli.specfile.compose import compose
from arcli.specfile.tree import Node, Text
from arcli.suggest import did_you_mean

WHOLE = re.compile(r"\$\{[^{}]*\}")
"""A text that is one ``${…}``, and with it whatever that is."""


def value_of(text: Text, *, is_text: bool = False) -> Node:
    """Return the value of a flag as a node. Raises SpecError.

    What begins with a bracket, a brace or a quote is YAML; anything else is one plain scalar, so
    that a shell's user need not quote ``*.txt`` or ``a: b`` twice. ``is_text`` keeps it text.
    """
    if is_text:
        return Node("scalar", text.text, text, 0, 0, raw=text.text)
    if text.text.lstrip()[:1] in {"[", "{", '"', "'"}:
        return compose(text)
    node = Node("scalar", text.text, text, 0, 0, raw=text.text, plain=True)
    try:
        node.value = scalars.resolve(text.text.strip())
    except ValueError as error:
        raise SpecError([node.problem(str(error))]) from None
    return node


LONGEST_KEY = 1000
"""Characters of a key that YAML takes without a question mark before it; it says 1024, escapes included."""


def text_of(value: Any) -> str:
    """Write data as the text of a flag, of which ``value_of`` and interpolation make the same data again.

    A tuple becomes a list, a path its text. Raises ValueError for what a spec cannot hold.
    """
    match value:
        case None | bool() | int():
            return json.dumps(value)
        case float():
            return json.dumps(value) if math.isfinite(value) else _NOT_FINITE[str(float(value))]
        case str() | os.PathLike():
            return _quoted(os.fspath(value).replace("${", "$${"))
        case list() | tuple():
            return f"[{', '.join(map(text_of, value))}]"
        case Mapping():
            return f"{{{', '.join(f'{_key(key)}: {text_of(part)}' for key, part in value.items())}}}"
    raise ValueError(f"a spec cannot hold a value of the type {type(value).__name__}")


_NOT_FINITE = {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}


def _key(key: Any) -> str:
    """Write the key of a map, in which nothing is interpolated. Raises ValueError for what is not text."""
    if not isinstance(key, str):
        raise ValueError(f"the key {key!r} is not text")
    text = _quoted(key)
    return text if len(text) < LONGEST_KEY else f"? {text}"


def _quoted(text: str) -> str:
    """Write text as JSON does, which is YAML but for one control character. Raises ValueError."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!a} has bytes that are not UTF-8, which a spec cannot hold") from None
    return json.dumps(text).replace("\x7f", "\\u007f")


def set_params(root: Node, params: Mapping[str, str]) -> Iterator[Problem]:
    """Give parameters other values. A name that the spec does not have is a problem."""
    for name, text in params.items():
        label = f"-p {name}={text}"
        defaults = root.get("params")
        default = defaults.get(name) if defaults is not None else None
        if defaults is None or default is None:
            yield _no_parameter(root, name, Text(label, text))
            continue
        # A parameter whose default is text stays text, whatever it looks like.
        try:
            old = default.value
            is_text = default.kind == "scalar" and isinstance(old, str) and not WHOLE.fullmatch(old)
            value = value_of(Text(label, text), is_text=is_text)
        except SpecError as error:
            yield from error.problems
            continue
        if isinstance(default.value, bool) and isinstance(value.value, str):
            yield value.problem(f"{name} is true or false, not the text {value.value!r}")
        defaults.put(name, value)


def _no_parameter(root: Node, name: str, text: Text) -> Problem:
    """Return the problem with a flag for a parameter that the spec does not have."""
    params = root.get("params")
    names = [] if params is None else [key for key, _ in params.entries() if isinstance(key, str)]
    hint = did_you_mean(name, names) or _all(names, "the spec has no params")
    return text.problem(f"there is no parameter {name!r}", hint=hint)


def set_values(root: Node, sets: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    """Replace values at dotted paths; a job is named by its name or its number.

    A single job whose keys stand at the top has the spec's own name. Maps that are not there yet
    are made: whether their keys are known is found out later, but for parameters, which may be called
    anything: as with ``-p``, a name that the spec does not have is a problem.
    """
    for path, written in sets:
        text = Text(f"--set {path}={written}", written)
        try:
            steps = path.split(".")
            # The one job's keys stand at the top, and `jobs.NAME.retries` works all the same, so that
            # a script can set it in any spec.
            if steps[0] == "jobs" and root.get("jobs") is None and len(steps) > 2:
                if steps[1] not in {"0", _name(root)}:
                    hint = f"there is one: {_name(root)}"
                    raise SpecError([text.problem(f"there is no job {steps[1]!r}", hint=hint)])
                steps = steps[2:]
            if steps[0] == "params" and steps[1:] and root.follow(steps[:2])[1] != ("params", steps[1]):
                raise SpecError([_no_parameter(root, steps[1], text)])
            whole = Text(text.label, f"{path}={written}")
            ends = [len(path) - len(".".join(steps[place:])) for place in range(len(steps))]
            keys = [
                Node("scalar", step, whole, 0, at, raw=step) for step, at in zip(steps, ends, strict=True)
            ]
            _set(root, keys, value_of(text), text)
        except SpecError as error:
            yield from error.problems


def _set(root: Node, keys: list[Node], value: Node, text: Text) -> None:
    """Put a value at a path of ``keys``, whose maps are made where they are missing. Raises SpecError."""
    node, steps = root, [key.raw or "" for key in keys]
    for place, step in enumerate(steps[:-1]):
        below, path = node.follow([_index(node, step)])
        if path:
            node = below
        # A path may make maps that the file leaves out, but no list elements.
        elif node.kind == "map":
            made = Node("map", {}, text, 0, 0)
            node.put(step, made, keys[place])
            node = made
        else:
            _nowhere(text, node, ".".join(steps[: place + 1]))
    last = _index(node, steps[-1])
    if node.kind == "map":
        node.put(steps[-1], value, keys[-1])
    elif node.kind == "list" and isinstance(last, int) and last < len(node.value):
        node.value[last] = value
    else:
        _nowhere(text, node, ".".join(steps))


def _index(node: Node, step: str) -> str | int:
    return int(step) if node.kind == "list" and step.isdecimal() else step


def _nowhere(text: Text, node: Node, path: str) -> None:
    names = [] if node.kind != "list" else [_name(part) for part in node.value]
    named = [name for name in names if name is not None]
    hint = _all(named, "a path such as jobs.NAME.retries or cluster.engines")
    raise SpecError([text.problem(f"there is no {path!r} in the spec", hint=hint)])


def _name(node: Node) -> str | None:
    name = node.get("name")
    return None if name is None else str(name.value)


def _all(names: list[str], otherwise: str) -> str:
    return f"there are: {', '.join(names)}" if names else otherwise
