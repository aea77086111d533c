"""The cluster, the setup, the outputs: what the jobs share."""

from __future__ import annotations

import builtins
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from arcli import launchers, syntax
from arcli.engine.functions import kind_of
from arcli.errors import Problem, UsageError
from arcli.fields import Deferred, deferred_values
from arcli.inputs import Over
from arcli.outputs import registry
from arcli.paths import exists, is_file
from arcli.specfile.checks.checked import Checked, in_text
from arcli.specfile.model import Cluster, Job, Setup, interpreter
from arcli.specfile.tree import Places
from arcli.suggest import did_you_mean, near_or_all
from arcli.timing import thresholds

_TRAIT = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")


def cluster(spec: Checked, places: Places) -> Iterator[Problem]:
    """Yield what is wrong with how the engines are started, or with the cluster that is joined."""
    cluster, launcher = spec.cluster, launchers.named(spec.cluster.launcher)
    joined = cluster.joined_by
    # One problem about the launcher at most: what it needs and takes means nothing where it is
    # unknown, and where a running cluster is joined it is not used at all.
    if launcher is None:
        names = launchers.names()
        hint = did_you_mean(cluster.launcher, names) or f"there are {', '.join(names)}"
        yield places.problem(f"there is no launcher {cluster.launcher!r}", "cluster", "launcher", hint=hint)
    elif joined:
        yield from _joined(cluster, joined, places)
    elif cluster.options and launcher.own:
        hint = f"they are for ipyparallel's launchers: {', '.join(launchers.ipyparallels())}"
        message = f"launcher: {cluster.launcher} has no options"
        yield places.key_problem(message, "cluster", "options", hint=hint)
    elif launcher.hosts is not None and launcher.hosts not in cluster.options:
        hint = f"options: {{{launcher.hosts}: {{node1: 4, me@node2: 8}}}}"
        message = f"launcher: {cluster.launcher} needs hosts"
        yield places.problem(message, "cluster", "launcher", hint=hint)
    elif launcher.hosts is not None:
        try:
            launchers.engines_on_hosts(launcher, cluster.options)
        except ValueError as error:
            yield places.problem(f"{launcher.hosts}: {error}", "cluster", "options", launcher.hosts)
    # Only the form: which classes and traits there are, ipyparallel says, and importing it is slow.
    for name in cluster.options:
        if _TRAIT.fullmatch(name) is None:
            hint = "write the class and the trait, such as SlurmEngineSetLauncher.queue"
            yield places.key_problem(f"{name!r} is no trait", "cluster", "options", name, hint=hint)
    if isinstance(cluster.engines, int) and cluster.min_engines > cluster.engines:
        message = f"min_engines is {cluster.min_engines}, but there are {cluster.engines} engines"
        yield places.problem(message, "cluster", "min_engines")
    # Engines of other launchers run on other hosts, whose programs cannot be looked for from here.
    python = interpreter(cluster, spec.folder)
    if python is not None and launcher is not None and launcher.own and shutil.which(python) is None:
        hint = "the path of an interpreter, such as a project's .venv/bin/python"
        yield places.problem(f"there is no program {python}", "cluster", "python", hint=hint)


def _joined(cluster: Cluster, joined: list[str], places: Places) -> Iterator[Problem]:
    """Yield keys that say how to start a cluster, or a second way to find the one that is joined."""
    # A profile and an id go together: the id is looked up among the profile's clusters.
    if cluster.connection_file is not None and len(joined) > 1:
        message = "connection_file already says which cluster is joined"
        yield places.key_problem(message, "cluster", joined[0], hint=f"leave {joined[0]} out")
    for key in ("launcher", "python", "env", "options", "threads_per_engine", "max_restarts"):
        # Not the value counts but that the key was written: also a default would have no effect.
        if key in cluster.model_fields_set:
            message = f"{key} has no effect on a cluster that is joined"
            hint = f"leave it out, or leave {joined[-1]} out to start a cluster"
            yield places.key_problem(message, "cluster", key, hint=hint)


def setup(spec: Checked, places: Places) -> Iterator[Problem]:
    """Yield names and code of the setup that no engine could take."""
    if (setup := spec.setup) is None:
        return
    for key in ("push", "scatter"):
        for name in getattr(setup, key):
            if not name.isidentifier():
                yield places.key_problem(f"{name!r} is not a Python name", "setup", key, name)
    # Parsed and never run here: a mistake then has its place in the file, and is told before any
    # engine is started.
    for at, line in enumerate(setup.imports):
        if syntax.imported(line) is None:
            hint = "write `math`, `numpy as np` or `from math import pi`"
            yield places.problem(f"{line!r} is not an import", "setup", "imports", at, hint=hint)
    for fault in syntax.source_faults(setup.run) if setup.run is not None else ():
        yield in_text(fault, places, "setup", "run")


