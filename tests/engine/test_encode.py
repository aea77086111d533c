"""Values as JSON: what is said to be exact comes back equal, and nothing else is said to be."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import json
import math
import pathlib
import uuid
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from runs import stable_id

from arcli.engine import encode as encode_module
from arcli.engine import keys as keys_module
from arcli.engine.encode import Unfit, canonical, decode, encode, encode_apart, from_tree
from arcli.engine.keys import fingerprint, fingerprints, heads, input_text, key_from, salted

text = st.text(st.characters(codec="utf-8"))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | text
    | st.binary()
    | st.integers(-(10**700), 10**700)
    | st.sampled_from(["$", "$$", "$bytes", "$float", "$int", "NaN"])
)
keys = text | st.sampled_from(["$", "$$", "$bytes", "$$bytes", "$float", "$pickle", "$ref"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def same(left: Any, right: Any) -> bool:
    """Equal and of the same type, all the way down; NaN is NaN, -0.0 is not 0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or left.hex() == right.hex()
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


@given(values)
def test_what_is_exact_comes_back(value: Any) -> None:
    written, exact = encode(value)
    assert exact
    assert "\n" not in written
    assert same(decode(written), value)


@given(values)
def test_the_text_is_json_that_anyone_can_read(value: Any) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    written, _ = encode(value)
    json.loads(written.encode().decode(), parse_constant=refuse)


@given(values)
def test_canonical_text_says_the_same_and_does_not_depend_on_the_order_of_keys(value: Any) -> None:
    def turned(tree: Any) -> Any:
        if isinstance(tree, list):
            return [turned(part) for part in tree]
        if isinstance(tree, dict):
            return {key: turned(tree[key]) for key in reversed(tree)}
        return tree

    assert canonical(value) == canonical(turned(value))
    assert canonical(decode(canonical(value)[0])) == canonical(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, '{"$float":"NaN"}'),
        (math.inf, '{"$float":"Infinity"}'),
        (-math.inf, '{"$float":"-Infinity"}'),
        (2**1023 - 1, str(2**1023 - 1)),
        (-(10**309), f'{{"$int":"-1{"0" * 309}"}}'),
        ({"$int": "1"}, '{"$$int":"1"}'),
        (b"\x00\xff", '{"$bytes":"AP8="}'),
        ({"$bytes": "AP8="}, '{"$$bytes":"AP8="}'),
        ({"$$": 1}, '{"$$$":1}'),
        ({"price in $": 1}, '{"price in $":1}'),
        (0.1, "0.1"),
        (1e22, "1e+22"),
        (True, "true"),
        (10**30, "1" + 30 * "0"),
        ("ä€😀", '"ä€😀"'),
        ([[], {}], "[[],{}]"),
    ],
)
def test_tags(value: Any, written: str) -> None:
    assert encode(value) == (written, True)
    assert same(decode(written), value)


@dataclass
class Point:
    x: int
    parts: tuple[int, ...]


class Pair(NamedTuple):
    first: int
    second: bytes


class Colour(enum.IntEnum):
    RED = 1


class Shape(enum.Enum):
    ROUND = "round"


class Name(str, enum.Enum):  # noqa: UP042 - whose text is not its value
    FIRST = "first"


