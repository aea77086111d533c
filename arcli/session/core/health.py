"""What nobody reports: engines that are silent, stuck or overstay, and requests that take long."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from arcli.engine.limits import GRACE
from arcli.engine.position_file import BEHIND, Position
from arcli.session.core.chunk import Chunk
from arcli.session.core.dispatch import Dispatcher
from arcli.session.core.job import JobRun
from arcli.session.core.messages import Effect, Kill, Notice, PendingChunk, Release
from arcli.session.core.pool import Pool, PooledEngine

OVERSTAY = 2 * GRACE + 1.0
"""Seconds beyond its limit after which an engine that does not end itself is ended."""
QUIET = 10.0
"""Seconds of waiting before people are told in words what for."""
DEATH_NOTICE = 5.0
"""Seconds between a request that fails by its engine's death and the notice of that death."""
SILENT = 15.0
"""Seconds in which an engine answers arcli's first words, or never: one that is registered before
its connection to the scheduler stands does not get what is sent to it, and nobody says so."""
STUCK = 60.0
"""Seconds that a chunk may be with an idle engine, which has not even begun to unpack it."""
UNHURRIED = 5.0
"""Seconds before anybody looks at a chunk whose items may take as long as they like."""
CANCELLED = "an item that it ran was cancelled"
"""Why an engine is ended that is at an item which somebody has cancelled."""
OVERSTAYED = "an item did not stop when told to"
"""Why an engine is ended that is at an item whose time limit is long over."""
LOOK = 0.5
"""Seconds between two looks at an engine's position: an item's age is known so well."""


class Sighting(Struct):
    """Where an engine was seen to be, and since when: by the client's own monotonic clock.

    The engine's clock may be another host's, or jump, so it only tells one item from the next.
    """

    position: Position | None
    since: float
    looked: float

    def place_in(self, chunk: Chunk) -> int | None:
        """Return where in a chunk the engine is: an item's position, or -1 before the first.

        None where it is at another chunk, or at none. From ``len(chunk)`` on it is behind the end: it has
        come to an item that was taken back, and will not begin that. At BEHIND nothing of it runs any more.
        """
        at = self.position
        return at.position if at is not None and at.chunk == chunk.number else None

    @property
    def idle(self) -> bool:
        """Whether the engine runs nothing: it has begun no chunk, or is through with the last one."""
        return self.position is None or self.position.position == BEHIND

    def item_of(self, chunk: Chunk) -> int | None:
        """Return the position of the item that the engine runs; None where it runs none of this chunk."""
        place = self.place_in(chunk)
        return place if place is not None and 0 <= place < len(chunk) else None

    def begun_of(self, chunk: Chunk) -> range:
        """Return the positions of the items that the engine has begun, from ``chunk.done`` on."""
        place = self.place_in(chunk)
        return range(0) if place is None else range(chunk.done, min(len(chunk), place + 1))


class Positions:
    """What is known of where engines are, from their position files (``read`` takes a slot)."""

    def __init__(self, read: Callable[[int], Position | None]) -> None:
        self._read = read
        self._sightings: dict[int, Sighting] = {}

    def look(self, engine: PooledEngine, now: float, *, fresh: bool = False) -> Sighting | None:
        """See where an engine is; None where it has no position file that can be read here.

        A ``fresh`` look reads the file in any case, others only every LOOK seconds.
        """
        if not engine.position_file:
            return None
        engine_id = engine.info.engine_id
        last = self._sightings.get(engine_id)
        if last is not None and not fresh and now - last.looked < LOOK:
            return last
        position = self._read(engine.info.slot)
        if last is None or last.position != position:
            last = self._sightings[engine_id] = Sighting(position, now, now)
        last.looked = now
        return last

    def forget(self, engine_id: int) -> None:
        """An engine is gone."""
        self._sightings.pop(engine_id, None)


