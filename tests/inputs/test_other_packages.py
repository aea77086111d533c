"""An input from another package: one class and an entry point, and a spec can use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CODE = '''\
from collections.abc import Iterator
from typing import Any, ClassVar

from arcli.errors import InputError
from arcli.inputs import Input, SourceContext
from arcli.inputs.base import Fixed, Source


class Vowels(Input):
    """The vowels of a text."""

    key: ClassVar[str] = "vowels"
    short: ClassVar[str] = "text"
    text: str
    twice: bool = False

    def check(self, folder: Any) -> Iterator[InputError]:
        if not self.text:
            yield InputError("a text without letters", hint="write some", path=("text",))

    def open(self, context: SourceContext) -> Source:
        return Fixed([letter for letter in self.text if letter in "aeiou"] * (1 + self.twice))
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with an installed distribution that adds an input."""
    folder = tmp_path / "site"
    about = folder / "vowels-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "vowels.py").write_text(CODE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: vowels\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[arcli.inputs]\nvowels = vowels:Vowels\n")
    return folder


def arcli(folder: Path, package: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, "-m", "arcli", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def values(folder: Path, package: Path, over: str) -> list[Any]:
    (folder / "spec.yaml").write_text(f"map: str.upper\nover: {over}\n")
    done = arcli(folder, package, "run", "spec.yaml", "--inline", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["value"] for line in done.stdout.splitlines()]


def test_a_spec_runs_over_it_in_both_forms_and_in_combinations(tmp_path: Path, package: Path) -> None:
    assert values(tmp_path, package, "{vowels: banana}") == ["A", "A", "A"]
    assert values(tmp_path, package, "{vowels: {text: ui, twice: true}, exclude: [u]}") == ["I", "I"]
    product = "{product: {s: {vowels: oe}}}"
    (tmp_path / "spec.yaml").write_text(f'map: "lambda s: s"\nover: {product}\n')
    assert arcli(tmp_path, package, "check", "spec.yaml").returncode == 0


def test_its_mistakes_are_told_with_their_place(tmp_path: Path, package: Path) -> None:
    (tmp_path / "spec.yaml").write_text('map: str.upper\nover: {vowels: ""}\n')
    done = arcli(tmp_path, package, "check", "spec.yaml")
    assert done.returncode == 2
    assert "spec.yaml:2:16: a text without letters" in done.stderr
    (tmp_path / "spec.yaml").write_text("map: str.upper\nover: {vowels: {tex: a}}\n")
    assert "did you mean 'text'?" in arcli(tmp_path, package, "check", "spec.yaml").stderr


def test_the_schema_and_the_messages_know_it(tmp_path: Path, package: Path) -> None:
    schema = json.loads(arcli(tmp_path, package, "schema").stdout)
    forms = schema["$defs"]["Vowels"]["anyOf"]
    assert forms[-1]["description"] == "The vowels of a text."
    assert any(form.get("type") == "string" for form in forms)
    (tmp_path / "spec.yaml").write_text("map: str.upper\nover: {}\n")
    assert "cases, vowels" in arcli(tmp_path, package, "check", "spec.yaml").stderr


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("Vowels = 3\n", "vowels:Vowels is no arcli.inputs.base.Input"),
        ("import nowhere\n", "ModuleNotFoundError: No module named 'nowhere'"),
        (CODE.replace('"vowels"', '"csv"'), "there is an input 'csv' already"),
    ],
)
def test_a_package_that_is_broken_is_named(tmp_path: Path, package: Path, code: str, reason: str) -> None:
    (package / "vowels.py").write_text(code)
    (tmp_path / "spec.yaml").write_text("map: str.upper\nover: {vowels: a}\n")
    done = arcli(tmp_path, package, "check", "spec.yaml")
    assert done.returncode == 2
    assert "the input 'vowels' of the package vowels cannot be used" in done.stderr
    assert reason in done.stderr
