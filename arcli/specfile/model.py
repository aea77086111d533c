"""The spec as data: what a valid YAML file says, after interpolation.

The models forbid unknown keys and hold no behaviour beyond what makes a value valid. Field names
are the keys of the file (a trailing underscore where the key is a Python keyword). Values that can
only be known once a cluster runs stay as ``Deferred``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from arcli.errors import UsageError
from arcli.fields import (
    Count,
    CountFromZero,
    Deferred,
    DeferredText,
    Limit,
    Model,
    Portion,
    Seconds,
    Share,
    Template,
    Texts,
    TimeLimit,
    Word,
    one_or_more,
)
from arcli.inputs.base import Source, SourceContext
from arcli.inputs.over import Items
from arcli.launchers import LAUNCHERS
from arcli.outputs import registry
from arcli.record import KINDS, Kind
from arcli.specfile.tree import Places
from arcli.timing import thresholds

DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class Halt(Model):
    """When a job stops before its last item, and whether what runs then still ends."""

    failed: Portion | None = None
    """Stop when so many items have failed: a number, or a percentage."""
    ok: Portion | None = None
    """Stop when so many items are ok, which is then all that was asked for: a number, or a percentage."""
    how: Literal["soon", "now"] = "soon"
    """What is running then still ends, or is ended."""

    @model_validator(mode="after")
    def _has_a_reason(self) -> Self:
        if self.failed is None and self.ok is None:
            raise ValueError("needs failed: or ok:, after how many it stops")
        return self


LauncherName = Annotated[
    str,
    WithJsonSchema({"anyOf": [{"enum": [launcher.name for launcher in LAUNCHERS]}, {"type": "string"}]}),
]
"""Checked by ``checks.whole``; an editor completes those that need no further package."""


class Cluster(Model):
    """Where the engines are."""

    engines: Count | Literal["auto"] = "auto"
    """How many; `auto` is the CPUs that this process may use, or all engines of a running cluster."""
    launcher: LauncherName = "embedded"
    """What starts the engines; `embedded` and `local` on this machine, `inline` in arcli's own process."""
    profile: str | None = None
    """The IPython profile of a running cluster to join."""
    cluster_id: str | None = None
    """The id of a running cluster to join."""
    connection_file: str | None = None
    """The connection file of a running cluster to join."""
    python: str | None = None
    """The engines' interpreter, a path or a program's name; by default arcli's own."""
    min_engines: Count = 1
    """Go on with so many, where not all have come up in time."""
    start_timeout: Seconds = 60.0
    """How long to wait for the engines; embedded ones come one after another: for the next one."""
    max_restarts: CountFromZero = 10
    """How many engines that died are replaced in a run."""
    threads_per_engine: Count | None = None
    """What OMP_NUM_THREADS and its like are on engines."""
    env: dict[str, Word] = {}
    """Environment variables of the engines."""
    options: dict[str, Any] = {}
    """Traitlets of ipyparallel's launchers, such as `SlurmEngineSetLauncher.queue`."""
    insecure: bool = False
    """Without encryption, where the engines are on other hosts."""

    @property
    def joined_by(self) -> list[str]:
        """The keys that name a running cluster to join; none where engines are started."""
        return [
            key for key in ("profile", "cluster_id", "connection_file") if getattr(self, key) is not None
        ]


class Scatter(Model):
    """A sequence dealt out over the engines; ``flatten`` turns a part of one into that one."""

    values: list[Any] | Deferred | None = None
    """What is dealt out, in contiguous parts."""
    over: Items | None = None
    """A source whose items are dealt out, in place of values."""
    flatten: bool = True
    """A part of one element is that element, and not a list."""

    @model_validator(mode="after")
    def _has_elements(self) -> Self:
        if (self.values is None) == (self.over is None):
            raise ValueError("give it one of values: […] and over: SOURCE")
        return self


def _scatter(value: Any) -> Any:
    if isinstance(value, list | Deferred):
        return {"values": value}
    # A source is the short form of a map that has one.
    if isinstance(value, dict) and not value.keys() & {"values", "over", "flatten"}:
        return {"over": value}
    return value


class Setup(Model):
    """What is done once on every engine, and again on one that is restarted."""

    path: list[str] = []
    """Folders that are put on sys.path; the spec's own always is."""
    imports: list[str] = []
    """Modules, as `math` or `numpy as np`."""
    push: dict[str, Any] = {}
    """Values by the names that they get on every engine."""
    scatter: dict[str, Annotated[Scatter, BeforeValidator(_scatter)]] = {}
    """Sequences by the names that each engine's part gets there."""
    run: str | None = None
    """Python source that is run in the engines' namespace."""
    files: list[str] = []
    """Files beside the spec that are put into the engines' working folder."""


