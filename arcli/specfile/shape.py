"""What the models say is wrong, as problems with a place and in words of the spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from arcli.errors import Problem
from arcli.fields import Deferred, DeferredText, Unknown
from arcli.inputs.over import Sample, with_other_packages
from arcli.inputs.registry import BUILT_IN, kind_of
from arcli.specfile import model
from arcli.specfile.overrides import WHOLE
from arcli.specfile.tree import Node, NodePath
from arcli.suggest import did_you_mean, quoted

_MODELS: dict[str | int, type[BaseModel]] = {
    "cluster": model.Cluster,
    "setup": model.Setup,
    "sample": Sample,
    "defaults": model.Policy,
}
_IN_LISTS: dict[str | int, type[BaseModel]] = {
    "jobs": model.Job,
    "output": model.Output,
    "notify": model.Notification,
    "artifacts": model.Artifact,
}
_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "too_short": "a list with something in it",
    "string_pattern_mismatch": "a URL that begins with http:// or https://",
}
_SHORT_FORMS = {"over": "a list of items or a map with a source, such as {range: 10}"}
_INTERNAL = {"is_instance_of"}
_OTHER_WORDS = {
    **dict.fromkeys(("after", "depends", "depends_on", "dependencies", "requires"), "needs"),
    **dict.fromkeys(("cmd", "run", "script", "exec"), "command"),
    **dict.fromkeys(("items", "inputs", "foreach", "for_each", "with_items", "matrix"), "over"),
    **dict.fromkeys(("dir", "workdir", "working_directory", "working-directory"), "cwd"),
    "environment": "env",
    "function": "map",
    "stdin": "command_stdin",
    "attempts": "retries",
}
"""What other tools call a key of a job."""


def top_keys() -> set[str]:
    """Return the keys that a spec has beside those of a single job."""
    return {*keys_of(model.SpecFile), "defaults"}


def keys_of(kind: type[BaseModel]) -> list[str]:
    """Return a model's keys, as they are written in a file."""
    return [field.alias or name for name, field in kind.model_fields.items()]


def problems_of(error: ValidationError, root: Node) -> Iterator[Problem]:
    """Yield each thing that is wrong once, however many ways of being right it missed."""
    by_path: dict[NodePath, list[Mapping[str, Any]]] = {}
    for fault in error.errors(include_url=False):
        # The place of a key that is wrong is its own, not that of the map which it
        # is in.
        if fault["type"] in _INTERNAL or isinstance(fault["input"], Unknown):
            continue
        loc = list(fault["loc"])
        if is_about_key(fault):
            loc = [*loc[: -2 if loc[-1] == "[key]" else -1], fault["input"]]
            fault["type"] = "invalid_key"
        if fault["type"] in {"extra_forbidden", "missing", "invalid_key"}:
            _, path = root.follow(loc[:-1])
            path = (*path, loc[-1])
        else:
            _, path = root.follow(loc)
        by_path.setdefault(path, []).append(fault)
    # Of several forms that a value may have, the one that came furthest says what is wrong: that the
    # value as a whole is none of the others is no fault then.
    for path, faults in by_path.items():
        deeper = any(other[: len(path)] == path and other != path for other in by_path)
        if not (deeper and all(fault["type"] in {*_KINDS, "literal_error"} for fault in faults)):
            yield _problem(path, faults, root)


def is_about_key(fault: Mapping[str, Any]) -> bool:
    """Tell whether it is the key at the end of its path that is wrong, and not the value."""
    return "invalid_key" in fault["type"] or "[key]" in fault["loc"][-1:]


