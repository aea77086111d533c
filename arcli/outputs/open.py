"""From the names of outputs to the outputs that write them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from arcli.errors import UsageError
from arcli.outputs.all_outputs import OutputMember, Outputs
from arcli.outputs.base import Output
from arcli.outputs.progress import Progress
from arcli.outputs.stream import Stream, Streams
from arcli.outputs.target import STDOUT, FileTarget, Target, is_device

Format = Literal["text", "jsonl", "json", "csv", "parquet"]
SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
}


class OutputLike(Protocol):
    """An output as the spec has it: ``arcli.specfile.model.Output``."""

    @property
    def path(self) -> str:
        """A file's path, or ``-``."""

    @property
    def format(self) -> Format | None:
        """None: by the path's suffix."""

    @property
    def job(self) -> str | None:
        """The one job whose records are wanted, None for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """An output: ``-`` is stdout; ``folder`` is what a relative path is relative to."""

    path: str
    format: Format | None = None
    job: str | None = None
    folder: Path = Path()

    @classmethod
    def of(cls, output: OutputLike, folder: Path) -> Destination:
        """A spec's output, relative to the spec's folder."""
        return cls(path=output.path, format=output.format, job=output.job, folder=folder)


def open_sinks(
    destinations: Iterable[Destination],
    *,
    pages: Streams,
    format: Format = "text",  # noqa: A002 - as the flag is called
    jobs: int = 1,
    quiet: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
) -> Outputs:
    """The outputs of a run: stdout in ``format`` unless one is ``-``, and every destination.

    ``jobs`` is how many there are, ``quiet`` prints for people only where the run failed. Nothing
    is opened before ``Outputs.start``. Raises UsageError for an unknown format or a file named twice.
    """
    destinations = list(destinations)
    _refuse_twins(destinations)
    if progress is not None and pages.shared:
        stdout = replace(pages.stdout, target=progress.above(pages.stdout.target))
        pages = replace(pages, stdout=stdout)
    make = _Maker(pages=pages, format=format, several=jobs > 1, quiet=quiet, verbose=verbose)
    members = [] if progress is None else [OutputMember(progress)]
    if all(destination.path != "-" for destination in destinations):
        members += make.on_stdout(format, None)
    for destination in destinations:
        members += make.members(destination)
    return Outputs(members)


def format_of(destination: Destination, on_stdout: Format) -> Format:
    """Its format: as given, by suffix, or that of stdout, also for a device or a pipe.

    Raises UsageError.
    """
    if destination.format is not None:
        return destination.format
    if destination.path == "-":
        return on_stdout
    if not destination.path:
        raise UsageError("an output has no name", hint="name a file: -o results.jsonl")
    suffix = Path(destination.path).suffix.lower()
    if suffix not in SUFFIXES and is_device(destination.folder / destination.path):
        return on_stdout
    if suffix not in SUFFIXES:
        ends = f"ends in {suffix}" if suffix else "has no suffix"
        raise UsageError(
            f"{destination.path}: the name {ends}, which says no known format",
            hint=f"known are {', '.join(SUFFIXES)}; in a spec, {{path: …, format: …}} names one",
        )
    return SUFFIXES[suffix]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Maker:
    pages: Streams
    format: Format
    several: bool
    quiet: bool
    verbose: bool

    def members(self, destination: Destination) -> list[OutputMember]:
        form, job = format_of(destination, self.format), destination.job
        if destination.path == "-":
            return self.on_stdout(form, job)
        output = self._in_file(form, destination.folder / destination.path, job)
        return [OutputMember(output, job, file=True)]

    def on_stdout(self, form: Format, job: str | None) -> list[OutputMember]:
        """What is on stdout, and for people on stderr where that is not for people."""
        stdout, stderr = self.pages.stdout, self.pages.stderr
        if form == "text" and not self.quiet:
            report = stdout if stdout.width is not None else stderr
            return [OutputMember(self._text(stdout, report), job)]
        from arcli.outputs.quiet import QuietOutput

        members = [OutputMember(QuietOutput(stderr, always=stderr.width is not None and not self.quiet))]
        if form == "jsonl":
            from arcli.outputs.jsonl import JsonlStream

            members.insert(0, OutputMember(JsonlStream(stdout.target), job))
        elif form != "text":
            document = _at_the_end(form, stdout.target, STDOUT, job)
            members.insert(0, OutputMember(document, job, document=True))
        return members

    def _in_file(self, form: Format, path: Path, job: str | None) -> Output:
        if form == "jsonl":
            from arcli.outputs.jsonl import JsonlFile

            return JsonlFile(path)
        if form == "text":
            page = Stream(target=FileTarget(path))
            return self._text(page, page)
        return _at_the_end(form, FileTarget(path), str(path), job)

    def _text(self, results: Stream, report: Stream) -> Output:
        from arcli.outputs.text import TextOutput

        return TextOutput(results, report, headings=self.several, verbose=self.verbose)


def _at_the_end(form: Format, target: Target, name: str, job: str | None) -> Output:
    """A output of one of the formats that need the whole run."""
    if form == "json":
        from arcli.outputs.jsondoc import JsonDocument

        return JsonDocument(target, name=name, job=job)
    if form == "csv":
        from arcli.outputs.csvfile import CsvFile

        return CsvFile(target, name=name)
    if name == STDOUT:
        raise UsageError(f"{form} cannot be written to {STDOUT}", hint="name a file: -o FILE")
    from arcli.outputs.parquet import ParquetFile

    return ParquetFile(target, name=name)


def _refuse_twins(destinations: list[Destination]) -> None:
    seen: set[str] = set()
    for destination in destinations:
        name = destination.path
        if name != "-":
            name = os.path.realpath(destination.folder / name)
        if name in seen:
            raise UsageError(
                f"{destination.path} is named twice as an output",
                hint="each needs a file of its own",
            )
        seen.add(name)
