"""What an item's code finds of itself in its environment."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

INDEX = "ARCLI_INDEX"
NAME = os.fsencode(INDEX)
DIGITS = struct.Struct("24s")


class Places(NamedTuple):
    """Where an item's number goes: what ``os.environ`` holds, and a text of C's that ends at a zero.

    ``put`` has C take the text: at first, and where an item has put a copy of it in its place.
    """

    held: dict[bytes, bytes]
    text: memoryview
    put: Callable[[], object]


class Variables:
    """The environment of one item after another, in this process.

    An assignment to ``os.environ`` takes as long as a trivial item, and C's ``setenv`` keeps each value
    that there ever was (https://sourceware.org/bugzilla/show_bug.cgi?id=15607). So C is given a text once,
    whose digits are changed in place: programs that are started find it there. ``os.environ`` gets the
    bytes that it holds anyway.
    """

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(NAME + b"=", len(NAME) + 1 + DIGITS.size)
        # C reads it as long as there is this process, which outlives Python's objects by a moment.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._text))
        self._put = partial(ctypes.CDLL(None).putenv, self._text)

    @contextmanager
    def around(self, others: Mapping[str, str]) -> Iterator[Places]:
        """Around the items of a chunk: gives the places where each one's number goes; there is none yet.

        ``others`` are the same for all. Afterwards everything is as it was.
        """
        before = {name: os.environ.get(name) for name in (INDEX, *others)}
        os.environ.pop(INDEX, None)
        os.environ.update(others)
        held: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001 - see the class
        try:
            yield Places(held, memoryview(self._text).cast("B")[len(NAME) + 1 :], self._put)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
