"""The formats that outputs have: one row each, read by the spec, the help and the opening alike.

A new format is a class in a file of its own (see ``Output``) and a row in ``BUILT_IN``. Other
packages add theirs by an entry point of the group ``arcli.outputs`` that names a ``Format``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from arcli.errors import UsageError
from arcli.suggest import did_you_mean

if TYPE_CHECKING:
    from arcli.outputs.base import Output, OutputContext

GROUP = "arcli.outputs"
PACKED = ".gz"


class Format(Struct, frozen=True, kw_only=True):
    """A format: its name, the suffixes that mean it, and what makes an output of it.

    ``make`` is called with an ``OutputContext``; as text it is ``module:attribute``, imported when
    it is needed. ``on_stdout``: whether it may be written to stdout. ``packable``: whether a file
    of it may end in ``.gz``. ``always``: it is written also where no job began. ``beside``: a large file
    of it is written by a process of its own, which gets but the context's target, name, job and options.
    ``whole``: it sums up the run, or has what its jobs came to, which some of the items alone do not tell.
    ``options`` has the type of each option that a spec may give.
    """

    name: str
    suffixes: tuple[str, ...]
    make: str | Callable[[OutputContext], Output]
    on_stdout: bool = True
    packable: bool = True
    always: bool = False
    beside: bool = False
    whole: bool = False
    options: Mapping[str, type] = field(default_factory=dict)

    def __call__(self, context: OutputContext) -> Output:
        """Make an output; nothing is opened yet."""
        make: Any = self.make
        if isinstance(make, str):
            module, _, attribute = make.partition(":")
            make = getattr(importlib.import_module(module), attribute)
        output: Output = make(context)
        return output


BUILT_IN = (
    Format(name="text", suffixes=(".txt",), make="arcli.outputs.text:TextOutput"),
    Format(name="jsonl", suffixes=(".jsonl",), make="arcli.outputs.jsonl:jsonl_output"),
    Format(name="json", suffixes=(".json",), make="arcli.outputs.jsondoc:JsonDocument", whole=True),
    Format(
        name="csv",
        suffixes=(".csv",),
        make="arcli.outputs.csvfile:CsvFile",
        beside=True,
        options={"spreadsheet": bool},
    ),
    Format(
        name="junit",
        suffixes=(".junit.xml", ".xml"),
        make="arcli.outputs.junit:JunitFile",
        always=True,
        options={"ok_cases": int},
    ),
    Format(
        name="markdown",
        suffixes=(".md",),
        make="arcli.outputs.markdown:MarkdownSummary",
        always=True,
        whole=True,
    ),
    Format(
        name="prometheus",
        suffixes=(".prom",),
        make="arcli.outputs.prometheus:PrometheusFile",
        always=True,
        whole=True,
    ),
    Format(
        name="parquet",
        suffixes=(".parquet",),
        make="arcli.outputs.parquet:ParquetFile",
        on_stdout=False,
        packable=False,
        beside=True,
    ),
    Format(
        name="raw", suffixes=(), make="arcli.outputs.raw:RawOutput", options={"tag": bool, "values": bool}
    ),
)


def named(name: str) -> Format:
    """Return the format of this name. Raises UsageError, which lists what there is."""
    # Other packages are only asked for what arcli itself lacks: that takes a look at all of them.
    formats = {each.name: each for each in BUILT_IN}
    if name not in formats:
        formats = {each.name: each for each in every()}
    if name not in formats:
        raise UsageError(f"there is no format {name!r}", hint=f"there are: {', '.join(formats)}")
    return formats[name]


def by_suffix(path: str) -> Format | None:
    """Return the format that the end of a file's name means: the longest suffix that fits, or None."""
    name = Path(path).name.lower()
    return _longest(BUILT_IN, name) or _longest(_installed(), name)


def of_path(path: str) -> Format:
    """Return the format that a path's end means. Raises UsageError, which says what ends there are."""
    form = by_suffix(path)
    if form is None:
        suffix, names = Path(path).suffix.lower(), suffixes(every())
        # Three letters are near to many others, and nobody means those.
        near = did_you_mean(suffix, names) + " " if len(suffix) > 4 else ""
        ends = f"ends in {suffix}" if suffix else "has no suffix"
        hint = f"{near}known are {', '.join(names)}; in a spec, {{path: …, format: …}} names one".lstrip()
        raise UsageError(f"{path} {ends}, which says no known format", hint=hint)
    return form


def every() -> tuple[Format, ...]:
    """Return all formats, those of other packages included."""
    return (*BUILT_IN, *_installed())


def suffixes(formats: Iterable[Format] = BUILT_IN) -> list[str]:
    """Return what names may end in."""
    return [suffix for each in formats for suffix in each.suffixes]


def _longest(formats: Iterable[Format], name: str) -> Format | None:
    # The longest suffix: `.junit.xml` is more than `.xml`, and the later one of two that are equal.
    fits = [
        (len(suffix), number, each)
        for number, each in enumerate(formats)
        for suffix in each.suffixes
        if name.endswith((suffix, suffix + PACKED) if each.packable else suffix)
    ]
    return max(fits, key=lambda fit: fit[:2])[2] if fits else None


@cache
def _installed() -> tuple[Format, ...]:
    """Formats of other packages, in the order of their names.

    Raises UsageError for an entry point that cannot be loaded, or that is no format.
    """
    from importlib.metadata import entry_points

    formats = []
    # A package that cannot be loaded is named: the user can do something about it.
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            each = entry.load()
        except Exception as error:
            raise UsageError(f"the output format {entry.value} cannot be loaded: {error!r}") from error
        if not isinstance(each, Format):
            raise UsageError(f"{entry.value} is not an arcli.outputs.registry.Format")
        formats.append(each)
    return tuple(formats)
