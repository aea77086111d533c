"""The time that engines take to import what jobs run is told as that."""

from __future__ import annotations

import json
from pathlib import Path

from runs import Run


def test_imports_are_told_as_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\n\ntime.sleep(3)\n\n\ndef f(x): return x\n")
    (tmp_path / "spec.yaml").write_text("map: slow.py:f\nover: [1]\n")
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "1", "--format", "json"])
    assert run.wait() == 0
    told = json.loads(run.out.read_text())["run"]
    assert told["loading"] > 1.0  # the engine begins with it before the client waits for it
    assert told["wall"] >= told["startup"] + told["loading"] + told["finish"]
    report = Run(tmp_path, ["report"])
    assert report.wait() == 0
    assert "loading functions" in " ".join(report.out.read_text().split())
