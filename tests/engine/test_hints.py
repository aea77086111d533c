"""Errors that many people meet say what helps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from runs import finish

from arcli.engine.errors import hint_for

USERS_FILE = """
def scaled(x): return x * scale
def pair(a, b): return a + b
def inside(x): return pair(x)
def missing(x):
    import a_module_that_nobody_has
"""


@pytest.mark.parametrize(
    ("function", "item", "hint"),
    [
        ("scaled", 1, 'args: ["${ref.scale}"]'),
        ("pair", [1, 2], "unpack: args"),
        ("inside", [1, 2], None),
        ("missing", 1, sys.executable),
    ],
)
def test_an_items_error_has_a_hint(function: str, item: Any, hint: str | None, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(USERS_FILE)
    spec = f"setup: {{push: {{scale: 2}}}}\nmap: f.py:{function}\nover: [{item}]\n"
    code, records = finish(tmp_path, spec, "--inline")
    assert code == 1
    trace = records[0]["error"]["traceback"]
    assert ("hint:" in trace) == (hint is not None)
    assert (hint or "") in trace


@pytest.mark.parametrize(
    ("over", "hint"),
    [
        ("{cases: [{a: 1, c: 2}]}", "the item has a, c; unpack: none"),
        ("[[1, 2, 3]]\nunpack: args", "the item has 3 parts"),
    ],
)
def test_what_is_unpacked_already_is_told_by_what_the_item_has(
    over: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / "f.py").write_text(USERS_FILE)
    _, records = finish(tmp_path, f"map: f.py:pair\nover: {over}\n", "--inline")
    assert hint in records[0]["error"]["traceback"]


def test_an_environment_that_has_the_module_is_named(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "lib" / "python3.12" / "site-packages" / "there_only").mkdir(parents=True)
    error = ModuleNotFoundError("No module named 'there_only.part'", name="there_only.part")
    hint = hint_for(error, None, (), str(tmp_path)) or ""
    assert f"cluster: {{python: {tmp_path}/.venv/bin/python}}" in hint
    assert sys.executable in hint
    assert "install it" in (hint_for(error, None, (), str(tmp_path / "no")) or "")


ODD = """
import os, shutil, tempfile
class Notes(ModuleNotFoundError):
    __notes__ = None
def no_folder():
    os.chdir(tempfile.mkdtemp())
    shutil.rmtree(os.getcwd())
    import a_module_that_nobody_has
def no_text(): raise ModuleNotFoundError("odd", name=5)
def no_name(): raise NameError("odd", name=[1])
def no_notes(): raise Notes("odd", name="a_module_that_nobody_has")
"""


@pytest.mark.parametrize("kind", ["no_folder", "no_text", "no_name", "no_notes"])
def test_what_has_no_hint_is_an_error_all_the_same(kind: str, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(f"{ODD}\ndef odd(x): return x or {kind}()\n")
    code, records = finish(tmp_path, "map: odd.py:odd\nover: [0, 1]\nchunksize: 2\n", "--inline")
    assert (code, [record["status"] for record in records]) == (1, ["error", "ok"])
    assert records[0]["error"]["type"].endswith("Error") or kind == "no_notes"