class Health:
    """Watches the engines of a pool; each look returns what is to be done about them."""

    def __init__(self, pool: Pool, positions: Positions) -> None:
        self._pool = pool
        self._positions = positions
        self._dying: dict[int, float] = {}

    def dying(self, engine_id: int, now: float) -> None:
        """A request has failed by its engine's death, whose notice says why and is on its way."""
        if engine_id in self._pool.engines:
            self._dying.setdefault(engine_id, now + DEATH_NOTICE)

    def dead(self, engine_id: int) -> None:
        """That notice has come."""
        self._dying.pop(engine_id, None)

    def watch(self, now: float) -> list[Effect]:
        """Look at all engines."""
        effects: list[Effect] = []
        # An engine that was killed and whose death nobody has told of is killed
        # again.
        for engine_id, due in list(self._dying.items()):
            if now > due:
                effects.append(Kill(engine_id))
                self._dying[engine_id] = now + DEATH_NOTICE
        for engine in self._pool:
            if engine.doomed is None:
                effects += self._watch_requests(engine, now)
            # Looking costs a read of a file for each engine, which short chunks are
            # not worth.
            running = engine.running if engine.usable else None
            if running is None:
                continue
            if now - running.sent > (UNHURRIED if running.chunk.limit is None else LOOK / 2):
                effects += self._watch_chunk(engine, running, now)
        return effects

    def _watch_requests(self, engine: PooledEngine, now: float) -> list[Effect]:
        """Look at what an engine was asked beside its chunks; tell people of what takes long."""
        for pending in engine.pending:
            age = now - pending.sent
            # An engine that never answered has no work to lose: another one takes
            # its place.
            if pending.first and age > SILENT:
                pending.sent = now
                return [
                    Notice(f"{engine.words} does not answer: another one is started"),
                    Release(engine.info.engine_id),
                ]
            # Setup and reducers may take long, but not without a word.
            if not isinstance(pending, PendingChunk) and not pending.is_told and age > QUIET:
                pending.is_told = True
                return [Notice(f"{engine.words} is still at {pending.what}, {QUIET:.0f} s on")]
        return []

    def _watch_chunk(self, engine: PooledEngine, running: PendingChunk, now: float) -> list[Effect]:
        """End, as the last resort, an engine that does not begin its chunk, or does not stop an item."""
        sighting = self._positions.look(engine, now)
        if sighting is None:
            return []
        alone = len(engine.pending) == len(engine.chunks)
        # It has nothing else to do and has not begun: it is stopped, or its queue
        # has lost the message.
        if sighting.idle and alone and now - max(running.sent, sighting.since) > STUCK:
            running.sent = now
            message = f"{engine.words} has had a chunk for {STUCK:.0f} s and has not begun it"
            return [Notice(f"{message}: it is replaced"), Kill(engine.info.engine_id)]
        chunk = running.chunk
        place = sighting.place_in(chunk)
        # Where the file tells of another chunk, this one waits behind it.
        if sighting.idle or place is None:
            return []
        # Those of earlier chunks have run for longer than what was begun last.
        begun = [*(each.chunk for each in engine.under_way), *([chunk] if place >= 0 else [])]
        limits = [each.limit for each in begun if each.limit is not None]
        if not begun or len(limits) < len(begun):
            return []
        # One that had outlived its limit before anybody knew it has the time to heed it, too.
        if now - max(sighting.since + max(limits), *(each.told for each in begun)) <= OVERSTAY:
            return []
        return self._pool.doom(engine, OVERSTAYED)

    def watch_cancelled(self, items: Dispatcher, now: float) -> list[Effect]:
        """End the engines that are at an item which has been cancelled; the rest is done elsewhere."""
        effects: list[Effect] = []
        for engine in self._pool.ready():
            if any(items.cancelled_in(each.chunk) for each in engine.under_way):
                effects += self._pool.doom(engine, CANCELLED)
                continue
            if engine.running is None:
                continue
            running = engine.running.chunk
            cancelled = items.cancelled_in(running)
            if not cancelled:
                continue
            # Only the engine that runs the item is ended; one that has not begun it will be told, and one
            # that was at it a moment ago is at another one now.
            sighting = self._positions.look(engine, now, fresh=True)
            if sighting is not None:
                if sighting.idle:
                    continue
                # Of items side by side it may be at any of those that have begun.
                at = sighting.begun_of(running) if items.beside else [sighting.item_of(running)]
                if not any(position in at for position in cancelled):
                    continue
            effects += self._pool.doom(engine, CANCELLED)
        return effects


class Quiet:
    """Tells people, once, of each wait for engines that takes long."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._told = False

    def look(self, waiting: str | None, now: float, diagnose: Callable[[], str]) -> list[Effect]:
        """Take what waits now, in words, or None; returns the notice that is due, if one is."""
        if waiting is None:
            self._since, self._told = None, False
        elif self._since is None:
            self._since = now
        elif now - self._since > QUIET and not self._told:
            self._told = True
            return [Notice(f"{waiting} for {QUIET:.0f} s: {diagnose()}")]
        return []


def waiting_items(job: JobRun | None, pool: Pool) -> str | None:
    """Say which items wait for engines, in words; None where none does."""
    if job is None or job.items.finished:
        return None
    if not pool.ready():
        return f"{job.items.waiting} items wait: no engine has been ready"
    return f"{job.items.waiting} items wait for engines of their own" if job.items.stalled else None
