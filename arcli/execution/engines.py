"""Bring up what a run sends its items to, a session over engines or this process, and what they need."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from arcli.cluster.base import EngineDown, EngineUp
from arcli.engine.protocol import Hello, Request
from arcli.engine.protocol import Setup as SetupRequest
from arcli.errors import InputError, OutputError
from arcli.plan.deferred import Resolver, scattered_values, to_engine
from arcli.session.core.health import QUIET
from arcli.session.interfaces import Broken, Terms
from arcli.session.session import Session
from arcli.timing.words import plural

if TYPE_CHECKING:
    from arcli.cluster.base import Cluster, ClusterEvent
    from arcli.execution.context import Options
    from arcli.specfile.model import Spec
    from arcli.store.storage import RunStorage


@contextmanager
def open_session(
    spec: Spec, options: Options, storage: RunStorage, cluster: Cluster | None
) -> Iterator[Session]:
    """Start a prepared cluster, and open a session on its engines; without one on this process.

    Raises ClusterError.
    """
    if cluster is None:
        from arcli.session.transport.inline import InlineTransport

        terms = _terms(spec, options, storage, slots=options.slots, max_restarts=0)
        # This process is told that it is the engine for which it stands; it is none that came and goes.
        steps = terms.steps(options.slot)
        terms = replace(terms, steps=lambda slot: steps, ready=lambda engine: None)
        with Session(InlineTransport(options.passing), terms, storage, storage.run_id) as session:
            yield session
        return
    from arcli.session.transport.ipyparallel import IpyparallelTransport

    transport = IpyparallelTransport(cluster)

    came: set[int] = set()
    reasons: dict[int, str] = {}

    def on_event(event: ClusterEvent) -> None:
        if isinstance(event, EngineUp):
            came.add(event.info.slot)
        elif isinstance(event, EngineDown):
            reasons[event.slot] = event.reason
        # On a thread of the cluster's, where nobody would see an exception: a manifest that cannot
        # be written ends the session instead.
        transport.on_event(event)
        try:
            storage.note_event(event)
        except OutputError as error:
            transport.on_event(Broken(error))

    starting = f"the cluster is still starting, {QUIET:.0f} s on"
    with _told_when_it_takes_long(lambda: f"{starting}: {cluster.diagnose()}", options):
        cluster.start(on_event)
    if cluster.exposed is not None:
        options.notice(cluster.exposed)
    try:
        # Engines that somebody else started are not ours to start again.
        restarts = spec.cluster.max_restarts if cluster.owned else None
        terms = _terms(spec, options, storage, slots=cluster.slots, max_restarts=restarts)
        with Session(transport, terms, storage, storage.run_id) as session:
            yield session
    finally:
        # Those that are on their way when all is done are missed by nobody. They are asked for first: who
        # comes meanwhile is among the engines, and reported later.
        coming = cluster.coming()
        missing = set(range(cluster.slots)) - coming - came - {info.slot for info in cluster.engines()}
        if missing:
            causes = [reason for slot, reason in [*reasons.items()] if slot in missing]
            cause = causes[-1] if causes else cluster.diagnose()
            options.notice(f"{len(missing)} of {plural(cluster.slots, 'engine')} never came: {cause}")
        transport.leave()


def stop_cluster(cluster: Cluster, options: Options) -> None:
    """Stop a cluster. What may go on is told to who wants quiet, too."""
    with _told_when_it_takes_long(lambda: f"the cluster is still being stopped, {QUIET:.0f} s on", options):
        left = cluster.stop()
    for what in left:
        options.warn(what)


@contextmanager
def _told_when_it_takes_long(sentence: Callable[[], str], options: Options) -> Iterator[None]:
    """Tell what is waited for, once, where it takes longer than QUIET."""
    timer = threading.Timer(QUIET, lambda: options.notice(sentence()))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _terms(
    spec: Spec, options: Options, storage: RunStorage, *, slots: int, max_restarts: int | None
) -> Terms:
    position_files = storage.position_files(slots)
    return Terms(
        max_restarts=max_restarts,
        start_timeout=spec.cluster.start_timeout,
        steps=setup_steps(spec, slots, str(position_files)),
        position_files=position_files,
        notice=options.notice,
        ready=storage.note_ready,
        listener=options.listener,
    )


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
            for part in dealt(scattered_values(scatter, spec.folder, resolve), slots)
        ]
        for name, scatter in setup.scatter.items()
    }
    files = files_to_engines(spec)

    def steps(slot: int) -> list[Request]:
        # By slot and not by engine: what replaces an engine gets the very part that it had.
        scattered = {name: part[slot] for name, part in parts.items()}
        position_file = None if position_files is None else f"{position_files}/{slot}"
        return [
            Hello(slot, position_file, slots),
            SetupRequest(
                path=path, imports=setup.imports, push={**push, **scattered}, run=setup.run, files=files
            ),
        ]

    return steps


def dealt(values: Sequence[Any], slots: int) -> list[Sequence[Any]]:
    """Deal a sequence out in contiguous parts, the first ones one longer, as ipyparallel does."""
    size, longer = divmod(len(values), slots)
    starts = [slot * size + min(slot, longer) for slot in range(slots + 1)]
    return [values[start:end] for start, end in pairwise(starts)]


def files_to_engines(spec: Spec) -> dict[str, tuple[bytes, int]]:
    """Return what is in each file, and its mode."""
    paths = {name: spec.folder / name for name in spec.setup.files}
    return {name: (path.read_bytes(), path.stat().st_mode & 0o777) for name, path in paths.items()}


@contextmanager
def setup_files(spec: Spec) -> Iterator[None]:
    """Around a run: what engines of this host put into the working directory is gone afterwards.

    Raises InputError where something else is there already: it is the user's. What engines of
    other hosts wrote into folders of their own stays there.
    """
    new: list[str] = []
    for name in spec.setup.files:
        target, origin = Path(name), spec.folder / name
        if not target.exists():
            new.append(name)
        elif not target.is_file() or target.read_bytes() != origin.read_bytes():
            raise InputError(
                f"setup: files: {name} is another file in the working directory than beside the spec",
                hint=f"arcli does not replace {target.absolute()}: move it, or run elsewhere",
            )
    # What the run made it takes away again, down to folders, but nothing that was
    # changed meanwhile.
    folders = {part for name in new for part in Path(name).parents if not part.exists()}
    try:
        yield
    finally:
        for name in new:
            with suppress(OSError):
                if Path(name).read_bytes() == (spec.folder / name).read_bytes():
                    Path(name).unlink()
        for folder in sorted(folders, reverse=True):
            with suppress(OSError):
                folder.rmdir()
