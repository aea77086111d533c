"""One job under way: its items' state, its records on their way out, its account."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from arcli.engine.arrays import ArrayFile
from arcli.engine.encode import Unfit, encode_apart
from arcli.engine.protocol import ChunkReply, PickledValue, RunChunk, encode_request
from arcli.engine.tally import Status, Tally
from arcli.errors import ArcliError
from arcli.plan.job import JobPlan
from arcli.record import Record, decode, read
from arcli.session.chunk import Chunk, ClientRecord, PickledInput, packed, verdicts
from arcli.session.dispatch import Dispatcher
from arcli.session.dispatch import Supply as DispatchSupply
from arcli.session.policy import ChunkPolicy
from arcli.session.pool import PendingRequest, PooledEngine
from arcli.session.reorder import RecordSpan, Reorder
from arcli.session.supply import key_of
from arcli.timing.ledger import End, EngineUse, Ledger
from arcli.units import isoformat


class Supply(DispatchSupply, Protocol):
    """What a job needs of its supply beside what the dispatcher does."""

    @property
    def count(self) -> int:
        """Items that were numbered."""

    @property
    def unread(self) -> int | None:
        """Items that were never numbered."""

    @property
    def error(self) -> ArcliError | None:
        """What stopped the source."""


class Storage(Protocol):
    """Where records are made safe before anything depends on them."""

    def append(self, lines: bytes) -> int:
        """Write whole lines; returns their offset."""

    def read(self, offset: int, length: int) -> bytes:
        """What stands there."""

    def save_value(self, job: str, index: int, content: bytes, suffix: str) -> None:
        """Keep a value that JSON cannot hold."""

    @property
    def path(self) -> str:
        """The folder that the run keeps its files in."""

    def spool(self, raw: bytes) -> int:
        """Keep bytes for the time of the run; returns their offset."""

    def unspool(self, offset: int, length: int) -> bytes:
        """Bytes that were kept."""


@dataclass(kw_only=True)
class JobRun:
    """A job from its first chunk to its last record. Used by the session's thread alone.

    ``emit`` takes pieces that may go out; ``began`` and ``due``, the deadline, are monotonic times.
    """

    plan: JobPlan
    run_id: str
    storage: Storage
    emit: Callable[[RecordSpan], None]
    replay: list[tuple[int, bytes]] = field(default_factory=list)
    due: float | None = None
    ended: End = End.DONE
    stop_reason: str = ""
    restarts: int = 0

    def begin(self, supply: Supply, now: float) -> None:
        """Start the clock, with this supply of items."""
        job = self.plan.job
        fixed = job.chunksize if isinstance(job.chunksize, int) else None
        self.supply = supply
        self.fixed = fixed
        self.items = Dispatcher(job, ChunkPolicy(fixed), supply, random.Random(self.run_id))  # noqa: S311 - jitter
        self.reorder = Reorder(ordered=job.ordered)
        self.tally = Tally()
        self.uses: dict[int, EngineUse] = {}
        self.sizes: Counter[int] = Counter()
        self.replayed = 0
        self.began = now
        self._prefix = b'{"run":%b,"job":%b,' % (orjson.dumps(self.run_id), orjson.dumps(job.name))

    def chunk_request(self, work: Chunk) -> bytes:
        """A chunk as it travels to an engine."""
        inputs, opaque, unsent = packed(work.inputs)
        chunk = RunChunk(
            job=self.plan.name,
            chunk=work.chunk,
            attempt=work.attempt,
            indices=work.indices,
            inputs=inputs,
            occurrences=work.occurrences,
            opaque=opaque,
            unsent=unsent,
        )
        raw = encode_request(chunk)
        work.size = len(raw)
        return raw

    def take_early(
        self, member: PooledEngine, ticket: PendingRequest, reply: ChunkReply, now: float
    ) -> None:
        """Take records that a chunk has published while it goes on."""
        assert ticket.work is not None
        if not self.items.late(ticket.work) and reply.attempt == ticket.work.attempt:
            self._take(member, ticket, reply, now)

    def take_reply(
        self, member: PooledEngine, ticket: PendingRequest, reply: ChunkReply, size: int, now: float
    ) -> None:
        """Take a chunk's own reply of ``size`` bytes, with all of its records."""
        work = ticket.work
        assert work is not None
        if self.items.late(work):
            return
        self._take(member, ticket, reply, now)
        left = range(reply.done, len(work))
        self.conclude(verdicts(work, left, Status.CANCELLED, self.stop_reason))
        use = self._use(member)
        use.chunks += 1
        use.busy += reply.busy
        use.returning += max(0.0, time.time() - reply.began - reply.busy)
        self.sizes[len(work)] += 1
        self.items.returned(work, reply.busy, size + work.size)

    def _take(
        self,
        member: PooledEngine,
        ticket: PendingRequest,
        reply: ChunkReply,
        now: float,
    ) -> None:
        work = ticket.work
        assert work is not None
        if reply.done <= work.done:
            return
        lines, runs, tally = reply.lines, reply.positions, reply.tally
        if work.done:  # some of it is in already: count only what is new
            lines, runs = _after(work.done, lines, runs)
            tally = tally_of(lines)
        again = [entry for entry in reply.again if entry.position >= work.done]
        kept = self._keep_pickles(work, reply.values, reply.pickles)
        if runs:
            stamp = self._stamp(member, ticket)
            self._record(work, runs, self._completed(lines, stamp), tally, kept)
        use = self._use(member)
        use.items += tally.total
        use.compute += tally.seconds
        failed = tally.total - tally.counts.get(Status.OK, 0)
        self.conclude(self.items.progressed(work, reply.done, again, failed, now))

    def _stamp(self, member: PooledEngine, ticket: PendingRequest) -> bytes:
        """What all records of a chunk share, as the end of each line."""
        assert ticket.work is not None
        return b',"engine_id":%d,"slot":%d,"msg_id":%b,"chunk":%d,"submitted":"%b","received":"%b"}\n' % (
            member.up.engine_id,
            member.up.slot,
            orjson.dumps(ticket.msg_id),
            ticket.work.chunk,
            isoformat(ticket.submitted).encode(),
            isoformat(time.time()).encode(),
        )

    def _completed(self, lines: bytes, stamp: bytes) -> bytes:
        """Records from their items' own parts, all lines of a chunk in one go."""
        return self._prefix + lines[:-1].replace(b"\n", stamp + self._prefix) + stamp

    def _record(
        self,
        work: Chunk,
        runs: list[tuple[int, int]],
        lines: bytes,
        tally: Tally,
        pickles: dict[int, tuple[int, int]] | None,
    ) -> None:
        """Records go to the journal first, then on their way out."""
        offset = self.storage.append(lines)
        self.tally.merge(tally)
        pieces = list(consecutive(work, runs))
        if len(pieces) == 1:
            self._push(*pieces[0], lines, offset, tally, pickles)
            return
        at = 0
        each = lines.splitlines(keepends=True)
        for first, count in pieces:
            text = b"".join(each[at : at + count])
            self._push(first, count, text, offset, tally_of(text), pickles)
            at += count
            offset += len(text)

    def _push(
        self,
        first: int,
        count: int,
        lines: bytes,
        offset: int,
        tally: Tally,
        pickles: dict[int, tuple[int, int]] | None,
    ) -> None:
        piece = RecordSpan(
            first=first,
            count=count,
            offset=offset,
            length=len(lines),
            tally=tally,
            lines=lines,
            pickles=pickles,
        )
        ready = self.reorder.push(piece)
        if not ready:
            piece.lines = None  # it waits on disk
        for piece in ready:
            self.emit(piece)

    def _keep_pickles(
        self, work: Chunk, listed: list[PickledValue], raw: bytes
    ) -> dict[int, tuple[int, int]] | None:
        """Values that JSON does not hold: into files of their own where a record names them."""
        at = 0
        kept: dict[int, tuple[int, int]] = {}
        spooled = None
        for position, saved, length, file in listed:
            index = work.indices[position]
            if position >= work.done:
                if saved:
                    self._save(index, raw[at : at + length], file)
                if self.plan.definition.keep_opaque:
                    spooled = self.storage.spool(raw) if spooled is None else spooled
                    kept[index] = (spooled + at, length)
            at += length
        return kept or None

    def _save(self, index: int, pickled: bytes, file: ArrayFile | None) -> None:
        """Keep a value in a file of its own: a pickle, or an array as NumPy writes it."""
        if file is None:
            self.storage.save_value(self.plan.name, index, pickled, "pkl")
            return
        array = memoryview(pickled)[file.start : file.start + file.length]
        self.storage.save_value(self.plan.name, index, file.header.encode("latin-1") + array, "npy")

    def conclude(self, ended: list[ClientRecord]) -> None:
        """Records for items that no engine could write one for."""
        for verdict in ended:
            record = self._client_record(verdict)
            line = record.to_line()
            tally = Tally()
            tally.add(verdict.status, None, verdict.attempt)
            offset = self.storage.append(line)
            self.tally.merge(tally)
            self._push(verdict.index, 1, line, offset, tally, None)

    def _client_record(self, verdict: ClientRecord) -> Record:
        item = verdict.input
        return Record(
            run=self.run_id,
            job=self.plan.name,
            index=verdict.index,
            key=key_of(self.plan.hasher(), item, verdict.occurrence),
            input=shown(item),
            status=verdict.status,
            reason=verdict.reason,
            value=None,
            exact=True,
            error=None,
            stdout="",
            stderr="",
            truncated=False,
            engine_id=None,
            slot=None,
            msg_id=None,
            chunk=None,
            attempt=verdict.attempt,
            submitted=None,
            started=None,
            completed=None,
            received=isoformat(time.time()),
            seconds=None,
        )

    def flush_replayed(self) -> None:
        """Hand on what the supply found to be kept from an earlier run."""
        entries, self.replay[:] = list(self.replay), []
        self.replayed += len(entries)
        at = 0
        while at < len(entries):
            end = at + 1
            while end < len(entries) and entries[end][0] == entries[end - 1][0] + 1:
                end += 1
            lines = b"".join(line for _, line in entries[at:end])
            tally = tally_of(lines)
            self.tally.merge(_counts_only(tally))
            offset = self.storage.append(lines)
            self._push(entries[at][0], end - at, lines, offset, tally, None)
            at = end

    def _use(self, member: PooledEngine) -> EngineUse:
        up = member.up
        if up.engine_id not in self.uses:
            self.uses[up.engine_id] = EngineUse(
                engine_id=up.engine_id, slot=up.slot, host=up.host, pid=up.pid
            )
        return self.uses[up.engine_id]

    def leaves(self, member: PooledEngine, now: float) -> None:
        """An engine's part in this job is over: how long was it there?"""
        self._use(member).present += max(0.0, now - max(member.since, self.began))

    def ledger(self, now: float) -> Ledger:
        """The job's account, now that it is over."""
        sizes = sorted(self.sizes.elements())
        return Ledger(
            job=self.plan.name,
            kind=self.plan.job.kind,
            wall=now - self.began,
            planned=self.supply.count,
            unread=self.supply.unread,
            replayed=self.replayed,
            ended=self.ended,
            reason=self.stop_reason or None,
            tally=self.tally,
            engines=self.uses,
            restarts=self.restarts,
            chunks=len(sizes),
            chunksize=self.fixed,
            smallest_chunk=sizes[0] if sizes else 0,
            largest_chunk=sizes[-1] if sizes else 0,
            typical_chunk=sizes[len(sizes) // 2] if sizes else 0,
        )


def consecutive(work: Chunk, runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs of positions as runs of consecutive item numbers: ``(first number, count)``."""
    indices = work.indices
    if isinstance(indices, range):
        return [(indices[first], count) for first, count in runs]
    found: list[tuple[int, int]] = []
    for first, count in runs:
        for index in indices[first : first + count]:
            if found and sum(found[-1]) == index:
                found[-1] = (found[-1][0], found[-1][1] + 1)
            else:
                found.append((index, 1))
    return found


def _after(done: int, lines: bytes, runs: list[tuple[int, int]]) -> tuple[bytes, list[tuple[int, int]]]:
    """Only the lines and runs at positions from ``done`` on."""
    positions = [p for first, count in runs for p in range(first, first + count)]
    each = lines.splitlines(keepends=True)
    kept = b"".join(line for p, line in zip(positions, each, strict=True) if p >= done)
    cut = [(max(first, done), first + count) for first, count in runs if first + count > done]
    return kept, [(first, end - first) for first, end in cut]


def tally_of(lines: bytes) -> Tally:
    """What records add up to, from their text."""
    tally = Tally()
    for line in lines.splitlines():
        data = decode(line if line.startswith(b"{") else b"{" + line + b"}")
        tally.add(data["status"], data["seconds"], data["attempt"])
    return tally


def _counts_only(tally: Tally) -> Tally:
    """A tally without its seconds: what was replayed took no time in this run."""
    counted = Tally()
    counted.counts = tally.counts
    return counted


def shown(item: Any) -> Any:
    """An input as a record shows it."""
    try:
        text = item.text if isinstance(item, PickledInput) else encode_apart(item, None)[0]
    except Unfit:
        return {"$pickle": None, "repr": repr(item)[:200]}
    return read(text.encode("utf-8", "surrogatepass"))
