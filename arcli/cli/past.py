"""What the verbs about past runs share: which run is meant, its spec as it is now, where a report goes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from arcli.cli.error_boundary import Call
from arcli.cli.options import RunFlags
from arcli.errors import UsageError
from arcli.paths import is_file

if TYPE_CHECKING:
    from arcli.inputs.base import Unpack
    from arcli.outputs.stream import Stream, Streams
    from arcli.specfile.model import Job, Spec
    from arcli.store.folder import RunFolder


_DEFERRED = re.compile(r"\$\{(ref|engines|jobs)\.([^}]+)\}")


def pick_run(word: str) -> RunFolder:
    """Find the run that ``latest``, ``previous``, an id or its beginning means, or the newest of a spec's
    file. Raises UsageError.
    """
    from itertools import islice

    from arcli.store.folder import find_run, list_runs, list_spec_runs, run_root

    root = run_root(os.environ)
    # The newest two runs have names of their own; anything else is an id or its beginning.
    place = {"latest": 0, "previous": 1}.get(word)
    if place is None and is_file(Path(word)):
        newest = next(list_spec_runs(root, word, os.environ), None)
        if newest is None:
            raise UsageError(f"there is no run of {word}", hint=f"`arcli run {word}` makes one")
        return newest
    if place is None:
        return find_run(root, word, os.environ)
    # Listed newest first, and no further than is asked for: there may be thousands.
    run = next(islice(list_runs(root), place, None), None)
    if run is None:
        what = "no run" if place == 0 else "no run before the latest one"
        raise UsageError(
            f"there is {what} in {root}", hint="`arcli run SPEC` makes one; $ARCLI_DIR is where"
        )
    return run


def pick_current(word: str | None) -> RunFolder:
    """Find the run that a word means as in ``pick_run``; None: the newest that goes on, else the newest.

    Raises UsageError.
    """
    from arcli.store.folder import list_runs, run_root
    from arcli.store.past import state_of

    if word is not None:
        return pick_run(word)
    alive = (run for run in list_runs(run_root(os.environ)) if state_of(run) == "running")
    return next(alive, None) or pick_run("latest")


SUFFIXES = {
    ".txt": "text",
    ".json": "json",
    ".md": "markdown",
    ".html": "html",
    ".htm": "html",
    ".trace": "trace",
}


def report_options(*formats: str) -> Callable[[Any], Any]:
    """Make the options of a verb that writes a report in one of these formats: ``--format`` and ``-o``."""
    chosen = " ".join(_suffixes(formats))
    form = click.option(
        "--format",
        "form",
        type=click.Choice(formats),
        help=f"Default: by the suffix of -o FILE ({chosen}), else text.",
    )
    output = click.option(
        "-o",
        "--output",
        metavar="FILE",
        multiple=True,
        callback=_one_file,
        help="Write it there instead of to stdout.",
    )
    return lambda command: form(output(command))


def _suffixes(formats: Sequence[str]) -> list[str]:
    return [suffix for suffix, form in SUFFIXES.items() if form in formats]


def _one_file(context: click.Context, option: click.Parameter, files: tuple[str, ...]) -> str | None:
    """Return the file of ``-o``. Raises UsageError where there are several."""
    if len(files) > 1:
        raise UsageError("a report is written to one file", hint="one -o FILE; call it again for another")
    return next(iter(files), None)


def format_of(output: str | None, formats: Sequence[str]) -> str:
    """Choose the format of a report, one of these, by its file's name.

    Raises UsageError where that says none.
    """
    if output in {None, "-"}:
        return "text"
    suffix = Path(output or "").suffix.lower()
    form = SUFFIXES.get(suffix)
    if form is None or form not in formats:
        ends = f"ends in {suffix}" if suffix else "has no suffix"
        known = ", ".join(_suffixes(formats))
        # Whoever asks for a PDF should not find a text that is called one.
        raise UsageError(
            f"{output}: the name {ends}, which says no format of a report",
            hint=f"known are {known}; or give --format",
        )
    return form


def own_streams() -> Streams:
    """Return the process's streams, with the colours that the command line asks for. Raises OutputError."""
    from arcli.outputs.stream import standard_streams

    call = click.get_current_context().find_object(Call)
    return standard_streams(sys.stdout, sys.stderr, os.environ, call.color_mode if call else "auto")


