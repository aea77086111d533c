"""Large arrays: tags in the record, files that NumPy opens, pickles that are theirs byte for byte."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from runs import finish

from arcli.engine.encode import LARGE, array_file, encode, encode_apart, pickled
from arcli.engine.keys import item_key, salted

np: Any = pytest.importorskip("numpy")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5.0),
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.zeros((0, 3)),
        np.array(5.0),
        np.array([1j, 2]),
        np.array([b"ab", b"c"]),
        np.array(["ab", "c"]),
        np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
        np.arange(3, dtype=">i2"),
        np.random.default_rng(1).random(20_000),
        np.arange(40_000.0)[::2],
        np.arange(12).reshape(3, 4)[:, 1:3],
        np.arange(12).reshape(3, 4)[::2].T,
        np.frombuffer(b"abcdefgh", "u1"),
        np.frombuffer(bytes(range(256)) * 400, "<u4"),
        np.broadcast_to(np.arange(3), (4, 3)),
        np.array(["2020-01-01", "NaT"], "M8[D]"),
        np.array([], "m8[s]"),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_the_file_of_an_array_is_cut_out_of_its_pickle(array: Any) -> None:
    raw = pickled(array)
    file = array_file(array, raw)
    assert file is not None
    content = file.header.encode("latin-1") + raw[file.start : file.start + file.length]
    read = np.load(io.BytesIO(content), allow_pickle=False)
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    assert not array.flags.forc or read.flags.f_contiguous == array.flags.f_contiguous
    assert read.tobytes() == array.tobytes()
    opened = pickle.loads(raw)
    assert opened.tobytes() == array.tobytes()
    assert opened.flags.writeable or not array.flags.writeable


@pytest.mark.parametrize("value", [np.array([1, "a"], dtype=object), [1], np.int64(3)])
def test_what_is_no_array_of_numbers_or_texts_has_no_file_of_one(value: Any) -> None:
    assert array_file(value, pickled(value)) is None


def test_what_is_large_is_a_tag_and_what_is_small_is_not() -> None:
    large, small = np.zeros((LARGE // 8 + 1, 1)), np.zeros(LARGE // 8)
    tag = {"dtype": "float64", "shape": [LARGE // 8 + 1, 1], "path": "p.pkl"}
    text, exact, apart = encode_apart({"loss": 0.5, "weights": large}, "p.pkl")
    assert (json.loads(text), exact, apart) == ({"loss": 0.5, "weights": {"$array": tag}}, False, True)
    assert encode_apart(small, "p.pkl")[2] is False
    assert json.loads(encode_apart(b"x" * (LARGE + 1), "p.pkl")[0])["$pickle"] == "p.pkl"
    assert encode_apart(b"x" * LARGE, "p.pkl") == (*encode(b"x" * LARGE), False)
    assert json.loads(encode_apart(large, None)[0]) == {
        "$array": {"dtype": "float64", "shape": tag["shape"]}
    }
    assert json.loads(encode_apart([np.array([1j])], None)[0])[0]["$array"]["dtype"] == "complex128"
    assert len(json.loads(encode(large)[0])) == LARGE // 8 + 1


def test_large_inputs_are_told_apart_by_what_is_in_them() -> None:
    one, other = np.zeros(LARGE), np.zeros(LARGE)
    other[-1] = 1
    salt = salted("{}")
    assert item_key(salt, one) == item_key(salt, one.copy()) != item_key(salt, other)


SPEC = """
setup: {imports: [numpy as np]}
jobs:
- {name: a, map: "lambda i: np.full(5000, float(i))", over: {range: 4}}
- {name: parts, map: "lambda i: dict(i=i, a=np.full(5000, i), raw=bytes(20000))", over: {range: 2}}
- {name: b, map: "lambda v: float(v.mean())", over: {from: a}}
- {name: c, map: "lambda v: [v['i'], int(v['a'].sum()), len(v['raw'])]", over: {from: parts}}
- {name: sum, map: "lambda i: np.full(5000, float(i))", over: {range: 4}, reduce: operator:add}
- {name: pair, map: "lambda a, k: float(a[0]) + k", over: {zip: {a: {from: a}, k: [1, 2, 3, 4]}}}
- {name: constant, map: "lambda x, s: float(s[0])", over: [1], args: ["${jobs.sum.value}"]}
"""


def test_arrays_travel_and_rest_as_they_are(tmp_path: Path) -> None:
    code, records = finish(tmp_path, SPEC)
    jobs: dict[str, list[Any]] = {}
    for record in records:
        jobs.setdefault(record["job"], []).append(record["value"])
    assert code == 0
    assert jobs["b"] == [0.0, 1.0, 2.0, 3.0]
    assert jobs["c"] == [[0, 0, 20000], [1, 5000, 20000]]
    assert jobs["pair"] == [1.0, 3.0, 5.0, 7.0]
    assert jobs["constant"] == [6.0]
    (folder,) = (tmp_path / ".arcli" / "runs").iterdir()
    assert (np.load(folder / jobs["a"][3]["$array"]["path"], allow_pickle=False) == 3).all()
    assert jobs["parts"][1]["i"] == 1
    whole = pickle.loads((folder / jobs["parts"][1]["a"]["$array"]["path"]).read_bytes())
    assert (whole["a"] == 1).all()
    assert (folder / "journal.jsonl").stat().st_size < 20_000


def test_a_resumed_run_takes_arrays_along(tmp_path: Path) -> None:
    spec = 'setup: {imports: [numpy as np]}\nmap: "lambda i: np.full(5000, float(i))"\nover: [2, 3, 5]\n'
    finish(tmp_path, spec, "--limit", "2")
    code, records = finish(tmp_path, spec, "--resume")
    assert code == 0
    newest = max((tmp_path / ".arcli" / "runs").iterdir())
    values = [np.load(newest / record["value"]["$array"]["path"])[0] for record in records]
    assert values == [2, 3, 5]
