"""A command as an item: started, timed, its whole process group ended with it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

from .capture import FdCapture
from .limits import TimeLimit
from .program import ProgramFailed

KILL_AFTER = 2.0
"""Seconds that a process group has between SIGTERM and SIGKILL."""
_PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_]\w*)?\}")
_HERE_DOCUMENT = re.compile(r"<<-?\s*['\"\\]?\w+")
_QUOTES = {"'": "single quotes", '"': "double quotes"}
PATH_PARTS = ("stem", "suffix", "parent", "name")


class CommandFailed(ProgramFailed):
    """A command that ended with an exit status that is not ok, or by a signal."""


class Unparsable(ValueError):
    """A command's output that is not what ``parse`` says."""


def values_of(item: Any, index: int) -> dict[str, str]:
    """What the placeholders of a command stand for, by name; ``{}`` is under the empty name."""
    names = {"index": str(index)}
    if isinstance(item, Mapping):
        names.update({str(key): text_of(value) for key, value in item.items()})
        whole = text_of(next(iter(item.values()))) if len(item) == 1 else json.dumps(item)
    else:
        whole = text_of(item)
    names[""] = whole
    if isinstance(item, str | bytes):
        path = PurePath(whole)
        parts = {"stem": path.stem, "suffix": path.suffix, "parent": str(path.parent)}
        for part, text in {**parts, "name": path.name}.items():
            names.setdefault(part, text)
    return names


