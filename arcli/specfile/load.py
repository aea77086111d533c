"""The line of this floor: text -> nodes -> overrides -> one form -> values -> models -> checks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from arcli.errors import Problem, SpecError
from arcli.specfile.checks import check
from arcli.specfile.checks.checked import parts_of
from arcli.specfile.checks.inputs import SOME_INPUT, open_sources
from arcli.specfile.compose import compose
from arcli.specfile.interpolate import Interpolator
from arcli.specfile.model import Job, Policy, Spec, SpecFile
from arcli.specfile.names import job_name, run_name
from arcli.specfile.overrides import set_params, set_values
from arcli.specfile.shape import is_about_key, keys_of, problems_of, top_keys
from arcli.specfile.tree import Entry, Node, Places, read
from arcli.suggest import near_or_all

_WANT_TEXT = {"string_type", "model_type", "model_attributes_type"}
"""Faults of what should have been text, or the short form of a map."""


def load(
    source: str,
    *,
    params: Mapping[str, str] | None = None,
    sets: Iterable[tuple[str, str]] = (),
    environ: Mapping[str, str] | None = None,
    stdin: BinaryIO | None = SOME_INPUT,
) -> Spec:
    """Read a valid spec from a file, or from standard input for ``-``; nothing of the user's is run.

    The rest is as in ``from_tree``. Raises SpecError with all problems that can be found.
    """
    root = compose(read(source))
    if root.kind != "map":
        hint = "it begins with keys such as `map:` and `over:`"
        raise SpecError([root.problem(f"a spec is a map, and this is a {root.kind}", hint)])
    # A spec without a name is called as its file is.
    if root.get("name") is None:
        stem = "stdin" if source == "-" else Path(source).stem
        root.put("name", Node("scalar", run_name(stem), root.text, 0, 0))
    folder = Path.cwd() if source == "-" else Path(source).resolve().parent
    return from_tree(
        root, file=source, folder=folder, params=params, sets=sets, environ=environ, stdin=stdin
    )


def from_tree(
    root: Node,
    *,
    file: str,
    folder: Path,
    params: Mapping[str, str] | None = None,
    sets: Iterable[tuple[str, str]] = (),
    environ: Mapping[str, str] | None = None,
    stdin: BinaryIO | None = SOME_INPUT,
) -> Spec:
    """Make a valid spec of a tree of nodes, which is a map and has a name.

    ``file`` is what the spec is called, ``-`` where it was read from standard input; relative paths
    are relative to ``folder``. ``params`` and ``sets`` are what ``-p`` and ``--set`` say, as text.
    ``stdin`` is what inputs may read in the run, None where it is closed. Raises SpecError with all
    problems that can be found.
    """
    # Flags come before anything is interpreted: what they set may be a short form, or hold `${…}`.
    problems = [*set_values(root, sets), *set_params(root, params or {})]
    problems += _one_form(root)
    interpolator = Interpolator(root, os.environ if environ is None else environ)
    data = {key: interpolator.data(entry.value) for key, entry in root.entries() if key != "params"}
    # Parameters refer to each other, which is told as a ring only where each is asked for by name.
    params_node = root.get("params")
    if params_node is None or params_node.kind == "map":
        data["params"] = interpolator.params()
    else:
        data["params"] = interpolator.data(params_node)
    problems += interpolator.problems
    tree = {"jobs": [], **data}
    problems += _faults(tree, root, interpolator.written)
    # One problem must not hide the others: what has the right shape is checked although the rest
    # has not. But what follows from a problem that is told already would only distract.
    places = Places(root)
    parts = parts_of(tree, file, folder)
    of_inputs: list[Problem] = []
    sources = open_sources(parts, stdin, of_inputs, places)
    problems += _new(problems, check(parts, sources, places, from_stdin=file == "-"))
    problems += _new(problems, of_inputs)
    if problems:
        # Problems without a line are those of flags and of the file as a whole: they come first.
        order = sorted(dict.fromkeys(problems), key=lambda p: (p.file, p.line or 0, p.column or 0))
        raise SpecError(order)
    opened = {parts.names[at]: source for at, source in sources.items()}
    return Spec.model_validate(
        {
            **tree,
            "file": file,
            "folder": folder,
            "places": places,
            "sources": opened,
            "variables": interpolator.variables,
        },
        strict=True,
    )


def _new(known: Iterable[Problem], found: Iterable[Problem]) -> list[Problem]:
    """Return those at places that have no problem yet: what follows from another would only distract."""
    spotted = {(problem.file, problem.line, problem.column) for problem in known}
    return [p for p in dict.fromkeys(found) if (p.file, p.line, p.column) not in spotted]


def _one_form(root: Node) -> list[Problem]:
    """Bring short forms to the long one: a single job under ``jobs``, defaults into each job."""
    problems: list[Problem] = []
    # `name` and `expect` are keys of both, and stay where they are: a job's name is the spec's, in ASCII.
    job_keys = {*keys_of(Job)} - top_keys()
    stray = [key for key, _ in root.entries() if key in job_keys]
    jobs, name = root.get("jobs"), root.get("name")
    assert name is not None
    if "jobs" in root.value:
        for key in stray:
            hint = "move it into a job" + (", or under defaults:" * (key in keys_of(Policy)))
            message = f"{key!r} belongs to a job, and the jobs stand under `jobs:`"
            problems.append(root.value.pop(key).key.problem(message, hint))
    elif stray:
        job = Node("map", {}, root.text, root.line, root.column)
        for key in stray:
            job.value[key] = root.value.pop(key)
        if isinstance(name.value, str):
            name = Node(name.kind, job_name(name.value), name.text, name.line, name.column)
        job.put("name", name)
        root.put("jobs", Node("list", [job], root.text, root.line, root.column))
    # Not where a key is unknown: it may be a misspelt `map:`, and then only that should be told.
    nothing = jobs.value == [] if jobs is not None else not stray
    if nothing and {key for key, _ in root.entries()} <= top_keys():
        hint = "give it a `map:`, `apply:` or `command:`, or several jobs under `jobs:`"
        problems.append((jobs or root).problem("the spec has no job", hint))
    if (defaults := root.value.pop("defaults", None)) is not None:
        problems += _merge_defaults(root, defaults)
    return problems


def _merge_defaults(root: Node, defaults: Entry) -> list[Problem]:
    """Put defaults into each job that does not have the key; return what cannot be a default."""
    policy = set(keys_of(Policy))
    if defaults.value.kind != "map":
        return [defaults.value.problem("defaults should be a map")]
    problems: list[Problem] = []
    for key, entry in defaults.value.entries():
        if key not in policy:
            hint = near_or_all(str(key), sorted(policy))
            problems.append(entry.key.problem(f"{key!r} cannot be a default", hint))
    # A job shares the node of the default: a wrong one has one place, and is told once.
    jobs = root.get("jobs")
    for job in jobs.value if jobs is not None and jobs.kind == "list" else []:
        if job.kind == "map":
            for key, entry in defaults.value.entries():
                if key in policy:
                    job.value.setdefault(key, entry)
    return problems


_WORDS = (("command",), ("env",))
"""Where a number has one obvious text."""


def _faults(data: dict[str, Any], root: Node, written: Mapping[int, str]) -> list[Problem]:
    """Return what the models say is wrong.

    Where text is wanted and a ``${…}`` is something else, or a number is a word of a command or of
    an environment, it becomes the text that was ``written``.
    """
    while True:
        try:
            SpecFile.model_validate(data, strict=True)
        except ValidationError as raised:
            error = raised
        else:
            return []
        changed = False
        # Which type a value should have is known to the models alone, so their faults say where
        # text was wanted; `007` then stays 007, and is not 7.
        for fault in error.errors(include_url=False):
            if is_about_key(fault) or fault["type"] not in _WANT_TEXT:
                continue
            node, path = root.follow(fault["loc"])
            number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
            text = written.get(id(node), node.raw if number and path[-2:-1] in _WORDS else None)
            if text is not None and fault["input"] != text:
                place: Any = data
                for step in path[:-1]:
                    place = place[step]
                place[path[-1]] = text
                changed = True
        # Until no text helps any more: replacing one value can show the faults behind it.
        if not changed:
            return list(problems_of(error, root))
