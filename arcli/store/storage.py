"""What a session writes to: the run's journal, its values that JSON cannot hold, its scratch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from arcli.cluster.base import ClusterEvent, EngineDown, EngineInfo, EngineUp
from arcli.engine import position_file
from arcli.store.folder import RunFolder
from arcli.store.journal import Journal
from arcli.timing.summary import RunSummary


class RunStorage:
    """See ``session.recorder.Storage``: one run's folder as the session sees it."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.run_id: str = folder.id
        self._journal = Journal(folder.path / "journal.jsonl")
        self._spool: Any = None

    def append(self, lines: bytes) -> int:
        """Add whole lines to the journal; returns their offset. Raises OutputError."""
        return self._journal.append(lines)

    def read(self, offset: int, length: int) -> bytes:
        """Return what stands in the journal there."""
        return self._journal.read(offset, length)

    @property
    def journal(self) -> int:
        """The descriptor of the journal."""
        return self._journal.fileno()

    def save_value(self, job: str, index: int, content: bytes, suffix: str) -> None:
        """Keep a value that a record does not hold, as ``values/JOB/INDEX.SUFFIX``."""
        self.folder.save_value(job, index, content, suffix)

    @property
    def path(self) -> str:
        """The run's folder; engines keep executed notebooks and long outputs there."""
        return str(self.folder.path.resolve())

    def spool(self, raw: bytes) -> int:
        """Keep bytes for the time of the run; returns their offset."""
        # A file without a name: it goes with the process, however that ends.
        if self._spool is None:
            self._spool = tempfile.TemporaryFile(dir=self.folder.path)  # noqa: SIM115 - see close
        offset: int = self._spool.seek(0, os.SEEK_END)
        self._spool.write(raw)
        self._spool.flush()
        return offset

    def unspool(self, offset: int, length: int) -> bytes:
        """Return bytes that were kept."""
        return os.pread(self._spool.fileno(), length, offset)

    def position_files(self, slots: int) -> Path:
        """Return the folder of position files, one for each slot."""
        # They are made here, so that an engine which sees this disk finds its own, and one that does
        # not see it knows that by its absence.
        folder = self.folder.path / "engines"
        folder.mkdir(mode=0o700, exist_ok=True)
        for slot in range(slots):
            position_file.create(folder / str(slot))
        return folder.resolve()

    def note_event(self, event: ClusterEvent) -> None:
        """Put an engine's coming and going into the manifest. Raises OutputError."""
        if isinstance(event, EngineUp):
            self.folder.note_engines([event.info])
            self.folder.note_engine_back(event.info)
        elif isinstance(event, EngineDown) and event.engine_id is not None:
            self.folder.note_engine_gone(event.engine_id, event.reason)

    def note_ready(self, engine: EngineInfo) -> None:
        """Put into the manifest that an engine has done its setup. Raises OutputError."""
        # Its coming is noted by another thread, which may be the later one.
        self.folder.note_engines([engine])
        self.folder.note_engine_ready(engine.engine_id)

    def finish(self, summary: RunSummary) -> None:
        """Put the end of the run into the manifest."""
        jobs = [job.to_dict() for job in summary.jobs]
        self.folder.finish(int(summary.exit_code or 0), {**summary.to_dict(), "jobs": jobs})

    def sync_soon(self) -> None:
        """Begin to bring the journal to the disk."""
        self._journal.sync_soon()

    def sync(self) -> None:
        """Bring the journal to the disk."""
        self._journal.sync()

    def close(self) -> None:
        """Let go of all files."""
        self._journal.close()
        if self._spool is not None:
            self._spool.close()
        self.folder.close()
