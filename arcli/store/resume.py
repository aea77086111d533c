"""What earlier runs have computed already, found by the content of their items."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

from arcli.engine.capture import printed_path
from arcli.engine.tally import Status
from arcli.errors import OutputError, UsageError
from arcli.record import JOB_NAME, decode
from arcli.store.files import make_private, refusing, require_own
from arcli.store.folder import RunFolder
from arcli.store.journal import Damage, LineReader, Outline, outlines

AGAIN = frozenset({Status.CANCELLED, Status.LOST})
"""What ``--resume`` runs again, beside what is missing."""
AGAIN_FAILED = AGAIN | {Status.ERROR, Status.TIMEOUT}
"""What ``--failed`` runs again."""
_CHANGED = "changed"
_BEFORE: dict[str, str] = {
    Status.CANCELLED: "that had not been run",
    Status.LOST: "that were lost before",
    _CHANGED: "that an older version of the function computed",
}
_KEY = re.compile(r"([0-9a-f]{24})(-\d+)?")
_HEAD = re.compile(rb'\{"run":"[^"\\]*","job":"([^"\\]*)","index":(\d+),')
_FILE = (
    rb'("\$(?:pickle":|array":\{"dtype":"(?:[^"\\]|\\.)*","shape":\[[0-9,]*\],"path":)"values/%b/)'
    rb"\d+\.(pkl|npy)"
)
"""Where a record of a job (its name, escaped) says in which file its value is."""
_REPLAYED = b',"replayed":true}\n'


class Kept:
    """The records of ``runs`` that need not be computed again, for the new run ``into``.

    ``runs`` are oldest first (``folder.lineage``); where several have an item, the newest counts,
    also when it says that the item is to run again. What is damaged goes to ``on_damage`` with its
    journal and is as good as missing. An item whose folder or artifacts are not there any more runs
    again; ``on_lost`` is told which path is missing. With ``rerun_changed`` what another version of a
    function's file computed is not kept. An item costs about 130 bytes of memory.

    Raises UsageError where a run is still going on, OutputError where a journal cannot be read.
    """

    def __init__(
        self,
        runs: Sequence[RunFolder],
        into: RunFolder,
        *,
        failed: bool = False,
        rerun_changed: bool = False,
        on_damage: Callable[[Path, Damage], None] = lambda path, damage: None,
        on_lost: Callable[[str], None] = lambda path: None,
    ) -> None:
        # Kept by the hash of an item's content, not by its number: an item that has moved in its
        # source is still the same, and one that has changed is none of these.
        self._on_lost = on_lost
        self._runs = list(runs)
        self._into = into
        self._id = into.id.encode()
        self._again = AGAIN_FAILED if failed else AGAIN
        self._rerun_changed = rerun_changed
        self._index: dict[str, dict[bytes, int]] = {}
        self._ends: dict[str, dict[bytes, str]] = {}
        self._files: list[int] = []
        self._lines: list[LineReader] = []
        self._used: list[RunFolder] = []
        self._printed: list[bool] = []
        self._notebooks: list[bool] = []
        try:
            for run in runs:
                self._read(run, on_damage)
        except BaseException:
            self.close()
            raise

    def _read(self, run: RunFolder, on_damage: Callable[[Path, Damage], None]) -> None:
        # Two runs that go on with one another would each write what the other computes.
        if run.alive:
            raise UsageError(f"run {run.id} is still going on", hint="wait for it, or interrupt it first")
        if not run.journal.exists():
            return
        # Records of another user's would be taken over as if they were one's own results.
        try:
            require_own(run.path)
            require_own(run.journal)
            self._files.append(os.open(run.journal, os.O_RDONLY))
            self._lines.append(LineReader(self._files[-1]))
            self._used.append(run)
            self._printed.append((run.path / "printed").is_dir())
            self._notebooks.append((run.path / "notebooks").is_dir())
            number = len(self._files) - 1
            for offset, _, outline in outlines(run.journal, lambda damage: on_damage(run.journal, damage)):
                self._note(outline, offset, number)
        except OSError as error:
            raise OutputError(f"the journal {run.journal} cannot be read: {error.strerror}") from None

    def _note(self, outline: Outline, offset: int, number: int) -> None:
        digest = _digest(outline.key)
        if not digest:
            return
        job = self._index.get(outline.job)
        if job is None:
            # A job's name becomes a part of paths: one that no job could have is damage.
            if JOB_NAME.fullmatch(outline.job) is None:
                return
            job = self._index[outline.job] = {}
        if outline.status in self._again:
            job.pop(digest, None)
            self._ends.setdefault(outline.job, {})[digest] = str(outline.status)
            return
        # One number instead of a tuple of three: a third of the memory.
        job[digest] = (offset * len(self._runs) + number) * 2 + outline.exact

    def is_kept(self, job: str, key: str, *, exact: bool = False, slot: int | None = None) -> bool:
        """Whether an item has a record that is kept, and its files; ``exact``: and JSON holds its value
        exactly; ``slot``: and it ran there.
        """
        place = self._place(job, key)
        if place is None or (exact and not place & 1):
            return False
        line = self._line(place)
        return _ran_on(line, slot) and _lost_file(line) is None

    def _line(self, place: int) -> bytes:
        offset, number = divmod(place >> 1, len(self._runs))
        return self._lines[number].line(offset)

    def _place(self, job: str, key: str) -> int | None:
        return self._index.get(job, {}).get(_digest(key))

    def record(self, job: str, key: str) -> Mapping[str, Any]:
        """Return the record of an item that is kept, as it was written. Raises KeyError."""
        return decode(self._line(self._index[job][_digest(key)]))

    def why(self, job: str, key: str, *, slot: int | None = None) -> str:
        """Say why an item runs: how it ended before, or that it is new."""
        if (place := self._place(job, key)) is not None:
            line = self._line(place)
            if not _ran_on(line, slot):
                return "that another engine's part decides now"
            lost = _lost_file(line) is not None
            return "whose files are not as they were" if lost else "with a value that was not kept exactly"
        end = self._ends.get(job, {}).get(_digest(key))
        return "with a new input" if end is None else _BEFORE.get(end, "that failed before")

    def parts(self, job: str) -> Mapping[str, str]:
        """The hashes of what a job's keys were made of in the newest run that has them."""
        for run in reversed(self._used):
            if parts := run.parts().get(job):
                return parts
        return {}

    def compare(self, job: str, parts: Mapping[str, str]) -> Mapping[str, str]:
        """Forget what another version of a job's function computed, where that is asked for.

        ``parts`` are the hashes of what the job is made of now. Returns those to note of it: where such
        records are kept, its source is none that a later run could have.
        """
        # Where something else differs too, no key of that run is one of this run's.
        others: set[int] = set()
        for number, run in enumerate(self._used):
            before = run.parts().get(job)
            if before is None or {name for name in parts if before.get(name) != parts[name]} == {"source"}:
                others.add(number)
        index = self._index.get(job, {})
        older = [digest for digest, place in index.items() if (place >> 1) % len(self._runs) in others]
        if not self._rerun_changed:
            return {**parts, "source": "several"} if older else parts
        for digest in older:
            del index[digest]
            self._ends.setdefault(job, {})[digest] = _CHANGED
        return parts

    def __len__(self) -> int:
        return sum(map(len, self._index.values()))

    def take(
        self, job: str, key: str, *, index: int | None = None, exact: bool = False, slot: int | None = None
    ) -> bytes | None:
        """Return an item's record as a line for the new run, marked as replayed; None: it has to run.

        ``index`` is the item's number now (None: as it was). With ``exact`` a value that JSON does
        not hold exactly has to be computed again, with ``slot`` one of another engine. Raises OutputError.
        """
        place = self._place(job, key)
        if place is None or (exact and not place & 1):
            return None
        # The record stays the bytes that it is; only its head says which run and number it is now.
        offset, number = divmod(place >> 1, len(self._runs))
        line = self._lines[number].line(offset)
        head = _HEAD.match(line)
        if head is None or not _ran_on(line, slot):
            return None
        was = int(head[2])
        now = was if index is None else index
        new_head = b'{"run":"%b","job":"%b","index":%d,' % (self._id, head[1], now)
        # What a record says is in an item's folder must be there still, or the item runs again.
        if (lost := _lost_file(line)) is not None:
            self._on_lost(lost)
            return None
        # A value that is in a file of its own comes along under the item's new number.
        body = line[head.end() :]
        in_files = _in_files(head[1]) if b'"exact":false' in body else None
        if in_files is not None and (file := in_files.search(body)):
            suffix = file[2].decode()
            source = self._used[number].value_path(job, was, suffix)
            if not _adopt(source, self._into.value_path(job, now, suffix)):
                return None
            body = in_files.sub(rb"\g<1>%d.\g<2>" % now, body)
        # So do its notebook, and what it printed beyond what a record holds.
        if self._notebooks[number]:
            _adopt(self._used[number].notebook_path(job, was), self._into.notebook_path(job, now))
        if self._printed[number]:
            attempt = decode(line)["attempt"]
            for stream in ("out", "err"):
                old, new = (printed_path("", job, at, attempt, stream) for at in (was, now))
                _adopt(self._used[number].path / old, self._into.path / new)
        if not body.endswith(_REPLAYED):
            body = body.removesuffix(b"}\n") + _REPLAYED
        return new_head + body

    def close(self) -> None:
        """Let go of the journals."""
        files, self._files = self._files, []
        for fd in files:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@cache
