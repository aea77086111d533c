"""``arcli show``: the records of a run as a table, and one item whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from msgspec import Struct
from msgspec.structs import replace

from arcli.cli import complete
from arcli.cli.options import color_option, format_option
from arcli.cli.past import output_page, own_streams, pick_current, resume_command
from arcli.errors import UsageError

if TYPE_CHECKING:
    from arcli.outputs.stream import Stream
    from arcli.store.index import JournalIndex

MOST_ROWS = 1000
"""Rows of a table for people, unless it is asked for more."""
_NUMBER = re.compile(r"\d{1,7}")
"""What is an item and not the beginning of a run's id, which has a year, a month and a day."""


class Selection(Struct, frozen=True, kw_only=True):
    """Which records, in which order, with which columns; ``items`` None: all."""

    items: tuple[int, ...] | None
    job: str | None
    where: str | None
    sort: str | None
    columns: tuple[str, ...]
    limit: int | None


@click.command("show", short_help="Show the records of a run.")
@click.argument("words", nargs=-1, metavar="[RUN] [INDEX]...", shell_complete=complete.runs)
@click.option("--job", metavar="NAME", shell_complete=complete.past_jobs, help="Only this job's items.")
@click.option("--where", metavar="EXPR", help="Only items for which this holds, such as 'lr > 0.1'.")
@click.option("--sort", metavar="[-]COLUMN", help="Sort by a column; with - the largest first.")
@click.option("--columns", metavar="A,B,...", help="Only these columns, such as index,lr,value.loss.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Only the first N of them.")
@format_option("text", "csv", "json", "jsonl", meaning="json: one list of records.")
@click.option(
    "-o",
    "--output",
    "outputs",
    metavar="FILE",
    multiple=True,
    help="Write them there; the suffix says how, as in run. May be repeated.",
)
@color_option(exposed=False)
def command(
    words: tuple[str, ...],
    job: str | None,
    where: str | None,
    sort: str | None,
    columns: str | None,
    limit: int | None,
    form: str,
    outputs: tuple[str, ...],
) -> None:
    """Show the records of RUN as a table, or each item INDEX whole.

    RUN is an id or its beginning, latest or previous; by default the newest run that goes on, else the
    newest. An expression and columns know the fields of a record, the keys of its input by their names,
    and input.KEY, value.KEY, error.type.

    \b
    Examples:
      arcli show --where 'lr > 0.1 and status == "error"' --sort -seconds
      arcli show previous 17
      arcli show -o results.parquet
    """
    run, items = split(words)
    folder = pick_current(run)
    names = tuple(name.strip() for name in columns.split(",")) if columns else ()
    selection = Selection(items=items or None, job=job, where=where, sort=sort, columns=names, limit=limit)
    given = click.get_current_context().get_parameter_source("form") is ParameterSource.COMMANDLINE
    for output in outputs:
        _check_output(output, selection, form if given else None)
    from arcli.reports.column_names import check_names
    from arcli.store.index import JournalIndex

    with JournalIndex(folder) as index:
        if job is not None and job not in index.jobs:
            raise UsageError(
                f"run {folder.id} has no records of a job {job!r}",
                hint=f"there are: {', '.join(index.jobs)}",
            )
        # A name that no record has is a slip of the pen, which a column of nothing would not tell.
        of_the_table = {"result"} if form == "text" and not outputs else set()
        check_names(index, job, [name for name in names if name not in of_the_table], "--columns")
        check_names(index, job, [] if sort is None else [sort.removeprefix("-")], "--sort")
        # Columns that are asked for make a table also of single items, which else are shown whole.
        if outputs:
            _export(index, select(index, selection), outputs, job)
        else:
            with output_page(None) as page:
                if form == "text" and items and not columns:
                    _show_items(page, index, select(index, selection))
                else:
                    _write(page, form, index, selection)
        _tell_damage(index)


def _tell_damage(index: JournalIndex) -> None:
    """Say that records may be missing, but for the one that a run which goes on is writing."""
    from arcli.store.past import state_of

    if index.damaged and state_of(index.run) != "running":
        one = index.damaged == 1
        parts = "1 part" if one else f"{index.damaged:,} parts"
        verb = "is" if one else "are"
        click.echo(f"arcli: {parts} of {index.run.journal} {verb} damaged: items may be missing", err=True)
        click.echo(f"hint: to run these again: {resume_command(index.run)}", err=True)


