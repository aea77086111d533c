"""``arcli doctor``, as typed."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from runs import Run
from test_other_verbs import arcli

from arcli.cli import doctor


@pytest.mark.cluster
def test_it_says_what_works_here_and_tries_it(tmp_path: Path) -> None:
    code, out, said = arcli(tmp_path, "doctor", "--format", "json")
    findings = {finding["what"]: finding for finding in json.loads(out)}
    assert code == 0, said
    assert findings["engines"]["ok"]
    assert findings["engines"]["detail"].startswith("2 of 2 started and answered")
    assert all(finding["ok"] or finding["do"] for finding in findings.values())
    assert list(tmp_path.glob(".arcli*")) == []


@pytest.mark.cluster
def test_what_no_run_can_do_without_is_exit_3(tmp_path: Path) -> None:
    run = Run(tmp_path, ["doctor", "--cluster", "nobody"], env={"IPYTHONDIR": str(tmp_path / "ipython")})
    code, said = run.wait(), run.out.read_text()
    assert code == 3
    assert "NO  cluster nobody" in said


def test_few_open_files_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (64, 64))
    finding = doctor.open_files()
    assert not finding.ok
    assert "ulimit -n" in (finding.do or "")
