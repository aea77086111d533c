"""Groups add up to the whole, whatever they are grouped by."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.engine.tally import STATUSES, Tally
from arcli.timing.groups import MOST, OTHERS, OWN, Groups, Slowest


def record(index: int, given: Any, **fields: Any) -> dict[str, Any]:
    return {
        "job": "squares", "index": index, "status": "ok", "attempt": 1, "engine_id": index % 2,
        "slot": index % 2, "seconds": 0.5, "input": given, **fields,
    }  # fmt: skip


values = st.none() | st.booleans() | st.integers() | st.floats(-9, 9) | st.text(max_size=3)
items = st.tuples(values, st.sampled_from(STATUSES), st.none() | st.floats(1e-6, 1e3))


@pytest.mark.parametrize("key", [*OWN, "input", "a", "input.a"])
@given(entries=st.lists(items))
def test_the_groups_merged_are_the_whole(key: str, entries: list[tuple[Any, str, float | None]]) -> None:
    groups, whole, merged = Groups(key, hosts={0: "here", 1: "there"}), Tally(), Tally()
    for index, (value, status, seconds) in enumerate(entries):
        whole.add(status, seconds)
        groups.add(record(index, {"a": value}, status=status, seconds=seconds))
    for group in groups.of("squares"):
        merged.merge(group.tally)
        assert group.ok + group.failed <= group.tally.total
    assert merged.counts == whole.counts
    assert merged.buckets == whole.buckets
    assert merged.seconds == pytest.approx(whole.seconds)
    assert (merged.shortest, merged.longest) == (whole.shortest, whole.longest)


@given(st.lists(st.tuples(values, values)))
def test_each_group_holds_what_equals_one_value(pairs: list[tuple[Any, Any]]) -> None:
    groups = Groups("a")
    for index, (value, other) in enumerate(pairs):
        groups.add(record(index, {"a": value, "b": other}))
    for group in groups.of("squares"):
        same = [a for a, _ in pairs if type(a) is type(group.value) and repr(a) == repr(group.value)]
        assert group.tally.total == len(same)


def test_numbers_come_in_their_order_and_text_as_it_turned_up() -> None:
    numbers, words = Groups("a"), Groups("a")
    for index, value in enumerate([10, 2, 1.5, None, 2]):
        numbers.add(record(index, {"a": value}))
    for index, word in enumerate(["low", "high", "low", 1]):
        words.add(record(index, {"a": word}))
    assert [group.label for group in numbers.of("squares")] == ["1.5", "2", "10", "-"]
    assert [group.label for group in words.of("squares")] == ["low", "high", "1"]


def test_a_number_is_not_the_text_of_it() -> None:
    groups = Groups("a")
    groups.add(record(0, {"a": 1}))
    groups.add(record(1, {"a": "1"}))
    assert [group.tally.total for group in groups.of("squares")] == [1, 1]


def test_own_names_can_be_asked_of_the_input() -> None:
    own, given, dollar = Groups("status"), Groups("input.status"), Groups("input.$x")
    each = record(0, {"status": "new", "$$x": 3}, status="error")
    for groups in (own, given, dollar):
        groups.add(each)
    assert own.of("squares")[0].value == "error"
    assert given.of("squares")[0].value == "new"
    assert dollar.of("squares")[0].value == 3


def test_an_item_without_the_key_is_in_no_group() -> None:
    groups = Groups("c")
    groups.add(record(0, {"a": 1, "$$b": 2}))
    groups.add(record(1, [1, 2]))
    assert groups.jobs == []
    assert list(groups.seen_keys) == ["a", "$b"]


def test_what_stands_for_a_value_that_json_lacks_has_no_keys() -> None:
    for tagged in ({"$pickle": None, "repr": "4,098 bytes"}, {"$bytes": "eA=="}):
        groups, whole = Groups(next(reversed(tagged))), Groups("input")
        for each in (groups, whole):
            each.add(record(0, tagged))
        assert (groups.jobs, list(groups.seen_keys)) == ([], [])
        assert whole.of("squares")[0].value == tagged


def test_of_very_many_groups_the_last_are_one() -> None:
    groups = Groups("input")
    for index in range(MOST + 7):
        groups.add(record(index, index))
    found = groups.of("squares")
    assert len(found) == MOST + 1
    assert (found[-1].label, found[-1].tally.total) == (OTHERS, 7)


def test_hosts_are_those_of_the_engines() -> None:
    groups = Groups("host", hosts={0: "here"})
    for index in range(3):
        groups.add(record(index, index))
    assert {group.label: group.tally.total for group in groups.of("squares")} == {"here": 2, "-": 1}


@given(st.lists(st.none() | st.floats(0, 10)), st.integers(0, 5))
def test_the_slowest_are_the_first_of_the_sorted(seconds: list[float | None], count: int) -> None:
    slowest = Slowest(count)
    for index, took in enumerate(seconds):
        slowest.add(record(index, index, seconds=took))
    ran = [(-took, index) for index, took in enumerate(seconds) if took is not None]
    assert [(-slow.seconds, slow.index) for slow in slowest.items] == sorted(ran)[:count]


def test_a_long_input_is_cut_and_a_replayed_item_was_not_slow() -> None:
    slowest = Slowest(2)
    slowest.add(record(0, "x" * 10_000))
    slowest.add(record(1, 1, replayed=True, seconds=9.0))
    (slow,) = slowest.items
    assert (slow.index, len(slow.given)) == (0, 200)


def test_several_keys_make_groups_together() -> None:
    groups = Groups("a", "status")
    for index in range(8):
        given = {"a": index % 2, "b": index}
        groups.add({"job": "j", "index": index, "status": "ok" if index < 6 else "error", "input": given})
    assert [(group.label, group.value, group.tally.total) for group in groups.of("j")] == [
        ("0, ok", [0, "ok"], 3), ("1, ok", [1, "ok"], 3), ("0, error", [0, "error"], 1),
        ("1, error", [1, "error"], 1),
    ]  # fmt: skip
