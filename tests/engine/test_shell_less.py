"""Shell strings that are started without a shell do what the shell would have done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from arcli.engine.blank_files import BlankFiles
from arcli.engine.command import Command, CommandFailed, CommandLine
from arcli.engine.live import Live, Patrol
from arcli.engine.protocol import JobDefinition
from arcli.engine.shell_less import words_of
from arcli.engine.template import Names, argv_call, shell_call
from arcli.placeholders import compiled, compiled_script

PRINTF = "/usr/bin/printf"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux's programs are recognised")


def run(text: str, item: Any = "x", **more: Any) -> dict[str, Any]:
    job = JobDefinition("job", "command", shell=compiled_script(text), **more)
    value: dict[str, Any] = Command(CommandLine(job), {}, BlankFiles(), Patrol(Live(None))).run(item, 0)
    return value


def parent_of(text: str, item: Any = "x") -> int:
    """Tell who started the program of a command that prints /proc/self/stat."""
    return int(run(text, item)["stdout"].split()[3])


@linux
@pytest.mark.parametrize(
    "text", ["cat /proc/self/stat", " cat\t/proc/self/{} ", "/bin/cat /proc/self/st{}t"]
)
def test_a_program_and_its_arguments_are_started_without_a_shell(text: str) -> None:
    item = "a" if "st{}t" in text else "stat"
    assert parent_of(text, item) == os.getpid()


@linux
def test_what_is_more_than_that_is_the_shells() -> None:
    assert parent_of("cat /proc/self/stat; :") != os.getpid()


@pytest.mark.parametrize(
    "text",
    [
        *("echo {}", "true", "test -e {}", "{} a", "A=1 env", "if", "[ {} ]"),
        *("a *.c", "a ~/b", "a 'b'", "a $b", "a\nb", "a b\\", "a {b,c}", "a >b", "a `b`", "a é", "a '{b}'"),
        *("", " ", "# a", "!a", "a;", "a &", "a | b", "x{}"),
    ],
)
def test_a_shell_reads_what_it_alone_understands(text: str) -> None:
    assert words_of(compiled_script(text)) is None


literal = st.text("abz09_@%+:,./=-", min_size=1, max_size=5)
values = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10)
words = st.one_of(literal, st.just("{}"), literal.map(lambda text: text + "{}"), st.just("{}{}"))


@settings(deadline=None, max_examples=60)
@given(st.lists(words, max_size=5), st.sampled_from([" ", "\t", "  "]), values)
@example(["--x={}", "-"], " ", "a b\n*")
@example(["{}"], " ", "")
def test_a_program_gets_the_words_that_a_shell_would_give_it(
    arguments: list[str], blank: str, value: str
) -> None:
    script = compiled_script(blank.join([PRINTF, "%s@", *arguments]))
    argv = words_of(script)
    assert argv is not None
    names = Names(value, 0)
    said = [
        subprocess.run(call, capture_output=True, check=True).stdout
        for call in (argv_call(argv, names), shell_call(script, names))
    ]
    assert said[0] == said[1]


def test_a_program_that_is_missing_is_told_by_the_shell() -> None:
    with pytest.raises(CommandFailed) as caught:
        run("no-such-program-anywhere {}")
    assert caught.value.value["exit"] == 127
    assert "no-such-program-anywhere" in caught.value.value["stderr"]


def test_a_script_that_does_not_say_what_runs_it_is_run(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('echo "$1"\n')
    script.chmod(0o755)
    assert run(f"{script} {{}}", "a b")["stdout"] == "a b\n"


def test_a_program_that_may_not_be_run_is_told_by_the_shell(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o644)
    with pytest.raises(CommandFailed, match="126"):
        run(f"{program} {{}}")


def test_the_working_directory_is_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "PWD=" + str(tmp_path) in run("env", cwd=compiled(str(tmp_path)))["stdout"].split("\n")
    monkeypatch.setenv("PWD", "/usr")
    monkeypatch.chdir(tmp_path)
    assert f"PWD={tmp_path}" in run("env")["stdout"].split("\n")


@linux
def test_a_signal_that_ends_a_program_is_its_own(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="killed by SIGKILL") as caught:
        run(f"{sys.executable} -c {{}}", "import os; os.kill(os.getpid(), 9)")
    assert caught.value.value["exit"] == -9


def test_the_paths_of_the_jobs_environment_are_the_shells_to_search(tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to("/bin/cat")
    env = {"PATH": compiled(str(tmp_path))}
    assert run("mine /dev/null", env=env)["exit"] == 0
