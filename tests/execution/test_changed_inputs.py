"""Functions that change what they get: their records show what was passed, and no other call sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from runs import each_once, finish

SPEC = """\
defaults: {chunksize: %s}
jobs:
- {name: lists, map: "lambda x: x.pop()", over: [[1, 2], [1]]}
- {name: maps, map: "lambda x: x.pop('k')", unpack: none, over: [&one {k: 1}, *one, {k: 2, z: [1]}]}
- name: product
  map: "lambda config, seed: config.pop('k') + config['z'].pop() + seed"
  over: {product: {config: [{k: 1, z: [1]}, {k: 2, z: [2]}], seed: [0, 1]}}
- name: recycled
  map: "lambda a, b: b.append(a) or b"
  over: {zip: {a: [1, 2, 3], b: [[]], recycle: true}}
- name: batch
  map: "lambda rows: [row.pop('n') for row in rows]"
  batch: 2
  over: {product: {n: [1, 2, 3]}}
- {name: constants, map: "lambda x, seen, by: seen.append(x) or by.update({x: 1}) or [seen, [*by]]",
   over: [1, 2], args: [[]], kwargs: {by: {}}}
- {name: beside, map: beside, concurrency: 2, chunksize: auto, over: [[1, 2], [3]]}
setup:
  run: |
    async def beside(x):
        return x.pop()
"""
VALUES: dict[str, list[Any]] = {
    "lists": [2, 1],
    "maps": [1, 1, 2],
    "product": [2, 3, 4, 5],
    "recycled": [[1], [2], [3]],
    "batch": [[1, 2], [3]],
    "constants": [[[1], [1]], [[2], [2]]],
    "beside": [2, 3],
}
INPUTS: dict[str, list[Any]] = {
    "lists": [[1, 2], [1]],
    "maps": [{"k": 1}, {"k": 1}, {"k": 2, "z": [1]}],
    "product": [{"config": {"k": k, "z": [k]}, "seed": seed} for k in (1, 2) for seed in (0, 1)],
    "recycled": [{"a": a, "b": []} for a in (1, 2, 3)],
    "batch": [[{"n": 1}, {"n": 2}], [{"n": 3}]],
    "constants": [1, 2],
    "beside": [[1, 2], [3]],
}


@pytest.mark.parametrize(
    "words", [("auto", "-n", "1"), ("1", "-n", "1"), ("auto", "--inline")], ids=" ".join
)
def test_a_call_sees_nothing_of_what_another_one_has_changed(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    chunksize, *options = words
    code, records = finish(tmp_path, SPEC % chunksize, *options)
    assert code == 0
    for name, values in VALUES.items():
        own = [record for record in records if record["job"] == name]
        assert each_once(own, len(values))
        assert [record["value"] for record in own] == values
        assert [record["input"] for record in own] == INPUTS[name]
    # What was passed is what a resumed run knows an item by.
    code, again = finish(tmp_path, SPEC % chunksize, *options, "--resume", "--run", "latest")
    assert code == 0
    assert [record["value"] for record in again] == [record["value"] for record in records]
    assert all(record.get("replayed") for record in again)
