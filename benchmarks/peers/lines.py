"""What the peers share: their arguments, and one JSON line an item on stdout."""

import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

import orjson
import works

WORKERS = 2


class Wanted(NamedTuple):
    """What the command line asks for; a chunksize of None leaves it to the peer."""

    function: Callable[[int], int]
    items: range
    chunksize: int | None


def wanted() -> Wanted:
    """Read ``WORK N [CHUNKSIZE]``."""
    work, count, *chunksize = sys.argv[1:]
    return Wanted(getattr(works, work), range(int(count)), int(chunksize[0]) if chunksize else None)


def write(values: Iterable[int]) -> None:
    """Write each value, in the items' order, as soon as it is there."""
    out = sys.stdout.buffer
    for index, value in enumerate(values):
        out.write(orjson.dumps({"index": index, "input": index, "value": value}) + b"\n")
    out.flush()
