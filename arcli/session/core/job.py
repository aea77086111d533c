"""One job under way: its items' state, the records that come of it, its account."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
from msgspec import to_builtins

from arcli.engine.protocol import ChunkReply, Failure, RunChunk, Unmet, encode_request
from arcli.engine.tally import Status, Tally
from arcli.fields import Share, jobs_in
from arcli.plan.job import JobPlan
from arcli.plan.preview import sources
from arcli.record import Attempt, ItemError, Record
from arcli.session.core.attempts import Attempts
from arcli.session.core.chunk import (
    Chunk,
    ChunkPolicy,
    ClientRecord,
    client_records,
    is_opaque,
    key_of,
    packed,
)
from arcli.session.core.dispatch import Dispatcher
from arcli.session.core.lines import after, complete, consecutive, indexed, shown, tally_of
from arcli.session.core.messages import Attempted, Moment, PendingChunk, Records
from arcli.session.core.pool import PooledEngine
from arcli.session.interfaces import Supply
from arcli.timing.ledger import End, EngineUse, Ledger
from arcli.units import FOREVER, isoformat

MEASURED = 3
"""Items that have to be measured before their median limits the others', as in GNU parallel."""
SHORTEST_LIMIT = 0.1
"""Seconds that an item has in any case: below that, what machines do beside it counts for more."""


