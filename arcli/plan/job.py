"""A job of the spec as what engines and sessions need of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from arcli.engine.encode import canonical, salted
from arcli.engine.functions import kind_of
from arcli.engine.protocol import JobDefinition
from arcli.engine.template import escaped
from arcli.plan.deferred import to_engine
from arcli.plan.texts import Texts
from arcli.specfile.model import Job, Setup, Spec

KEY_FIELDS = (
    "kind", "function", "args", "kwargs", "unpack", "command", "command_stdin", "cwd", "env",
    "ok_exit", "parse", "notebook",
)  # fmt: skip
"""What of a job, beside its input, decides an item's value."""
COMMAND_FIELDS = ("command", "command_stdin", "cwd", "env", "ok_exit", "parse")
"""What of these makes a command."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPlan:
    """``job`` with its late values filled in, ``definition`` as it travels to engines.

    ``salt`` is the JSON text that every key of the job begins with; ``parts`` has hashes of what it is
    made of, by what people call it, so that what has changed can be named.
    """

    job: Job
    definition: JobDefinition
    salt: str
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The job's name."""
        return self.job.name

    def hasher(self) -> Any:
        """Return a hasher that has taken in the salt, for ``engine.keys.item_key``."""
        return salted(self.salt)


def plan_job(
    spec: Spec,
    job: Job,
    *,
    resolve: Callable[[Any], Any],
    unpack: Literal["none", "args", "kwargs", "nothing"],
    rerun_changed: bool = False,
    keep_opaque: bool = False,
    run_folder: str = "",
    whole_output: bool = False,
) -> JobPlan:
    """Return what engines must know of a job. ``resolve`` fills in what is late but not an engine's.

    ``keep_opaque`` asks engines for pickles of values that JSON does not hold exactly, because a
    reducer or a later job needs the real ones. ``run_folder`` is where the run keeps its
    files; ``whole_output`` asks for what a command prints beyond what its record holds.
    """
    folder = str(spec.folder)
    texts = Texts(job)
    definition = JobDefinition(
        name=job.name,
        kind=job.kind,
        folder=folder,
        function=job.map or job.apply or "",
        args=to_engine(resolve(job.args)),
        kwargs=to_engine(resolve({**job.kwargs, **texts.given})),
        unpack=unpack,
        command=texts.command,
        command_stdin=texts.stdin,
        cwd=_working_folder(texts.cwd, folder),
        env=texts.env,
        ok_exit=list(job.ok_exit),
        parse=job.parse,
        notebook=str(spec.folder / job.notebook) if job.notebook else None,
        run_folder=run_folder,
        whole_output=whole_output,
        outdir=_item_folder(job, folder, run_folder),
        artifacts=[(artifact.path, artifact.required) for artifact in job.artifacts],
        timeout=job.timeout,
        retries=job.retries,
        capture=job.capture,
        keep_opaque=keep_opaque,
        reducers=[text for text in (job.reduce, job.combine, job.finish) if text],
    )
    described = _described(spec.setup, job, definition, resolve)
    source = _source_of(definition, spec.folder)
    if rerun_changed:
        described["source"] = source
    salt = canonical(described)[0]
    parts = {
        "function": [definition.kind, definition.function, definition.unpack, definition.notebook],
        "constants": [definition.args, definition.kwargs],
        "command": [getattr(definition, name) for name in COMMAND_FIELDS],
        "setup": described["setup"],
        "source": source,
    }
    return JobPlan(
        job=job,
        definition=definition._replace(salt=salt),
        salt=salt,
        parts={name: _digest(part) for name, part in parts.items()},
    )


def _digest(part: Any) -> str:
    """A short hash of a part of what decides an item's value."""
    return hashlib.sha256(canonical(part)[0].encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _working_folder(cwd: str | None, folder: str) -> str | None:
    """Relative to the spec, as it stands there; what begins with an item's value is the item's."""
    if cwd is None or (cwd.startswith("{") and not cwd.startswith("{{")):
        return cwd
    return os.path.join(escaped(folder), cwd)  # noqa: PTH118 - may hold {placeholders}


def _item_folder(job: Job, folder: str, run_folder: str) -> str:
    """Return the pattern of the items' folders: relative to the spec, or in the run's own folder."""
    if job.outdir is True:
        return os.path.join(escaped(run_folder), "outdir", job.name, "{index}")  # noqa: PTH118
    return _working_folder(job.outdir, folder) or ""


def _described(
    setup: Setup, job: Job, definition: JobDefinition, resolve: Callable[[Any], Any]
) -> dict[str, Any]:
    """Return all that decides an item's value beside its input, as data."""
    described: dict[str, Any] = {
        "job": {name: getattr(definition, name) for name in KEY_FIELDS},
        "setup": {
            "imports": setup.imports,
            "push": to_engine(resolve(setup.push)),
            "scatter": {name: to_engine(resolve(part.values)) for name, part in setup.scatter.items()},
            "run": setup.run,
        },
    }
    # Where a job has none, its keys are what they were before there were any.
    if definition.outdir:
        described["folder"] = [job.outdir, [list(part) for part in definition.artifacts]]
    return described


def _source_of(definition: JobDefinition, folder: Path) -> str:
    if definition.notebook is not None:
        return Path(definition.notebook).read_text("utf-8", "replace")
    return source_of(definition.function, folder)


def source_of(function: str, folder: Path) -> str:
    """Return the text of the file that a function is in, as far as it can be found without importing."""
    file = source_file(function)
    path = folder / file if file is not None else None
    return path.read_text("utf-8", "replace") if path is not None and path.is_file() else function


def source_file(function: str) -> str | None:
    """Return the path of the file that a function would be in beside its spec, None of an expression."""
    if kind_of(function) == "expression":
        return None
    file = function.strip().rpartition(":")[0]
    return file if file.endswith(".py") else file.replace(".", "/") + ".py"
