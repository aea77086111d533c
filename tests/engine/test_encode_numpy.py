"""numpy's values as JSON: shown as numbers and lists, and never said to be exact."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from runs import stable_id

from arcli.engine.encode import Unfit, canonical, encode
from arcli.engine.keys import item_key, salted

np: Any = pytest.importorskip("numpy")


@pytest.mark.parametrize(
    ("value", "tree"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.float64("nan"), {"$float": "NaN"}),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.bytes_(b"a"), {"$bytes": "YQ=="}),
        (np.array(1), 1),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array([1.5, math.inf]), [1.5, {"$float": "Infinity"}]),
        (np.array(["a", None], dtype=object), ["a", None]),
        ({"deep": [np.int8(1)]}, {"deep": [1]}),
        ({np.int64(1): "a"}, {"1": "a"}),
    ],
    ids=stable_id,
)
def test_what_json_holds_only_in_part_is_not_exact(value: Any, tree: Any) -> None:
    written, exact = encode(value)
    assert not exact
    assert json.loads(written) == tree
    assert canonical(value)[1] is False


@pytest.mark.parametrize(
    "value",
    [
        np.complex128(1j),
        np.array([1j]),
        np.datetime64("2026-01-02"),
        np.timedelta64(1, "s"),
        np.array([b"a"], dtype="V1"),
        np.array([object()]),
    ],
    ids=stable_id,
)
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    with pytest.raises(Unfit):
        encode(value)


def test_a_number_of_numpys_is_another_item_than_pythons() -> None:
    salt = salted("{}")
    kinds = [1, np.int64(1), np.int32(1), np.float64(1), np.array(1), np.array([1])]
    assert len({item_key(salt, value) for value in kinds}) == len(kinds)
