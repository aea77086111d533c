"""Folders of past runs, as arcli leaves them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arcli.outputs.stream import Stream
from arcli.outputs.target import StreamTarget
from arcli.reports.collect import Report, Wanted, read_report
from arcli.store.folder import RunFolder
from arcli.store.manifest import Manifest
from arcli.units import isoformat

ZERO = 1_700_000_000.0
BAD = "\x1b[31m<script>alert('x')</script> ]]> & \"quoted\" \u202e\x00 | `tick` [link](http://x.y)"
"""What no report may hand on as it is."""


def item(index: int, **fields: Any) -> dict[str, Any]:
    """A record: engine 0 and 1 in turns, a tenth of a second longer each."""
    begin = ZERO + 1 + index // 2
    seconds = 0.1 * (index + 1)
    return {
        "run": "r", "job": "squares", "index": index, "key": "k", "input": {"n": index % 3},
        "status": "ok", "reason": None, "value": index, "exact": True, "error": None, "stdout": "",
        "stderr": "", "truncated": False, "attempt": 1, "started": isoformat(begin),
        "completed": isoformat(begin + seconds), "seconds": seconds, "engine_id": index % 2,
        "slot": index % 2, "msg_id": "m", "chunk": index, "submitted": isoformat(ZERO + 1),
        "received": isoformat(begin + seconds + 0.01), **fields,
    }  # fmt: skip


def failed(index: int, message: str = "no", **fields: Any) -> dict[str, Any]:
    """A record of an item that raised."""
    error = {"type": "ValueError", "message": message, "traceback": f"Traceback:\n{message}"}
    return item(index, status="error", value=None, error=error, **fields)


def engine(number: int, host: str = "here") -> dict[str, Any]:
    """An engine as a manifest has it."""
    return {
        "engine_id": number, "slot": number, "uuid": f"u{number}", "host": host, "pid": number,
        "started": isoformat(ZERO + 0.5), "ended": None, "reason": None,
    }  # fmt: skip


def make(root: Path, records: Sequence[dict[str, Any]], **about: Any) -> RunFolder:
    """A run that was killed, unless ``exit_code`` is given."""
    fields: dict[str, Any] = {
        "name": "squares", "host": "here", "started": isoformat(ZERO), "ended": isoformat(ZERO + 5),
        "engines": (engine(0), engine(1)), **about,
    }  # fmt: skip
    run = RunFolder.create(root, Manifest())
    text = "".join(json.dumps(each) + "\n" for each in records)
    run.journal.write_text(text, "utf-8")
    run.close()
    (run.path / "manifest.json").write_bytes(Manifest(**{"id": run.id, **fields}).to_json())
    return RunFolder(run.path)


def read(root: Path, records: Sequence[dict[str, Any]], **about: Any) -> Report:
    """The whole report of such a run."""
    run = make(root, records, **about)
    return read_report(run, Wanted(by=("n",), slowest=3, drawn=True))


class Paper:
    """A page in memory."""

    def __init__(self, width: int | None = None) -> None:
        self._stream = io.BytesIO()
        self.page = Stream(target=StreamTarget(self._stream), width=width)

    @property
    def text(self) -> str:
        """What is on it."""
        return self._stream.getvalue().decode()
