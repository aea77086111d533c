"""``finish`` without ``reduce`` gets all values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runs import Run

SPECS = [
    ("finish: statistics:median\nmap: 'lambda x: x'\nover: [5, 1, 3]\n", 3),
    ("finish: 'lambda values: values'\nmap: 'lambda x: x * x'\nover: {range: 1500}\nchunksize: 7\n",
     [x * x for x in range(1500)]),
    ("finish: max\nmap: 'lambda x: (x % 7, x)'\nover: {range: 20}\nordered: false\n", [6, 13]),
    ("finish: len\nmap: str\nover: []\n", 0),
    ("finish: 'lambda values: [type(v).__name__ for v in values]'\nmap: 'lambda x: {x}'\nover: [1, 2]\n",
     ["set", "set"]),
    ("finish: len\nmap: 'lambda x: 1 / x'\nover: [1, 0, 2]\n", 2),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "value"), SPECS)
def test_it_gets_the_values_in_the_order_of_the_items(tmp_path: Path, spec: str, value: object) -> None:
    (tmp_path / "spec.yaml").write_text(f"{spec}setup: {{imports: [statistics]}}\n")
    run = Run(tmp_path, ["run", "spec.yaml", "--inline", "--format", "json"])
    run.wait()
    assert json.loads(run.out.read_text())["jobs"][0]["value"] == value
