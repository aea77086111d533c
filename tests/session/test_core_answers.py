"""What engines may answer, what travels to them, and what is kept of an earlier run: by hand, as tables."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from fake_session import FakeEngine, FakeReader, FakeSession, chunk_reply, failure, make_plan
from hypothesis import given
from hypothesis import strategies as st

from arcli.engine.protocol import Failure, PickledValue, RunChunk, Unmet, encode_reply
from arcli.errors import ClusterError, SetupError
from arcli.inputs.pickled import PickledInput
from arcli.record import decode
from arcli.session.core.chunk import packed
from arcli.session.core.job import JobRun
from arcli.session.core.lines import shown
from arcli.session.core.messages import CancelItems, Failed, Records, setup_error
from arcli.session.interfaces import Coming
from arcli.session.interfaces import Reply as TransportReply
from arcli.session.supply import SourceSupply
from arcli.timing.ledger import End


def finish(session: FakeSession, lacking: frozenset[int] = frozenset(), **how: Any) -> None:
    """Let all engines answer until the job has ended; slots in ``lacking`` have not what it needs."""
    for _ in range(1000):
        if session.ended:
            return
        for engine in list(session.transport.engines.values()):
            if engine.queue and isinstance(engine.queue[0][1], RunChunk):
                unmet = Unmet("no GPU") if engine.slot in lacking else None
                session.answer(engine, unmet, **({} if unmet else how))
        session.wait(0.1)
    raise AssertionError("it never ends")


def failing(session: FakeSession, engine: FakeEngine) -> None:
    """An engine could not put the answer to its oldest request together."""
    msg_id, _ = engine.queue.popleft()
    session.deliver(TransportReply(msg_id=msg_id, error="MemoryError"))


# -- answers ----------------------------------------------------------------------------------------


@given(count=st.integers(1, 20), lacking=st.frozensets(st.integers(0, 2)), chunksize=st.integers(1, 5))
def test_items_run_where_what_they_depend_on_is_or_say_that_it_is_nowhere(
    count: int, lacking: frozenset[int], chunksize: int
) -> None:
    session = FakeSession(3)
    session.begin(count, chunksize=chunksize)
    finish(session, lacking)
    assert session.recorder.count == dict.fromkeys(range(count), 1)
    if len(lacking) < 3:
        assert set(session.recorder.statuses.values()) == {"ok"}
    else:
        assert set(session.recorder.statuses.values()) == {"error"}
        reason = "no engine has what the function depends on: no GPU"
        assert set(session.recorder.reasons.values()) == {reason}


def test_an_item_that_waits_for_a_fit_engine_runs_when_one_comes() -> None:
    session = FakeSession(1)
    session.loop.put(Coming(1))
    session.begin(1)
    (unfit,) = session.transport.engines.values()
    session.answer(unfit, Unmet("no GPU"))
    assert not session.ended
    session.comes(1)
    finish(session, frozenset({0}))
    assert session.recorder.statuses == {0: "ok"}


def test_an_answer_that_could_not_be_put_together_costs_its_request_alone() -> None:
    session = FakeSession(1)
    (engine,) = session.transport.engines.values()
    future = session.ask()
    failing(session, engine)
    with pytest.raises(Failed, match="look: MemoryError"):
        future.result(0)
    session.begin(3, chunksize=1)
    failing(session, engine)
    finish(session)
    assert session.recorder.count == dict.fromkeys(range(3), 1)
    assert set(session.recorder.statuses.values()) == {"ok"}  # it was sent once more, and then went well


def test_an_engine_that_cannot_answer_what_prepares_it_ends_the_run() -> None:
    session = FakeSession(0)
    session.begin(2)
    engine = session.comes(0, prepared=False)
    failing(session, engine)
    (end,) = session.ended
    assert isinstance(end.error, ClusterError)
    assert "could not answer a request: MemoryError" in end.error.message


@pytest.mark.parametrize("what", ["a dead engine", "a chunk of which somebody else has the items"])
def test_an_answer_that_nobody_waits_for_changes_nothing(what: str) -> None:
    session = FakeSession(1)
    session.begin(2, chunksize=2)
    (engine,) = session.transport.engines.values()
    msg_id, request = engine.queue[0]
    assert isinstance(request, RunChunk)
    late = TransportReply(msg_id=msg_id, envelope=encode_reply(chunk_reply(request)))
    if what == "a dead engine":
        session.dies(engine)
        session.comes(0)
    else:
        session.answer(engine)
        assert session.recorder.count == {0: 1, 1: 1}
    session.deliver(late)
    finish(session)
    assert session.recorder.count == {0: 1, 1: 1}


@pytest.mark.parametrize("envelope", [b"", b"garbled", b"\xff" * 40])
def test_what_is_published_and_garbled_is_passed_over(envelope: bytes) -> None:
    session = FakeSession(1)
    session.begin(3, chunksize=3)
    (engine,) = session.transport.engines.values()
    msg_id, _ = engine.queue[0]
    session.transport.published.append((msg_id, envelope))
    session.turn()
    assert session.recorder.count == {}
    finish(session)
    assert session.recorder.count == dict.fromkeys(range(3), 1)


def test_enough_that_are_ok_end_the_job() -> None:
    session = FakeSession(1)
    session.begin(50, chunksize=1, halt={"ok": 3})
    finish(session)
    (end,) = session.ended
    assert end.ledger.ended is End.ENOUGH
    assert list(session.recorder.statuses.values()).count("ok") >= 3
    assert session.recorder.count == dict.fromkeys(session.recorder.count, 1)


# -- items side by side -----------------------------------------------------------------------------


def test_a_moment_in_which_several_items_run_counts_once() -> None:
    session = FakeSession(1)
    session.begin(200, concurrency=4)
    finish(session, seconds=0.5)
    (end,) = session.ended
    (use,) = end.ledger.engines.values()
    assert session.recorder.count == dict.fromkeys(range(200), 1)
    assert use.items == 200
    assert use.compute <= 200 * 0.5


@pytest.mark.parametrize(("position", "ends"), [(1, False), (2, True), (3, True)])
def test_one_of_several_items_that_run_is_cancelled_once_it_has_begun(position: int, ends: bool) -> None:
    session = FakeSession(1)
    session.begin(4, chunksize=4, concurrency=4)
    (engine,) = session.transport.engines.values()
    session.running(engine, position)
    session.loop.put(CancelItems(frozenset({2}), "not this one"))
    session.wait(1.0)
    assert session.transport.killed == ([engine.engine_id] if ends else [])


def test_all_that_run_side_by_side_are_told() -> None:
    session = FakeSession(2)
    session.begin(9, chunksize=6, concurrency=4)
    session.turn()
    first, _ = session.transport.engines.values()
    session.running(first, 4)
    now = session.loop._core.snapshot(items=True)
    assert now.running == 4 + 3
    assert {item.name for item in now.items} == {"item 4 and 3 more", "3 items"}


# -- values that JSON does not hold -----------------------------------------------------------------


def test_pickles_are_found_by_their_items_numbers_behind_what_is_in_already() -> None:
    session = FakeSession(1)
    session.begin(3, chunksize=3)
    taken: list[Records] = []
    write = session.recorder.write

    def taking(records: Records) -> None:
        taken.append(records)
        write(records)

    session.recorder.write = taking  # type: ignore[method-assign]
    (engine,) = session.transport.engines.values()
    _, request = engine.queue[0]
    assert isinstance(request, RunChunk)
    session.publish(engine, 1)
    values = [PickledValue(0, False, 2), PickledValue(1, True, 3), PickledValue(2, False, 1)]
    session.answer(engine, chunk_reply(request)._replace(values=values, pickles=b"aabbbc"))
    found = [(value.index, value.saved, value.offset, value.length) for value in taken[-1].values]
    assert found == [(1, True, 2, 3), (2, False, 5, 1)]
    assert session.recorder.count == dict.fromkeys(range(3), 1)


# -- inputs on their way ----------------------------------------------------------------------------


class Stubborn:
    """Something that cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("a connection stays here")

    def __repr__(self) -> str:
        return "<stubborn>"


