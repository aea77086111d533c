"""Content keys: the same for equal items wherever they are made, different for all others."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcli.engine.keys import fingerprint, item_key, key_from, salted

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@dataclass(frozen=True)
class Item:
    name: str


@given(st.dictionaries(st.text(), values, max_size=5), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], chance: Any) -> None:
    shuffled = list(value.items())
    chance.shuffle(shuffled)
    salt = salted("{}")
    assert item_key(salt, value) == item_key(salt, dict(shuffled))


@given(values, st.integers(0, 3), st.text())
def test_a_key_is_short_and_always_the_same(value: Any, occurrence: int, salt: str) -> None:
    key = item_key(salted(salt), value, occurrence)
    digits, _, number = key.partition("-")
    assert len(digits) == 24
    assert set(digits) <= set("0123456789abcdef")
    assert number == (str(occurrence) if occurrence else "")
    assert key == item_key(salted(salt), value, occurrence)
    assert key == key_from(salted(salt), fingerprint(value), occurrence)


def test_a_salt_can_be_used_again() -> None:
    salt = salted("a job")
    assert [item_key(salt, n) for n in (1, 2, 1)] == [item_key(salted("a job"), n) for n in (1, 2, 1)]


DIFFERENT = [
    None, False, True, 0, 1, 0.0, 1.0, -0.0, "1", "", "null", b"", b"1", [], {}, [1], [[1]], (1,),
    {1}, frozenset({1}), bytearray(b"1"), {"a": 1}, {"a": 1.0}, {"a": {"b": 1}}, {"$bytes": ""},
    {"1": 0}, {1: 0}, Item("a"), {"name": "a"}, Item("b"), 1j, object, "\udcff",
]  # fmt: skip


def test_items_that_differ_in_value_or_type_have_different_keys() -> None:
    salt = salted("{}")
    assert len({item_key(salt, value) for value in DIFFERENT}) == len(DIFFERENT)


def test_jobs_that_differ_have_different_keys() -> None:
    assert item_key(salted("one"), 1) != item_key(salted("other"), 1)


@given(st.lists(values, min_size=2, max_size=2))
def test_only_equal_values_share_a_fingerprint(pair: list[Any]) -> None:
    first, second = pair
    if fingerprint(first) == fingerprint(second):
        assert first == second


class Closed:
    """Cannot be pickled, whoever asks."""

    def __reduce__(self) -> Any:
        raise OSError("closed")


def test_inputs_that_cannot_be_pickled_are_told_apart_all_the_same() -> None:
    inputs = [Closed(), Closed(), lambda: None, lambda: None]
    keys = [item_key(salted("{}"), value) for value in inputs]
    assert len(set(keys)) == len(inputs)
    assert keys == [item_key(salted("{}"), value) for value in inputs]


@pytest.mark.parametrize("value", [{"b": 1, "a": [1.5, None, {"y": 1, "x": 2}]}, "ä", b"\x00", (1, 2)])
def test_keys_do_not_depend_on_the_process(value: Any) -> None:
    script = (
        "from arcli.engine.keys import item_key, salted\n"
        f"print(item_key(salted('a job'), {value!r}, 2), end='')"
    )
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout == item_key(salted("a job"), value, 2)
