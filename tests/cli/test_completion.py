"""What shells complete: options, and names of jobs, parameters, runs and clusters; files as ever."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs import PATIENCE

BINARIES = Path(sys.executable).parent
SPEC = """
params: {alpha: 1, beta: two}
jobs: [{name: fit, map: str, over: [1]}, {name: fold, map: str, over: [1]}]
"""
RUN = "20260102-030405-abcd"
LATER = "20260102-030406-abcd"
CASES = [
    ("arcli comp", {"compare", "completion"}),
    ("arcli run --prog", {"--progress"}),
    ("arcli run s.yaml --progress pl", {"plain"}),
    ("arcli run s.yaml --job fo", {"fold"}),
    ("arcli run one.yaml --job o", {"one"}),
    ("arcli run named.yaml --job m", {"mine"}),
    ("arcli show --job la", {"later"}),
    ("arcli show 3 --where x --job la", {"later"}),
    (f"arcli show {RUN[:15]} 3 --job a", {"alpha"}),
    ("arcli rerun previous 3 --job be", {"beta"}),
    ("arcli run s.yaml -p al", {"alpha="}),
    ("arcli check s.yaml --param b", {"beta="}),
    ("arcli run s.yaml --resume --run 2026", {RUN, LATER}),
    ("arcli show 20260102-030405", {RUN}),
    ("arcli report late", {"latest"}),
    ("arcli cluster stop ni", {"night"}),
    ("arcli run s.yaml --cluster ni", {"night"}),
    ("arcli run s.ya", {"s.yaml"}),
    ("arcli run s.yaml -o ta", {"table.csv"}),
    ("arcli map 'gzip {}' ::: ta", {"table.csv"}),
    ("arcli report ta", {"table.csv"}),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(SPEC)
    (tmp_path / "table.csv").touch()
    (tmp_path / "one.yaml").write_text("map: str\nover: [1]\n")
    (tmp_path / "named.yaml").write_text("name: mine\nmap: str\nover: [1]\n")
    for run, jobs in ((RUN, ["alpha", "beta"]), (LATER, ["later"])):
        place = tmp_path / ".arcli" / "runs" / run
        place.mkdir(parents=True)
        spec = {"jobs": [{"name": job, "map": "abs"} for job in jobs]}
        (place / "manifest.json").write_text(json.dumps({"spec": spec}))
    # What ipyparallel leaves of a cluster, below $IPYTHONDIR.
    security = tmp_path / "profile_default" / "security"
    security.mkdir(parents=True)
    (security / "cluster-night.json").write_text("{}")
    return tmp_path


def proposed(shell: str, script: str, folder: Path) -> set[str]:
    """What a shell's script prints, a word a line."""
    path = os.pathsep.join([str(BINARIES), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "HOME": str(folder), "IPYTHONDIR": str(folder)}
    done = subprocess.run(
        [shell, "-c", script],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return set(done.stdout.split("\n")) - {""}


@pytest.mark.parametrize(("line", "words"), CASES)
def test_bash(folder: Path, line: str, words: set[str]) -> None:
    # What the shell does on Tab: our function first, then its own way with names of files.
    script = f"""
        eval "$(arcli completion bash)"
        complete -p arcli | grep -q -- '-o default' || exit 1
        compopt() {{ :; }}
        read -r -a COMP_WORDS <<< "{line}"
        COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
        _arcli_completion arcli
        test ${{#COMPREPLY[@]}} -gt 0 || COMPREPLY=( $(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}") )
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    assert proposed("bash", script, folder) == words


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(("line", "words"), CASES)
def test_fish(folder: Path, line: str, words: set[str]) -> None:
    script = f'arcli completion fish | source; complete --do-complete "{line}"'
    found = {word.partition("\t")[0] for word in proposed("fish", script, folder)}
    assert words <= found
    assert len(found) <= len(words) + 1


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize(("line", "words"), CASES)
def test_zsh(folder: Path, line: str, words: set[str]) -> None:
    # The functions of zsh's completion work only within it: these stand in for them.
    script = f"""
        _files() {{ print -l -- ${{words[CURRENT]}}*(N) }}
        _path_files() {{ _files }}
        _describe() {{ print -l -- ${{completions_with_descriptions%%:*}} }}
        compadd() {{ print -l -- $completions }}
        compdef() {{ : }}
        eval "$(arcli completion zsh)"
        words=({line.replace("{", "'{").replace("}", "}'").replace("''", "'")})
        CURRENT=$#words
        _arcli_completion
    """
    script = script.replace("'gzip '{}'", "'gzip {}'")
    assert proposed("zsh", script, folder) == words


def test_a_spec_that_cannot_be_read_proposes_nothing(folder: Path) -> None:
    (folder / "s.yaml").write_text("jobs: [")
    env = {
        **os.environ,
        "_ARCLI_COMPLETE": "bash_complete",
        "COMP_WORDS": "arcli run s.yaml --job f",
        "COMP_CWORD": "4",
    }
    done = subprocess.run([BINARIES / "arcli"], cwd=folder, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"", b"")
