"""Items that are not ok, grouped by what went wrong, in a fixed amount of memory.

Items of one job are one group where status, type, place in the user's code and message agree, the
message without its particulars: 500 times ``loss is nan at seed 17`` with other seeds is one group.
"""

from __future__ import annotations

import base64
import re
from bisect import insort
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from arcli.escape import one_line, plain, shortened
from arcli.record import decode, dump, is_tagged, user_key

MOST_GROUPS = 100
"""Groups of a job that are told apart; the items of any others are one group a status."""
EXAMPLES = 5
"""Items of a group that are kept with their inputs: those with the lowest indices."""
MESSAGE = 300
"""Characters of a message or of a line of output."""
DETAILS = 2000
"""Characters of a traceback or of a command's stderr: its end, where the error is."""
COMMAND_FAILED = "CommandFailed"
"""The type of error of a command whose exit status is not ok; see ``arcli.engine.command``."""

_QUOTED = re.compile(r"""(?<!\w)'[^'\n]*'(?!\w)|"[^"\n]*"|`[^`\n]*`""")
_PATH = re.compile(r"(?<![\w.])[\w.~-]*/[\w./@+~-]+")
_NUMBER = re.compile(r"[+-]?\w*\d[\w.]*(?:[+-]\d+)?")
_FRAME = re.compile(r'^\s*File "(.+)", line (\d+)', re.MULTILINE)
_NOT_THE_USERS = re.compile(r"/(?:site|dist)-packages/|/lib/python3\.\d+/|^<")


class FailedItem(Struct, frozen=True, kw_only=True):
    """An item of a group: its ``label`` is its input, ``detail`` its own message, or what the
    command said last.
    """

    index: int
    label: str
    detail: str


class FailureGroup(Struct, frozen=True, kw_only=True):
    """Items of a job that failed in the same way.

    ``type`` is the error's, empty where there was none; ``message`` has ``…`` for what differs
    between the items. ``place`` is ``file:line`` in the user's own code, where it is known.
    ``traceback`` and ``stderr`` are the first item's, cut to their ends.
    """

    status: str
    type: str
    message: str
    place: str | None
    count: int
    items: Annotated[tuple[FailedItem, ...], Meta(min_length=1)]
    traceback: str
    stderr: str

    @property
    def title(self) -> str:
        """``ValueError: loss is nan at seed …``, in one line."""
        what = _what(self.type, self.message)
        if self.status == "error" and what:
            return what
        return f"{self.status}: {what}" if what else self.status


class _Group(Struct, kw_only=True):
    """A group while it grows."""

    status: str
    type: str
    template: str
    place: str | None
    count: int = 0
    message: str | None = None
    alike: bool = True
    items: list[FailedItem] = field(default_factory=list)
    traceback: str = ""
    stderr: str = ""

    def add(self, record: Mapping[str, Any], message: str) -> None:
        self.count += 1
        if self.message is None:
            self.message = message
        self.alike = self.alike and self.message == message
        index = record["index"]
        # The first few by number are kept, in whatever order they come, so that two
        # runs show the same.
        if len(self.items) == EXAMPLES and index > self.items[-1].index:
            return
        if not self.items or index < self.items[0].index:
            self.traceback = plain(_traceback(record)[-DETAILS:]).strip("\n")
            self.stderr = plain(str(record.get("stderr") or "")[-DETAILS:]).strip("\n")
        detail = _last_line(record) if self.type == COMMAND_FAILED else message
        item = FailedItem(index=index, label=input_label(record.get("input"), index), detail=detail)
        insort(self.items, item, key=lambda item: item.index)
        del self.items[EXAMPLES:]

    def finished(self) -> FailureGroup:
        return FailureGroup(
            status=self.status,
            type=self.type,
            message=self.message or "" if self.alike else self.template,
            place=self.place,
            count=self.count,
            items=tuple(self.items),
            traceback=self.traceback,
            stderr=self.stderr,
        )