def setup_files(spec: Checked, places: Places) -> Iterator[Problem]:
    """Yield files and folders of the setup that are not there, or not below the spec's folder."""
    if (setup := spec.setup) is None:
        return
    # A file keeps its relative path in the engines' folder; with `..` it would be written beside it.
    for at, name in enumerate(setup.files):
        if not is_file(spec.folder / name):
            yield places.problem(f"there is no file {name}", "setup", "files", at)
        elif Path(name).is_absolute() or ".." in Path(name).parts:
            hint = "files keep their relative path on the engines"
            yield places.problem(f"{name} is not in the spec's folder", "setup", "files", at, hint=hint)
    for at, name in enumerate(setup.path):
        if not exists(spec.folder / name):
            yield places.problem(f"there is no folder {name}", "setup", "path", at)


def scattered(spec: Checked, places: Places) -> Iterator[Problem]:
    """Yield what cannot be dealt out over the engines: no sequence, or none yet."""
    # The client deals a sequence out before any job has run, so that an engine's replacement gets
    # the same part: of what is only known later, the number of engines is there by then.
    for name, part in spec.setup.scatter.items() if spec.setup is not None else ():
        values = part.values if part.over is None else part.over
        once = (
            [] if part.over is None else [reason for each in part.over.walk() if (reason := _once(each[1]))]
        )
        if once:
            message, hint = once[0]
            yield places.problem(message, "setup", "scatter", name, hint=hint)
        elif part.over is not None:
            for error in part.over.check(spec.folder):
                path = ("setup", "scatter", name, "over", *error.path)
                yield places.problem(error.message, *path, hint=error.hint)
        no_list = isinstance(values, Deferred) and values.name != "slots"
        if no_list or any(late.kind != "engines" for late in deferred_values(values)):
            message = "what is scattered must be known when the engines start"
            hint = "a list, or ${engines.slots}"
            yield places.problem(message, "setup", "scatter", name, hint=hint)


def _once(part: Over) -> tuple[str, str] | None:
    """Say why a source cannot be dealt out, and what can; None where it can be read again and again."""
    key = part.kind
    if part.input.reads_stdin:
        message = "standard input can be read once, and an engine's replacement needs the same part"
        return message, "save it in a file: {lines: FILE}, {jsonl: FILE} or {csv: FILE}"
    if key == "python":
        message = "a generator may yield other items for an engine's replacement, which needs the same part"
        return (
            message,
            "write what it yields to a file: {jsonl: FILE}; or make it on the engines, in setup: run",
        )
    if part.input.only_in_runs:
        message = "what is scattered must be known when the engines start, before any job has run"
        return message, f"a job's value gets to the engines by its push_as; {key} is for over"
    return None


def pushed(spec: Checked, places: Places) -> Iterator[Problem]:
    """Yield values that are not known yet when they are pushed."""
    if (setup := spec.setup) is None:
        return
    # Engines import, then push, then run: a pushed `${ref.…}` can name a builtin or what was
    # imported. After `from … import *`, or a line that is no import, that may be any name.
    imported = {name for line in setup.imports for name in syntax.imported(line) or ["*"]}
    for name, value in setup.push.items():
        for late in deferred_values(value):
            first = late.name.partition(".")[0]
            if late.kind == "jobs":
                message = f"job {first!r} has no value yet when the engines are set up"
                hint = f"give that job `push_as: {name}`"
                yield places.problem(message, "setup", "push", name, hint=hint)
            elif late.kind == "ref" and not ({first, "*"} & imported or hasattr(builtins, first)):
                message = f"there is no {first!r} on the engines yet when values are pushed"
                hint = "only what setup: imports is; `run:` comes after push"
                yield places.problem(message, "setup", "push", name, hint=hint)


def expected(spec: Checked, places: Places) -> Iterator[Problem]:
    """Yield what is expected of the figures of jobs that are not there."""
    for at, text in enumerate(spec.expect):
        # What is no expectation at all is a problem of its shape, which is told already.
        try:
            name = thresholds.parse(text).job if isinstance(text, str) else None
        except UsageError:
            continue
        if name is not None and name not in spec.names and all(spec.names):
            hint = near_or_all(name, spec.names)
            yield places.problem(f"there is no job {name!r}", "expect", at, hint=hint)


