"""The spec as data: what a valid YAML file says, after interpolation.

The models forbid unknown keys and hold no behaviour beyond what makes a value valid. Field names
are the keys of the file (a trailing underscore where the key is a Python keyword). Values that can
only be known once a cluster runs stay as ``Deferred``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from arcli.errors import UsageError
from arcli.fields import Count, Deferred, DeferredText, Limit, Model, Seconds, Template, Word
from arcli.outputs import registry
from arcli.specfile.places import Places

JOB_NAME = re.compile(r"[A-Za-z0-9_.-]+")
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


class Cluster(Model):
    """Where the engines are."""

    engines: Count | Literal["auto"] = "auto"
    launcher: Literal[
        "embedded", "local", "mpi", "slurm", "pbs", "sge", "lsf", "htcondor", "ssh", "inline"
    ] = "embedded"
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


class RowsSource(Model):
    """``jsonl: data.jsonl`` or ``jsonl: {path: …, where: …}``; Parquet likewise."""

    path: str
    where: str | dict[str, Any] | None = None


class CsvSource(RowsSource):
    """``csv: data.csv`` or ``csv: {path: …}``; ``header`` names the columns of one without."""

    header: Annotated[list[str], Field(min_length=1)] | None = None
    types: dict[str, Literal["str", "int", "float", "bool", "json"]] = {}
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Patterns = Annotated[list[str], BeforeValidator(_several), WithJsonSchema(_ONE_OR_MORE)]


class GlobSource(Model):
    """``glob: "*.txt"`` or ``glob: {patterns: […], exclude: […]}``."""

    patterns: Patterns
    exclude: Patterns = []


class PythonSource(Model):
    """``python: module:generator`` or ``python: {call: …, args: …}``."""

    call: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


class FromSource(Model):
    """``from: job`` or ``from: {job: …, where: ok}``."""

    job: str
    where: Literal["ok", "all"] = "ok"


class Sample(Model):
    """A random choice of ``n`` items, the same for the same seed."""

    n: Annotated[int, Field(ge=0)]
    seed: int = 0


def _short(key: str) -> BeforeValidator:
    """The short form of a source is the value of its one key that must be given."""
    return BeforeValidator(lambda v: {key: v} if isinstance(v, str | Deferred | DeferredText) else v)


def _patterns(value: Any) -> Any:
    return {"patterns": value} if isinstance(value, str | list) else value


def _whole(value: Any) -> Any:
    """``1e3`` is a whole number, though YAML has no integer that is written like this."""
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


SOURCES = (
    "list", "range", "linspace", "logspace", "lines", "csv", "jsonl", "parquet", "glob", "stdin",
    "python", "from", "product", "zip", "cases",
)  # fmt: skip
COMBINATIONS = frozenset({"product", "zip", "cases"})
"""Sources whose items are mappings, and merge into those of a combination that they are part of."""
Number = Annotated[int | float, Field(allow_inf_nan=False)] | Deferred


class Over(Model):
    """Where items come from: exactly one source, and what is done to its items.

    A plain list in the file is ``{list: […]}``.
    """

    list_: list[Any] | Deferred | None = Field(default=None, alias="list")
    range_: Annotated[int | list[int | Deferred] | Deferred | None, BeforeValidator(_whole)] = Field(
        default=None, alias="range"
    )
    linspace: list[Number] | None = None
    logspace: list[Number] | None = None
    lines: str | None = None
    csv: Annotated[CsvSource, _short("path")] | None = None
    jsonl: Annotated[RowsSource, _short("path")] | None = None
    parquet: Annotated[RowsSource, _short("path")] | None = None
    glob: Annotated[GlobSource, BeforeValidator(_patterns)] | None = None
    stdin: Literal["lines", "nul", "jsonl", "csv"] | None = None
    python: Annotated[PythonSource, _short("call")] | None = None
    from_: Annotated[FromSource, _short("job")] | None = Field(default=None, alias="from")
    product: dict[str, Source] | None = None
    zip_: dict[str, Source] | None = Field(default=None, alias="zip")
    cases: list[dict[str, Any]] | None = None
    exclude: list[Any] = []
    sample: Sample | None = None
    shuffle: int | None = None

    @property
    def kind(self) -> str:
        """The key of the one source that is given."""
        return next(kind for kind in SOURCES if getattr(self, _field(kind)) is not None)

    @property
    def keys(self) -> list[str]:
        """The keys of its items, as far as the spec itself tells."""
        keys = [key for case in self.cases or () for key in case]
        for name, factor in {**(self.product or {}), **(self.zip_ or {})}.items():
            keys += factor.keys if factor.kind in COMBINATIONS else [name]
        return keys

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [kind for kind in SOURCES if getattr(self, _field(kind)) is not None]
        if len(given) != 1:
            found = f"{', '.join(given)} are given" if given else "none is given"
            raise ValueError(f"exactly one source is needed, {found}; one of: {', '.join(SOURCES)}")
        return self

    @field_validator("linspace", "logspace")
    @classmethod
    def _start_stop_num(cls, value: list[Any] | None) -> list[Any] | None:
        if value is not None and len(value) != 3:
            raise ValueError("needs [start, stop, number of points]")
        return value


def _field(kind: str) -> str:
    return f"{kind}_" if kind in {"list", "range", "from", "zip"} else kind


def _over(value: Any) -> Any:
    return {"list": value} if isinstance(value, list | Deferred) else value


Source = Annotated[Over, BeforeValidator(_over)]


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
    label: str | None = None
    allow_empty: bool = True


class Job(Policy):
    """One map or apply: what is called, over which items, and what becomes of the results."""

    name: str
    map: str | None = None
    apply: str | None = None
    command: str | Deferred | DeferredText | list[Template] | None = None
    notebook: str | None = None
    over: Source | None = None
    unpack: Literal["none", "args", "kwargs"] | None = None
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    command_stdin: Template | None = None
    cwd: str | Deferred | DeferredText | None = None
    env: dict[str, Template] = {}
    ok_exit: list[int] = [0]
    parse: Literal["json", "lines", "float"] | None = None
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


class Spec(Model):
    """A whole spec, interpolated and valid; its relative paths are relative to ``folder``.

    ``places`` knows where the parts stand in the file, for problems that show up later.
    """

    version: Literal[1] = 1
    name: str
    params: dict[str, Any] = {}
    cluster: Cluster = Cluster()
    setup: Setup = Setup()
    jobs: list[Job]
    output: list[Annotated[Output, BeforeValidator(_output)]] = []
    file: str
    folder: Path
    places: Places = Field(default_factory=Places.nowhere, exclude=True, repr=False)

    @property
    def python(self) -> str | None:
        """The engines' interpreter: None for arcli's own, a program's name, or a path."""
        return interpreter(self.cluster, self.folder)


def interpreter(cluster: Cluster, folder: Path) -> str | None:
    """``cluster: python`` as a program's name, or as a path that is not relative any more."""
    named = cluster.python
    return str(folder / named) if named is not None and "/" in named else named
