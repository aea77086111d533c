"""What a run's folder says about the run: what was run, with what, by whom, where, and its end."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict

import msgspec
import orjson
from msgspec import Struct
from msgspec.structs import replace


class EngineEntry(TypedDict):
    """An engine that there was. Earlier versions did not note when its setup was done: ``ready``."""

    engine_id: int
    slot: int | None
    uuid: str
    host: str | None
    pid: int | None
    started: str | None
    ready: NotRequired[str | None]
    ended: str | None
    reason: str | None


class Manifest(Struct, frozen=True, kw_only=True):
    """One run. Times are ISO 8601 UTC; what is not known (yet) is None.

    ``limit`` is how many items of each map it had at most (``--limit``).
    ``sources`` has the SHA-256 of each file with functions of the spec, by its path. ``resumes`` is the
    id of the run that this one goes on with. ``ended`` stays None where arcli itself was killed.
    """

    id: str = ""
    name: str = ""
    spec_file: str | None = None
    spec_sha256: str | None = None
    spec: Any = None
    params: Mapping[str, Any] | None = None
    limit: int | None = None
    argv: tuple[str, ...] = ()
    cwd: str | None = None
    host: str | None = None
    user: str | None = None
    versions: Mapping[str, str] | None = None
    git: Mapping[str, Any] | None = None
    sources: Mapping[str, str] | None = None
    resumes: str | None = None
    started: str | None = None
    engines: tuple[EngineEntry, ...] = ()
    ended: str | None = None
    exit_code: int | None = None
    summary: Any = None

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """The spec's jobs as data, as far as there are any."""
        jobs = self.spec.get("jobs") if isinstance(self.spec, dict) else None
        return [job for job in jobs if isinstance(job, dict)] if isinstance(jobs, list) else []

    def items_hash(self) -> bytes:
        """Return a hash of what says which items the run has, whatever became of them.

        That is the file of the spec and, as they were with parameters and flags, its jobs and setup.
        """
        setup = self.spec.get("setup") if isinstance(self.spec, dict) else None
        parts = [self.spec_file, self.jobs, setup, self.limit]
        # The slow writer: a path may be no UTF-8.
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()

    @property
    def reads_stdin(self) -> bool:
        """Whether items of a job came from standard input."""
        return any(_names_stdin(job.get("over")) for job in self.jobs)

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Return the inverse of ``to_json``; ignores keys of later versions. Raises ValueError."""
        # Anybody can edit the file: what has another type is damage, and not met later as an error.
        try:
            fields = msgspec.convert(orjson.loads(text), dict[str, Any])
            present = {name: value for name, value in fields.items() if value is not None}
            manifest = msgspec.convert(present, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"not a manifest: {error}") from None
        return _renamed(manifest, _from_text)

    def to_json(self) -> bytes:
        """JSON, indented, with a newline at its end."""
        manifest = _renamed(self, _as_text)
        data = {name: getattr(manifest, name) for name in self.__struct_fields__}
        option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(data, option=option)


def _renamed(manifest: Manifest, change: Callable[[str], str]) -> Manifest:
    """Change the paths and the command line of a manifest."""
    return replace(
        manifest,
        spec_file=None if manifest.spec_file is None else change(manifest.spec_file),
        cwd=None if manifest.cwd is None else change(manifest.cwd),
        argv=tuple(map(change, manifest.argv)),
    )


_ESCAPED = re.compile(r"\\u(dc[89a-f][0-9a-f])")
r"""A byte that is no UTF-8, as a manifest has it: ``\udcff``. No name has that as text."""


def _as_text(name: str) -> str:
    """Write a name as text that JSON can hold, whatever the locale and the name's bytes are."""
    text = os.fsencode(name).decode("utf-8", "surrogateescape")
    return text.encode("utf-8", "backslashreplace").decode()


def _from_text(text: str) -> str:
    """Return the inverse of ``_as_text``, in the locale of this process."""
    escaped = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    return os.fsdecode(escaped.encode("utf-8", "surrogateescape"))


def _names_stdin(over: Any) -> bool:
    """Tell whether a source, or one that it combines, is standard input."""
    if not isinstance(over, dict):
        return False
    blocks, combined = over.get("blocks"), over.get("product") or over.get("zip")
    of = blocks.get("of") if isinstance(blocks, dict) else blocks
    parts = combined.values() if isinstance(combined, dict) else ()
    return over.get("stdin") is not None or of == "stdin" or any(map(_names_stdin, parts))
