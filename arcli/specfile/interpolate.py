"""``${…}`` in a spec: parameters, the environment, and what is only known at run time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from arcli.errors import Problem
from arcli.fields import Deferred, DeferredText, Unknown, deferred_values
from arcli.specfile import scalars
from arcli.specfile.model import DOTTED_NAME
from arcli.specfile.tree import Node
from arcli.suggest import did_you_mean

_PART = re.compile(r"\$\$\{|\$\{(?P<inside>[^{}]*)\}|(?P<open>\$\{)")
_INSIDE = re.compile(r"\s*(?P<kind>\w+)\.(?P<name>.+?)\s*", re.DOTALL)
_DEFAULT = re.compile(r"(?P<name>\w+):-(?P<default>.*)", re.DOTALL)
KINDS = ("params", "env", "ref", "engines", "jobs")
_ENGINES = ("slots", "count")
_UNKNOWN = Unknown()


class Interpolator:
    """Turns nodes into data. ``problems`` has what went wrong on the way.

    A text that is one ``${…}`` becomes the value itself, with its type: a parameter's own, a
    variable's as if it stood there without quotes. Inside a longer text it becomes text. ``$${`` is
    a literal ``${``. ``written`` has the text behind a value, by the id of its node, ``variables`` the
    values of the environment that were used, by name.
    """

    def __init__(self, root: Node, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.written: dict[int, str] = {}
        self.variables: dict[str, str] = {}
        self._environ = environ
        self._params = root.get("params")
        self._values: dict[str, Any] = {}
        self._asking: list[str] = []

    def data(self, node: Node) -> Any:
        """Return a node as Python data, with ``Deferred`` and ``DeferredText`` for what is not known yet.

        ``Unknown`` stands for what went wrong.
        """
        if node.kind == "list":
            return [self.data(part) for part in node.value]
        if node.kind == "map":
            return {key: self.data(entry.value) for key, entry in node.value.items()}
        if isinstance(node.value, str) and "${" in node.value:
            return self._text(node)
        return node.value

    def params(self) -> dict[str, Any]:
        """Return all parameters, which may refer to each other and to the environment."""
        if self._params is None:
            return {}
        return {name: self._param(name) for name, _ in self._params.entries()}

    def _text(self, node: Node) -> Any:
        """Return a text with its ``${…}`` filled in, or the value itself where it is one and no more."""
        parts: list[Any] = []
        end = 0
        for match in _PART.finditer(node.value):
            parts.append(node.value[end : match.start()])
            end = match.end()
            if match[0] == "$${":
                parts.append("${")
            else:
                value = self._value(node, match)
                # A value that is nothing but a placeholder keeps the type of what it stands for.
                if match[0] == node.value:
                    return value
                # Inside of a text a value is written as YAML would write it: True is true.
                if value is None or isinstance(value, bool):
                    value = {None: "null", True: "true", False: "false"}[value]
                elif isinstance(value, list | dict):
                    kind = "a list" if isinstance(value, list) else "a map"
                    value = self._fail(
                        node, match, f"{match[0]} is {kind}, which cannot be a part of a text"
                    )
                parts.append(str(value) if isinstance(value, int | float) else value)
        parts.append(node.value[end:])
        if _UNKNOWN in parts:
            return _UNKNOWN
        # What only the run knows is put in later.
        if any(isinstance(part, Deferred) for part in parts):
            return DeferredText(tuple(part for part in parts if part != ""))
        return "".join(parts)

    def _value(self, node: Node, match: re.Match[str]) -> Any:
        """Return what a ``${…}`` stands for, ``Unknown`` where that is a problem."""
        if match["open"]:
            return self._fail(node, match, "${ is not closed", "write $${ for a literal ${")
        inside = _INSIDE.fullmatch(match["inside"])
        kind = inside["kind"] if inside else match["inside"].partition(".")[0].strip()
        if inside is None or kind not in KINDS:
            near, name = did_you_mean(kind, KINDS), match["inside"]
            # ${NAME} is a parameter to some and a variable to others, and means neither here.
            if not near and name.isidentifier():
                near = f"${{env.{name}}} reads the environment; $${{{name}}} is left to a shell"
                if self._params is not None and self._params.get(name) is not None:
                    near = f"did you mean ${{params.{name}}}?"
            kinds = ", ".join(f"${{{kind}.…}}" for kind in KINDS)
            hint = near or f"there are {kinds}; $${{ is a literal ${{"
            return self._fail(node, match, f"{match[0]} means nothing", hint)
        name = inside["name"]
        # Parameters and environment are known now, everything else when the run has it.
        if kind == "params":
            return self._of_params(node, match, name)
        if kind == "env":
            return self._of_environ(node, match, name)
        return self._deferred(node, match, kind, name)

    def _of_params(self, node: Node, match: re.Match[str], name: str) -> Any:
        """Return a parameter, or what is in it at the steps after its name."""
        first, *rest = name.split(".")
        entries = () if self._params is None else self._params.entries()
        names = [key for key, _ in entries if isinstance(key, str)]
        if first not in names:
            hint = did_you_mean(first, names) or (
                f"there are: {', '.join(names)}" if names else "parameters stand under `params:`"
            )
            return self._fail(node, match, f"there is no parameter {first!r}", hint)
        # Parameters may use each other, but not in a ring.
        if first in self._asking:
            ring = " -> ".join([*self._asking[self._asking.index(first) :], first])
            return self._fail(node, match, f"parameters refer to each other in a ring: {ring}")
        value = self._param(first)
        # `-p tag=007` is the number 7, and 007 again where the models want text: so its text is kept,
        # also through parameters that are made of each other.
        override = None if self._params is None else self._params.get(first)
        alone = match[0] == node.value and not rest
        if alone and override is not None and override.kind == "scalar":
            self.written[id(node)] = self.written.get(id(override), override.raw)
        # Steps into a parameter that is a map or a list.
        steps: list[str | int] = []
        for step in rest if value != _UNKNOWN else ():
            if isinstance(value, dict) and step in value:
                steps.append(step)
            elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
                steps.append(int(step))
            else:
                return self._fail(node, match, f"there is no {step!r} in ${{params.{first}}}")
            value = value[steps[-1]]
        # A number in a longer text, such as a version, is what was written: 1.10 is not 1.1.
        if match[0] != node.value and override is not None and type(value) in {int, float}:
            leaf, _ = override.follow(steps)
            text = self.written.get(id(leaf), leaf.raw)
            return text if "${" not in text else value
        return value

    def _param(self, name: Any) -> Any:
        """Return a parameter's value; each is worked out once, when it is first asked for."""
        if name not in self._values:
            assert self._params is not None
            node = self._params.get(name)
            assert node is not None
            # What is being worked out is known by name, so that a ring of references has an end.
            self._asking.append(name)
            value = self.data(node)
            self._asking.pop()
            # Parameters are worked out before the run, when no engine and no job has a value yet.
            if any(deferred_values(value)):
                message = f"the parameter {name!r} is not known before the run"
                hint = "a parameter can use ${params.…} and ${env.…}"
                self.problems.append(node.problem(message, hint))
                value = _UNKNOWN
            self._values[name] = value
        return self._values[name]

    def _of_environ(self, node: Node, match: re.Match[str], name: str) -> Any:
        """Return a variable of the environment, or the default behind ``:-``."""
        default = _DEFAULT.fullmatch(name)
        variable = default["name"] if default else name
        value = self._environ.get(variable)
        if value:
            self.variables[variable] = value
        # As in a shell, :- also replaces what is set and empty.
        if default and not value:
            value = default["default"]
        if value is None:
            hint = did_you_mean(variable, self._environ)
            hint = hint or f"set it, or give a default: ${{env.{variable}:-…}}"
            return self._fail(node, match, f"the environment has no {variable}", hint)
        # Inside of a longer text it is text, alone it is read as if it stood in the file.
        if match[0] != node.value:
            return value
        self.written[id(node)] = value
        try:
            return scalars.resolve(value)
        except ValueError as error:
            return self._fail(node, match, str(error))

    def _deferred(self, node: Node, match: re.Match[str], kind: str, name: str) -> Any:
        """Return what stands for a value that only the run knows; its name is checked now."""
        if kind == "engines" and name not in _ENGINES:
            return self._fail(node, match, f"{match[0]} means nothing", "there are slots and count")
        if kind == "jobs" and not name.endswith(".value"):
            # `${jobs.a.vaule}` is that job's value misspelt, which can only be had as a whole
            # (`${jobs.a.value.b}`); `${jobs.a.b}` may be a job `a.b`.
            job, _, last = name.rpartition(".")
            named = job if job and did_you_mean(last, ["value"]) else name.partition(".value.")[0]
            return self._fail(node, match, f"{match[0]} means nothing", f"write ${{jobs.{named}.value}}")
        if kind == "ref" and not DOTTED_NAME.fullmatch(name):
            return self._fail(node, match, f"{match[0]} is not a name in the engines' namespace")
        return Deferred(kind, name)  # type: ignore[arg-type]

    def _fail(self, node: Node, match: re.Match[str], message: str, hint: str = "") -> Unknown:
        """Note a problem, and return what stands for the value.

        Its place is the ``${`` itself where the line shows it; blocks and escapes move it.
        """
        line, column = node.line, node.column
        if node.block:
            line, column = line + 1 + node.value[: match.start()].count("\n"), 0
        position = node.text.line(line).find(match[0], column)
        column = position if position >= 0 else column
        self.problems.append(node.text.problem(message, line, column, hint))
        return _UNKNOWN
