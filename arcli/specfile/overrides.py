"""``-p KEY=VALUE`` and ``--set PATH=VALUE``: changes to a spec from the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

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


def set_params(root: Node, params: Mapping[str, str]) -> Iterator[Problem]:
    """Give parameters other values. A name that the spec does not have is a problem."""
    defaults = root.get("params")
    names = [] if defaults is None else [key for key, _ in defaults.entries() if isinstance(key, str)]
    for name, text in params.items():
        label = f"-p {name}={text}"
        default = defaults.get(name) if defaults is not None else None
        if defaults is None or default is None:
            hint = did_you_mean(name, names) or _all(names, "the spec has no params")
            yield Text(label, text).problem(f"there is no parameter {name!r}", hint=hint)
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


def set_values(root: Node, sets: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    """Replace values at dotted paths; a job is named by its name or its number.

    A single job whose keys stand at the top has the spec's own name. Maps that are not there yet
    are made: whether their keys are known is found out later.
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
