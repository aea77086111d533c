"""Tell which shell strings need no shell: a program and its arguments, no more.

To start a shell takes as long as to start a short program, so that is half of the time; make does
without a shell for the same reason. What is not certain is left to the shell.
https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html (sections 2.4, 2.9.1 and 2.14)
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from .template import Part, Template

_BLANKS = re.compile(r"[ \t]+")
_WORDS = re.compile(r"[A-Za-z0-9_@%+:,./= \t-]*")
"""Text in which a shell sees words and blanks alone."""
_OWN = frozenset(
    # A list would have a line for each.
    "alias bg bind break builtin caller case cd chdir command compgen complete compopt continue coproc"  # noqa: SIM905
    " declare dirs disown do done echo elif else enable esac eval exec exit export false fc fg fi for"
    " function getopts hash help history if in jobs kill let local logout mapfile newgrp popd print printf"
    " pushd pwd read readarray readonly return select set shift shopt source suspend test then time times"
    " trap true type typeset ulimit umask unalias unset until wait whence while . :".split()
)
"""What a shell does by itself, or reads as a word of its language, though a program may have that name."""


def words_of(script: Template) -> list[list[Part]] | None:
    """Return a shell string as the argv that ``sh`` would make of it, for ``argv_call``.

    None where more than a program and its arguments is in it, or what a shell may do by itself.
    """
    # A word goes on where text and placeholders touch, as in `--size={size}`; blanks begin the next one.
    words: list[list[Part]] = [[]]
    for part in script:
        if isinstance(part, str):
            if not _WORDS.fullmatch(part):
                return None
            first, *others = _BLANKS.split(part)
            words[-1] += [first] if first else []
            words += [[text] if text else [] for text in others]
        elif part[2] is None:
            words[-1].append(part)
        else:
            return None
    words = [word for word in words if word]
    # `A=1 program` begins with an assignment; which program an item names is the shell's to find out.
    program = "".join(part if isinstance(part, str) else "=" for part in words[0]) if words else "="
    return None if "=" in program or program in _OWN else words


def is_binary(path: str | None) -> bool:
    """Tell whether a file is a program that Linux loads by itself.

    A shell has its own words for one that is missing, and reads a script that does not say what runs it.
    """
    if path is None or not os.access(path, os.X_OK):
        return False
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - nothing heavier on an engine
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def pwd_holds(environment: Mapping[bytes, bytes]) -> bool:
    """Tell whether $PWD is this process's working directory, or is not set: a shell would correct it."""
    try:
        return os.path.samefile(environment.get(b"PWD", b"."), b".")  # noqa: PTH121
    except OSError:
        return False
