"""What files.yaml runs: the words of one file, of several, and all of them in order."""

import re
from pathlib import Path

WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


def count(path: str) -> dict[str, int]:
    """How often each word is in a file, in lower case."""
    counts: dict[str, int] = {}
    with Path(path).open(encoding="utf-8") as lines:
        for line in lines:
            for word in WORD.findall(line.lower()):
                counts[word] = counts.get(word, 0) + 1
    return counts


def merge(total: dict[str, int], counts: dict[str, int]) -> dict[str, int]:
    """Add a file's counts to those of the files before it."""
    return {word: total.get(word, 0) + counts.get(word, 0) for word in total | counts}


def table(total: dict[str, int], files: int) -> dict[str, int]:
    """The most frequent words first, equally frequent ones by the alphabet."""
    return dict(sorted(total.items(), key=lambda entry: (-entry[1], entry[0])))
