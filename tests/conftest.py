"""What holds for all tests."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from runs import ended_runs, mounted, signals_as_from_a_terminal

from arcli.specfile.schema import json_schema

# How long an example takes, or is made, says how busy the machine is, and nothing of the code. The examples
# are the same each time, so that a change is judged by what it changes: ``--hypothesis-profile=new`` has
# others each time.
_UNHURRIED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("new", **_UNHURRIED)
settings.register_profile("arcli", derandomize=True, **_UNHURRIED)
settings.load_profile("arcli")


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


@pytest.fixture(scope="session")
def editor() -> Any:
    """What an editor holds a spec against; it takes longer to make than most specs take to be checked."""
    return pytest.importorskip("jsonschema").Draft202012Validator(json_schema())


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
