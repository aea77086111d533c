"""A new run in the words of a manifest."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import arcli
from arcli.fields import Deferred, DeferredText
from arcli.inputs import Input
from arcli.specfile.model import Spec
from arcli.store.folder import spec_path
from arcli.store.manifest import Manifest

GIT_SECONDS = 2.0
"""How long git may take to say which commit a spec is from."""


def describe(spec: Spec, *, argv: Sequence[str], resumes: str | None = None) -> Manifest:
    """What can be said of a run of ``spec`` before it starts."""
    file = Path(spec.file)
    from_file = file.is_file()
    return Manifest(
        name=spec.name,
        spec_file=spec_path(spec.file),
        spec_sha256=hashlib.sha256(file.read_bytes()).hexdigest() if from_file else None,
        spec=plain(spec),
        params=plain(spec.params),
        argv=tuple(plain(list(argv))),
        cwd=plain(str(Path.cwd())),
        host=socket.gethostname(),
        user=_user(),
        versions={
            "arcli": arcli.__version__,
            "python": platform.python_version(),
            "ipyparallel": metadata.version("ipyparallel"),
        },
        resumes=resumes,
    )


def git_state(folder: Path) -> dict[str, Any] | None:
    """``commit`` and whether the tree is ``dirty``; None outside a repository, or without git."""
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=64"]
    try:
        said = subprocess.run(
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
    commit, _, dirty = said.stdout.decode("ascii", "replace").strip().partition("-")
    return {"commit": commit, "dirty": dirty == "dirty"} if said.returncode == 0 else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def plain(tree: Any) -> Any:
    """A tree that JSON can hold; late values look as they do in the spec's own text."""
    if isinstance(tree, Input):
        return plain(tree.written())
    if isinstance(tree, BaseModel):
        named = type(tree).model_fields.items()
        kept = ((field.alias or name, name) for name, field in named if not field.exclude)
        return {key: plain(getattr(tree, name)) for key, name in kept}
    if isinstance(tree, Mapping):
        return {str(key): plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [plain(part) for part in tree]
    if isinstance(tree, Deferred):
        return f"${{{tree.kind}.{tree.name}}}"
    if isinstance(tree, DeferredText):
        return "".join(part if isinstance(part, str) else plain(part) for part in tree.parts)
    if isinstance(tree, int) and not isinstance(tree, bool) and not -(2**63) <= tree < 2**64:
        return str(tree)  # beyond what the JSON library writes
    if tree is None or isinstance(tree, int | float):
        return tree
    return str(tree).encode("utf-8", "backslashreplace").decode()  # arguments can be any bytes
