"""The project keeps its word: what the documentation says is there, and what is there it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import arcli
from arcli.errors import ExitCode
from arcli.inputs import Over
from arcli.record import FIELDS
from arcli.specfile.model import Cluster, Job, Policy, Setup, SpecFile
from arcli.specfile.shape import keys_of

ROOT = Path(__file__).parents[1]
README, SPEC, OUTPUTS, TROUBLESHOOTING = (
    (ROOT / name).read_text("utf-8")
    for name in ("README.md", "docs/spec.md", "docs/outputs.md", "docs/troubleshooting.md")
)
INTERNAL = {"version", "file", "folder", "places", "list"}


def test_the_first_page_is_a_page() -> None:
    assert len(README.splitlines()) <= 100


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_is_documented(code: ExitCode) -> None:
    table, _, sections = TROUBLESHOOTING.partition("\n## ")
    assert re.search(rf"^\| (.*, )?{int(code)}[ ,]", table, re.MULTILINE)
    assert code == 0 or re.search(rf"^(## )?([\d, ]+, )?{int(code)}(, [\d, ]+)?:", sections, re.MULTILINE)


@pytest.mark.parametrize("name", FIELDS)
def test_every_key_of_the_record_is_documented(name: str) -> None:
    table = OUTPUTS.partition("## The record")[2].partition("## ")[0]
    assert f"`{name}`" in table


@pytest.mark.parametrize("model", [SpecFile, Cluster, Setup, Policy, Job, Over])
def test_every_key_of_a_spec_is_documented(model: type) -> None:
    missing = [key for key in keys_of(model) if not re.search(rf"\b{key}\b", SPEC)]
    assert set(missing) <= INTERNAL


def test_all_keys_at_once_make_a_valid_spec(tmp_path: Path) -> None:
    text = SPEC.partition("```yaml\n")[2].partition("```")[0]
    text = text.replace("needs: [other]", "needs: []").replace("    gather: part", "    #")
    text = text.replace("collect: list", "# ").replace("max_failures: 3%", "#")
    (tmp_path / "src").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "table.txt").touch()
    (tmp_path / "spec.yaml").write_text(text)
    command = [sys.executable, "-m", "arcli", "check", "spec.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_version_is_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "arcli", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"arcli {arcli.__version__} ")
    assert arcli.__version__ in (ROOT / "CHANGELOG.md").read_text()