def local() -> Any:
    class Local(list[int]):
        """A class that nobody can import."""

    return Local([1])


@given(st.lists(st.sampled_from(["plain", "opaque", "stubborn"]), max_size=12))
def test_an_input_that_cannot_travel_costs_no_other_one(kinds: list[str]) -> None:
    made = {"plain": 7, "opaque": PickledInput(pickled=b"p", text="1"), "stubborn": Stubborn()}
    inputs, opaque, unsent = packed([made[kind] for kind in kinds])
    assert pickle.loads(inputs) == [7 if kind == "plain" else None for kind in kinds]
    assert opaque == {place: b"p" for place, kind in enumerate(kinds) if kind == "opaque"}
    assert {place for place, kind in enumerate(kinds) if kind == "stubborn"} == set(unsent)
    for text, reason in unsent.values():
        assert text == "<stubborn>"
        assert reason.endswith("Stubborn: a connection stays here")


def test_an_input_of_a_class_that_nobody_can_import_travels_by_value() -> None:
    inputs, _, unsent = packed([local(), 2])
    assert unsent == {}
    assert pickle.loads(inputs) == [[1], 2]


def test_an_opaque_input_is_itself_again_where_what_it_is_a_part_of_is_opened() -> None:
    part = PickledInput(pickled=pickle.dumps({"a": 1}), text='{"a":1}')
    assert pickle.loads(pickle.dumps([part, 2])) == [{"a": 1}, 2]
    assert shown(part) == {"a": 1}