def _in_files(job: bytes) -> re.Pattern[bytes]:
    """Return what finds the file of a value in a record of a job."""
    return re.compile(_FILE % re.escape(job))


def _ran_on(line: bytes, slot: int | None) -> bool:
    """Whether a record is of an item that ran on this slot; None: on any."""
    return slot is None or decode(line).get("slot") == slot


def _lost_file(line: bytes) -> str | None:
    """Return the path of an item's folder, or of an artifact in it, that is not as it was made."""
    if b',"outdir":"' not in line:
        return None
    record = decode(line)
    folder = record.get("outdir")
    if not isinstance(folder, str):
        return None
    for artifact in record.get("artifacts") or ():
        path = os.path.join(folder, artifact["path"])  # noqa: PTH118 - one of very many
        try:
            if os.stat(path).st_size != artifact["size"]:  # noqa: PTH116
                return path
        except OSError:
            return path
    return None if os.path.isdir(folder) else folder  # noqa: PTH112


def _adopt(source: Path, target: Path) -> bool:
    """Take over a file of an earlier run; False where it is gone or empty. Raises OutputError."""
    try:
        if source.stat().st_size == 0:
            return False
    except OSError:
        return False
    # By a link, which costs no space; either run may be removed without the other's losing it.
    with refusing(target):
        make_private(target.parent)
        try:
            os.link(source, target)
        except FileExistsError:
            pass  # taken before
        except OSError:  # a file system without links
            shutil.copyfile(source, target)
    return True


def _digest(key: Any) -> bytes:
    """Return a key in few bytes; none for one that says nothing about content."""
    match = _KEY.fullmatch(key) if isinstance(key, str) else None
    return bytes.fromhex(match[1]) + (match[2] or "").encode() if match else b""
