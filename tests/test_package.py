"""The package as people get it: a wheel in an environment that has nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from arcli.cli import VERBS
from arcli.suggest import how_to_add

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build: list[Any] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        folder,
        ROOT,
    ]
    subprocess.run(build, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install: list[Any] = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        wheel,
    ]
    subprocess.run(install, check=True, capture_output=True)
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"arcli/cli/job.yaml", "arcli/reports/page.css", "arcli/reports/page.js"} <= {*names}
    folders = {name.partition("/")[0] for name in names}
    assert {name for name in folders if not name.endswith(".dist-info")} <= {
        "arcli",
        f"{wheel.name.split('-')[0]}-{wheel.name.split('-')[1]}.data",
    }
    assert "arcli/py.typed" in names


def test_the_wheel_has_a_manual_page_for_every_command(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        pages = {Path(name).name: archive.read(name) for name in archive.namelist() if "/man1/" in name}
    assert {"arcli.1", *(f"arcli-{verb}.1" for verb in VERBS), "arcli-cluster-start.1"} <= pages.keys()
    run = pages["arcli-run.1"].decode()
    for part in (".SH NAME\narcli-run \\- ", ".SH EXAMPLES", "\\-\\-resume", "\\-h, \\-\\-help"):
        assert part in run
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    for name, text in pages.items():
        (tmp_path / name).write_bytes(text)
        # Whatever it cannot set as it is said is a warning.
        shown = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", tmp_path / name],
            capture_output=True, text=True, check=True, env={**os.environ, "MANWIDTH": "100"},
        )  # fmt: skip
        assert shown.stderr == "", name
        assert "NAME" in shown.stdout


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_the_wheel_runs_from_an_empty_environment(environment: Path, tmp_path: Path) -> None:
    arcli = environment / "bin" / "arcli"
    # Nothing of this checkout or of the tests' own environment may be what makes it work.
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL"))}
    for arguments in (["--version"], ["init", "first.yaml"], ["check", "first.yaml"]):
        subprocess.run([arcli, *arguments], cwd=tmp_path, env=env, check=True, capture_output=True)
    run: list[Any] = [arcli, "run", "first.yaml", "-n", "1", "--format", "jsonl"]
    done = subprocess.run(run, cwd=tmp_path, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"status":"ok"' in done.stdout


def test_no_text_installs_the_program_that_has_the_name_on_the_public_index() -> None:
    strangers = ("install arcli", "install 'arcli", 'install "arcli', "inject arcli ")
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for path in [*texts, *(ROOT / "arcli").rglob("*.py")]:
        lines = path.read_text("utf-8").replace("arcli-batch", "").splitlines()
        assert [line for line in lines if any(words in line for words in strangers)] == [], path
    assert PROJECT["name"] != "arcli"
    assert list(PROJECT["scripts"]) == ["arcli"]


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("pipx_metadata.json", "pipx inject tool 'pyarrow>=15'"),
        ("uv-receipt.toml", "uv pip install --python {python} 'pyarrow>=15'"),
        (None, "{python} -m pip install 'pyarrow>=15'"),
    ],
)
def test_hints_fit_how_arcli_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str | None, command: str
) -> None:
    environment = tmp_path / "tool"
    environment.mkdir()
    if file:
        (environment / file).touch()
    monkeypatch.setattr(sys, "prefix", str(environment))
    monkeypatch.setattr(sys, "executable", f"{environment}/bin/python")
    assert how_to_add("pyarrow>=15") == command.format(python=f"{environment}/bin/python")
