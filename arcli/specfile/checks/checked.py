"""The parts of a spec that have the right shape, and problems inside of their texts."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct
from pydantic import BaseModel, ValidationError

from arcli.errors import Problem
from arcli.specfile.model import Cluster, Job, Output, Setup
from arcli.specfile.tree import Places
from arcli.syntax import Fault, bound_names, imported

Kind = TypeVar("Kind", bound=BaseModel)
_Path = tuple[Any, ...]


class Checked(Struct, frozen=True, kw_only=True):
    """The parts of a spec that have the right shape, by their place.

    ``names`` are those of all jobs, empty where there is none. ``broken`` has the keys of each part
    that are missing in it because they are wrong, or that nobody knows.
    """

    file: str
    folder: Path
    names: Sequence[str]
    jobs: Mapping[int, Job]
    cluster: Cluster
    setup: Setup | None
    outputs: Mapping[int, Output]
    expect: Sequence[str]
    broken: Mapping[str | int, Set[str]]

    def sure(self, at: str | int, *keys: str) -> bool:
        """Tell whether it is known what a part says under these keys, or that it does not have them."""
        broken, part = self.broken[at], Setup if at == "setup" else Job
        return broken <= part.model_fields.keys() and not broken & {*keys}

    def engine_names(self) -> set[str] | None:
        """Return names in the engines' namespace; None where they cannot be known."""
        if self.setup is None or self.cluster.joined_by or len(self.jobs) < len(self.names):
            return None
        if not self.sure("setup", "imports", "push", "scatter", "run"):
            return None
        if not all(self.sure(at, "push_as") for at in self.jobs):
            return None
        pushed = [job.push_as for job in self.jobs.values() if job.push_as]
        return engine_names(self.setup, pushed)


def engine_names(setup: Setup, pushed: Iterable[str]) -> set[str] | None:
    """Return the names that a spec puts into the engines' namespace; None where it cannot be known."""
    # What a star import or `exec` binds nobody can know: then no name is called missing.
    names = {*setup.push, *setup.scatter, *pushed}
    for line in setup.imports:
        names |= set(imported(line) or ())
    if setup.run is not None:
        try:
            names |= set(bound_names(ast.parse(setup.run)))
        except (SyntaxError, ValueError, RecursionError):
            return None
    return None if "*" in names else names


def in_text(fault: Fault, places: Places, *path: str | int) -> Problem:
    """Return a fault at its place in the file, as far as the text stands there as it is."""
    node = places.node(*path)
    # A block's lines are indented in the file and not in the value.
    if node.block:
        line = node.line + 1 + fault.line
        source = node.text.line(line)
        indent = len(source) - len(source.lstrip())
        within = node.value.split("\n")[fault.line] if fault.line < node.value.count("\n") + 1 else ""
        indent -= len(within) - len(within.lstrip())
        return node.text.problem(fault.message, line, max(0, indent) + fault.column, fault.hint)
    # A folded or escaped text is not in the file as it is in the value: then its
    # beginning is the place.
    start = node.text.line(node.line).find(str(node.value).strip(), node.column)
    if start < 0 or fault.line:
        return node.problem(fault.message, fault.hint)
    return node.text.problem(fault.message, node.line, start + fault.column, fault.hint)


def parts_of(tree: Mapping[str, Any], file: str, folder: Path) -> Checked:
    """Return the parts of a spec's data that have the right shape."""
    broken: dict[str | int, set[str]] = {}

    def part(kind: type[Kind], value: Any, at: str | int) -> Kind | None:
        """Return what is left of a map without its faults, and note the keys that had some."""
        keys = broken[at] = set()
        # Taking out one fault can show another, such as a validator that needs all fields to be valid.
        while isinstance(value, dict):
            try:
                return kind.model_validate(value, strict=True)
            except ValidationError as error:
                faults = error.errors(include_url=False)
            for fault in faults:
                # A name is put in where it is missing: without one nothing else could be checked.
                if fault["loc"] == ("name",) and fault["type"] == "missing":
                    value = {**value, "name": ""}
                    keys.add("name")
                    continue
                # A fault of the map as a whole leaves nothing to take out.
                path = _path_of(value, fault)
                if not path:
                    return None
                keys.add(str(path[0]))
                value = _without(value, path)
        return None

    jobs = tree["jobs"] if isinstance(tree["jobs"], list) else []
    names = [job.get("name") if isinstance(job, dict) else None for job in jobs]
    outputs, expect = tree.get("output"), tree.get("expect", [])
    # The models know the short form as a part of the whole spec only.
    forms = [
        {"path": output} if isinstance(output, str) else output
        for output in (outputs if isinstance(outputs, list) else [])
    ]
    return Checked(
        file=file,
        folder=folder,
        names=[name if isinstance(name, str) else "" for name in names],
        jobs={at: job for at, data in enumerate(jobs) if (job := part(Job, data, at))},
        cluster=part(Cluster, tree.get("cluster", {}), "cluster") or Cluster(),
        setup=part(Setup, tree.get("setup", {}), "setup"),
        outputs={
            at: output for at, form in enumerate(forms) if (output := part(Output, form, f"output {at}"))
        },
        expect=[expect] if isinstance(expect, str) else expect if isinstance(expect, list) else [],
        broken=broken,
    )


def _path_of(tree: Any, fault: Mapping[str, Any]) -> _Path:
    """Tell how far a fault's path leads, down to a list, which is right as a whole or not at all."""
    # A missing key is a fault of the map around it; a wrong one is in `input`, and `loc` ends in
    # "[key]": https://docs.pydantic.dev/latest/errors/errors/
    loc = fault["loc"][:-1] if fault["type"] == "missing" else fault["loc"]
    if fault["type"] == "invalid_key":
        loc = (*loc[:-1], fault["input"])
    # Steps that are no keys are the names of a union's forms, in which pydantic tried the value.
    path: _Path = ()
    for step in loc:
        if not isinstance(tree, dict) or step not in tree:
            continue
        tree, path = tree[step], (*path, step)
    return path


def _without(tree: dict[Any, Any], path: Sequence[Any]) -> dict[Any, Any]:
    """Return a map without what is at a path, nor what is empty then."""
    step, *rest = path
    below = _without(tree[step], rest) if rest and step in tree else None
    # A key that is not a number (``.nan: …``) equals nothing, itself included.
    kept = {key: value for key, value in tree.items() if key is not step and key != step}
    return {**kept, step: below} if below else kept
