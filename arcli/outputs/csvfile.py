"""CSV (RFC 4180, with plain newlines): a row an item."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import Any

from arcli.escape import plain
from arcli.outputs.base import OutputContext
from arcli.outputs.columns import Block, Columns
from arcli.outputs.spool import SpooledOutput
from arcli.record import RecordBatch, in_python
from arcli.timing.summary import RunSummary

_QUOTED = re.compile('[",\r\n]|^$|^\\s|\\s$')
_CELL = re.compile('("(?:[^"]++|"")*+"|[^",\n]*+)[,\n]|(?s:.)++')
"""A cell, or all that is there of one whose end is missing. It never steps back: each step that it could
go back costs memory, which for a cell was sixty times its size."""
_FORMULA = re.compile(r"[=+\-@\t\r]")


class CsvFile(SpooledOutput):
    """Rows wait in a spool until the last one has said which columns there are.

    None is an empty cell, an empty string a quoted one. With the option ``spreadsheet`` no text is
    a formula to a program that opens the file, nor has it control characters.
    """

    def __init__(self, context: OutputContext) -> None:
        super().__init__(context)
        self._harmless = bool(context.options.get("spreadsheet"))
        self._columns = Columns()
        self._parts: list[tuple[tuple[str, ...], int]] = []
        """Stretches of the spool that have the same columns: these, and where it begins."""

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        for block in self._columns.add(batch):
            self._write(block)

    def _document(self, summary: RunSummary, values: dict[str, Any]) -> Iterator[bytes]:
        for block in self._columns.rest():
            self._write(block)
        names = self._columns.names
        yield _encoded(",".join(self._texts([name])[0] for name in names) + "\n")
        # Rows are as they stand where the columns were known by then, and get gaps for later ones.
        ends = [*(start for _, start in self._parts), self._spool.size][1:]
        for (columns, start), end in zip(self._parts, ends, strict=True):
            blocks = self._spool.blocks(start, end)
            yield from blocks if columns == names else _widened(blocks, columns, names)

    def _write(self, block: Block) -> None:
        """Write a block's rows into the spool."""
        names = self._columns.names
        if not self._parts or self._parts[-1][0] != names:
            self._parts.append((names, self._spool.size))
        # Neighbours that are the same in all rows are written once, as one cell.
        columns: list[Sequence[str]] = []
        for varying, group in groupby(names, block.columns.__contains__):
            if varying:
                columns += [self._texts(block.columns[name]) for name in group]
            else:
                text = ",".join(self._texts([block.same.get(name)])[0] for name in group)
                columns.append([text] * block.rows)
        rows = map(",".join, zip(*columns, strict=True))
        self._spool.write(_encoded("\n".join(rows) + "\n"))

    def _texts(self, column: Sequence[Any]) -> Sequence[str]:
        """The cells of a column as they stand between commas; common kinds without a look at each."""
        # By the column and not by the cell: most columns are of one kind, and are written in one go.
        kinds = set(map(type, column))
        if kinds == {type(None)}:
            return [""] * len(column)
        if self._harmless and str in kinds:
            column = [harmless(value) if isinstance(value, str) else value for value in column]
        # Whether some cell needs quotes is told by all of the column's text: a few looks at it in C.
        if kinds == {str}:
            text = "".join(column)
            if not ('"' in text or "," in text or len(text.split(maxsplit=1)) > 1 or text != text.strip()):
                return [each or '""' for each in column] if "" in column else column
        if kinds == {bool}:
            return ["true" if value else "false" for value in column]
        if kinds <= {int, float}:
            numbers = in_python(column)
            return list(map(repr, column)) if numbers is None else numbers.split(",")
        return list(map(cell, column))


def _widened(blocks: Iterator[bytes], columns: Sequence[str], names: Sequence[str]) -> Iterator[bytes]:
    """Rows of ``columns`` as rows of ``names``, each cell as it is."""
    places = [columns.index(name) if name in columns else None for name in names]
    cells: list[str] = []
    parts: list[str] = []
    length = enough = 0
    # Cells are moved as text, without being parsed: they were written by the same writer. Blocks are
    # cut anywhere, also within a character.
    for block in chain(codecs.iterdecode(blocks, "utf-8"), [""]):
        parts.append(block)
        length += len(block)
        # A cell may be as long as hundreds of blocks: it is read again only when twice as much is there,
        # or all, instead of with each block.
        if block and length < enough:
            continue
        text, position = "".join(parts), 0
        rows = []
        for match in _CELL.finditer(text):
            if match[1] is None:
                break  # a cell whose end is in the next block
            position = match.end()
            cells.append(match[1])
            if len(cells) == len(columns):
                rows.append(",".join("" if place is None else cells[place] for place in places))
                cells = []
        parts = [text[position:]]
        length = len(parts[0])
        enough = 2 * length
        yield _encoded("".join(f"{row}\n" for row in rows))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def harmless(text: str) -> str:
    """Text that a spreadsheet takes for text, without control characters.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return plain(f"'{text}" if _FORMULA.match(text) else text)


def cell(value: Any) -> str:
    """Write one value as it stands between two commas."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    return '"' + value.replace('"', '""') + '"' if _QUOTED.search(value) else value
