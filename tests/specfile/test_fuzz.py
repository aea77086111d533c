"""The short edition of the fuzz."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import checked, fuzz


def test_mutated_specs_are_valid_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert fuzz(count=1000, seed=11) == []


def test_what_ends_otherwise_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("arcli.specfile.load.load", lambda *args, **more: 1 // 0)
    code, message = checked("map: abs\nover: [1]\n")
    assert code == 70
    assert "ZeroDivisionError" in message
