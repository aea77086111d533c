"""Each command's help: short ways to it, and examples that are right."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path

import click
import pytest

from arcli.cli import VERBS, main


def commands() -> dict[str, click.Command]:
    """Every command by what is typed for it."""
    found: dict[str, click.Command] = {}
    for name, verb in VERBS.items():
        command: click.Command = importlib.import_module(verb.module).command
        found[f"arcli {name}"] = command
        if isinstance(command, click.Group):
            found.update({f"arcli {name} {sub}": part for sub, part in command.commands.items()})
    return found


ROOT = Path(__file__).parents[2]
COMMANDS = commands()
SETTINGS = main.context_settings


@pytest.mark.parametrize("name", COMMANDS)
def test_its_examples_are_command_lines_of_it(name: str) -> None:
    text = (COMMANDS[name].help or "").partition("Examples:\n")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    assert len(lines) > 1 or name == "arcli schema" or " " in name.removeprefix("arcli ")
    assert "\\b" not in (COMMANDS[name].help or "")
    for line in lines:
        words = shlex.split(line.removeprefix('eval "$(').removesuffix(')"'))
        words = words[: words.index(">")] if ">" in words else words
        while "|" in words:
            words = words[words.index("|") + 1 :]
        assert words[0] == "arcli"
        # Raises what a user would be told.
        used = " ".join(words[:3]) if " ".join(words[:3]) in COMMANDS else " ".join(words[:2])
        COMMANDS[used].make_context(
            used, words[len(used.split()) :], parent=click.Context(main, **SETTINGS)
        )


@pytest.mark.parametrize("verb", VERBS)
def test_it_has_a_place_on_the_first_page_and_in_the_documentation(verb: str) -> None:
    first = (ROOT / "README.md").read_text()
    assert f"arcli {verb}" in first or f", `{verb}`" in first
    assert any(f"arcli {verb}" in page.read_text() for page in (ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("words", [["-h"], ["run", "-h"], ["cluster", "start", "-h"], ["map", "-h"]])
def test_h_is_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    out, _ = capsys.readouterr()
    assert end.value.code == 0
    assert "Usage: arcli" in out
    assert "\n  Examples:\n    arcli " in out
    assert "\\b" not in out


def test_the_version_tells_what_a_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    out, _ = capsys.readouterr()
    for word in ("arcli ", "ipyparallel ", "Python 3."):
        assert word in out
