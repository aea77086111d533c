"""Values of a file with one JSON text a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from arcli.errors import InputError
from arcli.inputs import where
from arcli.inputs.base import Input, Source, SourceContext, Stream
from arcli.inputs.files import missing, read_lines


class Jsonl(Input):
    """Values of a file with one JSON text a line; ``where`` picks rows."""

    key: ClassVar[str] = "jsonl"
    short: ClassVar[str] = "path"
    picks_rows: ClassVar[bool] = True
    path: str
    """The file."""
    where: str | dict[str, Any] | None = None
    """Only rows for which this holds: an expression of the keys, or keys and values."""

    def check(self, folder: Path) -> Iterator[InputError]:
        """See Input."""
        yield from missing(self.path, folder)

    def reads(self, folder: Path) -> Iterator[Path]:
        """See Input."""
        yield folder / self.path

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        path = context.folder / self.path
        where.check(self.where, None)
        condition = where.condition(self.where)
        return Stream(lambda: read_jsonl(read_lines(path), str(path), condition))


def read_jsonl(lines: Iterable[str], name: str, condition: where.Condition) -> Iterator[Any]:
    """Yield a value a line; empty lines are passed over. Raises InputError with the place."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except ValueError as error:
            column = getattr(error, "colno", 1)
            reason = getattr(error, "msg", str(error))
            raise InputError(f"{name}:{number}:{column}: not JSON: {reason}") from None
        except RecursionError:
            raise InputError(f"{name}:{number}: nested too deeply") from None
        if condition(item, f"{name}:{number}"):
            yield item
