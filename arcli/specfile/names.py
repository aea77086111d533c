"""Names that are made of others: a run's of its spec's file, a job's of its run's."""

from __future__ import annotations

import os
import re
import unicodedata

from arcli.record import JOB_NAME

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.\-\x80-\U0010ffff]+")
_NOT_IN_JOBS = re.compile(r"[^A-Za-z0-9_.-]+")
_FILLED_IN = re.compile(r"(\$\{[^}]*\})")
_LETTERS = str.maketrans(
    dict(zip("øØłŁđĐðÐ", "oOlLdDdD", strict=True))
    | {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "Th"}
)
"""Latin letters that Unicode does not take apart."""


def run_name(stem: str) -> str:
    """Name a run after a file: letters of any script stay, what is no part of a name becomes ``_``."""
    # What cannot be printed, half of a character among it, would have to be escaped wherever it is told.
    text = os.fsencode(stem).decode("utf-8", "surrogateescape")  # also where the locale is another one
    composed = unicodedata.normalize("NFC", text)
    printable = "".join(char if char.isprintable() else " " for char in composed)
    return _NOT_IN_NAMES.sub("_", printable) or "run"


def job_name(run: str) -> str:
    """Name the one job of a run, in ASCII: its name is a part of paths, on engines of any locale, too.

    Accents are left out, what is no part of a job's name becomes ``_``, and ``job`` stands where no letter
    and no digit stays. What is still to be filled in, ``${…}``, stays.
    """
    if not run or JOB_NAME.fullmatch(run):
        return run
    parts = _FILLED_IN.split(run)
    for place in range(0, len(parts), 2):
        apart = unicodedata.normalize("NFKD", parts[place].translate(_LETTERS))
        bare = "".join(char for char in apart if not unicodedata.combining(char))
        parts[place] = _NOT_IN_JOBS.sub("_", bare)
    name = "".join(parts)
    return name if any(char.isalnum() for char in name) else "job"