class JobRun:
    """A job from its first chunk to its last record. Used by the session's thread alone.

    ``replay`` is where ``supply`` puts the records that an earlier run has, by their items' numbers.
    ``began`` and ``due``, the deadline, are monotonic times, as is ``now`` everywhere. With ``overlap`` an
    engine that runs items side by side may begin a chunk while items of the one before it still run.
    """

    def __init__(
        self,
        plan: JobPlan,
        run_id: str,
        supply: Supply,
        replay: list[tuple[int, bytes]],
        *,
        began: float,
        due: float | None,
        overlap: bool = False,
    ) -> None:
        job = plan.job
        self.plan = plan
        self.supply = supply
        self.began = began
        self.due = due
        self.ended = End.DONE
        self.stop_reason = ""
        self.restarts = 0
        self.fixed = job.chunksize if isinstance(job.chunksize, int) else 1 if job.delay else None
        jitter = random.Random(run_id)  # noqa: S311 - nobody has to guess it
        overlap = overlap and plan.concurrency > 1 and not job.delay
        chunks = ChunkPolicy(self.fixed, plan.concurrency, overlap=overlap)
        self.items = Dispatcher(job, chunks, supply, jitter)
        self.tally = Tally()
        self.attempts = Attempts()
        self._run_id = run_id
        self._replay = replay
        self._is_fed = any([*sources(job.over), *jobs_in(job.over)])
        self._replayed = 0
        self._median_of = 0
        self._limit: float | None = None
        self._told = None if isinstance(job.timeout, Share) else job.timeout
        self._uses: dict[int, EngineUse] = {}
        self._sizes: Counter[int] = Counter()
        self._prefix = b'{"run":%b,"job":%b,' % (orjson.dumps(run_id), orjson.dumps(job.name))

    @property
    def limit(self) -> float | None:
        """The seconds that an item may take, None: for ever, or until enough of them were measured."""
        limit = self.plan.job.timeout
        if not isinstance(limit, Share):
            return limit
        # The median moves little between one chunk and the next, and costs a walk over all that is known.
        if self.tally.ran >= max(MEASURED, 1.1 * self._median_of):
            self._median_of = self.tally.ran
            seconds = (limit.percent or 0.0) / 100 * self.tally.quantile(0.5)
            self._limit = min(FOREVER, max(SHORTEST_LIMIT, seconds))
        return self._limit

    def news(self, now: float) -> float | None:
        """Return the limit, if it is another one than before: items are told that were sent without."""
        limit = self.limit
        if limit is None or limit == self._told:
            return None
        self._told = limit
        # They keep what they were told first, as those do that were sent with a limit.
        for chunk in self.items.outstanding.values():
            if chunk.limit is None:
                chunk.limit, chunk.told = limit, now
        return limit

    # -- chunks out ---------------------------------------------------------------------------

    def encode(self, chunk: Chunk, streams: str) -> bytes:
        """Encode a chunk as it travels to an engine; ``streams`` of its output are listened to."""
        # Inputs are one pickle within the request's own: the engine opens it where a failure can be told
        # apart from a broken request.
        inputs, opaque, unsent = packed(chunk.inputs)
        chunk.limit = self.limit
        request = RunChunk(
            job=self.plan.name,
            chunk=chunk.number,
            attempt=chunk.attempt,
            indices=chunk.indices,
            inputs=inputs,
            occurrences=chunk.occurrences,
            opaque=opaque,
            unsent=unsent,
            tail=streams,
            timeout=chunk.limit,
            overlap=chunk.overlap,
            flat=chunk.flat,
            exact=self.tally.durations is not None,
            keys=self._keys(chunk),
        )
        raw = encode_request(request)
        chunk.size = len(raw)
        return raw

    def _keys(self, chunk: Chunk) -> dict[int, str]:
        """Return the keys of a chunk's opaque items, by position: once they are open nobody knows them."""
        if chunk.flat or not self._is_fed:
            return {}
        hasher, counts = self.plan.hasher(), chunk.occurrences or [0] * len(chunk)
        return {
            position: key_of(hasher, item, counts[position])
            for position, item in enumerate(chunk.inputs)
            if is_opaque(item)
        }

    # -- records in ---------------------------------------------------------------------------

    def take_early(
        self, engine: PooledEngine, pending: PendingChunk, reply: ChunkReply, moment: Moment
    ) -> list[Records | Attempted]:
        """Take records that a chunk has published during the request that is ``pending``."""
        source = engine.source_of(reply, pending)
        # What is published may be overtaken by the chunk's own reply, or come from an attempt that was
        # given up: such records are in already, or will come again.
        if source is None or self.items.late(source.chunk) or reply.attempt != source.chunk.attempt:
            return []
        return self._take(engine, source, reply, moment, during=pending)

    def take_replies(
        self,
        engine: PooledEngine,
        pending: PendingChunk,
        replies: Sequence[ChunkReply],
        size: int,
        moment: Moment,
    ) -> list[Records | Attempted]:
        """Take what answers a chunk, ``size`` bytes: its own reply, last, and those of earlier ones."""
        chunk, now = pending.chunk, moment.now
        records: list[Records | Attempted] = []
        for reply in replies:
            source = engine.source_of(reply, pending)
            if source is not None and not self.items.late(source.chunk):
                records += self._take(engine, source, reply, moment, during=pending)
        own = replies[-1]
        if not self.items.late(chunk):
            overlap = chunk.overlap and engine.source_of(own, pending) is pending
            records += self._left_out(chunk, own.begun if overlap else 0, moment)
            self._sizes[len(chunk)] += len(chunk) > 0
        # What a chunk took beyond its work: both durations are of one host's monotonic clock each.
        elapsed = now - max(pending.sent, engine.answered)
        use = self._use(engine)
        use.chunks += 1
        use.busy += own.busy
        gap = max(0.0, elapsed - own.busy)
        use.returning += gap
        for each in (*engine.under_way, pending):
            if not self.items.late(each.chunk) and each.chunk.done >= len(each.chunk):
                self.items.returned(each.chunk)
        engine.under_way = [
            each for each in (*engine.under_way, pending) if not self.items.late(each.chunk)
        ]
        # Of an attempt that is tried again nobody has said how long it took.
        seconds = None if any(reply.again for reply in replies) else pending.own
        self.items.chunks.learn(pending.ended, own.busy, size + chunk.size, own=seconds, gap=gap, now=now)
        return records

    def _left_out(self, chunk: Chunk, begun: int, moment: Moment) -> list[Records]:
        """Have others run the items of an answered chunk that its engine has not begun."""
        # What was published is done, whatever the reply counts.
        begun = max(chunk.done, min(begun, len(chunk)))
        if begun == len(chunk):
            return []
        if not self.items.stopped:
            self.items.not_begun(chunk, begun)
            return []
        ended = client_records(chunk, range(begun, len(chunk)), Status.CANCELLED, self.stop_reason)
        chunk.cut(begun)
        return self.conclude(ended, moment.wall)

    def _take(
        self,
        engine: PooledEngine,
        pending: PendingChunk,
        reply: ChunkReply,
        moment: Moment,
        *,
        during: PendingChunk,
    ) -> list[Records | Attempted]:
        """Take what is new in a reply for one chunk, which came in answer to another one or to itself."""
        chunk = pending.chunk
        # Each reply counts from the chunk's beginning, so a repeated one has nothing new. It begins where
        # one before it ended. Where that has not come, for what is published may be lost or overtaken, it
        # would count items as recorded of which nothing is here: the next whole reply has all of them.
        if reply.done <= chunk.done or reply.first > chunk.done:
            return []
        if reply.order:
            chunk.arrange(reply.first, reply.order)
        lines, runs, tally = reply.lines, reply.positions, reply.tally
        if chunk.done:  # some of it is in already: count only what is new
            lines, runs = after(chunk.done, lines, runs)
            tally = tally_of(lines)
        # Records leave as the bytes that came: only their ends, which all of a chunk share, are added.
        again = [entry for entry in reply.again if entry.position >= chunk.done]
        use = self._use(engine)
        for entry in again:
            self.attempts.failed(engine, chunk, entry)
            use.attempts += entry.completed - entry.started
        records: list[Records | Attempted] = []
        stamp = self._stamp(engine, pending, moment.wall)
        if heard := b"".join(entry.line.encode() + b"\n" for entry in again if entry.line):
            records.append(Attempted(complete(heard, heard.count(b"\n"), self._prefix, stamp)))
        if runs:
            self.tally.merge(tally)
            completed = complete(lines, tally.total, self._prefix, stamp)
            records.append(
                Records(
                    spans=consecutive(chunk, runs),
                    lines=self.attempts.complete(chunk, runs, completed),
                    tally=tally,
                    values=indexed(chunk, reply),
                    pickles=reply.pickles,
                    shared=self._prefix + stamp[1:],
                )
            )
        # Every attempt that ended in a record counts for its engine, good or not.
        use.items += tally.total
        # A moment in which several items run is one moment of the engine's.
        seconds = tally.seconds
        if self.plan.concurrency > 1:
            seconds = min(seconds, max(0.0, reply.busy - during.computed))
        during.ended += reply.done - chunk.done
        during.own += tally.seconds
        during.computed += seconds
        use.compute += seconds
        failed = tally.total - tally.counts[Status.OK]
        reasons = [(entry.position, entry.reason) for entry in again]
        cancelled = self.items.progressed(chunk, reply.done, reasons, failed, moment.now)
        return records + self.conclude(cancelled, moment.wall)

    def _stamp(self, engine: PooledEngine, pending: PendingChunk, wall: float) -> bytes:
        """Return what all records of a chunk share, as the end of each line."""
        return b',"engine_id":%d,"slot":%d,"msg_id":%b,"chunk":%d,"submitted":"%b","received":"%b"}\n' % (
            engine.info.engine_id,
            engine.info.slot,
            orjson.dumps(pending.msg_id),
            pending.chunk.number,
            isoformat(pending.submitted).encode(),
            isoformat(wall).encode(),
        )

    def refused(
        self, engine: PooledEngine, chunk: Chunk, reply: Failure | Unmet, moment: Moment
    ) -> list[Records]:
        """Have a chunk that its engine could not begin sent again, to others or in parts."""
        if isinstance(reply, Unmet):
            ended = self.items.unmet(chunk, engine.info.slot, reply.reason)
        else:  # some item of it does not load there, and is to cost no other one
            error = ItemError(type=reply.type, message=reply.message, traceback=reply.traceback)
            ended = self.items.refused(chunk, reply.reason, error)
        return self.conclude(ended, moment.wall)

    def conclude(self, ended: list[ClientRecord], wall: float) -> list[Records]:
        """Write records for items that no engine could write one for."""
        records = []
        for end in ended:
            record = self._client_record(end, wall)
            tally = Tally()
            tally.add(end.status, record.seconds, end.attempt)
            self.tally.merge(tally)
            # One record a span, because such items may be anywhere in the order; they are rare.
            line = record.to_line()
            records.append(Records(spans=[(end.index, 1)], lines=line, tally=tally))
        return records

    def _client_record(self, end: ClientRecord, wall: float) -> Record:
        reason, last, earlier = self.attempts.end(end)
        where: dict[str, Any] = to_builtins(last) or dict.fromkeys(Attempt.__struct_fields__)
        return Record(
            run=self._run_id,
            job=self.plan.name,
            index=end.index,
            key=key_of(self.plan.hasher(), end.input, end.occurrence),
            input=shown(end.input, sizes=self.plan.definition.sizes),
            status=end.status,
            reason=reason,
            value=None,
            exact=True,
            error=end.error,
            stdout="",
            stderr="",
            truncated=False,
            engine_id=where["engine_id"],
            slot=where["slot"],
            msg_id=None,
            chunk=None,
            attempt=end.attempt,
            submitted=None,
            started=where["started"],
            completed=where["completed"],
            received=isoformat(wall),
            seconds=where["seconds"],
            earlier_attempts=to_builtins(earlier),
        )

    def replayed(self) -> list[Records]:
        """Hand on what the supply found to be kept from an earlier run, in runs of numbers."""
        entries, self._replay[:] = list(self._replay), []
        self._replayed += len(entries)
        records = []
        at = 0
        # Neighbours go out together, as chunks do: a resumed run replays most of its items.
        while at < len(entries):
            end = at + 1
            while end < len(entries) and entries[end][0] == entries[end - 1][0] + 1:
                end += 1
            lines = b"".join(line for _, line in entries[at:end])
            tally = tally_of(lines)
            # What was replayed took no time in this run, so it counts without its seconds.
            counted = Tally()
            counted.counts = tally.counts
            self.tally.merge(counted)
            records.append(Records(spans=[(entries[at][0], end - at)], lines=lines, tally=tally))
            at = end
        return records

    # -- the account --------------------------------------------------------------------------

    def _use(self, engine: PooledEngine) -> EngineUse:
        info = engine.info
        if info.engine_id not in self._uses:
            self._uses[info.engine_id] = EngineUse(
                engine_id=info.engine_id, slot=info.slot, host=info.host, pid=info.pid
            )
        return self._uses[info.engine_id]

    def cut_short(self, engine: PooledEngine, pending: PendingChunk, seconds: float, now: float) -> None:
        """Account for a chunk that will not come back; the item that its engine was at had ``seconds``."""
        use = self._use(engine)
        use.attempts += seconds
        use.busy += max(seconds, now - max(pending.sent, engine.answered))

    def leaves(self, engine: PooledEngine, now: float) -> None:
        """Account for how long an engine was ready, now that its part in this job is over."""
        self._use(engine).present += max(0.0, now - max(engine.since, self.began))

    def ledger(self, now: float) -> Ledger:
        """Give the job's account, now that it is over."""
        # Sizes are counted, not listed: a run of a million chunks has a handful of them.
        sizes = sorted(self._sizes.elements())
        return Ledger(
            job=self.plan.name,
            kind=self.plan.job.kind,
            wall=now - self.began,
            planned=self.supply.count,
            unread=self.supply.unread,
            replayed=self._replayed,
            ended=self.ended,
            reason=self.stop_reason if self.ended in {End.ENOUGH, End.INTERRUPTED} else None,
            tally=self.tally,
            engines=self._uses,
            restarts=self.restarts,
            chunks=len(sizes),
            chunksize=self.fixed,
            smallest_chunk=sizes[0] if sizes else 0,
            largest_chunk=sizes[-1] if sizes else 0,
            typical_chunk=sizes[len(sizes) // 2] if sizes else 0,
        )