def split(words: Sequence[str]) -> tuple[str | None, tuple[int, ...]]:
    """Part the words into the run and the items' numbers. Raises UsageError."""
    run = None
    rest = list(words)
    if rest and not _NUMBER.fullmatch(rest[0]):
        run = rest.pop(0)
    for word in rest:
        if not _NUMBER.fullmatch(word):
            raise UsageError(f"{word!r} is not the number of an item")
    return run, tuple(map(int, rest))


def _check_output(output: str, selection: Selection, form: str | None) -> None:
    """Raise UsageError for flags that a file of the run's records does not go by."""
    from arcli.outputs.open import Destination, format_of

    if selection.columns:
        hint = "`--columns … --format csv > FILE` writes these alone"
        raise UsageError("--columns is of what is shown, and -o FILE has all columns", hint=hint)
    if form is not None:
        hint = f"`--format {form} > FILE`, or -o alone"
        raise UsageError("--format is of what is shown, and -o FILE goes by its suffix", hint=hint)
    parts = {"--where": selection.where, "--limit": selection.limit, "INDEX": selection.items}
    picks = [name for name, value in parts.items() if value is not None]
    if picks and format_of(Destination(path=output), "csv").whole:
        raise UsageError(
            f"{output} would tell of the whole run, not of what is left of it by {' and '.join(picks)}",
            hint="name a .jsonl, .csv, .parquet or .junit.xml file, or write a list: --format json > FILE",
        )


def select(index: JournalIndex, selection: Selection) -> Iterator[bytes]:
    """Yield the lines of the records that are selected, in their order. Raises UsageError."""
    from itertools import islice

    items = _matching(index, selection)
    if selection.sort is not None:
        items = iter(_sorted(index, items, selection.sort, selection.limit))
    # Only now, and only of as many as are shown, the records are read.
    for job, number in islice(items, selection.limit):
        line = index.line(job, number)
        if line is not None:
            yield line


def _matching(index: JournalIndex, selection: Selection) -> Iterator[tuple[str, int]]:
    """Yield the items that were asked for, or those for which the expression holds, by job and number."""
    from arcli.reports.column_names import check_names
    from arcli.store.index import Condition

    job = selection.job
    condition = None if selection.where is None else Condition(selection.where)
    # A name that no record has is a slip of the pen, which an empty table would not tell.
    if condition is not None:
        check_names(index, job, condition.names, "--where")
    for number in selection.items or ():
        # Without --job an item is one of every job that has its number.
        items = [(name, number) for name in ([job] if job is not None else index.jobs)]
        items = [item for item in items if index.line(*item) is not None]
        if not items:
            raise UsageError(f"there is no record of an item {number}", hint="`arcli show` lists them")
        for item in items:
            if condition is None or condition(index.record(*item)):
                yield item
            # Who names an item waits for it.
            else:
                click.echo(f"arcli: --where does not hold for item {number} of {item[0]}", err=True)
    if selection.items is None:
        yield from index.items(job, condition)


def _sorted(
    index: JournalIndex, items: Iterable[tuple[str, int]], by: str, limit: int | None
) -> list[tuple[str, int]]:
    """Sort items by a column, with ``-`` before it the largest first: all, or only the first ``limit``."""
    import heapq

    from arcli.engine.encode import from_tree
    from arcli.store.index import INDEXED, cell_of, sort_key

    column = by.removeprefix("-")

    def key(item: tuple[str, int]) -> tuple[int, Any]:
        if column in INDEXED:
            return sort_key(index.cells(*item)[column])
        return sort_key(from_tree(cell_of(index.record(*item), column)))

    # What has nothing in this column stays last, in both directions.
    last: list[tuple[str, int]] = []

    def keyed() -> Iterator[tuple[tuple[int, Any], tuple[str, int]]]:
        for item in items:
            rank = key(item)
            if rank[0] != 3:
                yield rank, item
            elif limit is None or len(last) < limit:
                last.append(item)

    # Of a million items no more are held than are shown; equal ones keep their order in any case.
    if limit is None:
        first = sorted(keyed(), key=lambda pair: pair[0], reverse=column != by)
    else:
        pick = heapq.nsmallest if column == by else heapq.nlargest
        first = pick(limit, keyed(), key=lambda pair: pair[0])
    return [item for _, item in first] + last


