"""Where items come from: one place that turns the spec's words into a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from arcli.errors import InputError
from arcli.inputs import combine, files, globbing, numbers, tables, where
from arcli.inputs.base import Fixed, Source, SourceContext, Stream, within
from arcli.inputs.generated import generated
from arcli.specfile.model import COMBINATIONS, CsvSource, Over

__all__ = ["Source", "SourceContext", "build_source"]


def build_source(over: Over, context: SourceContext) -> Source:
    """The source that ``over`` describes; nothing of the user's is run before it is iterated.

    Of a file at most what it says of itself is read, its header. Raises InputError for what can be
    known to be wrong already.
    """
    with within(over.kind):
        source = _PLAIN[over.kind](over, context)
    source = combine.excluding(source, context.resolve(over.exclude))
    return combine.shuffled(combine.sampled(source, over.sample), over.shuffle)


def _list(over: Over, context: SourceContext) -> Source:
    items = context.resolve(over.list_)
    if not isinstance(items, list):
        raise InputError(f"over: {type(items).__name__} is not a list of items")
    return Fixed(items)


def _range(over: Over, context: SourceContext) -> Source:
    return Fixed(numbers.range_of(context.resolve(over.range_)), distinct=True)


def _linspace(over: Over, context: SourceContext) -> Source:
    value = context.resolve(over.linspace)
    points = numbers.spaced(numbers.Linspace, value, "linspace")
    return Fixed(points, distinct=value[0] != value[1])


def _logspace(over: Over, context: SourceContext) -> Source:
    value = context.resolve(over.logspace)
    return Fixed(numbers.spaced(numbers.Logspace, value, "logspace"))


def _lines(over: Over, context: SourceContext) -> Source:
    assert over.lines is not None
    path = context.folder / over.lines
    return Stream(lambda: files.read_lines(path))


def _csv(over: Over, context: SourceContext) -> Source:
    source = over.csv
    assert source is not None
    path = context.folder / source.path

    def rows() -> Iterator[Any]:
        with files.opened(path) as raw:
            yield from tables.read_csv(source, raw, str(path))

    return Stream(rows, unpack="kwargs", names=tables.csv_names(source, path))


def _jsonl(over: Over, context: SourceContext) -> Source:
    source = over.jsonl
    assert source is not None
    path = context.folder / source.path
    where.check(source.where, None)
    wanted = where.condition(source.where)
    return Stream(lambda: files.read_jsonl(files.read_lines(path), str(path), wanted))


def _parquet(over: Over, context: SourceContext) -> Source:
    source = over.parquet
    assert source is not None
    path = context.folder / source.path
    names, rows = tables.parquet_shape(source, path)
    length = rows if source.where is None else None
    return Stream(lambda: tables.read_parquet(source, path), length, unpack="kwargs", names=names)


def _glob(over: Over, context: SourceContext) -> Source:
    assert over.glob is not None
    return Fixed(globbing.paths_of(over.glob, context.folder), distinct=True)


def _stdin(over: Over, context: SourceContext) -> Source:
    stdin = context.stdin
    if stdin is None:
        raise InputError("standard input is closed")
    if over.stdin == "nul":
        return Stream(lambda: files.read_nul(stdin))
    if over.stdin == "csv":
        plain = CsvSource(path="-")
        return Stream(lambda: tables.read_csv(plain, stdin, "stdin"), unpack="kwargs")
    if over.stdin == "jsonl":
        lines = files.lines_of(stdin, "stdin")
        return Stream(lambda: files.read_jsonl(lines, "stdin", where.condition(None)))
    return Stream(lambda: files.lines_of(stdin, "stdin"))


def _python(over: Over, context: SourceContext) -> Source:
    source = over.python
    assert source is not None
    return Stream(lambda: generated(source, context))


def _from(over: Over, context: SourceContext) -> Source:
    source = over.from_
    assert source is not None
    values = context.jobs.get(source.job)
    if values is None:
        raise InputError(f"from: the job {source.job!r} has not run")
    return Stream(lambda: values(source.where))


def _product(over: Over, context: SourceContext) -> Source:
    return combine.product(_factors("product", over.product or {}, context))


def _zip(over: Over, context: SourceContext) -> Source:
    return combine.zipped(_factors("zip", over.zip_ or {}, context))


def _factors(kind: str, parts: Mapping[str, Over], context: SourceContext) -> list[combine.Factor]:
    if not parts:
        raise InputError(f"{kind}: needs at least one factor")
    factors = []
    for name, part in parts.items():
        with within(name):
            source = build_source(part, context)
        factors.append(combine.Factor(name, source, merged=part.kind in COMBINATIONS))
    return factors


def _cases(over: Over, context: SourceContext) -> Source:
    cases = context.resolve(over.cases)
    names = tuple(dict.fromkeys(name for case in cases for name in case))
    return Fixed(cases, unpack="kwargs", names=names)


_PLAIN: dict[str, Callable[[Over, SourceContext], Source]] = {
    "list": _list,
    "range": _range,
    "linspace": _linspace,
    "logspace": _logspace,
    "lines": _lines,
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "glob": _glob,
    "stdin": _stdin,
    "python": _python,
    "from": _from,
    "product": _product,
    "zip": _zip,
    "cases": _cases,
}