class Artifact(Model):
    """A pattern of files that an item leaves in its folder; ``required``: at least one."""

    path: str
    """A pattern of file names, within the item's folder."""
    required: bool = False
    """Whether the item has failed where no file matches."""


def _path_alone(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Policy(Model):
    """How a job's items are sent out, watched and given up; also what ``defaults:`` may hold."""

    chunksize: Count | Literal["auto"] = "auto"
    """How many items travel in one message; `auto` measures, and chooses by itself."""
    ordered: bool = True
    """Results in the order of the items; false: as they come."""
    view: Literal["load_balanced", "direct"] | None = None
    """`direct` deals the items out beforehand, in contiguous parts; else who is free gets the next."""
    targets: Literal["all", "any"] | list[int] | None = None
    """Which engines: all, any one, or these slots."""
    retries: CountFromZero = 0
    """How often an item that failed is called again."""
    retry_delay: Seconds = 0.0
    """How long to wait before that; longer each time."""
    delay: Seconds = 0.0
    """How long to wait between the starts of two items, which then travel alone."""
    timeout: TimeLimit | None = None
    """How long an item may take: a duration, or `200%` of the median; null is no limit."""
    deadline: Limit | None = None
    """How long the job may take, its imports and reducers included."""
    halt: Literal["never", "soon", "now"] | Halt = "never"
    """What happens after `max_failures`: nothing, what runs still ends, everything ends; or a map."""
    max_failures: Portion = Share(count=1)
    """How many items may fail before `halt` takes hold: a number, or a percentage."""
    capture: Literal["fd", "sys", "none"] = "fd"
    """What items print is kept: with that of C code and child processes, of Python alone, or not."""
    tail: Literal["out", "err", "both"] | bool = False
    """What items print is shown while they run."""
    label: str | None = None
    """The label of its messages in ipyparallel's own tools."""
    allow_empty: bool = True
    """False: a job without items is an error."""

    @property
    def halts(self) -> Halt | None:
        """When it stops early, also where ``halt`` is a word and ``max_failures`` counts; None: never."""
        if isinstance(self.halt, Halt):
            return self.halt
        return None if self.halt == "never" else Halt(failed=self.max_failures, how=self.halt)


def _expected(value: list[str], job: str | None = None) -> list[str]:
    """Check what is expected of the figures; of a job's where ``job`` is its name, or stands for it."""
    for text in value:
        try:
            expectation = thresholds.parse(text if job is None else f"{job}.{text}")
        except UsageError as error:
            raise ValueError(error.message) from None
        if expectation.relative:
            raise ValueError(f"{text}: there is no other run that it could be compared with")
        if job is not None and expectation.job != job:
            raise ValueError(f"{text}: under a job the figure is that job's: leave the name out")
    return value


Expected = Annotated[Texts, AfterValidator(_expected)]
ExpectedOfJob = Annotated[Texts, AfterValidator(lambda value: _expected(value, "job"))]


class Job(Policy):
    """One map or apply: what is called, over which items, and what becomes of the results."""

    name: str
    """What the job is called in records, messages and references."""
    map: str | None = None
    """A function, called once an item: `module:name`, `file.py:name`, or an expression."""
    apply: str | None = None
    """A function, called once an engine."""
    expect: ExpectedOfJob = []
    """What `--fail-if` takes, about this job: exit 5 where one of them holds, such as `p95 > 200ms`."""
    command: str | Deferred | DeferredText | list[Template] | None = None
    """A program, run once an item: a shell string or a list of arguments, with `{placeholders}`."""
    notebook: str | None = None
    """A notebook, run once an item, whose parameters the item has."""
    concurrency: Count = 1
    """How many items an engine runs side by side: of commands, and of async functions."""
    over: Items | None = None
    """The items: a list, or a map with one source."""
    batch: Count | None = None
    """How many items a call gets, as a list; the last one may be shorter."""
    unpack: Literal["none", "args", "kwargs"] | None = None
    """How an item becomes a call: f(item), f(*item), or f(**item)."""
    args: list[Any] = []
    """Positional constants of every call, after the item."""
    kwargs: dict[str, Any] = {}
    """Constants of every call, by name."""
    shell: str | None = None
    """The shell that a command's string is for, such as `bash`; by default `/bin/sh`."""
    command_stdin: Template | None = None
    """What a command reads on its standard input."""
    cwd: str | Deferred | DeferredText | None = None
    """The working folder of a command."""
    env: dict[str, Template] = {}
    """Environment variables of a command."""
    ok_exit: list[int] = [0]
    """Exit statuses of a command that are no failure."""
    parse: Literal["json", "lines", "float"] | None = None
    """How a command's output becomes its value."""
    outdir: str | Literal[True] | None = None
    """A folder for each item, with `{placeholders}`; true: one in the run's folder."""
    artifacts: list[Annotated[Artifact, BeforeValidator(_path_alone)]] = []
    """Patterns of files in that folder that are listed in the record."""
    needs: list[str] = []
    """Jobs that have to be ok before this one begins."""
    collect: Literal["list", "dict", "count", "none"] | None = None
    """What the job's value is: a list, a dict by engine or input, their number, or nothing."""
    push_as: str | None = None
    """The name under which the job's value is put on every engine."""
    gather: str | None = None
    """The name whose parts, on all engines, are joined to the job's value."""
    reduce: str | None = None
    """A function of two values that folds them all into one, in the items' order."""
    combine: str | None = None
    """A function that joins parts which were folded side by side."""
    finish: str | None = None
    """A function of the folded value and the number of values, which gives the job's value."""
    initial: Any = None
    """What the fold begins with."""
    commutative: bool = False
    """Whether the values may be folded in any order."""

    @property
    def functions(self) -> dict[str, str]:
        """All that it calls, by the keys that say so."""
        keys = ("map", "apply", "reduce", "combine", "finish")
        return {key: text for key in keys if (text := getattr(self, key)) is not None}

    @property
    def folds(self) -> bool:
        """Whether its values become one: by ``reduce``, or by a ``finish`` that gets all of them."""
        return self.reduce is not None or self.finish is not None

    @property
    def blocks(self) -> list[str]:
        """The keys under which a command's items have what it reads; an empty one is the item itself."""
        if self.command is None or self.command_stdin is not None or self.over is None:
            return []
        return [str(path[-1]) if path else "" for path, part in self.over.walk() if part.kind == "blocks"]

    def open_items(self, context: SourceContext) -> Source:
        """Open what ``over`` says, in batches where the job has them. Raises InputError."""
        assert self.over is not None
        source = self.over.open(context)
        if self.batch is None:
            return source
        from arcli.inputs.arrange import batched

        return batched(source, self.batch)

    @property
    def kind(self) -> Kind:
        """Which of the four ways to call something is given."""
        return next((kind for kind in KINDS if getattr(self, kind) is not None), "notebook")


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
    """The file; its suffix says the format. `-` is stdout."""
    format: FormatName | None = None
    """The format, where the suffix does not say it."""
    job: str | None = None
    """Only this job's records."""
    options: dict[str, Any] = {}
    """Options of the format."""


Event = Literal["start", "ok", "failed", "always"]
_EVENTS = list(get_args(Event))


class Notification(Model):
    """Who is told of a run: a command that is run, or a service that is pinged.

    ``timeout`` is in seconds; ``required``: that it fails makes the run fail.
    """

    on: Annotated[
        list[Event],
        BeforeValidator(one_or_more),
        WithJsonSchema({"anyOf": [{"enum": _EVENTS}, {"type": "array", "items": {"enum": _EVENTS}}]}),
    ] = ["always"]
    """When: at the start, when all is ok, when it is not, or always at the end."""
    run: Annotated[list[Word], Field(min_length=1)] | None = None
    """A command and its arguments; it reads the summary as JSON."""
    ping: Annotated[str, Field(pattern=r"^https?://[^/]")] | None = None
    """A URL of a health-check service."""
    timeout: Limit = 30.0
    """How long it may take."""
    required: bool = False
    """Whether the run has failed (exit 4) where this does."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.run is None) == (self.ping is None):
            raise ValueError("give it one of run: [COMMAND…] and ping: URL")
        return self


class Keep(Model):
    """Which old runs of the spec stay when one has ended: the newest, and those that are young."""

    runs: Count | None = None
    """How many of the newest runs stay."""
    age: Seconds | None = None
    """Runs that are younger than this stay."""


class SpecFile(Model):
    """What a spec's file says: several jobs, and what they share."""

    version: Literal[1] = 1
    """The version of this format."""
    name: str
    """The name of the runs; by default that of the file."""
    params: dict[str, Any] = {}
    """Values for `${params.…}`, which `-p NAME=VALUE` replaces."""
    cluster: Cluster = Cluster()
    """Where the engines are."""
    setup: Setup = Setup()
    """What is done once on every engine, before the first item."""
    jobs: list[Job]
    """What is run, in this order."""
    output: list[Annotated[Output, BeforeValidator(_path_alone)]] = []
    """Files that results are written to, beside what goes to the terminal."""
    expect: Expected = []
    """What `--fail-if` takes: exit 5 where one of them holds, such as `wall > 30s`."""
    notify: Annotated[
        list[Notification], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)
    ] = []
    """Who is told when the run begins and ends: commands, and services that are pinged."""
    keep: Keep | None = None
    """Which of the old runs of this spec stay when one has ended."""


def expectations(spec: SpecFile) -> list[thresholds.Expectation]:
    """Return what must not hold of a run's figures: the run's own, and those of its jobs."""
    own = [thresholds.parse(text) for text in spec.expect]
    return own + [thresholds.parse(f"{job.name}.{text}") for job in spec.jobs for text in job.expect]


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
