"""Text of users' tasks, made harmless for a terminal, a log and a table."""

from __future__ import annotations

import re

# C0 and C1 controls but newline; line and paragraph separators; what turns the direction of text
# (https://trojansource.codes); lone surrogates, which no encoding can write.
_UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def plain(text: str) -> str:
    r"""``text`` with newlines as they are, tabs as blanks, and other controls as ``\x1b``."""
    return text if text.isprintable() else _UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    """The first line of ``text`` that says something, made plain; ``…`` where there are more."""
    lines = [line for line in text.strip().split("\n") if line.strip()]
    if not lines:
        return ""
    return plain(lines[0].strip()) + (" …" if len(lines) > 1 else "")


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char == "\t":
        return "    "
    if char == "\r":
        return "\\r"
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
