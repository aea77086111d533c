"""Lines of a text file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from arcli.errors import InputError
from arcli.inputs.base import Input, Source, SourceContext, Stream
from arcli.inputs.files import missing, read_lines


class Lines(Input):
    """Lines of a text file, without their ends."""

    key: ClassVar[str] = "lines"
    short: ClassVar[str] = "path"
    path: str
    """The file."""

    def check(self, folder: Path) -> Iterator[InputError]:
        """See Input."""
        yield from missing(self.path, folder)

    def reads(self, folder: Path) -> Iterator[Path]:
        """See Input."""
        yield folder / self.path

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        path = context.folder / self.path
        return Stream(lambda: read_lines(path))

    def keys(self, source: Source) -> Iterable[str] | None:
        """See Input."""
        return ()
