"""Text of users' tasks, made harmless for a terminal, a log and a table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

# C0 and C1 controls but newline; line and paragraph separators; what turns the direction of text
# (https://trojansource.codes); what is not seen at all, fillers and tags among it
# (https://www.unicode.org/reports/tr36/); lone surrogates, which no encoding can write.
_UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


# What GitHub's runner takes for a command: ``::`` at the begin of a line, ``##[`` anywhere in it.
# https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
_COMMAND = re.compile(r"^([^\S\n]*):(?=:)", re.MULTILINE)


def plain(text: str) -> str:
    r"""``text`` with newlines as they are, tabs as blanks, and other controls as ``\x1b``."""
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_escape, text)


def without_commands(text: str) -> str:
    r"""``text`` in which GitHub's log finds no command: as ``\x3a:error::``, ``#\x23[error]``."""
    return _COMMAND.sub(r"\1\\x3a", text).replace("##[", r"#\x23[")


def one_line(text: str) -> str:
    """Return the first line of ``text`` that says something, made plain; ``…`` where there are more."""
    # A message may begin with blank lines, and go on for pages.
    lines = [line for line in text.strip().split("\n") if line.strip()]
    if not lines:
        return ""
    return plain(lines[0].strip()) + (" …" if len(lines) > 1 else "")


def shell_line(words: Iterable[str]) -> str:
    r"""Write words as a line for a shell: what a terminal cannot show, or is no text, as ``$'\xff'``.

    That quoting is bash's, zsh's and ksh's, and POSIX's since 2024.
    """
    return " ".join(map(shell_word, words))


def shell_word(word: str) -> str:
    """Write one word for a shell, see ``shell_line``."""
    if "\n" not in word and plain(word) == word:
        return shlex.quote(word)
    # Bytes and not code points: what these mean depends on the locale of the shell.
    parts: list[str] = []
    for char in word:
        if char in "'\\":
            parts.append(f"\\{char}")
        elif char != "\n" and plain(char) == char:
            parts.append(char)
        else:
            parts += (f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
    return f"$'{''.join(parts)}'"


def shortened(text: str, longest: int) -> str:
    """Return ``text`` in at most ``longest`` characters; ``…`` stands for what is cut off."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _escape(match: re.Match[str]) -> str:
    # As Python writes them in a string, so that what is copied means the same.
    char = match[0]
    if char == "\t":
        return "    "
    if char == "\r":
        return "\\r"
    code = ord(char)
    if code >= 0x10000:
        return f"\\U{code:08x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
