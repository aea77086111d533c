"""What mutated specs are made of."""

from __future__ import annotations

from typing import Any

from arcli.inputs.over import Over
from arcli.inputs.registry import inputs
from arcli.specfile.model import Cluster, Job, Setup
from arcli.specfile.shape import keys_of, top_keys

KEYS = sorted({
    *top_keys(), "file", "folder", *keys_of(Job), *keys_of(Cluster), *keys_of(Setup), *keys_of(Over),
    *(key for kind in inputs().values() for key in keys_of(kind)), "a", "", "<<", "\0",
})  # fmt: skip
TEXTS = [
    "f:f", "lambda x: x", "lambda", "t.csv", "nosuch", "/dev/zero", "pipe", ".", "x" * 5000, "a\0b",
    "*", "[",
    "{a,b}" * 30, "{}", "{1}", "'{}'", "${params.a}", "${env.NONE}", "${engines.count}", "${ref.x}", "${",
    "${jobs.a.value}", "${jobs.a.vale.value}", "1 <", "9**9", "30s", "-1", "3%", "\U0001f600", "\x85", "٣",
]  # fmt: skip
BASES: list[dict[str, Any]] = [
    {"map": "math:sqrt", "over": {"range": 3}},
    {"command": ["echo", "{a}"], "over": {"product": {"a": [1], "b": {"csv": "t.csv"}}}},
    {
        "jobs": [
            {"name": "a", "map": "str", "over": [1]},
            {"name": "b", "map": "str", "over": {"from": "a"}},
        ]
    },
    {"params": {"a": {"engines": 2, "nope": 1}}, "cluster": "${params.a}", "apply": "os:getpid"},
]
