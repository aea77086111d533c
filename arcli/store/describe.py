"""A new run in the words of a manifest, and without its secrets.

Secret are values of the environment, and parameters that are called as secrets are.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import arcli
from arcli.fields import Deferred, DeferredText
from arcli.inputs import Input
from arcli.paths import is_file
from arcli.plan.job import source_file
from arcli.specfile.model import Spec
from arcli.specfile.overrides import text_of
from arcli.specfile.scalars import resolve
from arcli.store.folder import spec_path
from arcli.store.manifest import Manifest

MASK = "***"
SHORTEST = 3
"""Characters of a value that is looked for: shorter ones keep no secret, and stand everywhere."""
_SECRET_NAME = re.compile(r"pass|secret|token|credential|api_?key|private|(^|\.)env(\.|$)", re.IGNORECASE)
_ASSIGNS = {"-p", "--param", "--set"}
_JOINED = re.compile(r"(?P<flag>-p|--param=|--set=)(?P<assignment>[^=]+=.*)", re.DOTALL)


class Redaction:
    """Replaces ``secrets`` (the value by what is shown instead) wherever they stand in a text."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        # On a command line a value may stand as YAML, with escapes.
        every = {_escaped(value): shown for value, shown in secrets.items()} | dict(secrets)
        self._secrets = {value: shown for value, shown in every.items() if len(value) >= SHORTEST}
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        """Take the secrets out of a text."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._secrets[match[0]], text)

    def variable(self, value: str) -> str:
        """Show a value of an environment: the ``${env.…}`` that it came from, or nothing of it."""
        text = self.text(value)
        return text if text != value else MASK

    def arguments(self, argv: Sequence[str]) -> list[str]:
        """Take the secrets out of a command line; also the values of what is called as secrets are."""
        # What follows `-p`, or is joined to it, is an assignment: its name may say that it is secret.
        # Anything else is shown but for the secrets that are known by their value.
        shown: list[str] = []
        before = ""
        for word in argv:
            joined = _JOINED.fullmatch(word)
            if before in _ASSIGNS:
                shown.append(self._assignment(word))
            elif joined is not None:
                shown.append(joined["flag"] + self._assignment(joined["assignment"]))
            else:
                shown.append(self.text(word))
            before = word
        return shown

    def _assignment(self, word: str) -> str:
        name, equals, _ = word.partition("=")
        if equals and _SECRET_NAME.search(name):
            return f"{name}={MASK}"
        return self.text(word)


def _escaped(value: str) -> str:
    """Return a value as it stands in the text of a flag; as it is where it cannot stand there."""
    try:
        return text_of(value)[1:-1]
    except ValueError:
        return value


NOTHING_SECRET = Redaction({})


def redaction_of(spec: Spec) -> Redaction:
    """Find what is not to be kept of a spec.

    It is what ``${env.…}`` gave, and parameters that are called as secrets are or that go into an
    environment.
    """
    secrets = {value: f"${{env.{name}}}" for name, value in spec.variables.items()}
    # Alone it is read as YAML, which gives `00421` another text.
    secrets |= {str(resolve(value)): shown for value, shown in secrets.items()}
    # A parameter that goes into an environment is one of the two ways to hand over a password.
    environments = {*spec.cluster.env.values()}
    for job in spec.jobs:
        values = job.env.values()
        environments.update(value for value in values if not isinstance(value, Deferred | DeferredText))
    for name, value in spec.params.items():
        text = str(value)
        if text not in secrets and (_SECRET_NAME.search(name) or text in environments):
            secrets[text] = MASK
    return Redaction(secrets)


GIT_SECONDS = 2.0
"""How long git may take to say which commit a spec is from."""


def describe(
    spec: Spec, *, argv: Sequence[str], resumes: str | None = None, limit: int | None = None
) -> Manifest:
    """Return what can be said of a run of ``spec`` before it starts."""
    file = Path(spec.file)
    redaction = redaction_of(spec)
    from_file = is_file(file)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    # All that decides or explains a run's values, and no secret among it.
    return Manifest(
        name=spec.name,
        spec_file=spec_path(spec.file),
        spec_sha256=hashlib.sha256(file.read_bytes()).hexdigest() if from_file else None,
        spec=plain(spec, redaction),
        params=plain(spec.params, redaction),
        argv=tuple(redaction.arguments(argv)),
        cwd=str(Path.cwd()),
        host=socket.gethostname(),
        user=user,
        versions={
            "arcli": arcli.__version__,
            "python": platform.python_version(),
            "ipyparallel": metadata.version("ipyparallel"),
        },
        sources=dict(_sources(spec)),
        resumes=resumes,
        limit=limit,
    )


def _sources(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield the files that the functions and notebooks of a spec are in, as far as they can be found."""
    for job in spec.jobs:
        names = [name for text in job.functions.values() if (name := source_file(text)) is not None]
        for name in dict.fromkeys([*names, *([job.notebook] if job.notebook else [])]):
            path = spec.folder / name
            if is_file(path):
                yield name, hashlib.sha256(path.read_bytes()).hexdigest()


def git_state(folder: Path) -> dict[str, Any] | None:
    """``commit`` and whether the tree is ``dirty``; None outside a repository, or without git."""
    # Without locks: a status that refreshes the index would disturb a git command
    # beside it.
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=64"]
    try:
        answer = subprocess.run(
            [*command, "--exclude=*"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    commit, _, dirty = answer.stdout.decode("ascii", "replace").strip().partition("-")
    return {"commit": commit, "dirty": dirty == "dirty"} if answer.returncode == 0 else None


def plain(tree: Any, redaction: Redaction = NOTHING_SECRET) -> Any:
    """Make a tree one that JSON can hold, without what is not to be kept.

    Late values look as they do in the spec's own text.
    """
    if isinstance(tree, Input):
        return plain(tree.written(), redaction)
    if isinstance(tree, BaseModel):
        named = type(tree).model_fields.items()
        kept = ((field.alias or name, name) for name, field in named if not field.exclude)
        return {key: _field(name, getattr(tree, name), redaction) for key, name in kept}
    # Inputs, models, mappings and lists are gone through; what is left are the values of YAML.
    if isinstance(tree, Mapping):
        return {str(key): plain(value, redaction) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [plain(part, redaction) for part in tree]
    if isinstance(tree, Deferred):
        return str(tree)
    if isinstance(tree, DeferredText):
        return "".join(plain(part, redaction) for part in tree.parts)
    if tree is None or isinstance(tree, bool):
        return tree
    shown = redaction.text(str(tree))
    if isinstance(tree, int | float):
        # A number that is a secret is text now, as is one beyond what the JSON library writes.
        fits = not isinstance(tree, int) or -(2**63) <= tree < 2**64
        return tree if fits and shown == str(tree) else shown
    return shown.encode("utf-8", "backslashreplace").decode()  # arguments can be any bytes


def _field(name: str, value: Any, redaction: Redaction) -> Any:
    """Show a field of a model: names are never secrets, the values of environments always."""
    if name == "env" and isinstance(value, Mapping):
        return {key: redaction.variable(plain(text)) for key, text in value.items()}
    return plain(value, NOTHING_SECRET if name == "name" else redaction)
