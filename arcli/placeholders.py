"""The texts of a command: where their placeholders are, what they stand in, and what travels of them.

How a shell would read a script is read as far as is needed to know what a place in it stands in. It
follows https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html (sections 2.2, 2.3,
2.6 and 2.7.4): quotes, escapes, comments, here-documents, substitutions, case patterns; and, for bash,
https://www.gnu.org/software/bash/manual/bash.html#Conditional-Constructs: arithmetic, array elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from arcli.engine.template import NAME, Template

_NAME = rf"({NAME})?"
GIVEN = "arcli."
"""How the names of what is given for all items begin; no item's do."""
_PLAIN = r"[^\s{}'\"`$\\,:;&|<>()]*"
"""What in doubled braces stands for itself in single ones, as ``{{1}}`` does for ``{1}``."""
_BRACES = re.compile(rf"\{{\{{(?!{GIVEN}){_PLAIN}\}}\}}|(?<!\$)\{{{_NAME}\}}")
_STRANGE = re.compile(
    rf"(?<![\${{])\{{(?!\}}|{_NAME}\}}|[^{{}}]*\.\.[^{{}}]*\}}){_PLAIN}\}}|\{{=.*?=\}}", re.DOTALL
)
"""Braces that look like a placeholder of another tool, and are none here."""
_QUOTES = {
    "'": "single quotes",
    "$'": "single quotes",
    '"': "double quotes",
    "((": "an arithmetic expression",
}
_COMMANDS = {"", "(", "`"}
"""What holds commands: the script itself, substitutions and subshells, backquotes."""
_WORD = re.compile(r"[A-Za-z_!{}]\w*(?=[\s;&|()<>]|$)")
_BEFORE_COMMANDS = frozenset(["if", "then", "elif", "else", "while", "until", "do", "!", "{"])
_FOR = re.compile(r"\bfor[ \t]*\Z")
_ELEMENT = re.compile(r"[A-Za-z_]\w*\[[^\]\[(){}'\"`\\\n]*\]\+?=")
"""The assignment of an array's element, whose index is arithmetic."""
_DELIMITER = re.compile(r"<<(-?)[ \t]*((?:'[^']*'|\"[^\"]*\"|\\.|[^\s;&|()<>'\"\\])+)", re.DOTALL)


class Placeholder(NamedTuple):
    """A name in braces; ``inside``: what of a shell's it stands in and must not, or None."""

    name: str
    start: int
    inside: str | None


def escaped(text: str) -> str:
    """Return a text that means itself, braces and all."""
    return _BRACES.sub(r"{\g<0>}", text)


def words_in_braces(text: str) -> Iterator[Placeholder]:
    """Yield the placeholders of a text that no shell reads."""
    return _single(_BRACES.finditer(text), {})


def placeholders(script: str) -> Iterator[Placeholder]:
    """Yield the placeholders of a shell string, with the quoting that they stand in."""
    matches, inside = _in_script(script)
    return _single(matches, inside)


def compiled(text: str) -> Template:
    """Take a text to pieces that no shell reads, once, for engines, which only fill in placeholders."""
    return _template(text, _BRACES.finditer(text), {})


def compiled_script(script: str) -> Template:
    """Take a shell string to pieces likewise; braces that are only the shell's own are text."""
    matches, inside = _in_script(script)
    return _template(script, matches, inside)


def _in_script(script: str) -> tuple[list[re.Match[str]], dict[int, str | None]]:
    """Return the braces of a shell string that mean something, and what each of them stands in."""
    matches = {match.start(): match for match in _BRACES.finditer(script)}
    inside = dict(surroundings(script, {start: match.end() for start, match in matches.items()}))
    return [matches[start] for start in inside], inside


def _single(matches: Iterable[re.Match[str]], inside: Mapping[int, str | None]) -> Iterator[Placeholder]:
    for match in matches:
        if not match[0].startswith("{{"):
            yield Placeholder(match[1] or "", match.start(), inside.get(match.start()))


