"""What engines are told before any job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from arcli.engine.protocol import Hello, Request
from arcli.engine.protocol import Setup as SetupRequest
from arcli.plan.deferred import Resolver, to_engine
from arcli.session.setup_files import to_engines as files_to_engines
from arcli.specfile.model import Spec


def setup_steps(spec: Spec, slots: int, position_files: str | None) -> Callable[[int], list[Request]]:
    """Return the requests that prepare the engine in a slot: who it is, and the spec's setup."""
    resolve = Resolver(slots, lambda name: None)
    setup = spec.setup
    path = [str(spec.folder), *(str((spec.folder / part).resolve()) for part in setup.path)]
    push = to_engine(resolve(setup.push))
    # Dealt out once, by slot: an engine's replacement gets the same part.
    parts = {
        name: [
            part[0] if scatter.flatten and len(part) == 1 else part
            for part in dealt(resolve(scatter.values), slots)
        ]
        for name, scatter in setup.scatter.items()
    }
    files = files_to_engines(spec)

    def steps(slot: int) -> list[Request]:
        dealt = {name: part[slot] for name, part in parts.items()}
        position_file = None if position_files is None else f"{position_files}/{slot}"
        return [
            Hello(slot, position_file),
            SetupRequest(
                path=path,
                imports=setup.imports,
                push={**push, **dealt},
                run=setup.run,
                files=files,
            ),
        ]

    return steps


def dealt(values: Sequence[Any], slots: int) -> list[Sequence[Any]]:
    """Return a sequence dealt out in contiguous parts, the first ones one longer, as ipyparallel does."""
    size, longer = divmod(len(values), slots)
    starts = [slot * size + min(slot, longer) for slot in range(slots + 1)]
    return [values[start:end] for start, end in pairwise(starts)]
