"""The project keeps its word: what README says is there, and what is there README says."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import arcli
from arcli.cli import VERBS
from arcli.errors import ExitCode
from arcli.inputs import Over
from arcli.record import FIELDS
from arcli.specfile.model import Cluster, Job, Policy, Setup, SpecFile
from arcli.specfile.shape import keys_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
INTERNAL = {"version", "file", "folder", "places", "list"}


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_and_option_is_in_the_readme(verb: str) -> None:
    assert f"`arcli {verb}" in README
    command: click.Command = importlib.import_module(VERBS[verb].module).command
    commands = [command]
    if isinstance(command, click.Group):
        assert all(f"`arcli {verb} {name}" in README for name in command.commands)
        commands += command.commands.values()
    options = [p for one in commands for p in one.params if isinstance(p, click.Option)]
    for name in {name for option in options for name in option.opts}:
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", README), name


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_is_in_the_readme(code: ExitCode) -> None:
    table = README.partition("## Exit codes")[2].partition("## ")[0]
    assert re.search(rf"^\| (.*, )?{int(code)}[ ,]", table, re.MULTILINE)


@pytest.mark.parametrize("name", FIELDS)
def test_every_key_of_the_record_is_in_the_readme(name: str) -> None:
    table = README.partition("## The record")[2].partition("## ")[0]
    assert f"`{name}`" in table


@pytest.mark.parametrize("model", [SpecFile, Cluster, Setup, Policy, Job, Over])
def test_every_key_of_a_spec_is_in_the_readme(model: type) -> None:
    spec = README.partition("## The spec")[2].partition("## ")[0]
    missing = [key for key in keys_of(model) if not re.search(rf"\b{key}\b", spec)]
    assert set(missing) <= INTERNAL


def test_the_readmes_first_spec_is_right(tmp_path: Path) -> None:
    text = README.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "squares.yaml").write_text(text)
    command = [sys.executable, "-m", "arcli", "run", "squares.yaml", "--inline", "--format", "text"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "squares = 58.028845747399714" in done.stdout


def test_the_readmes_keys_make_a_valid_spec(tmp_path: Path) -> None:
    text = README.partition("## The spec")[2].partition("```yaml\n")[2].partition("```")[0]
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
    assert done.stdout.strip().endswith(arcli.__version__)
    assert arcli.__version__ in (ROOT / "CHANGELOG.md").read_text()