def _problem(path: NodePath, faults: Sequence[Mapping[str, Any]], root: Node) -> Problem:
    fault = faults[0]
    key = path[-1] if path else ""
    parent, _ = root.follow(path[:-1])
    if fault["type"] == "extra_forbidden":
        keys = _known(path[:-1])
        single = [] if path[:-1] else keys_of(model.Job)
        if single and _has_one_form(root):
            keys = sorted({*keys, *single} - {"jobs"})
        near = (not path[:-1] and _elsewhere(parent, key)) or _in_input(parent, key)
        near = near or _same([*keys, *single], key) or did_you_mean(str(key), [*keys, *single])
        return _key_node(parent, key).problem(
            f"unknown key {key!r}", near or (f"there are: {', '.join(keys)}" if keys else "")
        )
    if fault["type"] == "invalid_key":
        name = _key_node(parent, key)
        message = f"a key of {_called(path[:-1])} should be text, not {_described(name)}"
        return name.problem(message, f"quote it: {quoted(name.raw)}" if name.raw else "")
    if fault["type"] == "missing":
        return parent.problem(f"{_called(path[:-1])} needs the key {key!r}", _as_value(path))
    node, _ = root.follow(path)
    # Of several forms a map has one, which says itself what it lacks.
    for each in faults if node.kind == "map" else [fault]:
        if each["type"] == "value_error":
            return node.problem(f"{_called(path)}: {each['ctx']['error']}")
    if isinstance(fault["input"], Deferred | DeferredText):
        message = f"{_called(path)} must be known before the run"
        return node.problem(message, "${ref.…}, ${engines.…} and ${jobs.…} go in args and kwargs")
    # What it should be, from all forms that it may have, against what it is.
    expected = " or ".join(dict.fromkeys(_wanted(fault) for fault in faults))
    expected = _SHORT_FORMS.get(str(key), expected)
    should = f"{_called(path)} should be {expected}, not"
    if isinstance(node.value, str) and "${" in node.value:
        value = max(faults, key=lambda fault: len(fault["loc"]))["input"]
        actual = _of_type(value, str(value))
        return node.problem(f"{should} {actual}, from {node.value}", _origin(node, root))
    return node.problem(f"{should} {_described(node)}", _hint(path, faults, node))


def _same(keys: Sequence[str], word: Any) -> str:
    """Suggest the key that has another name in other tools; empty where there is none here."""
    key = _OTHER_WORDS.get(word) if isinstance(word, str) else None
    return f"did you mean {key!r}?" if key in keys else ""


def _has_one_form(root: Node) -> bool:
    """Tell whether the keys of a single job stand at the top, of which loading has made a list."""
    jobs = root.get("jobs")
    # It stands where the spec begins, as no list of the spec's own can, which has its key before it.
    return jobs is not None and (jobs.text, jobs.line, jobs.column) == (root.text, root.line, root.column)


def _as_value(path: NodePath) -> str:
    """Say what an input is where the key at the end of the path is what it may be alone."""
    name = str(path[-2]) if len(path) > 1 else ""
    kind = kind_of(name) if name in BUILT_IN else None
    if kind is None or kind.short != path[-1]:
        return ""
    return (kind.__doc__ or "").partition("\n")[0].replace("``", "")


def _elsewhere(root: Node, key: Any) -> str:
    """Say where a key at the top belongs, if it is one of the cluster's or of the setup's."""
    for name, kind in (("cluster", model.Cluster), ("setup", model.Setup)):
        if key in keys_of(kind):
            return f"write {name}: {{{key}: {_written(root.get(key))}}}"
    return ""


def _in_input(parent: Node, key: Any) -> str:
    """Say where a setting of an input belongs that stands beside the input, or beside ``over``."""
    # The keys of a single job stand at the top, where one that no job has is left.
    jobs, value = parent.get("jobs"), parent.get(key)
    if jobs is not None and jobs.kind == "list" and len(jobs.value) == 1:
        parent = jobs.value[0]
    over = parent.get("over")
    around = parent if over is None else over
    if around.kind != "map":
        return ""
    for name, entry in around.value.items():
        kind = kind_of(name) if name in BUILT_IN else None
        if kind is None or key not in keys_of(kind) or key == kind.short:
            continue
        # What is written in short is shown in full: that is the step that is missing.
        short = kind.short and entry.value.kind == "scalar"
        given = f"{kind.short}: {_written(entry.value)}" if short else "…"
        return f"write {'' if over is None else 'over: '}{{{name}: {{{given}, {key}: {_written(value)}}}}}"
    return ""