def _template(text: str, matches: Iterable[re.Match[str]], inside: Mapping[int, str | None]) -> Template:
    parts: list[str | tuple[str, str, str | None]] = []
    end = 0
    for match in matches:
        parts.append(text[end : match.start()])
        end = match.end()
        # Doubled braces are single ones, which name nothing.
        if match[0].startswith("{{"):
            parts.append(match[0][1:-1])
        else:
            parts.append((match[1] or "", match[0], inside.get(match.start())))
    return [part for part in (*parts, text[end:]) if part]


def strange_braces(text: str, keys: Iterable[str], *, shell: bool) -> Iterator[Placeholder]:
    """Yield braces that are neither a placeholder nor what a program or a shell means by them.

    Plain are braces that hold blanks, quotes, commas, colons, brackets, ``..`` or nothing that could
    be a name, but for ``keys`` that are none; in a shell string all that stand in quotes.
    """
    ends = {match.start(): match.end() for match in _STRANGE.finditer(text)}
    for key in keys:
        braces = re.escape(f"{{{key}}}")
        ends |= {match.start(): match.end() for match in re.finditer(rf"(?<![\${{]){braces}", text)}
    for start, inside in surroundings(text, ends) if shell else dict.fromkeys(ends).items():
        yield Placeholder(text[start : ends[start]], start, inside)


def surroundings(text: str, ends: Mapping[int, int]) -> Iterator[tuple[int, str | None]]:
    """Yield the start of each place and what it stands in, None: in nothing; ``ends`` are by the starts.

    Those in comments, and those behind a backslash, are left out.
    """
    reader = _Reader(text)
    while reader.at < len(text):
        if reader.at in ends:
            yield reader.at, reader.inside()
            reader.skip(ends[reader.at])
        else:
            reader.step()


class _Open:
    """Something that was begun and has not ended.

    ``depth`` counts parentheses of arithmetic, and ``case`` … ``esac``; ``starts``: the next word
    begins a command.
    """

    __slots__ = ("depth", "kind", "starts")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.depth = 0
        self.starts = True


