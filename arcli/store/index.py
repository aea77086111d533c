"""Where the records of a run stand in its journal, found once and kept beside it.

The journal has them in the order of completion. The index has, for each job, the offset of the record
of each item, as one number of eight bytes; that of a million items is found in about a second.
"""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

import orjson

from arcli.errors import OutputError
from arcli.record import decode
from arcli.store.files import write_whole
from arcli.store.folder import RunFolder
from arcli.store.journal import is_record

FILE = "journal.index"
_NONE = 2**64 - 1
"""The offset of an item that has no record."""
_VERSION = 1


class JournalIndex:
    """The records of ``run`` by job and number; one that goes on is read as far as it is.

    As a context it holds the journal open. Raises OutputError where that cannot be read.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._places: dict[str, array[int]] = {}
        self._map: mmap.mmap | None = None
        try:
            with run.journal.open("rb") as file:
                self._size = os.fstat(file.fileno()).st_size
                if self._size:
                    self._map = mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            self._size = 0
        except OSError as error:
            raise OutputError(f"the journal {run.journal} cannot be read: {error.strerror}") from None
        if self._map is not None and not self._read():
            self._build(self._map)
            if run.manifest.exit_code is not None:  # else it is about to grow
                with suppress(OSError):  # a folder that cannot be written to is read all the same
                    self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._map is not None:
            self._map.close()

    @property
    def jobs(self) -> list[str]:
        """The jobs that have records, in the order of their first ones."""
        return list(self._places)

    def numbers(self, job: str) -> Iterator[int]:
        """Return the numbers of a job's items that have a record, in their order."""
        places = self._places.get(job, ())
        return (number for number, place in enumerate(places) if place != _NONE)

    def line(self, job: str, number: int) -> bytes | None:
        """Return the record of an item, with its newline; None where there is none."""
        places = self._places.get(job)
        if places is None or not 0 <= number < len(places) or places[number] == _NONE:
            return None
        assert self._map is not None
        start = places[number]
        return self._map[start : self._map.find(b"\n", start) + 1]

    def lines(self, job: str | None = None) -> Iterator[bytes]:
        """Yield all records, of one job or job by job, in the order of the items."""
        for name in self.jobs if job is None else [job]:
            for number in self.numbers(name):
                line = self.line(name, number)
                assert line is not None
                yield line

    def _build(self, journal: mmap.mmap) -> None:
        start = 0
        while (end := journal.find(b"\n", start)) >= 0:
            with suppress(ValueError):
                record = decode(journal[start:end])
                if is_record(record):
                    self._note(record["job"], record["index"], start)
            start = end + 1

    def _note(self, job: str, number: int, start: int) -> None:
        places = self._places.setdefault(job, array("Q"))
        if number >= len(places):
            places.extend([_NONE] * (number + 1 - len(places)))
        places[number] = start

    def _read(self) -> bool:
        """Read the index that is beside the journal; tells whether it is there and of this journal."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            with (self._run.path / FILE).open("rb") as file:
                head = orjson.loads(file.readline())
                if (head["version"], head["size"]) != (_VERSION, self._size):
                    return False
                for job, count in head["jobs"]:
                    places = array("Q")
                    places.frombytes(file.read(count * places.itemsize))
                    if len(places) != count or any(p != _NONE and p >= self._size for p in places):
                        raise ValueError
                    self._places[job] = places
            return True
        self._places.clear()
        return False

    def _write(self) -> None:
        jobs = [[job, len(places)] for job, places in self._places.items()]
        head = orjson.dumps({"version": _VERSION, "size": self._size, "jobs": jobs})
        parts = [head + b"\n", *(places.tobytes() for places in self._places.values())]
        write_whole(self._run.path / FILE, b"".join(parts), durable=False)