def outputs(spec: Checked, places: Places) -> Iterator[Problem]:
    """Yield outputs of jobs that are not there, in unknown formats, or with options that these lack."""
    for at, output in spec.outputs.items():
        if output.job is not None and output.job not in spec.names:
            hint = near_or_all(output.job, filter(None, spec.names))
            yield places.problem(f"there is no job {output.job!r}", "output", at, "job", hint=hint)
        # Without a format the suffix decides; stdout has none, and gets what the command line says.
        if output.format is None and output.path == "-":
            continue
        try:
            form = registry.named(output.format) if output.format else registry.of_path(output.path)
        except UsageError as error:
            yield places.problem(error.message, "output", at, "path", hint=error.hint)
            continue
        if output.path == "-" and not form.on_stdout:
            hint = "give it a file's name"
            yield places.problem(f"{form.name} cannot be on stdout", "output", at, "path", hint=hint)
        for name, value in output.options.items():
            kind = form.options.get(name)
            if kind is None:
                hint = did_you_mean(name, form.options) or f"it has: {', '.join(form.options) or 'none'}"
                message = f"the format {form.name} has no option {name!r}"
                yield places.key_problem(message, "output", at, "options", name, hint=hint)
            # The very type: true is an int for isinstance, and no indent.
            elif type(value) is not kind:
                wanted = "true or false" if kind is bool else f"of type {kind.__name__}"
                message = f"{name} must be {wanted}"
                yield places.problem(message, "output", at, "options", name)


def destinations(spec: Checked, places: Places) -> Iterator[Problem]:
    """Yield outputs that would overwrite each other, or a file that the same run reads."""
    seen: set[str] = set()
    for at, output in spec.outputs.items():
        path = output.path
        # YAML can write one as "\0", and every call of the file system would raise ValueError for it.
        if "\0" in path:
            yield places.problem("a path has no NUL", "output", at, "path")
            continue
        name = path if path == "-" else os.path.realpath(spec.folder / path)
        if name in seen:
            hint = "each needs a file of its own"
            yield places.problem(f"{path} is named twice", "output", at, "path", hint=hint)
        seen.add(name)
    paths: dict[Path | int, str] = {
        spec.folder / each.path: str(at) for at, each in spec.outputs.items() if each.path != "-"
    }
    conflicts = overwritten(paths, files_read(spec.jobs.values(), spec.setup, spec.file, spec.folder))
    for at_, words in conflicts.items():
        message = f"{spec.outputs[int(at_)].path} is {words}"
        yield places.problem(message, "output", int(at_), "path", hint=ELSEWHERE)


_Identity = tuple[int, int]
ELSEWHERE = "results go to a file of their own"


def files_read(
    jobs: Iterable[Job], setup: Setup | None, file: str, folder: Path
) -> Iterator[tuple[Path | int, str]]:
    """Yield the files that a run reads, each with words for what it is; an int is a descriptor."""
    if file != "-":
        yield Path(file), "the spec itself"
    sources: list[tuple[Over | None, str]] = []
    # Also what engines are set up with: one that is restarted reads it again.
    if setup is not None:
        for name in setup.files:
            yield folder / name, "a file of the setup"
        sources += [(part.over, f"what {name} is scattered from") for name, part in setup.scatter.items()]
    for job in jobs:
        for text in job.functions.values():
            if kind_of(text) == "file":
                yield folder / text.strip().rpartition(":")[0], f"code of job {job.name!r}"
        if job.notebook is not None:
            yield folder / job.notebook, f"the notebook of job {job.name!r}"
        sources.append((job.over, f"an input of job {job.name!r}"))
    # Each source says itself what it reads; standard input may be a file, too, that an output is to be.
    for over, words in sources:
        for _, part in over.walk() if over is not None else ():
            for path in part.input.reads(folder):
                yield path, words
            if part.input.reads_stdin and sys.stdin is not None:
                yield sys.stdin.fileno(), words


def overwritten(
    outputs: Mapping[Path | int, str], reads: Iterable[tuple[Path | int, str]]
) -> dict[str, str]:
    """Return those of ``outputs`` that are read, and what they are.

    ``outputs`` are paths, or descriptors, and what they are called. Files are compared by what they are,
    and not by their names: links lead to the same file.
    """
    existing: dict[_Identity, list[str]] = {}
    for path, name in outputs.items():
        if (identity := _identity(path)) is not None:
            existing.setdefault(identity, []).append(name)
    conflicts: dict[str, str] = {}
    # What is not there yet cannot be an input; patterns are not matched again for nothing.
    for read, words in reads if existing else ():
        for name in existing.get(_identity(read) or (-1, -1), ()):
            conflicts.setdefault(name, words)
    return conflicts


def _identity(file: Path | int) -> _Identity | None:
    """Return what is the same for all names of a regular file, None for anything else."""
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


CHECKS: tuple[Callable[[Checked, Places], Iterator[Problem]], ...] = (
    cluster, setup, setup_files, scattered, pushed, expected, outputs, destinations,
)  # fmt: skip
"""All of them, in the order in which problems without a place are told."""
