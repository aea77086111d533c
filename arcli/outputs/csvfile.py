"""CSV (RFC 4180, with plain newlines): a row an item, with all columns known before the first."""

from __future__ import annotations

import re
from typing import Any

from arcli.outputs.base import OutputContext
from arcli.outputs.flat import Columns
from arcli.outputs.spool import Spool, spool_folder
from arcli.outputs.target import writing
from arcli.record import RecordBatch, decode
from arcli.timing.summary import RunSummary

_QUOTED = re.compile('[",\r\n]|^$|^\\s|\\s$')


class CsvFile:
    """Records wait in a spool until the last one has said which columns there are.

    None is an empty cell, an empty string a quoted one.
    """

    def __init__(self, context: OutputContext) -> None:
        self._target = context.target
        self._name = context.name
        self._spool = Spool(context.name)
        self._columns = Columns()

    def start(self) -> None:
        """See Output."""
        self._target.open()
        self._spool.open(spool_folder(self._target))

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        for line in batch.lines.splitlines():
            self._columns.learn(decode(line))
        self._spool.add(batch)

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""
        names = self._columns.names
        with writing(self._name):
            self._write(",".join(cell(name) for name in names))
            for line in self._spool.lines():
                row = self._columns.row(decode(line))
                self._write(",".join(cell(row.get(name)) for name in names))
        self._target.commit()
        self._spool.close()

    def abort(self) -> None:
        """See Output."""
        self._spool.close()
        self._target.discard()

    def _write(self, line: str) -> None:
        self._target.write((line + "\n").encode("utf-8", "backslashreplace"))


def cell(value: Any) -> str:
    """Return one value as it stands between two commas."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    return '"' + value.replace('"', '""') + '"' if _QUOTED.search(value) else value
