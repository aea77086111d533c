"""Where the parts of a valid spec stand in its text, for problems that show up later."""

from __future__ import annotations

from dataclasses import dataclass

from arcli.errors import Problem
from arcli.specfile.text import Text
from arcli.specfile.tree import Node


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """The nodes of a spec, after defaults and short forms have found their places."""

    root: Node

    @classmethod
    def nowhere(cls) -> Places:
        """Return those of a spec that was not read from a text."""
        return cls(Node("map", {}, Text("spec", ""), 0, 0))

    def problem(self, message: str, *path: str | int, hint: str = "") -> Problem:
        """Return a problem with what is at a path, such as ``"jobs", "squares", "over"``."""
        return self.root.follow(path)[0].problem(message, hint)

    def key_problem(self, message: str, *path: str | int, hint: str = "") -> Problem:
        """Return a problem with the key at the end of a path, or with what it would be in."""
        node, existing = self.root.follow(path[:-1])
        entry = node.value.get(path[-1]) if node.kind == "map" else None
        if entry is None or len(existing) < len(path) - 1:
            return node.problem(message, hint)
        problem: Problem = entry.key.problem(message, hint)
        return problem
