"""Ctrl-C while arcli itself is still being imported: its exit code, and nothing that looks like a bug."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOOK = """
import signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been inherited as ignored
sys.meta_path.insert(0, Interrupting())
"""


@pytest.mark.parametrize("module", ["arcli.engine.own_code", "arcli.cli", "click", "arcli.cli.schema"])
@pytest.mark.parametrize("by_name", [True, False], ids=["arcli", "python -m arcli"])
def test_ctrl_c_while_arcli_is_imported(tmp_path: Path, module: str, by_name: bool) -> None:
    (tmp_path / "sitecustomize.py").write_text(HOOK.format(module=module))
    program = [str(Path(sys.executable).with_name("arcli"))] if by_name else [sys.executable, "-m", "arcli"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*program, "schema"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")
