"""Files by their names: what matches, and what is left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sources import source

from arcli.inputs.glob import Glob

TREE = (
    "a.txt", "b.txt", "b.md", "draft0.txt", ".hidden.txt", "deep/c.txt", "deep/draft1.txt",
    "deep/er/d.txt", "x[1].txt", "x1.txt", ".git/e.txt",
)  # fmt: skip


@pytest.fixture(params=["plain", "sp[x]"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files, which is the working directory; its name may look like a pattern."""
    folder = tmp_path / str(request.param)
    for name in TREE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "deep/loop").symlink_to("..")
    (folder / "broken.txt").symlink_to("nowhere")
    (folder / "link.txt").symlink_to("a.txt")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("patterns", "exclude", "found"),
    [
        ("*.txt", [], "a.txt b.txt draft0.txt link.txt x1.txt x[1].txt"),
        ("**/*.md", [], "b.md"),
        ("deep/**/*.txt", [], "deep/c.txt deep/draft1.txt deep/er/d.txt"),
        ("deep/**", [], "deep/c.txt deep/draft1.txt deep/er/d.txt"),
        ("**/d*.txt", [], "deep/draft1.txt deep/er/d.txt draft0.txt"),
        ("**/d*.txt", "**/draft*", "deep/er/d.txt"),
        ("**/d*.txt", "draft*", "deep/er/d.txt"),
        ("**/d*.txt", "deep/*", "draft0.txt"),
        ("deep/**/*.txt", "deep/*.txt", "deep/er/d.txt"),
        ("deep/**/*.txt", "er", "deep/c.txt deep/draft1.txt"),
        ("deep/**/*.txt", "deep/", ""),
        ("x[[]1].txt", [], "x[1].txt"),
        ("x*", "x[[]1].txt", "x1.txt"),
        ("x*", "x[1].txt", "x[1].txt"),
        (".*.txt", [], ".hidden.txt"),
        (".git/*", [], ".git/e.txt"),
        ("deep/loop/*.md", [], "deep/loop/b.md"),
        (["a.txt", "./a.txt", "deep/../a.txt"], [], "a.txt"),
        ("*/", [], "deep"),
        ("**/", "er", ". deep"),
        ("nothing/**/*.txt", [], ""),
        ("a?txt", [], "a.txt"),
        ("*.{md,txt}", "{a,draft}*", "b.md b.txt link.txt x1.txt x[1].txt"),
        ("{a,deep/{c,er/d}}.txt", [], "a.txt deep/c.txt deep/er/d.txt"),
        ("draft{0..9}.txt", [], "draft0.txt"),
        ("[!abl]*.txt", [], "draft0.txt x1.txt x[1].txt"),
        ("[^abl]*.txt", [], "draft0.txt x1.txt x[1].txt"),
        (r"x\[1].txt", [], "x[1].txt"),
        ("deep/**/", [], "deep deep/er"),
        ("deep/*/", [], "deep/er deep/loop"),
    ],
)
def test_what_matches_and_what_is_left_out(tree: Path, patterns: Any, exclude: Any, found: str) -> None:
    paths = source({"glob": {"patterns": patterns, "exclude": exclude}}, tree)
    assert list(paths) == found.split()
    assert paths.length == len(found.split())


@pytest.mark.parametrize(("pattern", "problem"), [
    ("{a,b}" * 9 + "{a,b}", "more than 1,000 patterns"),
    ("{1..1001}", "more than 1,000 patterns"),
    ("{1..1000}", ""),
    ("{a," * 5000 + "}" * 5000, "more than 1,000 patterns"),
    ("{a,b.txt", "without its other half"),
    ("[{]*", ""),
    (r"\{*", ""),
])  # fmt: skip
def test_braces_are_checked(tmp_path: Path, pattern: str, problem: str) -> None:
    problems = [error.message for error in Glob(patterns=[pattern]).check(tmp_path)]
    assert [problem] == [text[-len(problem) :] for text in problems] if problem else not problems


def test_names_may_be_no_text(tree: Path) -> None:
    name = os.fsdecode(b"n\xff.txt")
    (tree / name).touch()
    assert list(source({"glob": "n*.txt"}, tree)) == [name]
    assert list(source({"glob": {"patterns": "?*.txt", "exclude": "[!n]*"}}, tree)) == [name]


def test_braces_may_hold_paths(tree: Path) -> None:
    literal = str(tree).replace("[", "[[]")
    assert list(source({"glob": f"{{{literal}/a,b,deep/c}}.txt"}, tree)) == ["a.txt", "b.txt", "deep/c.txt"]
    assert list(source({"glob": "deep/{er/,c.txt}"}, tree)) == ["deep/c.txt", "deep/er"]


def test_what_is_left_out_is_written_as_what_is_wanted(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree / "deep"))
    literal = str(tree).replace("[", "[[]")
    absolute = (f"{literal}/deep", f"{{{literal},x}}/deep", "~")
    for place in ("deep", "./deep", "deep/er/..", "{./deep/,x}", *absolute):
        for exclude in (place, f"{place}/*"):
            over = {"glob": {"patterns": ["*.md", "deep/c.txt"], "exclude": exclude}}
            assert list(source(over, tree)) == ["b.md"], exclude
    for nothing in ("", "/", "./a.txt/b.md"):
        assert list(source({"glob": {"patterns": "*.md", "exclude": nothing}}, tree)) == ["b.md"]


def test_names_are_left_out_beside_the_folder_of_the_spec(tree: Path) -> None:
    literal = str(tree).replace("[", "[[]")
    for patterns in ("../*.txt", f"{literal}/*.txt"):
        for exclude in ("[!b]*", "**/[!b]*", "../[!b]*", f"{literal}/[!b]*"):
            over = {"glob": {"patterns": patterns, "exclude": exclude}}
            assert list(source(over, tree / "deep")) == ["b.txt"], exclude
        over = {"glob": {"patterns": patterns, "exclude": "**/" + tree.parent.name}}
        assert len(list(source(over, tree / "deep"))) == 6


def test_what_is_no_file_or_cannot_be_looked_into_matches_nothing(tree: Path) -> None:
    os.mkfifo(tree / "pipe.md")
    assert list(source({"glob": ["*.md", "a.txt/*", "a.txt/", "pipe.md", "broken.txt"]}, tree)) == ["b.md"]


def test_a_tilde_is_the_home_folder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree / "deep"))
    assert list(source({"glob": "~/*.txt"}, tree)) == ["deep/c.txt", "deep/draft1.txt"]


def test_paths_work_from_the_working_directory(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree / "deep")
    assert list(source({"glob": "*.md"}, tree)) == [str(tree / "b.md")]
    assert list(source({"glob": "deep/*.txt"}, tree)) == ["c.txt", "draft1.txt"]
    literal = str(tree).replace("[", "[[]")
    assert list(source({"glob": f"{literal}/deep/c.*"}, Path("/"))) == ["c.txt"]