class _Reader:
    """Reads on from ``at``, a step at a time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0
        self._open = [_Open("")]
        self._waiting: list[tuple[str, bool]] = []
        self._document_end = 0

    def inside(self) -> str | None:
        """Return what stands around the place."""
        if self.at < self._document_end:
            return "a here-document"
        around = next(part.kind for part in reversed(self._open) if part.kind != "${")
        return _QUOTES.get(around)

    def skip(self, end: int) -> None:
        """Go past a word that means nothing to a shell."""
        self.at = end
        self._open[-1].starts = False

    def step(self) -> None:
        """Read a character, or what belongs together."""
        char, inner = self._text[self.at], self._open[-1]
        # A here-document is text up to its end, whatever it contains.
        if self.at < self._document_end:
            self.at += 1
        # Only in $'…' a backslash is one.
        elif inner.kind == "'" or (inner.kind == "$'" and char != "\\"):
            self._close("'") if char == "'" else self._go(1)
        elif self._text.startswith("\\\n", self.at):
            self.at += 2  # the line goes on
        elif char == "\\":
            self._go(2)
        elif char == "`":
            self._backquote()
        elif self._opens():
            pass
        elif inner.kind == '"':
            self._close('"') if char == '"' else self._go(1)
        # In ${…} inside of double quotes a single quote is a character.
        elif char in "'\"" and not (char == "'" and self.inside()):
            inner.starts = False
            self._begin(char, 1)
        elif inner.kind in _COMMANDS:
            self._command(char, inner)
        else:
            self._expression(char, inner)

    def _go(self, length: int) -> None:
        self.skip(self.at + length)

    def _begin(self, kind: str, length: int) -> None:
        self._open.append(_Open(kind))
        self.at += length

    def _close(self, mark: str) -> None:
        self._open.pop()
        self.at += len(mark)

    def _opens(self) -> bool:
        """Take what begins an expansion, wherever that may be."""
        if self._text.startswith("$$", self.at):
            self._go(2)  # the shell's number, which no bracket or quote belongs to
            return True
        for mark, kind in (("$((", "(("), ("$(", "("), ("${", "${"), ("$'", "$'")):
            # Within quotes and arithmetic a single quote is a character.
            if self._text.startswith(mark, self.at) and not (kind == "$'" and self.inside()):
                self._open[-1].starts = False
                self._begin(kind, len(mark))
                return True
        return False

    def _backquote(self) -> None:
        """The end of the innermost backquotes, whatever is open in them, or a beginning."""
        kinds = [part.kind for part in self._open]
        if "`" in kinds:
            del self._open[len(kinds) - 1 - kinds[::-1].index("`") :]
            self._go(1)
        else:
            self._open[-1].starts = False
            self._begin("`", 1)

    def _expression(self, char: str, inner: _Open) -> None:
        """Within ``$((…))`` and ``${…}``."""
        self.at += 1
        if inner.kind == "${":
            if char == "}":
                self._open.pop()
        elif char == "(":
            inner.depth += 1
        elif char == ")" and inner.depth:
            inner.depth -= 1
        # Two of them end $((…)); one alone means that it was a command in
        # parentheses.
        elif char == ")":
            self._open.pop()
            if self._text.startswith(")", self.at):
                self.at += 1
            else:  # it was a subshell in a substitution
                self._open.append(_Open("("))

    def _command(self, char: str, inner: _Open) -> None:
        text, at = self._text, self.at
        # A comment and a keyword are only those at the beginning of a word.
        begins = at == 0 or text[at - 1] in " \t\n;&|()<>`"
        if char == "\n":
            self.at += 1
            inner.starts = True
            self._documents()
        elif char == "#" and begins:
            ends = [text.find(mark, at) for mark in ("\n`" if inner.kind == "`" else "\n")]
            self.at = min([end for end in ends if end >= 0], default=len(text))
        elif begins and (word := _WORD.match(text, at)):
            self._word(word[0], inner)
        elif begins and (element := _ELEMENT.match(text, at)):
            self._go(len(element[0]))
        elif char in "()":
            self._parenthesis(char, inner)
        # A here-string has no document behind it.
        elif text.startswith("<<<", at):
            self._go(3)
        elif match := _DELIMITER.match(text, at):
            self._waiting.append((re.sub(r"['\"\\]", "", match[2]), match[1] == "-"))
            self.at = match.end()
        else:
            self.at += 1
            inner.starts = char in ";&|" or (inner.starts and char.isspace())

    def _word(self, word: str, inner: _Open) -> None:
        if inner.starts and word in {"case", "esac"}:
            inner.depth = max(0, inner.depth + (1 if word == "case" else -1))
        self.at += len(word)
        inner.starts = (inner.starts and word in _BEFORE_COMMANDS) or (inner.depth > 0 and word == "in")

    def _parenthesis(self, char: str, inner: _Open) -> None:
        """A subshell, or what ends one; the end of a pattern ends nothing."""
        if char == "(" and self._arithmetic(inner):
            inner.starts = False
            self._begin("((", 2)
            return
        if char == "(":
            self._begin("(", 1)
            return
        if inner.kind == "(" and not inner.depth:
            self._open.pop()
        self.at += 1
        self._open[-1].starts = char == ")" and self._open[-1].depth > 0

    def _arithmetic(self, inner: _Open) -> bool:
        """Tell whether ``((…))`` is next where a command could be, and not a subshell in a subshell."""
        text, start = self._text, self.at + 2
        if not text.startswith("((", self.at) or not (inner.starts or _FOR.search(text[: self.at])):
            return False
        # As in bash, the closing parenthesis of the second one tells.
        depth = 1
        for mark in re.finditer(r"[()]", text[start:]):
            depth += 1 if mark[0] == "(" else -1
            if not depth:
                return text.startswith("))", start + mark.start())
        return False

    def _documents(self) -> None:
        """A line has ended: the documents that it announced are next."""
        end = self.at
        for delimiter, tabs in self._waiting:
            while end < len(self._text):
                line, newline, _ = self._text[end:].partition("\n")
                end += len(line) + len(newline)
                if (line.lstrip("\t") if tabs else line) == delimiter:
                    break
        if self._waiting:
            self._document_end = end
            self._waiting.clear()