@contextmanager
def output_page(output: str | None) -> Iterator[Stream]:
    """Open a page on stdout, or on a file that appears when all is written. Raises OutputError."""
    from arcli.outputs.stream import Stream
    from arcli.outputs.target import FileTarget

    if output in {None, "-"}:
        yield own_streams().stdout
        return
    assert output is not None
    # A report is there whole or not at all: it is written beside its name and renamed.
    page = Stream(target=FileTarget(Path(output)))
    try:
        page.target.open()
        yield page
        page.target.commit()
    except BaseException:
        page.target.discard()
        raise


def require_end(run: RunFolder) -> None:
    """Tell of a run that ended without having said so. Raises ClusterError."""
    from arcli.errors import ClusterError
    from arcli.store.past import state_of

    if state_of(run) == "killed":
        raise ClusterError(
            f"run {run.id} was killed before its end, or its disk was full", hint=resume_command(run)
        )


def resume_command(run: RunFolder) -> str:
    """Return the command that goes on with a run, as it was called, from where it was."""
    from arcli.escape import shell_line, shell_word
    from arcli.outputs.run_end import again

    about, flags = run.manifest, ("--resume", "--run", run.id)
    line = again(about.argv, *flags, stdin=about.reads_stdin)
    if line is None:
        return f"the same command again, with {shell_line(flags)}"
    here = about.cwd is None or Path(about.cwd) == Path.cwd()
    return line if here else f"cd {shell_word(about.cwd or '.')} && {line}"


AS_RECORDED = frozenset(
    ["list", "cases", "range", "linspace", "logspace", "lines", "csv", "jsonl", "glob", "product", "zip"]
)
"""Kinds of input whose items are nothing but JSON: what a record has of one is the item."""
CALL = (
    "name", "map", "apply", "command", "notebook", "unpack", "args", "kwargs", "command_stdin", "cwd",
    "env", "batch",
)  # fmt: skip
"""What of a job makes the calls of its items."""
_LATE = ("args", "kwargs", "command", "command_stdin", "cwd", "env")
"""Where values stand that only the run knows."""


class PastJob(NamedTuple):
    """A job as it was, as far as calls go; how its source has items unpacked, and its kinds of input."""

    job: Job
    unpack: Unpack
    kinds: frozenset[str]


def jobs_of(run: RunFolder) -> dict[str, PastJob]:
    """Return a run's jobs as they were.

    They are in the manifest, so that neither a spec that has changed since nor one that was never a
    file matters. What is none there is left out.
    """
    from pydantic import ValidationError

    from arcli.engine.functions import in_parts
    from arcli.fields import Deferred, DeferredText
    from arcli.inputs.registry import usual_unpack
    from arcli.specfile.model import Job

    def deferred(value: Any) -> Any:
        """Tell a ``${ref.name}`` from text, which it was written as."""
        if not isinstance(value, str):
            return in_parts(value, deferred)
        # Text, and after each a kind and a name.
        texts = iter(_DEFERRED.split(value))
        parts: list[str | Deferred] = [next(texts)]
        for kind, name, text in zip(texts, texts, texts, strict=True):
            parts += [Deferred(kind=kind, name=name), text]  # type: ignore[arg-type]
        parts = [part for part in parts if part != ""]
        if not any(isinstance(part, Deferred) for part in parts):
            return value
        return parts[0] if len(parts) == 1 else DeferredText(tuple(parts))

    # A manifest that another version wrote, or somebody edited, may have a job that is none here.
    jobs: dict[str, PastJob] = {}
    for tree in run.manifest.jobs:
        try:
            job = Job.model_validate({key: tree[key] for key in CALL if tree.get(key) is not None})
        except (ValidationError, AttributeError, TypeError):
            continue
        values = {key: deferred(getattr(job, key)) for key in _LATE}
        over = tree.get("over") or {}
        jobs[job.name] = PastJob(job.model_copy(update=values), usual_unpack(over), frozenset(_kinds(over)))
    return jobs


