"""What a spec can get wrong although each of its values has the right shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from arcli.errors import Problem
from arcli.inputs import Source
from arcli.specfile.checks import command, inputs, job, order, whole
from arcli.specfile.checks.checked import Checked
from arcli.specfile.tree import Places

__all__ = ["Checked", "check"]


def check(
    spec: Checked, sources: Mapping[int, Source], places: Places, *, from_stdin: bool
) -> Iterator[Problem]:
    """Yield every problem that spans several keys, or that only a look at the user's files shows.

    ``sources`` are the jobs' opened inputs, by the jobs' places.
    """
    yield from whole.cluster(spec, places)
    yield from whole.setup(spec, places)
    yield from whole.setup_files(spec, places)
    yield from whole.scattered(spec, places)
    yield from whole.pushed(spec, places)
    yield from whole.expected(spec, places)
    yield from whole.outputs(spec, places)
    yield from whole.destinations(spec, places)
    yield from order.names(spec, places)
    names = spec.engine_names()
    # A source that could not be opened has its problem already: nothing that follows from it is told.
    for at, part in spec.jobs.items():
        source = sources.get(at)
        yield from job.call(part, at, spec, places)
        yield from job.results(part, at, spec, places)
        yield from job.functions(part, at, spec.folder, names, places)
        yield from job.concurrency(part, at, spec.folder, places)
        yield from job.targets(part, at, spec.cluster, places)
        yield from job.notebook(part, at, spec.folder, places)
        yield from order.check(part, at, spec, places)
        if part.command is not None:
            yield from command.programs(part, at, spec.cluster, spec.folder, places)
            yield from command.texts(part, at, source, places)
        yield from command.check_outdir(part, at, source, places)
        if source is not None:
            yield from inputs.check(part, at, source, places)
    yield from inputs.stdin_readers(spec, places, from_stdin=from_stdin)
