"""``cluster: python``: where it is looked for, and what is said of one that cannot run engines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from runs import Run

SPEC = "cluster: {python: PYTHON}\nmap: 'lambda x: __import__(\"sys\").executable'\nover: [1]\n"


def run(folder: Path, python: str, where: Path | None = None) -> tuple[int, str, str]:
    (folder / "spec.yaml").write_text(SPEC.replace("PYTHON", python))
    run = Run(where or folder, ["run", str(folder / "spec.yaml"), "-n", "1", "--format", "jsonl"])
    code = run.wait()
    return code, run.out.read_text(), run.said()


def script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_it_is_relative_to_the_spec(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "python", f'exec {sys.executable} "$@"')
    (tmp_path / "elsewhere").mkdir()
    code, out, said = run(tmp_path, "bin/python", tmp_path / "elsewhere")
    assert (code, '"status":"ok"' in out) == (0, True), said


def test_messages_are_written_so_that_any_package_reads_them(tmp_path: Path) -> None:
    # A project's jupyter_client may be older than arcli's, and orjson be missing there.
    script(tmp_path / "bin" / "python", f'exec {sys.executable} "$@"')
    (tmp_path / "spec.yaml").write_text(
        "cluster: {python: bin/python}\n"
        "setup: {imports: [ipyparallel.engine.app as app]}\n"
        "apply: 'lambda: app.IPEngine.instance().session.packer'\n"
        "targets: any\n"
    )
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "1", "--format", "jsonl"])
    assert run.wait() == 0, run.said()
    assert run.lines()[0]["value"] == "json"


@pytest.mark.parametrize("cluster", ["{}", "{python: bin/python}", "{launcher: local}"])
def test_nothing_runs_in_an_engine_that_is_for_an_interactive_python(tmp_path: Path, cluster: str) -> None:
    script(tmp_path / "bin" / "python", f'exec {sys.executable} "$@"')
    (tmp_path / "startup.py").write_text("of_an_interactive_python = True\n")
    (tmp_path / "spec.yaml").write_text(
        f"cluster: {cluster}\nmap: 'lambda x: \"of_an_interactive_python\" in globals()'\nover: [1]\n"
    )
    run = Run(
        tmp_path,
        ["run", "spec.yaml", "-n", "1", "--format", "jsonl"],
        env={"PYTHONSTARTUP": str(tmp_path / "startup.py")},
    )
    assert run.wait() == 0, run.said()
    assert run.lines()[0]["value"] is False


def test_a_traceback_shows_no_line_of_what_starts_the_engine(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "python", f'exec {sys.executable} "$@"')
    (tmp_path / "spec.yaml").write_text(SPEC.replace("PYTHON", "bin/python").replace("executable", "none"))
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "1", "--format", "jsonl"])
    assert run.wait() == 1, run.said()
    assert "runpy" not in run.lines()[0]["error"]["traceback"]


@pytest.mark.parametrize("python", ["bin/none", "./spec.yaml", "no-such-python"])
def test_one_that_is_not_there_is_a_mistake_in_the_spec(tmp_path: Path, python: str) -> None:
    code, _, said = run(tmp_path, python)
    assert code == 2
    assert "spec.yaml:1:" in said
    assert "there is no program" in said
    assert not (tmp_path / ".arcli").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exit 0", "is not a Python that works: it ended with 0 and said: nothing"),
        ("echo broken >&2; exit 3", "it ended with 3 and said: broken"),
        (f'exec {sys.executable} -I -S "$@"', "cannot import ipyparallel"),
        ("echo '(base) None'", "it ended with 0 and said: (base) None"),
        ("printf '\\377(3\\n'", "it ended with 0 and said: \ufffd(3"),
        ("echo '(base)'; echo '(3, 10) None'", "is Python 3.10, and engines need 3.11 or newer"),
    ],
)
def test_one_that_cannot_run_engines_is_found_before_they_are_started(
    tmp_path: Path, text: str, words: str
) -> None:
    script(tmp_path / "bin" / "python", text)
    code, _, said = run(tmp_path, "bin/python")
    assert code == 3
    assert words in said
    assert str(tmp_path / "bin" / "python") in said
    assert "Traceback" not in said
