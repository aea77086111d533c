"""The line of this floor: text -> nodes -> overrides -> one form -> values -> models -> checks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from arcli.errors import Problem, SpecError
from arcli.spec.checks import Checked, check
from arcli.spec.compose import compose
from arcli.spec.interpolate import Interpolator
from arcli.spec.model import Cluster, Job, Output, Policy, Setup, Spec
from arcli.spec.overrides import set_params, set_values
from arcli.spec.places import Places
from arcli.spec.shape import keys_of, problems_of, top_keys
from arcli.spec.text import read
from arcli.spec.tree import Entry, Node

_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_.-]+")


def load(
    source: str,
    *,
    params: Mapping[str, str] | None = None,
    sets: Iterable[tuple[str, str]] = (),
    environ: Mapping[str, str] | None = None,
) -> Spec:
    """A valid spec from a file, or from standard input for ``-``; nothing of the user's is run.

    ``params`` and ``sets`` are what ``-p`` and ``--set`` say, as text. Raises SpecError with all
    problems that can be found.
    """
    text = read(source)
    root = compose(text)
    if root.kind != "map":
        hint = "it begins with keys such as `map:` and `over:`"
        raise SpecError([root.problem(f"a spec is a map, and this is a {root.kind}", hint)])
    problems = [*set_values(root, sets), *set_params(root, params or {})]
    problems += _one_form(root, "stdin" if source == "-" else Path(source).stem)
    interpolator = Interpolator(root, os.environ if environ is None else environ)
    data = {key: interpolator.data(entry.value) for key, entry in root.entries() if key != "params"}
    if (given := root.get("params")) is not None and given.kind == "scalar":
        data["params"] = given.value
    else:
        data["params"] = interpolator.params()
    problems += interpolator.problems
    folder = Path.cwd() if source == "-" else Path(source).resolve().parent
    places = Places(root)
    checked, faults = _validate(data, root, folder)
    problems += _new(problems, faults)
    problems += _new(problems, check(checked, places, from_stdin=source == "-"))
    if problems:
        raise SpecError(sorted(dict.fromkeys(problems), key=_order))
    return Spec.model_validate(
        {**data, "file": source, "folder": folder, "places": places}, strict=True
    )


def _new(known: Iterable[Problem], found: Iterable[Problem]) -> list[Problem]:
    """Those in lines that have no problem yet: what follows from another would only distract."""
    spotted = {(problem.file, problem.line) for problem in known}
    return [problem for problem in found if (problem.file, problem.line) not in spotted]


def _order(problem: Problem) -> tuple[str, int, int]:
    return problem.file, problem.line or 0, problem.column or 0


def _one_form(root: Node, stem: str) -> list[Problem]:
    """Bring short forms to the long one: a single job under ``jobs``, defaults into each job."""
    problems: list[Problem] = []
    job_keys = {*keys_of(Job)} - {"name"}
    stray = [key for key, _ in root.entries() if key in job_keys]
    name = root.get("name")
    if name is None:
        name = Node("scalar", _UNNAMEABLE.sub("_", stem) or "run", root.text, 0, 0)
        root.put("name", name)
    if "jobs" in root.value:
        for key in stray:
            hint = "move it into a job" + (", or under defaults:" * (key in keys_of(Policy)))
            message = f"{key!r} belongs to a job, and the jobs stand under `jobs:`"
            problems.append(root.value.pop(key).key.problem(message, hint))
    elif stray:
        job = Node("map", {}, root.text, root.line, root.column)
        for key in stray:
            job.value[key] = root.value.pop(key)
        job.put("name", name)
        root.put("jobs", Node("list", [job], root.text, root.line, root.column))
    elif {key for key, _ in root.entries()} <= top_keys():
        hint = "give it a `map:`, `apply:` or `command:`, or several jobs under `jobs:`"
        problems.append(root.problem("the spec has no job", hint))
    if (defaults := root.value.pop("defaults", None)) is not None:
        problems += _merge_defaults(root, defaults)
    return problems


def _merge_defaults(root: Node, defaults: Entry) -> list[Problem]:
    policy = set(keys_of(Policy))
    if defaults.value.kind != "map":
        return [defaults.value.problem("defaults should be a map")]
    problems: list[Problem] = []
    for key, entry in defaults.value.entries():
        if key not in policy:
            from arcli.spec.overrides import did_you_mean

            hint = did_you_mean(str(key), policy) or f"there are: {', '.join(sorted(policy))}"
            problems.append(entry.key.problem(f"{key!r} cannot be a default", hint))
    jobs = root.get("jobs")
    for job in jobs.value if jobs is not None and jobs.kind == "list" else []:
        if job.kind == "map":
            for key, entry in defaults.value.entries():
                if key in policy:
                    job.value.setdefault(key, entry)
    return problems


def _validate(data: Mapping[str, Any], root: Node, folder: Path) -> tuple[Checked, list[Problem]]:
    """The parts that have the right shape, and the problems of the others."""
    problems: list[Problem] = []
    try:
        Spec.model_validate(
            {"jobs": [], **data, "file": "", "folder": folder, "places": Places(root)}, strict=True
        )
    except ValidationError as error:
        problems += problems_of(error, root)

    def part(kind: type[BaseModel], value: Any) -> Any:
        try:
            return kind.model_validate(value, strict=True)
        except ValidationError:
            return None

    jobs = data.get("jobs")
    jobs = jobs if isinstance(jobs, list) else []
    outputs = data.get("output")
    outputs = outputs if isinstance(outputs, list) else []
    checked = Checked(
        folder=folder,
        names=[str(job.get("name")) if isinstance(job, dict) else "" for job in jobs],
        jobs={at: valid for at, job in enumerate(jobs) if (valid := part(Job, job))},
        cluster=part(Cluster, data.get("cluster", {})) or Cluster(),
        setup=part(Setup, data.get("setup", {})),
        outputs={
            at: valid
            for at, output in enumerate(outputs)
            if (valid := part(Output, {"path": output} if isinstance(output, str) else output))
        },
    )
    return checked, problems
