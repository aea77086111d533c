"""The text of a spec, and problems that point into it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from arcli.errors import Problem, SpecError

LARGEST = 10_000_000
"""Bytes of a spec. What is larger holds items, which belong in a file of their own."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_ITEMS_ELSEWHERE = "put the items in a file of their own: over: {lines: …}, {csv: …}, {jsonl: …}"


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """What was read, and what it is called in messages."""

    label: str
    text: str

    def problem(
        self, message: str, line: int | None = None, column: int | None = None, hint: str = ""
    ) -> Problem:
        """Return a problem at a place; ``line`` and ``column`` count from 0, as PyYAML's marks do."""
        if line is None:
            return Problem(message=message, file=self.label, hint=hint or None)
        return Problem(
            message=message,
            file=self.label,
            line=line + 1,
            column=None if column is None else column + 1,
            source=self.line(line),
            hint=hint or None,
        )

    def line(self, number: int) -> str:
        """Return one line, counted from 0, without its end; empty where there is none."""
        lines = self.text.split("\n")
        return lines[number].rstrip("\r") if number < len(lines) else ""


def read(source: str) -> Text:
    """Return the text of a file, or of standard input for ``-``. Raises SpecError."""
    if source == "-":
        return _decoded("stdin", sys.stdin.buffer.read(LARGEST + 1) if sys.stdin else b"")
    path = Path(source)
    nothing = Text(source, "")
    try:
        if path.is_dir():
            specs = sorted(entry.name for entry in path.glob("*.y*ml"))
            hint = f"there are {', '.join(specs[:5])} in it" if specs else "give the path of a file"
            raise SpecError([nothing.problem("this is a directory, not a spec", hint=hint)])
        # Bounded, so that a device or a huge file ends in a message.
        with path.open("rb") as file:
            return _decoded(source, file.read(LARGEST + 1))
    except OSError as error:
        why = error.strerror or str(error)
        raise SpecError([nothing.problem(f"cannot be read: {why}", hint=_near(path))]) from None


def _near(path: Path) -> str:
    """Return a file beside the missing one whose name is like it."""
    import difflib

    if path.exists() or not path.parent.is_dir():
        return ""
    specs = [file.name for file in path.parent.glob("*.y*ml")]
    close = difflib.get_close_matches(path.name, specs, 1)
    return f"did you mean {path.with_name(close[0])}?" if close else ""


def _decoded(label: str, data: bytes) -> Text:
    if len(data) > LARGEST:
        message = f"a spec has at most {LARGEST // 1_000_000} MB"
        raise SpecError([Text(label, "").problem(message, hint=_ITEMS_ELSEWHERE)])
    try:
        text = Text(label, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        # The place of a bad byte is counted in the characters before it.
        before = data[: error.start].decode("utf-8", "replace")
        good = Text(label, data.decode("utf-8", "replace"))
        byte = data[error.start]
        message = f"not UTF-8: byte 0x{byte:02x}"
        raise SpecError([good.problem(message, *_place(before), hint="save the file as UTF-8")]) from None
    if match := _CONTROL.search(text.text):
        message = f"a control character, U+{ord(match[0]):04X}, which YAML does not allow"
        raise SpecError([text.problem(message, *_place(text.text[: match.start()]))])
    return text


def _place(before: str) -> tuple[int, int]:
    """Line and column, from 0, of what comes after some text."""
    line = before.count("\n")
    return line, len(before) - (before.rfind("\n") + 1)