def _write(page: Stream, form: str, index: JournalIndex, selection: Selection) -> None:
    """Write records as a table, CSV, JSON or JSON Lines; all but a table while they are read."""
    from arcli.record import decode, dump
    from arcli.reports.items import table
    from arcli.store.index import cell_of

    names = selection.columns
    # How many there are besides those on the screen is known only where nothing was picked.
    every = selection.items is None and selection.where is None and selection.limit is None
    most = selection.limit or MOST_ROWS
    if form == "text" and every:
        selection = replace(selection, limit=most)
    lines = select(index, selection)
    if form in {"json", "jsonl"}:
        texts = (
            dump({name: cell_of(decode(line), name) for name in names}) if names else line.rstrip(b"\n")
            for line in lines
        )
        # Piece by piece, since a run may have millions of items: a list, too.
        separator, after = (b"[", b",\n") if form == "json" else (b"", b"")
        for text in texts:
            page.target.write(separator + text + (b"" if form == "json" else b"\n"))
            separator = after
        if form == "json":
            page.target.write((b"[" if separator == b"[" else b"") + b"]\n")
    elif form == "csv" and names:
        from arcli.outputs.columns import scalar
        from arcli.outputs.csvfile import cell

        page.write(",".join(map(cell, names)) + "\n")
        for line in lines:
            page.write(",".join(cell(scalar(cell_of(decode(line), name))) for name in names) + "\n")
    # Without columns it is the table of the run's own outputs, which knows all that there are.
    elif form == "csv":
        _export(index, lines, ["-"])
    else:
        total = index.count(selection.job) if every else None
        rows = table(lines, names, width=page.table_width, most=most, total=total)
        # A program that reads the rows of a table would take it for one.
        if page.width is None and rows.caption is not None:
            click.echo(f"arcli: {rows.caption}", err=True)
            rows.caption = None
        page.show(rows)


def _show_items(page: Stream, index: JournalIndex, lines: Iterator[bytes]) -> None:
    """Show each item whole, with the call that it was."""
    from arcli.cli.calls import PastCalls
    from arcli.record import decode
    from arcli.reports.items import whole

    calls = PastCalls(index)
    for number, line in enumerate(lines):
        record = decode(line)
        page.write("\n" * (number > 0) + whole(index.run, record, page, calls.of(record)))


def _export(
    index: JournalIndex, lines: Iterator[bytes], outputs: Sequence[str], job: str | None = None
) -> None:
    """Write records in the formats of a run's outputs; ``-``: as CSV to stdout.

    Raises OutputError, and UsageError where there is nothing to write.
    """
    from arcli.outputs.base import OutputContext, OutputMember, Outputs
    from arcli.outputs.csvfile import CsvFile
    from arcli.outputs.open import Destination, format_of, open_files
    from arcli.outputs.target import STDOUT
    from arcli.reports.collect import Wanted, read_report
    from arcli.reports.items import write_records
    from arcli.reports.values import PastValues
    from arcli.store.past import kinds

    report = read_report(index.run, Wanted())
    summary = report.summary
    files = [Destination(path=output, job=job) for output in outputs if output != "-"]
    forms = {file.path: format_of(file, "csv") for file in files}
    # A run keeps what a file had before where no job began: here that would be silence.
    for path, form in forms.items():
        if not (summary.began or form.always):
            raise UsageError(f"run {index.run.id} has no records that could be written to {path}")
    values = PastValues(index).at_end(summary) if any(form.whole for form in forms.values()) else {}
    members = open_files(files, kinds=kinds(index.run), origin=report.origin)
    # A table for another program: what a person reads is there without -o.
    if len(files) < len(outputs):
        page = own_streams().stdout
        context = OutputContext(target=page.target, name=STDOUT, results=page, report=page)
        members.append(OutputMember(CsvFile(context)))
    write_records(lines, Outputs(members), summary, values)
