"""Going on where a run ended, with items whose values depend on what else is on the engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from runs import Run, finish

SHARES = """\
jobs:
- {name: load, map: float, over: {lines: data.txt}, reduce: operator:add, push_as: total}
- {name: share, over: {lines: data.txt}, HOW}
"""
USES = [
    'map: "lambda line, total: float(line) / total", args: ["${ref.total}"]',
    'map: "lambda line: float(line) / total"',
    """command: "echo {} ${ref.total} | awk '{{print $1 / $2}}'", parse: float""",
    'command: "awk {}", command_stdin: "{} ${ref.total}\\n"'.replace(
        "awk {}", """awk '{{print $1 / $2}}' # {}"""
    )
    + ", parse: float",
]


def of_job(records: list[dict[str, Any]], name: str) -> list[Any]:
    return [record["value"] for record in records if record["job"] == name]


@pytest.mark.parametrize("how", USES, ids=["constant", "name", "command", "stdin"])
def test_what_uses_a_pushed_value_is_kept_as_long_as_that_is_the_same(tmp_path: Path, how: str) -> None:
    spec = SHARES.replace("HOW", how)
    (tmp_path / "data.txt").write_text("1\n3\n")
    finish(tmp_path, spec)
    code, records = finish(tmp_path, spec, "--resume", "--run", "latest")
    assert code == 0
    assert all(record.get("replayed") for record in records)
    with (tmp_path / "data.txt").open("a") as file:
        file.write("4\n")
    code, records = finish(tmp_path, spec, "--resume", "--run", "latest")
    assert code == 0
    assert of_job(records, "share") == [0.125, 0.375, 0.5]
    assert [record.get("replayed", False) for record in records] == [True, True, *[False] * 4]


def test_explaining_does_not_guess_at_what_a_pushed_value_will_be(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SHARES.replace("HOW", USES[1]))
    (tmp_path / "data.txt").write_text("1\n3\n")
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 0
    words = ["run", "spec.yaml", "--inline", "--resume", "--run", "latest", "--explain"]
    dry = Run(tmp_path, [*words, "--dry-run"])
    assert dry.wait() == 0, dry.said()
    assert "share: the value of job 'load' is known in the run only" in dry.out.read_text()
    (tmp_path / "data.txt").write_text("1\n3\n4\n")
    run = Run(tmp_path, words)
    assert run.wait() == 0, run.said()
    assert "share: 0 items kept, 3 to run: the pushed values changed" in run.said()