def _kinds(over: Any) -> Iterator[str]:
    """Yield the kinds of input in what a manifest has of an ``over``; an empty one where that is none."""
    from pydantic import ValidationError

    from arcli.inputs import Over

    try:
        yield from (part.kind for _, part in Over.model_validate(over).walk())
    except (ValidationError, UsageError, TypeError):
        yield ""


def spec_of(run: RunFolder, params: Sequence[tuple[str, str]]) -> Spec:
    """Load the spec of a past run with the parameters that it had; ``params`` replace some of them.

    Raises UsageError where the run had no file, or where a parameter was not kept; SpecError.
    """
    from arcli.specfile.load import load
    from arcli.store.describe import MASK

    about = run.manifest
    if about.argv[1:2] == ("map",):
        from arcli.cli.map import spec_again

        if any(MASK in word for word in about.argv):
            raise UsageError(f"a value on the command line of run {run.id} was not kept")
        return spec_again(about.argv, Path(about.cwd or "."))
    if about.spec_file is None:
        raise UsageError(
            f"run {run.id} does not say which spec it had",
            hint="it came from standard input, or its manifest.json cannot be read",
        )
    if not is_file(Path(about.spec_file)):
        raise UsageError(
            f"the spec of run {run.id} is not there any more: {about.spec_file}",
            hint="put it back where it was",
        )
    # The run's own flags belong to what it was: a -p of today goes before them.
    flags = flags_of(about.argv)
    chosen = {**dict(flags.params), **dict(params)}
    replaced = {f"params.{name}" for name, _ in params}
    sets = [(path, value) for path, value in flags.sets if path not in replaced]
    # Values from the environment were masked, so that a rerun with the mask would be another run.
    for name, value in [*chosen.items(), *sets]:
        if MASK in value:
            again = f"give it again: -p {name.removeprefix('params.')}=…"
            raise UsageError(f"the value of {name} was not kept", hint=again)
    return load(about.spec_file, params=chosen, sets=sets)


def flags_of(argv: Sequence[str]) -> RunFlags:
    """Read the flags of an ``arcli run`` from its command line."""
    from arcli.cli.run import command

    context = command.make_context("run", list(argv[2:]), resilient_parsing=True)
    return RunFlags(**context.params)


def differences(run: RunFolder, spec: Spec) -> Iterator[str]:
    """Say what is not as it was when a run was made, a sentence each."""
    import hashlib
    import platform
    import socket

    from arcli.store.describe import git_state

    about = run.manifest
    file = Path(spec.file)
    if about.spec_sha256 is not None and hashlib.sha256(file.read_bytes()).hexdigest() != about.spec_sha256:
        yield f"{spec.file} has changed since"
    # Functions in files decide values as much as the spec does.
    for name, digest in (about.sources or {}).items():
        path = spec.folder / name
        now = hashlib.sha256(path.read_bytes()).hexdigest() if is_file(path) else None
        if now != digest:
            yield f"{name} has changed since" if now is not None else f"{name} is not there any more"
    state, before = git_state(spec.folder), about.git
    if state is not None and before is not None and state != dict(before):
        yield f"the commit was {_commit(before)} and is {_commit(state)}"
    # Another Python or another machine may give other values without anybody having changed anything.
    python = (about.versions or {}).get("python")
    if python is not None and python != platform.python_version():
        yield f"Python was {python} and is {platform.python_version()}"
    if spec.cluster.python is not None:
        yield f"the engines had {spec.cluster.python} as their Python, and this is arcli's own"
    if about.host is not None and about.host != socket.gethostname():
        yield f"the host was {about.host} and is {socket.gethostname()}"


def _commit(state: object) -> str:
    assert isinstance(state, dict)
    return f"{str(state.get('commit'))[:10]}{' with changes' if state.get('dirty') else ''}"