def text_of(value: Any) -> str:
    """A value as a command's argument: text as it is, numbers as Python prints them, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return os.fsdecode(value)
    if value is None or isinstance(value, bool | list | dict):
        return json.dumps(value)
    return str(value)


class Placeholder(NamedTuple):
    """A name in braces in a shell string; ``inside``: what it must not stand in, or None."""

    name: str
    start: int
    inside: str | None


def placeholders(text: str) -> Iterator[Placeholder]:
    """The placeholders of a shell string, with the quoting that they stand in.

    Follows https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02 as
    far as quotes, escapes, comments and command substitutions go.
    """
    found = {match.start(): match for match in _PLACEHOLDER.finditer(text)}
    open_: list[str] = []  # of ', ", ( and `, the innermost last
    here_document = _HERE_DOCUMENT.search(text)
    at = 0
    while at < len(text):
        if at in found:
            inside = _QUOTES.get(open_[-1]) if open_ else None
            if here_document is not None and at > here_document.end():
                inside = inside or "a here-document"
            yield Placeholder(found[at][1] or "", at, inside)
            at = found[at].end()
            continue
        at = _past(text, at, open_)


def _past(text: str, at: int, open_: list[str]) -> int:
    """Where the shell reads on after the character at a place; keeps track of what is open."""
    char, inner = text[at], open_[-1] if open_ else ""
    if inner == "'":
        if char == "'":
            open_.pop()
    elif char == "\\":
        return at + 2
    elif char in {'"', "`"}:
        open_.pop() if inner == char else open_.append(char)
    elif text.startswith("$(", at):
        open_.append("(")
        return at + 2
    elif char == "'" and inner != '"':
        open_.append(char)
    elif char in "()" and inner == "(":
        open_.append(char) if char == "(" else open_.pop()
    elif char == "#" and inner != '"' and (at == 0 or text[at - 1].isspace()):
        end = text.find("\n", at)
        return end if end >= 0 else len(text)
    return at + 1


def shell_call(text: str, names: Mapping[str, str]) -> list[str]:
    """A shell string and its values as an argv: the values travel as positional parameters.

    Nothing of a value ever becomes shell text: each placeholder turns into ``"${1}"``, ``"${2}"``,
    …. Raises ValueError for one that stands in quotes, which only a column of a table can do: the
    others are found before the run.
    """
    order: list[str] = []
    script, end = "", 0
    for found in placeholders(text):
        if found.name not in names:
            continue
        if found.inside is not None:
            raise ValueError(f"{{{found.name}}} stands inside {found.inside}: leave the quotes out")
        if found.name not in order:
            order.append(found.name)
        script += text[end : found.start] + f'"${{{order.index(found.name) + 1}}}"'
        end = found.start + len(found.name) + 2
    script += text[end:]
    return ["/bin/sh", "-c", script, "arcli", *(names[name] for name in order)]


def argv_call(argv: list[str], names: Mapping[str, str]) -> list[str]:
    """An argv list with its placeholders filled in; no shell reads it."""

    def fill(match: re.Match[str]) -> str:
        return names[match[1] or ""] if (match[1] or "") in names else match[0]

    return [_PLACEHOLDER.sub(fill, part) for part in argv]


class Command:
    """A command of a job: call it with an item and its index.

    The value is ``{exit, stdout, stderr}``, or what ``parse`` makes of stdout. ``usage`` has the
    last child's user and system seconds and its peak memory in bytes (None where that cannot be
    known), ``printed`` what it wrote.
    """

    def __init__(self, job: Mapping[str, Any], capture: FdCapture) -> None:
        self._text: str | list[str] = job["command"]
        self._stdin: str | None = job.get("command_stdin")
        self._cwd: str | None = job.get("cwd")
        self._env: dict[str, str] | None = {**os.environ, **job["env"]} if job.get("env") else None
        self._ok: set[int] = set(job.get("ok_exit") or [0])
        self._parse: str | None = job.get("parse")
        self._capture = capture
        self.usage: dict[str, float | None] | None = None
        self.printed = ("", "", False)

    def run(self, item: Any, index: int) -> Any:
        """Run the command for one item. Raises CommandFailed, Unparsable, OSError."""
        names = values_of(item, index)
        self.usage, self.printed = None, ("", "", False)
        if isinstance(self._text, str):
            argv = shell_call(self._text, names)
        else:
            argv = argv_call(self._text, names)
        try:
            status = self._run(argv, names)
        finally:
            self.printed = self._capture.take()
        value = {"exit": status, "stdout": self.printed[0], "stderr": self.printed[1]}
        if status not in self._ok:
            raise CommandFailed(_cause(status), value)
        return _parsed(value, self._parse)

    def _run(self, argv: list[str], names: Mapping[str, str]) -> int:
        """Start, wait, reap: the exit status, or a signal's number negated."""
        with contextlib.ExitStack() as stack:
            feed: Any = subprocess.DEVNULL
            if self._stdin is not None:
                feed = stack.enter_context(tempfile.TemporaryFile())
                feed.write(os.fsencode(argv_call([self._stdin], names)[0]))
                feed.seek(0)
            # The child writes straight into the capture's files, which stand at 1 and 2.
            child = subprocess.Popen(
                argv,
                stdin=feed,
                cwd=argv_call([self._cwd], names)[0] if self._cwd else None,
                env=self._env,
                start_new_session=True,
            )
        try:
            _, status, used = os.wait4(child.pid, 0)
        except BaseException:
            _end_group(child)
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        self.usage = {
            "user": used.ru_utime,
            "system": used.ru_stime,
            "peak_memory": _peak(used.ru_maxrss),
        }
        return child.returncode


def _peak(kilobytes: int) -> int | None:
    """A child's peak memory in bytes, None where this process's own hides it.

    Linux counts the memory of before ``exec``, which is ours, to the child's peak:
    https://man7.org/linux/man-pages/man2/getrusage.2.html (``ru_maxrss``).
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * 1024 if kilobytes > own else None


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL, to all that the command started; the child is reaped."""
    _signal_group(child.pid, signal.SIGTERM)
    try:
        child.wait(KILL_AFTER)
    except (subprocess.TimeoutExpired, TimeLimit):
        pass
    finally:
        _signal_group(child.pid, signal.SIGKILL)
        while child.returncode is None:
            try:
                child.wait()
            except TimeLimit:  # the timer's second alarm
                continue


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _cause(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _parsed(value: dict[str, Any], parse: str | None) -> Any:
    text = value["stdout"]
    try:
        if parse == "json":
            return json.loads(text)
        if parse == "float":
            return float(text)
    except ValueError as error:
        raise Unparsable(f"stdout is not {parse}: {error}: {shlex.quote(text[:80])}") from None
    return text.splitlines() if parse == "lines" else value
