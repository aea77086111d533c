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

    ``sources`` are the jobs' opened inputs, by the jobs' places. What checks one job has the places
    below it.
    """
    for part_of_whole in whole.CHECKS:
        yield from part_of_whole(spec, places)
    yield from order.names(spec, places)
    names = spec.engine_names()
    # A source that could not be opened has its problem already: nothing that follows from it is told.
    for at, part in spec.jobs.items():
        source, here = sources.get(at), places.below("jobs", at)
        yield from job.call(part, at, spec, here)
        yield from job.results(part, at, spec, here)
        yield from job.functions(part, spec.folder, names, here)
        yield from job.concurrency(part, spec.folder, here)
        yield from job.targets(part, spec.cluster, here)
        yield from job.notebook(part, spec.folder, here)
        yield from order.check(part, at, spec, here)
        if part.command is not None:
            yield from command.programs(part, spec.cluster, spec.folder, here)
            yield from command.texts(part, source, here)
        yield from command.check_outdir(part, source, here)
        yield from inputs.references(part, here)
        if source is not None:
            yield from inputs.check(part, source, here)
    yield from inputs.stdin_readers(spec, places, from_stdin=from_stdin)
