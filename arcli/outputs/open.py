"""From the names of outputs to the outputs that write them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from arcli.errors import UsageError
from arcli.outputs import registry
from arcli.outputs.base import Output, OutputContext, OutputMember, Outputs, RunOrigin
from arcli.outputs.ci import Ci, FoldedLines, GithubOutput
from arcli.outputs.progress import Progress
from arcli.outputs.registry import PACKED, Format
from arcli.outputs.run_end import QuietOutput
from arcli.outputs.stream import Stream, Streams
from arcli.outputs.target import (
    STDOUT,
    FileTarget,
    GzipTarget,
    NullStream,
    StreamTarget,
    Target,
    descriptor_in,
    is_device,
    open_descriptor,
    writing,
)


class Destination(Struct, frozen=True, kw_only=True):
    """An output: ``-`` is stdout; ``folder`` is what a relative path is relative to."""

    path: str
    format: str | None = None
    job: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()


class RunOutputs(Struct, frozen=True, kw_only=True):
    """What the outputs of a run have in common.

    stdout has ``format`` unless an output is ``-``. ``kinds``: what each job runs, by its name.
    ``origin`` is what the end of the run speaks of.
    ``quiet`` prints for people only where the run failed, ``full`` the tables of timing, too; ``silent``
    leaves stderr to others. ``ci`` is the CI system that is told, too, and ``environ`` its variables.
    ``runs`` has the folders of runs.
    """

    streams: Streams
    format: str = "text"
    kinds: Mapping[str, str] = field(default_factory=dict)
    origin: RunOrigin = field(default_factory=RunOrigin)
    ci: Ci | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    quiet: bool = False
    full: bool = False
    silent: bool = False
    verbose: bool = False
    progress: Progress | None = None
    runs: Path = Path()

    def open(self, destinations: Iterable[Destination]) -> Outputs:
        """Make the outputs of every destination; nothing is opened before ``Outputs.start``.

        Raises UsageError for an unknown format or a file named twice.
        """
        # Named as a device it would be written to twice, also with what people see there.
        destinations = [
            replace(destination, path="-") if descriptor_in(destination.path) == 1 else destination
            for destination in destinations
        ]
        _refuse_twins(destinations)
        progress, streams = self.progress, self.streams
        # On one terminal the bar is cleared before a result, or what an item said, is written above it.
        if progress is not None:
            stderr = replace(streams.stderr, target=progress.above(streams.stderr.target))
            streams = replace(streams, stderr=stderr)
        if progress is not None and streams.shared:
            stdout = replace(streams.stdout, target=progress.above(streams.stdout.target))
            streams = replace(streams, stdout=stdout)
        # stdout has the results, unless the user sent something else there.
        if all(destination.path != "-" for destination in destinations):
            destinations.insert(0, Destination(path="-"))
        common = replace(self, streams=streams)
        # Files first: the progress tells that they are being written, and goes before people read the end.
        files: list[OutputMember] = []
        on_stdout: list[OutputMember] = []
        for destination in destinations:
            (on_stdout if destination.path == "-" else files).extend(common.members(destination))
        # Lines of results are for people: not where they are kept in a file.
        shown = {format_of(each, self.format).name for each in destinations if each.path == "-"}
        if self.ci is not None and shown == {"text"} and not self.quiet and not streams.kept:
            on_stdout.insert(0, OutputMember(FoldedLines(streams.stdout, self.ci)))
        if self.ci == "github":
            told = Stream(target=NullStream()) if self.silent else streams.stderr
            on_stdout.append(OutputMember(GithubOutput(told, self.environ)))
        return Outputs([*files, *([OutputMember(progress)] if progress is not None else []), *on_stdout])

    def members(self, destination: Destination) -> list[OutputMember]:
        """Make the output of one destination, with what goes to stderr beside it. Raises UsageError."""
        form, job = format_of(destination, self.format), destination.job
        if destination.path == "-":
            return self._on_stdout(form, destination)
        path = destination.folder / destination.path
        # A format whose files are packed by themselves, such as Parquet, keeps the suffix for itself.
        descriptor = open_descriptor(path)
        file: FileTarget | StreamTarget = FileTarget(path)
        if descriptor is not None:
            with writing(str(path)):
                file = StreamTarget(open(descriptor, "wb", closefd=False), str(path))  # noqa: SIM115
        self.streams.timers.append(file.timer)
        target: Target = file
        if path.suffix.lower() == PACKED and form.packable:
            target = GzipTarget(file)
        page = Stream(target=target)
        context = self._context(destination, target, str(path), results=page, report=page)
        if form.beside and isinstance(file, FileTarget):
            from arcli.outputs.writer_process import WrittenBeside  # other formats need none of it

            output: Output = WrittenBeside(form, context, file)
        else:
            output = form(context)
        return [OutputMember(output, job, file=not form.always)]

    def _on_stdout(self, form: Format, destination: Destination) -> list[OutputMember]:
        """What is on stdout, and for people on stderr where that is not for people."""
        stdout, stderr = self.streams.stdout, self.streams.stderr
        if not form.on_stdout:
            raise UsageError(f"{form.name} cannot be written to {STDOUT}", hint="name a file: -o FILE")
        # On a terminal the tables at the end are a result, too.
        report = stdout if form.name == "text" and stdout.width is not None else stderr
        if self.silent and form.name == "text" and report is stderr:
            report = Stream(target=NullStream())
        context = self._context(destination, stdout.target, STDOUT, results=stdout, report=report)
        quiet = self.quiet or stderr.width is None
        end = OutputMember(QuietOutput(stderr, self.origin, quiet=quiet, full=self.full))
        ends = [] if self.silent else [end]
        # A quiet run of text prints nothing but how it failed; other formats are for programs, and stay.
        if form.name == "text" and self.quiet:
            return ends
        results = OutputMember(form(context), destination.job, document=form.name == "json")
        return [results] if form.name == "text" else [results, *ends]

    def _context(
        self, destination: Destination, target: Target, name: str, *, results: Stream, report: Stream
    ) -> OutputContext:
        return OutputContext(
            target=target,
            name=name,
            job=destination.job,
            options=destination.options,
            results=results,
            report=report,
            kinds=self.kinds,
            verbose=self.verbose,
            runs=self.runs,
            full=self.full,
            origin=self.origin,
        )


def open_files(
    destinations: Sequence[Destination],
    *,
    kinds: Mapping[str, str] = MappingProxyType({}),
    origin: RunOrigin | None = None,
) -> list[OutputMember]:
    """Make outputs of files for the records of a past run. Raises UsageError."""
    _refuse_twins(destinations)
    nowhere = Stream(target=NullStream())
    common = RunOutputs(
        streams=Streams(stdout=nowhere, stderr=nowhere),
        kinds=kinds,
        origin=origin or RunOrigin(),
        quiet=True,
        silent=True,
    )
    return [member for each in destinations for member in common.members(each)]


def format_of(destination: Destination, on_stdout: str) -> Format:
    """Choose a destination's format: as given, by suffix, or that of stdout, also for a device.

    Raises UsageError.
    """
    path = destination.path
    if destination.format is not None:
        return registry.named(destination.format)
    if path == "-":
        return registry.named(on_stdout)
    if not path:
        raise UsageError("an output has no name", hint="name a file: -o results.jsonl")
    # A device or a pipe has no suffix, and gets what stdout would get.
    place = destination.folder / path
    if registry.by_suffix(path) is None and (is_device(place) or open_descriptor(place) is not None):
        return registry.named(on_stdout)
    return registry.of_path(path)


def _refuse_twins(destinations: Sequence[Destination]) -> None:
    seen: set[str] = set()
    for destination in destinations:
        name = destination.path
        # Two names of one file are one output, or each would replace what the other wrote.
        if name != "-":
            name = os.path.realpath(destination.folder / name)
        if name in seen:
            raise UsageError(
                f"{destination.path} is named twice as an output", hint="each needs a file of its own"
            )
        seen.add(name)
