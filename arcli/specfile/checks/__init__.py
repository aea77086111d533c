"""What a spec can get wrong although each of its values has the right shape."""

from __future__ import annotations

from collections.abc import Iterator

from arcli.errors import Problem
from arcli.specfile.checks import inputs, job, order, whole
from arcli.specfile.checks.checked import Checked
from arcli.specfile.places import Places

__all__ = ["Checked", "check"]


def check(spec: Checked, places: Places, *, from_stdin: bool) -> Iterator[Problem]:
    """Every problem that spans several keys, or that only a look at the user's files shows."""
    yield from whole.check(spec, places)
    yield from order.names(spec, places)
    names = spec.engine_names()
    for at, part in spec.jobs.items():
        yield from job.check(part, at, spec, names, places)
        yield from order.check(part, at, spec, places)
        if part.over is not None:
            yield from inputs.check(part.over, ("jobs", at, "over"), spec.folder, places)
    yield from inputs.stdin(spec, places, from_stdin=from_stdin)
