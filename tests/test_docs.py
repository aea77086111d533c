"""What the documentation shows, as its reader would follow it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import generate
import pytest
from runs import called

from arcli.cli import VERBS
from arcli.specfile.compose import compose
from arcli.specfile.tree import Text

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
TESTED_ELSEWHERE = {"from-gnu-parallel"}
BLOCK = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXIT = re.compile(r"\s+# exit (\d+)$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NOT_RUN = re.compile(
    r"^(make |pip |pipx |uv )|slurm|\| jq|gzip"  # they install something, or need what is not here
)


class Example(NamedTuple):
    """A section of a page: the files that it shows, and the commands that it tells to type."""

    title: str
    files: dict[str, str]
    commands: list[str]


def examples() -> list[Example]:
    """Return what there is to run; the first steps are one example, from the first section to the last."""
    found = []
    for page in (page for page in PAGES if page.stem not in TESTED_ELSEWHERE):
        text = page.read_text("utf-8")
        sections = [text] if page.stem in {"first-steps", "README"} else re.split(r"(?m)^(?=## )", text)
        for section in sections:
            blocks = BLOCK.findall(section)
            consoles = [content for kind, _, content in blocks if kind == "console"]
            lines = [line for content in consoles for line in content.splitlines()]
            commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
            files = {name: content for kind, name, content in blocks if name and kind != "console"}
            commands = [command for command in commands if not NOT_RUN.search(command)]
            if commands:
                heading = section.lstrip("# ").partition("\n")[0]
                found.append(Example(f"{page.stem}: {heading}", files, commands))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_page_shows_an_error_that_it_does_not_tell_of(page: Path) -> None:
    shown = re.findall(
        r"<!-- shown[^>]*-->\s+```console\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    for block in shown:
        assert "# exit" in block or not re.search(r"^arcli: |^Traceback", block, re.MULTILINE), block


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.title)
def test_an_example_does_what_is_said_of_it(example: Example, tmp_path: Path) -> None:
    if "notebook" in example.title:
        pytest.importorskip("papermill")
    if any("import pandas" in text for text in example.files.values()):
        pytest.importorskip("pandas")
    for name, text in example.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    binaries = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    for command in example.commands:
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_links_lead_somewhere(page: Path) -> None:
    made = {"reference/keys.md", "reference/commands.md", *generate.COPIES}
    for link in LINK.findall(page.read_text("utf-8")):
        path, _, _ = link.partition("#")
        if path and "://" not in path and path not in made:
            assert (page.parent / path).exists(), link


CLUSTERS = BLOCK.findall((DOCS / "clusters.md").read_text("utf-8"))


@pytest.mark.parametrize("text", [text for kind, _, text in CLUSTERS if kind == "yaml"])
def test_the_specs_for_clusters_are_valid(tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    code, _, said = called(tmp_path, "check", "spec.yaml")
    assert (code, said) == (0, "")


def shown_specs() -> dict[str, str]:
    """Return all whole specs of the pages, but for what is to be refused, and those that ship."""
    specs = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "jobs").glob("*.yaml"))}
    for page in PAGES:
        for at, (kind, name, text) in enumerate(BLOCK.findall(page.read_text("utf-8"))):
            is_spec = kind == "yaml" and not name.startswith((".", "typo"))
            if is_spec and re.search(r"(?m)^(jobs|map|apply|command|notebook):", text):
                specs[f"{page.stem} {at}"] = text
    return specs


SPECS = shown_specs()


@pytest.mark.parametrize("place", SPECS)
def test_the_schema_for_editors_accepts_the_specs_that_are_shown(place: str, editor: Any) -> None:
    tree = compose(Text(place, SPECS[place])).plain_data()
    assert [error.message for error in editor.iter_errors(tree)] == []


@pytest.mark.parametrize(
    ("name", "schema"),
    [(".github/workflows/bench.yaml", "github-workflows"), (".gitlab-ci.yml", "gitlab-ci")],
)
def test_the_workflows_are_accepted_by_a_linter_for_them(tmp_path: Path, name: str, schema: str) -> None:
    pytest.importorskip("check_jsonschema")
    blocks = BLOCK.findall((DOCS / "ci-and-cron.md").read_text("utf-8"))
    (text,) = [text for _, file, text in blocks if file == name]
    (tmp_path / "workflow.yaml").write_text(text)
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*check, tmp_path / "workflow.yaml"], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout


def test_the_reference_of_commands_has_every_option_and_what_it_does() -> None:
    page = generate.commands_page()
    rows = re.findall(r"(?m)^\| `(-[^`]+)` \| (.*) \|$", page)
    assert len(rows) > 30
    assert [option for option, text in rows if not text] == []
    for verb in VERBS:
        assert f"\n## arcli {verb}\n" in page


def test_the_reference_of_keys_has_every_part_of_a_spec() -> None:
    page = generate.keys_page()
    for key in ("engines", "imports", "map", "over", "chunksize", "csv", "format"):
        assert re.search(rf"(?m)^\| `{key}` \|", page), key
    anchors = set(re.findall(r"\]\(#([^)]+)\)", page))
    titles = {generate._anchor(title) for title in re.findall(r"(?m)^##+ (.*)$", page)}
    assert anchors <= titles


def test_every_key_has_a_text_that_editors_show() -> None:
    rows = re.findall(r"(?m)^\| `([^`]+)` \| .*? \| .*? \| (.*?) \|$", generate.keys_page())
    assert len(rows) > 100
    assert [key for key, text in rows if not text] == []
