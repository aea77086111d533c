"""The parts of a spec that have the right shape, and problems inside of their texts."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

from msgspec import Struct

from arcli.errors import Problem
from arcli.specfile.model import Cluster, Job, Output, Setup
from arcli.specfile.tree import Places
from arcli.syntax import Fault, bound_names, imported


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
    broken: Mapping[str | int, Set[str]]

    def sure(self, at: str | int, *keys: str) -> bool:
        """Tell whether it is known what a part says under these keys, or that it does not have them."""
        broken, part = self.broken[at], Setup if at == "setup" else Job
        return broken <= part.model_fields.keys() and not broken & {*keys}

    def engine_names(self) -> set[str] | None:
        """Return names in the engines' namespace; None where they cannot be known."""
        joined = self.cluster.profile or self.cluster.cluster_id or self.cluster.connection_file
        if self.setup is None or joined or len(self.jobs) < len(self.names):
            return None
        if not self.sure("setup", "imports", "push", "scatter", "run"):
            return None
        if not all(self.sure(at, "push_as") for at in self.jobs):
            return None
        pushed = [job.push_as for job in self.jobs.values() if job.push_as]
        return engine_names(self.setup, pushed)


def engine_names(setup: Setup, pushed: Iterable[str]) -> set[str] | None:
    """Return the names that a spec puts into the engines' namespace; None where it cannot be known."""
    names = {*setup.push, *setup.scatter, *pushed}
    for line in setup.imports:
        names |= set(imported(line) or ())
    if setup.run is not None:
        try:
            names |= set(bound_names(ast.parse(setup.run)))
        except (SyntaxError, ValueError, RecursionError):
            return None
    return None if "*" in names else names


def in_text(fault: Fault, places: Places, path: tuple[str | int, ...]) -> Problem:
    """Return a fault at its place in the file, as far as the text stands there as it is."""
    node, _ = places.root.follow(path)
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
