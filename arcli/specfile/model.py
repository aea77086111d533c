"""The spec as data: what a valid YAML file says, after interpolation.

The models forbid unknown keys and hold no behaviour beyond what makes a value valid. Field names
are the keys of the file (a trailing underscore where the key is a Python keyword). Values that can
only be known once a cluster runs stay as ``Deferred``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from arcli.errors import UsageError
from arcli.fields import Count, Deferred, DeferredText, Limit, Model, Seconds, Template, Word
from arcli.inputs.over import Items
from arcli.launchers import LAUNCHERS
from arcli.outputs import registry
from arcli.specfile.places import Places

DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class MaxFailures(Model):
    """How many items may fail before ``halt`` takes hold: a count, or a percentage."""

    count: int | None = None
    percent: float | None = None


def _max_failures(value: Any) -> Any:
    if isinstance(value, MaxFailures | dict):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return {"count": value}
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value)):
        percent = float(match[1])
        if percent <= 100:
            return {"percent": percent}
    raise ValueError("give a number of items such as 3, or a percentage such as 3%")


LauncherName = Annotated[
    str,
    WithJsonSchema({"anyOf": [{"enum": [launcher.name for launcher in LAUNCHERS]}, {"type": "string"}]}),
]
"""Checked by ``checks.whole``; an editor completes those that need no further package."""


class Cluster(Model):
    """Where the engines are."""

    engines: Count | Literal["auto"] = "auto"
    launcher: LauncherName = "embedded"
    profile: str | None = None
    cluster_id: str | None = None
    connection_file: str | None = None
    python: str | None = None
    min_engines: Count = 1
    start_timeout: Seconds = 60.0
    max_restarts: Annotated[int, Field(ge=0)] = 10
    threads_per_engine: Count | None = None
    env: dict[str, Word] = {}
    options: dict[str, Any] = {}
    insecure: bool = False


class Scatter(Model):
    """A sequence dealt out over the engines; ``flatten`` turns a part of one into that one."""

    values: list[Any] | Deferred
    flatten: bool = True


def _scatter(value: Any) -> Any:
    return {"values": value} if isinstance(value, list | Deferred) else value


class Setup(Model):
    """What is done once on every engine, and again on one that is restarted."""

    path: list[str] = []
    imports: list[str] = []
    push: dict[str, Any] = {}
    scatter: dict[str, Annotated[Scatter, BeforeValidator(_scatter)]] = {}
    run: str | None = None
    files: list[str] = []


class Artifact(Model):
    """A pattern of files that an item leaves in its folder; ``required``: at least one."""

    path: str
    required: bool = False


def _artifact(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Policy(Model):
    """How a job's items are sent out, watched and given up; also what ``defaults:`` may hold."""

    chunksize: Count | Literal["auto"] = "auto"
    ordered: bool = True
    view: Literal["load_balanced", "direct"] | None = None
    targets: Literal["all", "any"] | list[int] | None = None
    retries: Annotated[int, Field(ge=0)] = 0
    retry_delay: Seconds = 0.0
    timeout: Limit | None = None
    deadline: Limit | None = None
    halt: Literal["never", "soon", "now"] = "never"
    max_failures: Annotated[MaxFailures, BeforeValidator(_max_failures)] = MaxFailures(count=1)
    capture: Literal["fd", "sys", "none"] = "fd"
    tail: Literal["out", "err", "both"] | bool = False
    label: str | None = None
    allow_empty: bool = True


class Job(Policy):
    """One map or apply: what is called, over which items, and what becomes of the results."""

    name: str
    map: str | None = None
    apply: str | None = None
    command: str | Deferred | DeferredText | list[Template] | None = None
    notebook: str | None = None
    over: Items | None = None
    unpack: Literal["none", "args", "kwargs"] | None = None
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    command_stdin: Template | None = None
    cwd: str | Deferred | DeferredText | None = None
    env: dict[str, Template] = {}
    ok_exit: list[int] = [0]
    parse: Literal["json", "lines", "float"] | None = None
    outdir: str | Literal[True] | None = None
    artifacts: list[Annotated[Artifact, BeforeValidator(_artifact)]] = []
    needs: list[str] = []
    collect: Literal["list", "dict", "count", "none"] | None = None
    push_as: str | None = None
    gather: str | None = None
    reduce: str | None = None
    combine: str | None = None
    finish: str | None = None
    initial: Any = None
    commutative: bool = False

    @property
    def kind(self) -> Literal["map", "apply", "command", "notebook"]:
        """Which of the four ways to call something is given."""
        if self.map is not None:
            return "map"
        if self.apply is not None:
            return "apply"
        return "command" if self.command is not None else "notebook"


def _format(value: str) -> str:
    try:
        return registry.named(value).name
    except UsageError as error:
        raise ValueError(f"{error.message}; {error.hint}") from None


FormatName = Annotated[
    str,
    AfterValidator(_format),
    WithJsonSchema({"type": "string", "examples": [each.name for each in registry.BUILT_IN]}),
]
"""The name of an output's format; those of other packages are known, too."""


class Output(Model):
    """A file that results are written to, beside what goes to the terminal."""

    path: str
    format: FormatName | None = None
    job: str | None = None
    options: dict[str, Any] = {}


def _output(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


def _events(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Notification(Model):
    """Who is told of a run: a command that is run, or a service that is pinged.

    ``timeout`` is in seconds; ``required``: that it fails makes the run fail.
    """

    on: Annotated[list[Literal["start", "ok", "failed", "always"]], BeforeValidator(_events)] = ["always"]
    run: Annotated[list[Word], Field(min_length=1)] | None = None
    ping: Annotated[str, Field(pattern=r"^https?://[^/]")] | None = None
    timeout: Limit = 30.0
    required: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.run is None) == (self.ping is None):
            raise ValueError("give it one of run: [COMMAND…] and ping: URL")
        return self


def _notifications(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class SpecFile(Model):
    """What a spec's file says: several jobs, and what they share."""

    version: Literal[1] = 1
    name: str
    params: dict[str, Any] = {}
    cluster: Cluster = Cluster()
    setup: Setup = Setup()
    jobs: list[Job]
    output: list[Annotated[Output, BeforeValidator(_output)]] = []
    notify: Annotated[list[Notification], BeforeValidator(_notifications)] = []


class Spec(SpecFile):
    """A whole spec, interpolated and valid; its relative paths are relative to ``folder``.

    ``places`` knows where the parts stand in the file, for problems that show up later. ``sources``
    has the opened source of each job, as far as it could be opened before the run, ``variables`` the
    values of the environment that went into it, by name.
    """

    file: str
    folder: Path
    places: Places = Field(default_factory=Places.nowhere, exclude=True, repr=False)
    sources: Mapping[str, Any] = Field(default={}, exclude=True, repr=False)
    variables: dict[str, str] = Field(default_factory=dict, exclude=True, repr=False)

    @property
    def python(self) -> str | None:
        """The engines' interpreter: None for arcli's own, a program's name, or a path."""
        return interpreter(self.cluster, self.folder)


def interpreter(cluster: Cluster, folder: Path) -> str | None:
    """``cluster: python`` as a program's name, or as a path that is not relative any more."""
    named = cluster.python
    return str(folder / named) if named is not None and "/" in named else named
