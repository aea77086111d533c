"""Where items come from: one place that turns the spec's words into a source."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

from arcli.errors import ArcliError, InputError
from arcli.plan.sources import combine, files, numbers
from arcli.plan.sources.base import Fixed, Source, SourceContext, Stream
from arcli.spec.model import Over, PythonSource

__all__ = ["Source", "SourceContext", "build_source"]


def build_source(over: Over, context: SourceContext) -> Source:
    """The source that ``over`` describes; nothing of the user's is run before it is iterated.

    Raises InputError for what can be known to be wrong already.
    """
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
    return Stream(lambda: files.read_csv(source, path), unpack="kwargs")


def _jsonl(over: Over, context: SourceContext) -> Source:
    assert over.jsonl is not None
    path = context.folder / over.jsonl
    return Stream(lambda: files.read_jsonl(files.read_lines(path), str(path)))


def _parquet(over: Over, context: SourceContext) -> Source:
    assert over.parquet is not None
    path = context.folder / over.parquet
    return Stream(lambda: files.read_parquet(path), unpack="kwargs")


def _glob(over: Over, context: SourceContext) -> Source:
    assert over.glob is not None
    return Fixed(files.paths_of(over.glob, context.folder), distinct=True)


def _stdin(over: Over, context: SourceContext) -> Source:
    stdin = context.stdin
    if stdin is None:
        raise InputError("stdin: standard input is closed")
    if over.stdin == "nul":
        return Stream(lambda: files.read_nul(stdin))
    if over.stdin == "jsonl":
        return Stream(lambda: files.read_jsonl(files.lines_of(stdin, "stdin"), "stdin"))
    return Stream(lambda: files.lines_of(stdin, "stdin"))


def _python(over: Over, context: SourceContext) -> Source:
    source = over.python
    assert source is not None
    return Stream(lambda: _generated(source, context))


def _generated(source: PythonSource, context: SourceContext) -> Iterator[Any]:
    """What a generator of the user's yields; its errors are the input's."""
    try:
        call: Callable[..., Any] = context.load_callable(source.call)
        yield from call(*context.resolve(source.args), **context.resolve(source.kwargs))
    except ArcliError:
        raise
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        frames = traceback.extract_tb(error.__traceback__)[1:]
        said = "".join(traceback.format_list(frames)).rstrip()
        raise InputError(
            f"python: {source.call} failed: {type(error).__name__}: {error}", hint=said or None
        ) from None


def _from(over: Over, context: SourceContext) -> Source:
    source = over.from_
    assert source is not None
    values = context.jobs.get(source.job)
    if values is None:
        raise InputError(f"from: the job {source.job!r} has not run")
    return Stream(lambda: values(source.where))


def _product(over: Over, context: SourceContext) -> Source:
    factors = over.product or {}
    if not factors:
        raise InputError("product: needs at least one factor")
    return combine.product({name: build_source(part, context) for name, part in factors.items()})


def _zip(over: Over, context: SourceContext) -> Source:
    factors = over.zip_ or {}
    if not factors:
        raise InputError("zip: needs at least one factor")
    return combine.zipped({name: build_source(part, context) for name, part in factors.items()})


def _cases(over: Over, context: SourceContext) -> Source:
    return Fixed(context.resolve(over.cases), unpack="kwargs")


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