class Word(str):
    """A string of another type."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


@pytest.mark.parametrize(
    ("value", "tree"),
    [
        ((1, 2), [1, 2]),
        ([(1,)], [[1]]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({1, "a"}, ["a", 1]),
        (Pair(1, b""), [1, {"$bytes": ""}]),
        (Point(1, (2, 3)), {"x": 1, "parts": [2, 3]}),
        (Colour.RED, 1),
        (Word("as it is"), "as it is"),
        (bytearray(b"a"), {"$bytes": "YQ=="}),
        (memoryview(b"a"), {"$bytes": "YQ=="}),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), "2026-01-02T03:04:00+00:00"),
        (dt.time(3, 4), "03:04:00"),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (
            {1: "a", None: "b", (1, 2): "c", 2.5: "d"},
            {"1": "a", "None": "b", "1,2": "c", "2.5": "d"},
        ),
        ({dt.date(2026, 1, 2): 1}, {"2026-01-02": 1}),
        (decimal.Decimal("0.10"), "0.10"),
        (fractions.Fraction(1, 3), "1/3"),
        (pathlib.Path("a/b"), "a/b"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
        (dt.timedelta(days=1, hours=2), "1 day, 2:00:00"),
        (Shape.ROUND, "round"),
        ({Shape.ROUND: decimal.Decimal(1), pathlib.Path("a"): 1}, {"round": "1", "a": 1}),
        (
            {Name.FIRST: Name.FIRST, Word("as it is"): 1, Colour.RED: 2},
            {"first": "first", "as it is": 1, "1": 2},
        ),
        ({dt.datetime(2026, 1, 2, 3): 1, dt.time(3): 2}, {"2026-01-02T03:00:00": 1, "03:00:00": 2}),
        (range(2), None),
        ("\udcff", {"$bytes": "/w=="}),
        ("\ud83d", {"$bytes": "7aC9"}),
    ],
    ids=stable_id,
)
def test_what_json_holds_only_in_part_is_not_exact(value: Any, tree: Any) -> None:
    if tree is None:
        with pytest.raises(Unfit):
            encode(value)
        return
    written, exact = encode(value)
    assert not exact
    assert json.loads(written) == tree
    assert canonical(value)[1] is False


@pytest.mark.parametrize(
    "value",
    [
        object(),
        1j,
        len,
        Point,
        ValueError("a"),
        {object(): 1},
        {1: "a", "1": "b"},
        {"\udcff": 1},
        10**5000,
        [1, [object()]],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    with pytest.raises(Unfit):
        encode(value)
    with pytest.raises(Unfit):
        canonical(value)


def test_values_that_contain_themselves_or_go_too_deep_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(Unfit):
        encode(loop)
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Unfit):
        encode(deep)
    while isinstance(deep, list):  # not even its end may be recursive
        deep = deep.pop()


numbers = st.integers() | st.floats() | st.floats(1e-5, 1e-3) | st.floats(1e15, 1e17)
cells = st.none() | st.booleans() | numbers | st.text(st.characters())


@given(st.dictionaries(st.text(st.characters(), max_size=5), cells, max_size=5))
def test_a_compiled_encoder_writes_the_same_as_the_standard_library(row: dict[str, Any]) -> None:
    texts = []
    for there in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not there:
                for module in (encode_module, keys_module):
                    patch.setattr(module, "compiled_dumps", lambda: None)
            try:
                texts.append([encode_apart(row, None), input_text(row), fingerprint(row)])
            except Unfit:
                texts.append([fingerprint(row)])
    assert encode_module.compiled_dumps() is not None
    assert texts[0] == texts[1]


rows_of = st.dictionaries(st.text("ab$\u2028", max_size=2), cells, max_size=3)
tables = st.lists(st.tuples(*[cells] * 3).map(lambda row: dict(zip("bac", row, strict=True))), max_size=5)


@given(st.lists(rows_of, max_size=5) | st.lists(cells, max_size=5) | tables | st.lists(rows_of | cells))
@example([{"b": 1, "a": -0.0, "é": "\x7f/\u2028\r"}, {"a": None, "b": True, "é": ""}])
@example([{"n": 10**400}])
@example(["a\rb", "\x1e", "", "é"])
def test_rows_together_are_written_as_each_by_itself(values: list[Any]) -> None:
    prints, salt = fingerprints(values), salted("{}")
    occurrences = [place % 2 for place, _ in enumerate(values)]
    begun = heads(salt, values, occurrences)
    assert prints is None or prints == [fingerprint(value) for value in values]
    for place, value in enumerate(values if begun else ()):
        text, content = input_text(value)
        assert begun is not None
        assert begun.at(place) == (key_from(salt, content, place % 2), text)
    # What is looked at part by part is flat, too, where rows stand beside other values.
    if begun and prints is not None:
        together = heads(salt, [*values, "x", 1], [*occurrences, 0, 0], flat=True)
        assert together is not None
        assert [together.at(place) for place, _ in enumerate(values)] == [*zip(*begun, strict=True)]
        assert together.at(len(values) + 1) == (key_from(salt, b"1", 0), "1")


def test_rows_and_lines_are_written_together() -> None:
    for values in (
        [{"b": 1, "a": 0.5}] * 3,
        [{"b": 1}, {"a": "x", "b": None}],
        ["one", "two"],
        [1, 2.5, True],
    ):
        assert fingerprints(values) is not None


class Loud(str):
    """Text that is none of the plain ones."""


@pytest.mark.parametrize("odd", [float("nan"), 1e-5, 1e16, 10**18, b"x", [1], Loud("x"), "\ud800", (1,)])
def test_what_encoders_write_differently_is_not_written_together(odd: Any) -> None:
    for values in ([odd], [{"a": 1}, {"a": odd}], [{"a": 1}, {"a": 1, "b": odd}]):
        assert fingerprints(values) is None


@pytest.mark.parametrize("key", ["$a", 1, None, Loud("x")])
def test_keys_that_are_no_plain_names_are_not_written_together(key: Any) -> None:
    assert fingerprints([{"a": 1}, {key: 1}]) is None


@pytest.mark.parametrize("char", ["a", '"', "\\", "\x00", "\x1f", "\x7f"])
def test_a_long_text_is_written_the_same(char: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = encode(char * 5000)
    monkeypatch.setattr(encode_module, "compiled_dumps", lambda: None)
    assert encode(char * 5000) == text


@pytest.mark.parametrize(
    "tree", [{"$int": "x"}, {"$float": "x"}, {"$bytes": 5}, {"$bytes": "x"}, {"$int": None}]
)
def test_a_tag_that_says_nothing_is_no_tag(tree: dict[str, Any]) -> None:
    """A journal may have been damaged, or edited."""
    assert from_tree(tree) == tree
