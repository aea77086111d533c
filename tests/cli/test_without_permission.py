"""What may not be looked at is told as such: one message, and the exit code of what was asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import PATIENCE

BOUND = "-dac_override,-dac_read_search"
OBEYING = ["setpriv", f"--bounding-set={BOUND}", f"--inh-caps={BOUND}"] if os.getuid() == 0 else []
"""What makes root obey the permissions of files, as everybody else has to."""
pytestmark = pytest.mark.skipif(
    bool(OBEYING) and shutil.which("setpriv") is None, reason="root needs setpriv to obey permissions"
)
SPEC = 'command: "echo {}"\nover: [1]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with others: `locked` may not be entered, and `hidden` may not be listed."""
    for name in ("locked", "hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.yaml").write_text(SPEC)
    (tmp_path / "unreadable.yaml").write_text(SPEC)
    (tmp_path / "unreadable.yaml").chmod(0)
    (tmp_path / "locked").chmod(0)
    (tmp_path / "hidden").chmod(0o100)
    yield tmp_path
    for name in ("locked", "hidden"):
        (tmp_path / name).chmod(0o700)


def told(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [*OBEYING, sys.executable, "-m", "arcli", *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", ["locked/x.yaml", "unreadable.yaml"])
@pytest.mark.parametrize("verb", ["run", "check"])
def test_a_spec(folder: Path, verb: str, name: str) -> None:
    code, err = told(folder, verb, name)
    assert code == 2, err
    assert "cannot be read: Permission denied" in err


@pytest.mark.parametrize("over", ["lines: locked/x.txt", "csv: locked/x.csv", "blocks: {of: locked/x.txt}"])
def test_an_input(folder: Path, over: str) -> None:
    (folder / "spec.yaml").write_text(f'command: "cat"\nover: {{{over}}}\n')
    for words in (["check", "spec.yaml"], ["run", "spec.yaml", "--inline"]):
        code, err = told(folder, *words)
        assert code == 2, err
        assert "cannot be read: Permission denied" in err


def test_inputs_of_a_map(folder: Path) -> None:
    for word in ("-a", "--csv"):
        code, err = told(folder, "map", word, "locked/x.csv", "echo {}")
        assert code == 2, err
        assert "locked/x.csv cannot be read: Permission denied" in err
    # Nobody can say what else there is in a folder that may not be listed.
    code, err = told(folder, "map", "-a", "hidden/y.txt", "echo {}")
    assert code == 2, err
    assert "hidden/y.txt does not exist" in err


@pytest.mark.parametrize("verb", [["show"], ["report"], ["status"], ["wait"], ["compare", "latest"]])
def test_a_run(folder: Path, verb: list[str]) -> None:
    code, err = told(folder, *verb, "locked/x.yaml")
    assert code == 2, err
    assert err.startswith("arcli: ")
