"""What is right in a spec that is not: so that all of its problems can be told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from arcli.specfile.checks import Checked
from arcli.specfile.model import Cluster, Job, Output, Setup

Kind = TypeVar("Kind", bound=BaseModel)
_Path = tuple[Any, ...]


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
    outputs = tree.get("output")
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
