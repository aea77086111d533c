"""What holds for all tests."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from runs import ended_runs, mounted, signals_as_from_a_terminal

# How long an example takes says how busy the machine is, and nothing of the code. In CI the examples
# are the same each time, so that a change is judged by what it changes; elsewhere they are new ones.
settings.register_profile("arcli", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "arcli")


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Leave nothing in the user's own folders, and have a folder for temporary files that is short."""
    signals_as_from_a_terminal()
    temporary = Path(tempfile.mkdtemp(prefix="at-", dir="/tmp"))  # short enough for sockets
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        _use_temporary(patch, temporary)
        yield temporary
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(autouse=True)
def _alone(_own_state: Path) -> Iterator[None]:
    """Have no test see another one's temporary files and variables, or the runs of one that failed."""
    temporary = Path(tempfile.mkdtemp(dir=_own_state))
    measurement = sys.gettrace()
    with mock.patch.dict(os.environ), pytest.MonkeyPatch.context() as patch, ended_runs():
        _use_temporary(patch, temporary)
        yield
    shutil.rmtree(temporary, ignore_errors=True)
    # A test that ends the measurement of coverage does so for all that come after it in its process.
    assert sys.gettrace() is measurement


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        yield disk


def _use_temporary(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setenv("TMPDIR", str(folder))
    patch.setattr(tempfile, "tempdir", str(folder))