class Failures:
    """The groups of one job so far."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str | None, str], _Group] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a record that is not ok where it belongs."""
        status = record["status"]
        kind, message = _in_short(record)
        template = message if kind == COMMAND_FAILED else without_particulars(message)
        key = (status, kind, place_of(_traceback(record)), template)
        if key not in self._groups and len(self._groups) >= MOST_GROUPS:
            key = (status, "", None, "of other kinds")
        group = self._groups.get(key)
        if group is None:
            group = _Group(status=status, type=key[1], template=key[3], place=key[2])
            self._groups[key] = group
        group.add(record, message)

    def add_lines(self, lines: bytes) -> None:
        """Count those of a batch's records that are not ok."""
        for line in lines.splitlines():
            record = decode(line)
            if record["status"] != "ok":
                self.add(record)

    def groups(self) -> tuple[FailureGroup, ...]:
        """Return the groups, the largest first; of equals the one whose first item comes first.

        Items that were cancelled come last: they are not what went wrong.
        """
        groups = [group.finished() for group in self._groups.values()]
        groups.sort(key=lambda g: (g.status == "cancelled", -g.count, g.items[0].index))
        return tuple(groups)


def item_words(group: FailureGroup) -> str:
    """Name a group's first items by their inputs, with what each said where that differs."""
    words = [
        f"{item.label} ({item.detail})" if item.detail not in {"", group.message} else item.label
        for item in group.items
    ]
    more = group.count - len(words)
    return "; ".join([*words, *([f"and {more:,} more"] if more else [])])


def without_particulars(message: str) -> str:
    """Put ``…`` for quoted text, paths and numbers: what differs between items of one kind."""
    return _NUMBER.sub("…", _PATH.sub("…", _QUOTED.sub("…", message)))


def place_of(traceback: str) -> str | None:
    """Find the place in the user's own code, ``file:line``: the innermost frame that is theirs."""
    frames: Sequence[tuple[str, str]] = _FRAME.findall(traceback)
    own = [frame for frame in frames if not _NOT_THE_USERS.search(frame[0])]
    return plain(":".join(own[-1])) if own else None


def describe(record: Mapping[str, Any]) -> str:
    """Say what happened to an item that is not ok, in one harmless line."""
    kind, message = _in_short(record)
    what = _what(kind, message)
    status = record["status"]
    if not what:
        return str(status)
    # What cancelled an item begins with that word where somebody did it.
    return what if status == "error" or what.startswith(status) else f"{status}: {what}"


def _what(kind: str, message: str) -> str:
    return ": ".join(filter(None, (kind, message)))


def type_and_message(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return an item's error, or else the reason that arcli gives, all of it."""
    error, reason = record.get("error"), record.get("reason")
    if error and (record["status"] == "error" or not reason):
        return str(error["type"]), error["message"]
    return "", str(reason or "")


def _in_short(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return the first lines of both, cut where they are long."""
    kind, message = type_and_message(record)
    return one_line(kind), one_line(message[: 2 * MESSAGE])[:MESSAGE]


def _traceback(record: Mapping[str, Any]) -> str:
    error = record.get("error")
    return str(error.get("traceback") or "") if error else ""


def _last_line(record: Mapping[str, Any]) -> str:
    """Return the last line that a command wrote to stderr, or else to stdout."""
    for name in ("stderr", "stdout"):
        for line in reversed(str(record.get(name) or "")[-DETAILS:].splitlines()):
            if line.strip():
                return plain(line.strip())[:MESSAGE]
    return ""


LONGEST = 60
"""Characters of a label; the rest of a longer one is left out."""


def input_label(value: Any, index: int, *, longest: int = LONGEST) -> str:
    """Name an item by its input, in one harmless line; by its index where it has none.

    Of a long path the end is kept, of anything else the beginning.
    """
    if value is None:
        return f"item {index}"
    if isinstance(value, dict) and value and not is_tagged(value):
        text = " ".join(f"{user_key(key)}={word(part)}" for key, part in value.items())
    else:
        text = word(value)
    line = one_line(text) or '""'
    if len(line) > longest and "/" in line and " " not in line:
        return "…" + line[1 - longest :]
    return shortened(line, longest)


def word(value: Any) -> str:
    """Return a value of a record for people: text as it is, what JSON cannot hold by its repr, the rest
    as JSON.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and is_tagged(value):
        with suppress(KeyError, TypeError, ValueError):  # somebody may have edited it
            # Mostly a file's name that is not UTF-8: base64 would name nothing that anybody knows.
            if isinstance(data := value.get("$bytes"), str):
                return base64.b64decode(data).decode("utf-8", "backslashreplace")
            if isinstance(about := value.get("$array"), dict):
                shape = " x ".join(map(str, about["shape"]))
                return f"array of {shape} {about['dtype']}: {about.get('path', '')}".removesuffix(": ")
        return str(value.get("repr", next(iter(value.values()))))
    return dump(value).decode()
