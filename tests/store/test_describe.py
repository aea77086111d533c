from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from arcli.fields import Deferred, DeferredText
from arcli.specfile.model import Spec
from arcli.store.describe import describe, git_state, plain
from arcli.store.manifest import Manifest


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    file = tmp_path / "a.yaml"
    file.write_text("map: math:sqrt\n")
    return Spec.model_validate(
        {
            "name": "a",
            "params": {"n": 3},
            "jobs": [
                {
                    "name": "a",
                    "map": "math:sqrt",
                    "over": [1, 2],
                    "args": [
                        Deferred("ref", "id"),
                        DeferredText(("n=", Deferred("engines", "count"))),
                    ],
                }
            ],
            "file": str(file),
            "folder": tmp_path,
        }
    )


def test_a_run_is_described_by_what_decides_it(spec: Spec, tmp_path: Path) -> None:
    about = describe(spec, argv=["arcli", "run", "a.yaml"], resumes="20260101-000000-0000")
    assert about.name == "a"
    assert about.params == {"n": 3}
    assert about.spec_file == os.path.realpath(tmp_path / "a.yaml")
    assert about.spec_sha256 == hashlib.sha256(b"map: math:sqrt\n").hexdigest()
    assert about.versions is not None
    assert set(about.versions) == {"arcli", "python", "ipyparallel"}
    assert about.cwd == str(Path.cwd())
    assert about.resumes == "20260101-000000-0000"
    job = json.loads(about.to_json())["spec"]["jobs"][0]
    assert job["over"]["list"] == [1, 2]
    assert "places" not in about.spec  # the whole text of the spec, as Python's repr has it
    assert job["args"] == ["${ref.id}", "n=${engines.count}"]
    assert Manifest.from_json(about.to_json()).to_json() == about.to_json()


def test_a_spec_from_stdin_has_no_file(spec: Spec) -> None:
    about = describe(spec.model_copy(update={"file": "-"}), argv=[])
    assert (about.spec_file, about.spec_sha256) == ("-", None)


def test_what_json_cannot_hold_is_told_in_words(spec: Spec) -> None:
    about = describe(spec, argv=["arcli", "caf\udce9.yaml"])
    assert json.loads(about.to_json())["argv"][1] == "caf\\udce9.yaml"
    tree = {1: (Path("x"), 2**70, -(2**63), True, None, 1.5)}
    assert plain(tree) == {"1": ["x", str(2**70), -(2**63), True, None, 1.5]}
    assert type(plain(True)) is bool


def git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_commit_of_a_spec_and_whether_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) is None
    (tmp_path / "a.yaml").write_text("1")
    git(tmp_path, "add", "a.yaml")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "tag", "v1")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "a.yaml").write_text("2")
    assert git_state(tmp_path) == {"commit": commit, "dirty": True}


def test_without_git_nothing_is_said_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None