def _written(node: Node | None) -> str:
    """Return a scalar as one would write it; of anything else that there is something."""
    if node is None or node.kind != "scalar":
        return "…"
    return node.raw if node.plain else quoted(node.raw)


def _key_node(parent: Node, key: Any) -> Node:
    """Return the key of a map, or what stands for a map that a ``${params.…}`` gives."""
    entry = parent.value.get(key) if parent.kind == "map" else None
    return entry.key if entry is not None else parent


def _origin(node: Node, root: Node) -> str:
    """Return the flag that gave what stands for a ``${params.…}``, if one did."""
    params = root.get("params")
    if params is None or not WHOLE.fullmatch(node.value):
        return ""
    parameter = params.get(node.value[2:-1].strip().removeprefix("params."))
    return (
        f"{parameter.text.label} says so" if parameter is not None and parameter.text != node.text else ""
    )


def _called(path: NodePath) -> str:
    """Return what a value is called: its key, or its place in a list."""
    if not path:
        return "the spec"
    if isinstance(path[-1], int):
        above = path[-2] if len(path) > 1 else ""
        return {"jobs": "a job", "output": "an output"}.get(str(above), f"a part of {above}")
    return str(path[-1])


def _known(path: NodePath) -> list[str]:
    """Return the keys that a map at a path may have."""
    if not path:
        return sorted(top_keys())
    above = path[-2] if len(path) > 1 else ""
    if above in {"push", "params"}:
        return []
    if path[-1] == "over" or above in {"product", "zip"}:
        return keys_of(with_other_packages())
    if above == "scatter":  # a source stands there, too
        return [*keys_of(model.Scatter), *keys_of(with_other_packages())]
    if path[-1] in _MODELS:
        return keys_of(_MODELS[path[-1]])
    if above in _IN_LISTS:
        return keys_of(_IN_LISTS[above])
    try:
        return keys_of(kind_of(str(path[-1])))
    except KeyError:
        return []


def _wanted(fault: Mapping[str, Any]) -> str:
    # pydantic's words are for Python programmers; what they leave is said in those of YAML.
    kind, context = fault["type"], fault.get("ctx", {})
    if kind in _KINDS:
        return _KINDS[kind]
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "")
    if kind == "greater_than_equal":
        return f"at least {context['ge']}"
    if kind == "less_than_equal":
        return f"at most {context['le']}"
    if kind in {"string_too_long", "string_too_short"}:
        return "one character"
    if kind == "finite_number":
        return "a finite number"
    return str(fault["msg"])


def _described(node: Node) -> str:
    if node.kind != "scalar":
        return f"a {node.kind}" if node.value else f"an empty {node.kind}"
    return _of_type(node.value, node.raw)


def _of_type(value: Any, raw: str) -> str:
    """Return a value in words; ``raw`` is how a number was written."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a map"
    return f"the text {value!r}" if isinstance(value, str) else f"the number {raw or value}"


def _hint(path: NodePath, faults: Sequence[Mapping[str, Any]], node: Node) -> str:
    hints = {
        word.strip(" '")
        for fault in faults
        if fault["type"] == "literal_error"
        for word in str(fault["ctx"]["expected"]).replace(" or ", ",").split(",")
    }
    if isinstance(node.value, str) and (near := did_you_mean(node.value, hints)):
        return near
    # Braces that YAML took for a map, where text was meant: a template, usually.
    takes_text = any(fault["type"] == "string_type" for fault in faults)
    if (
        takes_text
        and node.kind == "map"
        and all(entry.value.kind == "scalar" and entry.value.raw == "" for _, entry in node.entries())
    ):
        names = ", ".join(str(key) for key, _ in node.entries())
        return f'braces without quotes are a map in YAML: write "{{{names}}}"'
    if takes_text and node.kind == "scalar" and node.raw:
        return f"quote it: {quoted(node.raw)}"
    if path == ("jobs",) and node.kind == "map" and node.value:
        return f"each begins with a dash: - name: {next(iter(node.value))}"
    takes_map = any(_wanted(fault) == "a map" for fault in faults)
    if takes_map and isinstance(node.value, str) and ":" in node.value:
        return "YAML wants a space after the colon"
    return ""
