"""What docs/architecture.md and CONTRIBUTING.md name is there, and is what the import contract says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
SOURCE = "\n".join(path.read_text("utf-8") for path in (ROOT / "arcli").rglob("*.py"))
TOKENS = sorted(set(re.findall(r"`([^`\n]+)`", PAGE)))
PATHS = [token for token in TOKENS if re.fullmatch(r"[\w./-]+(/|\.py|\.toml)", token)]
CLASSES = [token for token in TOKENS if re.fullmatch(r"[A-Z]\w+", token)]


@pytest.mark.parametrize("path", PATHS)
def test_every_path_on_the_page_exists(path: str) -> None:
    assert (ROOT / "arcli" / path).exists() or (ROOT / path).exists()


@pytest.mark.parametrize("name", CLASSES)
def test_every_name_on_the_page_exists(name: str) -> None:
    assert re.search(rf"(?m)^(class {name}\b|{name}\b.* = )", SOURCE)


def test_the_page_has_what_it_must() -> None:
    assert len(PATHS) > 20
    assert len(CLASSES) >= 4
    steps = re.findall(r"(?m)^\| (\d+) \|.*\| `", PAGE)
    assert steps == [str(number) for number in range(1, 11)]
    assert len(PAGE.partition("## Words")[2].strip().splitlines()) == 20 + 2
    assert len(PAGE.splitlines()) <= 3 * 40


def test_the_rooms_are_those_of_the_import_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (contract,) = project["tool"]["importlinter"]["contracts"]
    layers = [layer.replace("arcli.", "").split(" | ") for layer in contract["layers"]]
    packages = {path.parent.name for path in (ROOT / "arcli").glob("*/__init__.py")}
    floors = {room: floor for floor, layer in enumerate(layers) for room in layer}
    table = PAGE.partition("## The rooms")[2].partition("## ")[0]
    rows = re.findall(r"(?m)^\| ((?:`\w+/`(?:, )?)+)", table)
    rooms = [re.findall(r"`(\w+)/`", row) for row in rows]
    assert {room for row in rooms for room in row} == packages
    # Rooms in one row are on one floor, and the rows go down.
    assert all(len({floors[room] for room in row}) == 1 for row in rooms)
    order = [floors[row[0]] for row in rooms]
    assert order == sorted(order)


def test_no_package_counts_floors() -> None:
    assert "Floor" not in SOURCE
