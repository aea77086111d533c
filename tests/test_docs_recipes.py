"""Every recipe of the documentation, as its reader would follow it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

RECIPES = Path(__file__).parents[1] / "docs" / "recipes.md"
BLOCK = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXIT = re.compile(r"\s+# exit (\d+)$")


class IpyparallelConfig(NamedTuple):
    title: str
    files: dict[str, str]
    commands: list[str]


def recipes() -> list[IpyparallelConfig]:
    found = []
    for section in RECIPES.read_text("utf-8").split("\n## ")[1:]:
        blocks = BLOCK.findall(section)
        commands = [
            line.removeprefix("$ ")
            for kind, _, text in blocks
            if kind == "console"
            for line in text.splitlines()
        ]
        files = {name: text for kind, name, text in blocks if kind != "console"}
        if commands:
            found.append(IpyparallelConfig(section.partition("\n")[0], files, commands))
    return found


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.title)
def test_recipe(recipe: IpyparallelConfig, tmp_path: Path) -> None:
    if "notebook" in recipe.title:
        pytest.importorskip("papermill")
    for name, text in recipe.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    binaries = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    for command in recipe.commands:
        expected = EXIT.search(command)
        # grep -q leaves as soon as it knows, and whoever still writes to it then is told so.
        strict = [] if "grep -q" in command else ["-o", "pipefail"]
        done = subprocess.run(
            ["bash", *strict, "-c", EXIT.sub("", command)],
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == int(expected[1] if expected else 0), (command, done)


CLUSTERS = RECIPES.with_name("clusters.md").read_text("utf-8")


@pytest.mark.parametrize("text", [text for kind, _, text in BLOCK.findall(CLUSTERS) if kind == "yaml"])
def test_the_specs_for_clusters_are_valid(tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    command = [sys.executable, "-m", "arcli", "check", "spec.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
