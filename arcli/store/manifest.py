"""What a run's folder says about the run: what was run, with what, by whom, where, and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from msgspec import Struct

_KINDS: dict[str, type] = {
    **dict.fromkeys(("id", "name", "spec_file", "cwd", "host", "user", "resumes"), str),
    **dict.fromkeys(("started", "ended"), str),
    **dict.fromkeys(("params", "versions", "git", "sources"), dict),
    **dict.fromkeys(("argv", "engines"), list),
    "exit_code": int,
}
"""What may stand where, null aside: a file that anybody can edit is not to be trusted."""
_ENGINE: dict[str, Any] = {
    "engine_id": int,
    **dict.fromkeys(("slot", "pid"), int | None),
    "uuid": str,
    **dict.fromkeys(("host", "started", "ended", "reason"), str | None),
}


class Manifest(Struct, frozen=True, kw_only=True):
    """One run. Times are ISO 8601 UTC; what is not known (yet) is None.

    ``sources`` has the SHA-256 of each file with functions of the spec, by its path. ``resumes`` is the
    id of the run that this one goes on with. ``engines`` has one object for each engine that there was:
    ``engine_id``, ``slot``, ``uuid``, ``host``, ``pid``, ``started``, ``ready`` (its setup was done),
    ``ended`` and ``reason``. ``ended`` stays None where arcli itself was killed.
    """

    id: str = ""
    name: str = ""
    spec_file: str | None = None
    spec_sha256: str | None = None
    spec: Any = None
    params: Mapping[str, Any] | None = None
    argv: Sequence[str] = ()
    cwd: str | None = None
    host: str | None = None
    user: str | None = None
    versions: Mapping[str, str] | None = None
    git: Mapping[str, Any] | None = None
    sources: Mapping[str, str] | None = None
    resumes: str | None = None
    started: str | None = None
    engines: tuple[Mapping[str, Any], ...] = ()
    ended: str | None = None
    exit_code: int | None = None
    summary: Any = None

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Return the inverse of ``to_json``; ignores keys of later versions. Raises ValueError."""
        data = orjson.loads(text)
        if not isinstance(data, dict):
            raise ValueError("not a manifest")
        # Anybody can edit the file: what has another type is damage, and not met later as an error.
        names = cls.__struct_fields__
        entries = {name: data[name] for name in names if data.get(name) is not None}
        for name, kind in _KINDS.items():
            if not isinstance(entries.get(name), kind | None):
                raise ValueError(f"not a manifest: {name} is {entries[name]!r}")
        for name in ("argv", "engines"):
            entries[name] = tuple(entries.get(name) or ())
        for entry in entries["engines"]:  # they may have more than is read of them
            if (
                not isinstance(entry, dict)
                or any(
                    name not in entry or not isinstance(entry[name], kind) for name, kind in _ENGINE.items()
                )
                or not isinstance(entry.get("ready"), str | None)  # earlier versions did not note it
            ):
                raise ValueError("not a manifest: its engines are not what engines are")
        return cls(**entries)

    def to_json(self) -> bytes:
        """JSON, indented, with a newline at its end."""
        data = {name: getattr(self, name) for name in self.__struct_fields__}
        option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(data, option=option)
