"""Mutated specs: whatever they are, ``check`` ends in seconds, in bounded memory, with 0 or 2.

``make fuzz ARGS='--count 100000 --seed 7'``. The seeds are specs as people write them; a mutation cuts,
doubles, swaps or replaces pieces of their text, or keys and values of their trees. What fails is printed
with the text that made it fail.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from arcli.cli import main as cli

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from trees import BASES, KEYS, TEXTS

MEMORY = 3 << 30
"""Bytes of address space that the process may come to have."""
SLOW = 10
"""Seconds of CPU time that a call may take; most take a few milliseconds."""
JOBS = Path(__file__).parents[2] / "jobs"
PIECES = re.compile(r"\w+|\s+|.", re.DOTALL)
STRANGE = [
    "\0", "\t", "\x1b[31m", "\u202e", "\ufeff", "\ud800", "&a ", "*a", "<<: ", "!!python/name:os", "? ",
    "| ", "0", "-1", "1e400", "10" * 40, ".nan", ".inf", "0x7f", "1_000", "٣", "1e12", "1000000000000", "~",
]  # fmt: skip


def seeds() -> list[str]:
    """The texts that mutations begin with."""
    return [path.read_text() for path in sorted(JOBS.glob("*.yaml"))] + [
        yaml.safe_dump(one) for one in BASES
    ]


def mutated(texts: list[str], dice: random.Random) -> str:
    """One of the texts, changed in one to four places: in its tree, then in its text."""
    text = dice.choice(texts)
    if dice.random() < 0.6:
        tree = yaml.safe_load(text)
        for _ in range(dice.choice([1, 1, 2, 3])):
            _change_tree(tree, dice)
        with contextlib.suppress(ValueError, RecursionError):
            text = json.dumps(tree) if dice.random() < 0.5 else yaml.safe_dump(tree, allow_unicode=True)
        if dice.random() < 0.7:
            return text
    pieces = PIECES.findall(text)
    for _ in range(dice.choice([1, 1, 2, 4])):
        _change_pieces(pieces, texts, dice)
    return "".join(pieces)


def _change_pieces(pieces: list[str], texts: list[str], dice: random.Random) -> None:
    at = dice.randrange(len(pieces) + 1)
    until = min(len(pieces), at + dice.choice([0, 1, 1, 2, 5, 40]))
    strange = dice.choice([*STRANGE, *TEXTS, *KEYS])
    match dice.randrange(5):
        case 0:
            del pieces[at:until]
        case 1:
            pieces[at:at] = pieces[at:until] * dice.choice([1, 2, 50])
        case 2:
            pieces[at:until] = [strange]
        case 3:
            pieces[at:at] = [strange]
        case 4:
            other = PIECES.findall(dice.choice(texts))
            begin = dice.randrange(len(other))
            pieces[at:until] = other[begin : begin + dice.choice([1, 5, 40])]


def _change_tree(tree: Any, dice: random.Random) -> None:
    places = list(_places(tree))
    if not places:
        return
    holder, key = dice.choice(places)
    match dice.randrange(5):
        case 0:
            del holder[key]
        case 1:
            holder[key] = _value(dice)
        case 2 if isinstance(holder, dict):
            holder[dice.choice(KEYS)] = _value(dice)
        case 3:
            other, name = dice.choice(places)  # before something is taken away, for it may hold the rest
            holder[key] = json.loads(json.dumps(other[name])) if name in _keys(other) else None
        case _ if isinstance(holder, dict):
            holder[dice.choice(KEYS)] = holder.pop(key)


def _keys(holder: Any) -> Any:
    return holder if isinstance(holder, dict) else range(len(holder))


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(_keys(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


def _value(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.randrange(6 if depth < 3 else 4)
    if kind == 4:
        return [_value(dice, depth + 1) for _ in range(dice.randint(0, 3))]
    if kind == 5:
        return {dice.choice(KEYS): _value(dice, depth + 1) for _ in range(dice.randint(0, 3))}
    return dice.choice([None, True, -1, 0, 3, 10**12, 10**30, 1e308, 0.5, float("nan"), *TEXTS])


def checked(text: str) -> tuple[object, str]:
    """The exit code of ``arcli check`` of a text, in this process, and what it says on stderr."""
    Path("spec.yaml").write_text(text, "utf-8", "surrogatepass")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as stderr:
        try:
            cli(["check", "spec.yaml"])
        except SystemExit as leaving:
            return leaving.code or 0, stderr.getvalue()
    return None, stderr.getvalue()


def fuzz(count: int, seed: int) -> list[str]:
    """Check so many texts in the working folder, and tell of those that break the law."""
    texts, failures, valid = seeds(), list[str](), 0
    Path("t.csv").write_text("a,b\n1,2\n")
    if not Path("pipe").exists():
        os.mkfifo("pipe")

    def too_slow(number: int, frame: Any) -> None:
        raise BaseExceptionGroup(f"no end in {SLOW} s", [KeyboardInterrupt()])

    before = signal.signal(signal.SIGPROF, too_slow)
    try:
        for number in range(count):
            text = mutated(texts, random.Random(f"{seed}-{number}"))
            signal.setitimer(signal.ITIMER_PROF, SLOW)
            try:
                code, message = checked(text)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                code, message = repr(error), ""
            signal.setitimer(signal.ITIMER_PROF, 0)
            valid += code == 0
            if code not in {0, 2}:
                failures.append(f"--seed {seed}, text {number}: {code}\n{text!r}\n{message}")
                print(failures[-1], flush=True)
    finally:
        signal.signal(signal.SIGPROF, before)
    print(f"{valid} of {count} are valid")
    return failures


def main() -> int:
    """Parse the command line, say the seed, fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    wanted = parser.parse_args()
    print(f"seed {wanted.seed}", flush=True)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        failures = fuzz(wanted.count, wanted.seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(
        f"{len(failures)} of {wanted.count} failed in {time.monotonic() - began:.0f} s, at most {peak} MiB"
    )
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
