"""Show items of a past run: as a table, one of them whole, all of them in the format of an output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from rich.table import Table
from rich.text import Text

from arcli.engine.encode import from_tree
from arcli.engine.tally import Status
from arcli.escape import one_line, plain, shortened
from arcli.outputs.base import Outputs
from arcli.outputs.stream import Stream
from arcli.outputs.text import command_words
from arcli.record import RecordBatch, decode, dump, is_tagged, parts
from arcli.store.folder import RunFolder
from arcli.store.index import cell_of
from arcli.timing.failures import describe, input_label, word
from arcli.timing.summary import RunSummary
from arcli.timing.tables import bare_table, fitted
from arcli.units import format_seconds

MOST_INPUTS = 8
"""Keys of inputs that get a column each; the rest is looked at by name."""
LONGEST = 60
"""Characters of a cell of text."""


def table(
    lines: Iterable[bytes],
    columns: Sequence[str],
    *,
    width: int,
    most: int,
    total: int | None = None,
) -> Table:
    """Make a table of records; without ``columns`` of those that a person wants first.

    After ``most`` rows it says how many more there are.
    """
    rows = iter(lines)
    records = [decode(line) for line in islice(rows, most)]
    # A column of numbers is one only if all that is shown of it are.
    names = list(columns) or _usual(records)
    made = bare_table()
    for name in names:
        of = "value" if name == "result" else name
        numbers = all(isinstance(from_tree(cell_of(record, of)), int | float | None) for record in records)
        numbers = numbers and not (name == "result" and any(r["status"] != Status.OK for r in records))
        fixed = numbers or name == "status"
        made.add_column(
            name,
            justify="right" if numbers else "left",
            no_wrap=True,
            overflow="fold" if fixed else "ellipsis",
        )
    for record in records:
        made.add_row(*(_cell(record, name) for name in names))
    made = fitted(made, width)
    # Where it is known how many there are, the rest need not be read to be counted.
    more = sum(1 for _ in rows) if total is None else total - len(records)
    if more:
        made.caption = f"{more:,} more: --limit N, --where or --format csv"
        made.caption_justify = "left"
    return made


def _usual(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns that tell most: which item, its input, what it came to."""
    # Inputs get a column a key where every one is a mapping of few keys.
    keys: dict[str, None] = {}
    mappings = True
    for record in records:
        item = record.get("input")
        if not isinstance(item, dict) or is_tagged(item):
            mappings = False
            break
        keys.update(dict.fromkeys(parts(item)))
    spread = mappings and 0 < len(keys) <= MOST_INPUTS
    several = len({record["job"] for record in records}) > 1
    inputs = [f"input.{key}" for key in keys] if spread else ["input"]
    return [*(["job"] if several else []), "index", *inputs, "status", "seconds", "result"]


def _cell(record: Mapping[str, Any], name: str) -> Text:
    if name == "result":
        failed = record["status"] != Status.OK
        value = record.get("value")
        if failed:
            return Text(_cut(describe(dict(record))), style="red")
        words = command_words(value)
        return Text(_fitting(value) if words is None else _cut(words[0]))
    value = cell_of(record, name)
    if name == "seconds":
        return Text("-" if value is None else format_seconds(value))
    if name == "status":
        return Text(str(value), style="" if value == Status.OK else "red")
    if name == "input":
        return Text(_cut(input_label(record.get("input"), record["index"])))
    return Text(_fitting(value))


def _short(value: Any) -> str:
    return "" if value is None else word(value)


def _fitting(value: Any) -> str:
    """Return a cell's text: a number is whole, however long it is."""
    number = isinstance(from_tree(value), int | float)
    return _short(value) if number else _cut(_short(value))


def _cut(text: str) -> str:
    return shortened(one_line(text), LONGEST)


def whole(run: RunFolder, record: Mapping[str, Any], page: Stream, call: str | None = None) -> str:
    """Show one item with all that is known of it; ``call`` is what can be typed to do the same."""
    return "".join(f"{line}\n" for line in _whole(run, record, page, call))


def _whole(run: RunFolder, record: Mapping[str, Any], page: Stream, call: str | None) -> Iterator[str]:
    # First what a person looks for: what it was called with, and what it came to; then how it got there;
    # what it printed may be long, and stands near the end.
    status = record["status"]
    took = "" if record.get("seconds") is None else f" after {format_seconds(record['seconds'])}"
    head = f"item {record['index']} of {record['job']}, run {run.id}: {status}{took}"
    yield page.style(head, "bold" if status == Status.OK else "red")
    yield _line("input", dump(record.get("input")).decode())
    if call is not None:
        yield _line("call", call)
    if record.get("reason"):
        yield _line("reason", record["reason"])
    if status == Status.OK:
        yield _line("value", _short(record.get("value")))
    chunk = record.get("chunk")
    travelled = "" if chunk is None else f", in chunk {chunk} (message {record.get('msg_id')})"
    yield _line("attempt", f"{record.get('attempt') or 1}{travelled}")
    number = record.get("engine_id")
    about = next((each for each in run.manifest.engines if each["engine_id"] == number), None)
    host = "" if about is None else f" on {about['host']}, process {about['pid']}"
    yield _line("engine", "none" if number is None else f"{number}{host}, slot {record.get('slot')}")
    names = ("submitted", "started", "completed", "received")
    times = [f"{name} {record[name]}" for name in names if record.get(name)]
    yield _line("times", ", ".join(times) or "it never began")
    yield _line("key", f"{record['key']}{', kept from an earlier run' if record.get('replayed') else ''}")
    if record.get("outdir"):
        yield _line("folder", record["outdir"])
    # What else was kept of it: its value as it was, its notebook, all that it printed.
    for folder, after in (("values", ".*"), ("notebooks", ".*"), ("printed", "-*")):
        for path in sorted((run.path / folder / record["job"]).glob(f"{record['index']}{after}")):
            yield _line("file", str(path))
    error = record.get("error")
    if error:
        yield _line("error", f"{error['type']}: {error['message']}")
        if error.get("traceback"):  # a command that failed has none
            yield from _block(page, error["traceback"])
    for name in ("stdout", "stderr"):
        if record.get(name):
            yield f"  {name}"
            yield from _block(page, record[name])
    if record.get("truncated"):
        yield "  it printed more than is kept"
    yield _line("again", rerun_command(run, record["job"], [record["index"]]))


def rerun_command(run: RunFolder, job: str, numbers: Iterable[int]) -> str:
    """Return the command that runs these items of a job again, here."""
    several = len(run.manifest.jobs) > 1
    words = ["arcli", "rerun", run.id, *map(str, numbers), *(["--job", job] if several else [])]
    return " ".join(words)


def _line(name: str, text: str) -> str:
    first, *rest = plain(text).splitlines() or [""]
    return "\n".join([f"  {name:<9}{first}", *(f"  {'':<9}{line}" for line in rest)])


def _block(page: Stream, text: str) -> Iterator[str]:
    for line in plain(text.rstrip("\n")).split("\n"):
        yield page.style(f"    {line}", "dim")


def write_records(
    lines: Iterable[bytes], outputs: Outputs, summary: RunSummary, values: dict[str, Any] | None = None
) -> None:
    """Write records, and what the jobs came to, to outputs that have not been started.

    Raises OutputError.
    """
    with outputs:
        for line in lines:
            outputs.record(RecordBatch.of_line(line))
        outputs.finish(summary, values or {})
