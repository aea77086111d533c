"""The spec of a past run, as it stands now, and what is different from then."""

from __future__ import annotations

import hashlib
import platform
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arcli.cli.options import RunFlags
from arcli.errors import UsageError

if TYPE_CHECKING:
    from arcli.specfile.model import Spec
    from arcli.store.folder import RunFolder


def spec_of(run: RunFolder, params: Sequence[tuple[str, str]]) -> Spec:
    """Load the spec of a past run with the parameters that it had; ``params`` replace some of them.

    Raises UsageError where the run had no file, or where a parameter was not kept; SpecError.
    """
    from arcli.specfile.load import load
    from arcli.store.redact import MASK

    about = run.manifest
    if about.spec_file is None or not Path(about.spec_file).is_file():
        raise UsageError(
            f"the spec of run {run.id} is no file, or not there any more: {about.spec_file}",
            hint="put it back, or run an arcli map once more",
        )
    # The run's own flags belong to what it was: a -p of today goes before them.
    flags = flags_of(about.argv)
    given = {**dict(flags.params), **dict(params)}
    # Values from the environment were masked, so that a rerun with the mask would
    # be another run.
    for name, value in [*given.items(), *flags.sets]:
        if MASK in value:
            raise UsageError(f"the value of {name} was not kept", hint=f"give it again: -p {name}=…")
    return load(about.spec_file, params=given, sets=flags.sets)


def flags_of(argv: Sequence[str]) -> RunFlags:
    """Read the flags of an ``arcli run`` from its command line."""
    from arcli.cli.run import command

    context = command.make_context("run", list(argv[2:]), resilient_parsing=True)
    return RunFlags(**context.params)


def differences(run: RunFolder, spec: Spec) -> Iterator[str]:
    """Say what is not as it was when a run was made, a sentence each."""
    from arcli.store.describe import git_state

    about = run.manifest
    file = Path(spec.file)
    if about.spec_sha256 is not None and hashlib.sha256(file.read_bytes()).hexdigest() != about.spec_sha256:
        yield f"{spec.file} has changed since"
    # Functions in files decide values as much as the spec does.
    for name, digest in (about.sources or {}).items():
        path = spec.folder / name
        now = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        if now != digest:
            yield f"{name} has changed since" if now is not None else f"{name} is not there any more"
    state, before = git_state(spec.folder), about.git
    if state is not None and before is not None and state != dict(before):
        yield f"the commit was {_commit(before)} and is {_commit(state)}"
    # Another Python or another machine may give other values without anybody having
    # changed anything.
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