def test_an_input_that_cannot_be_shown_is_shown_by_its_name() -> None:
    class Odd(dict[str, int]):
        def items(self) -> Any:
            raise RuntimeError("not today")

        def __repr__(self) -> str:
            return "<odd>"

    assert shown(Odd(a=1)) == {"$pickle": None, "repr": "<odd>"}


# -- what is kept of an earlier run -----------------------------------------------------------------


@given(kept=st.frozensets(st.integers(0, 19)), count=st.integers(1, 20), chunksize=st.integers(1, 6))
def test_kept_items_are_replayed_once_and_the_others_run_once(
    kept: frozenset[int], count: int, chunksize: int
) -> None:
    plan = make_plan(chunksize=chunksize)
    replay: list[tuple[int, bytes]] = []

    def line(key: str, index: int) -> bytes | None:
        record = b'{"index":%d,"status":"ok","reason":null,"seconds":1.0,"attempt":1}\n' % index
        return record if index in kept else None

    supply = SourceSupply(
        FakeReader(count),
        length=count,
        distinct=True,
        hasher=plan.hasher(),
        kept=line,
        replay=lambda index, text: replay.append((index, text)),
    )
    run = JobRun(plan, "run", supply, replay, began=0.0, due=None)
    chunks = []
    replayed: list[Records] = []
    # As the core does it: what the supply has passed over is handed on before the next chunk is sent.
    while (chunk := supply.take(chunksize)) is not None or replay:
        replayed += run.replayed()
        if chunk is not None:
            chunks.append(chunk)
    indices = [i for records in replayed for first, n in records.spans for i in range(first, first + n)]
    assert sorted(indices) == sorted(kept & set(range(count)))
    assert sorted(i for chunk in chunks for i in chunk.indices) == sorted(set(range(count)) - kept)
    assert [decode(each)["index"] for records in replayed for each in records.lines.splitlines()] == indices
    # What was replayed took no time in this run.
    assert (run.tally.total, run.tally.seconds) == (len(indices), 0.0)


# -- what a failed preparation says -----------------------------------------------------------------

OURS = "arcli.engine.functions.Unresolved"


@pytest.mark.parametrize(
    ("reply", "message", "hint", "details"),
    [
        (failure(), "engine 1: a chunk: KeyError: 'x'", None, None),
        (
            failure()._replace(traceback='  File "a.py"\n'),
            "engine 1: a chunk: KeyError: 'x'",
            None,
            '  File "a.py"',
        ),
        (
            Failure("function", "Unresolved: no f", OURS, "no f", "trace"),
            "engine 1: function: no f",
            None,
            None,
        ),
        (
            Failure("import", "ModuleNotFoundError", "E", "m", "", missing="numpyy", hint="install it"),
            "engine 1 cannot import numpyy (import)",
            "install it",
            None,
        ),
    ],
)
def test_a_failed_preparation_says_what_helps(
    reply: Failure, message: str, hint: str | None, details: str | None
) -> None:
    error = setup_error("engine 1", reply)
    assert isinstance(error, SetupError)
    assert (error.message, error.hint, error.details) == (message, hint, details)
    assert error.stage == reply.stage
