"""What commands print and leave running: whose it is, how much of it, and what it means."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any

import pytest
from runs import has_ended, wait_until

from arcli.engine import command
from arcli.engine.blank_files import BlankFiles
from arcli.engine.capture import CAP
from arcli.engine.command import Command, CommandFailed, CommandLine, Unparsable
from arcli.engine.limits import UNKNOWN, TimeLimit, Timer
from arcli.engine.live import Live, Patrol
from arcli.engine.program import ProgramFailed
from arcli.engine.protocol import JobDefinition
from arcli.engine.spawn import Child, start
from arcli.plan.job import with_templates

PATROL = Patrol(Live(None))


def make(text: str, given: dict[str, Any] | None = None, **more: Any) -> Command:
    job = JobDefinition("commands", "command", **with_templates({"command": text, **more}))
    return Command(CommandLine(job), given or {}, BlankFiles(), PATROL)


def test_what_runs_on_in_the_background_is_ended_and_speaks_in_nobody_elses_name(tmp_path: Path) -> None:
    # What it leaves in the background speaks when the second one is under way.
    behind = "(until [ -e go ]; do sleep 0.01; done; echo late{}; touch said{})"
    before = "touch go; until [ -e said{} ]; do sleep 0.01; done"
    late = make(f"{behind} & echo now{{}}; [ {{}} = 1 ] && exit; {before}", cwd=str(tmp_path))
    assert [late.run(item, item)["stdout"] for item in (1, 2)] == ["now1\n", "now2\nlate2\n"]


def test_the_group_ends_with_its_command_even_if_it_does_not_listen(tmp_path: Path) -> None:
    deaf = f"sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done' &"
    make(f"{deaf} while [ ! -s {tmp_path}/pid ]; do sleep 0.05; done").run(1, 0)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: has_ended(pid))


def test_parse_works_on_the_whole_output() -> None:
    lines = make("seq 400000", parse="lines")
    value = lines.run(1, 0)
    assert (len(value), value[-1]) == (400_000, "400000")
    out, _, cut = lines.printed
    assert (len(out), cut) == (1 << 20, True)
    large = make("printf '['; seq -s , 300000 | tr -d '\\n'; printf ']'", parse="json")
    assert len(large.run(1, 0)) == 300_000


def test_more_than_can_be_parsed_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PARSED", 1 << 20)
    with pytest.raises(Unparsable, match="more than 1 MiB") as raised:
        make("seq 400000; sleep 0.3", parse="lines").run(1, 0)
    assert raised.value.value["exit"] == 0


def test_endless_output_does_not_fill_the_disk() -> None:
    # When nobody prints any more, what is too much of it goes.
    size = "stat -Lc %s /proc/$$/fd/1"
    endless = make(f"yes & sleep 0.2; kill $!; until [ $({size}) -le {CAP + 1} ]; do sleep 0.01; done")
    value = endless.run(1, 0)
    assert endless.printed[2]
    assert len(value["stdout"]) == CAP


@pytest.mark.parametrize(
    "text", ["printf 'a\\fb\\nc\\342\\200\\250d\\r\\n'", "printf 'a\\fb\\nc\\342\\200\\250d\\r'"]
)
def test_lines_end_at_newlines_only(text: str) -> None:
    assert make(text, parse="lines").run(1, 0) == ["a\fb", "c\u2028d\r"]


def test_no_output_is_no_lines() -> None:
    assert make("true", parse="lines").run(1, 0) == []


@pytest.mark.parametrize("parse", ["json", "float"])
def test_output_that_cannot_be_parsed_still_has_its_exit_status(parse: str) -> None:
    with pytest.raises(ProgramFailed, match=f"stdout is not {parse}") as raised:
        make("echo nonsense; exit 2", ok_exit=[2], parse=parse).run(1, 0)
    assert raised.value.value == {"exit": 2, "stdout": "nonsense\n", "stderr": ""}


@pytest.mark.parametrize(
    ("parse", "text", "why"),
    [
        ("json", "1e400", "1e400 is too large"),
        ("json", "[1, -1e999]", "-1e999 is too large"),
        ("float", "1e400", "1e400 is too large"),
        ("float", "1_0", "not grouped by _"),
    ],
)
def test_what_no_float_holds_is_no_value(parse: str, text: str, why: str) -> None:
    with pytest.raises(Unparsable, match=f"stdout is not {parse}: .*{why}"):
        make(f"echo '{text}'", parse=parse).run(1, 0)


@pytest.mark.parametrize(("parse", "text"), [("json", "-Infinity"), ("float", " -inf")])
def test_infinity_that_is_written_is_a_value(parse: str, text: str) -> None:
    assert make(f"echo '{text}'", parse=parse).run(1, 0) == -math.inf


def test_json_that_is_nested_too_deeply_is_not_parsed() -> None:
    with pytest.raises(Unparsable, match="nested too deeply"):
        make("head -c 200000 /dev/zero | tr '\\0' '['", parse="json").run(1, 0)


def test_what_took_too_long_has_its_usage_too(tmp_path: Path) -> None:
    # Its time is up when it has used some of a processor's.
    done = tmp_path / "done"
    busy = make(f"i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; touch {done}; sleep 300")
    timer = Timer(UNKNOWN, watchdog=False, told=lambda: 0.01 if done.exists() else UNKNOWN)
    with pytest.raises(TimeLimit), timer.limit():
        busy.run(1, 0)
    assert busy.usage is not None
    assert (busy.usage["user"] or 0) + (busy.usage["system"] or 0) > 0.01


def test_what_is_too_late_while_it_is_started_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a start takes a while, and nobody else would know of the process."""
    begun: list[Child] = []

    def late(*arguments: Any) -> Child:
        begun.append(start(*arguments))
        signal.raise_signal(signal.SIGALRM)
        return begun[0]

    monkeypatch.setattr(command, "start", late)
    with pytest.raises(TimeLimit), Timer(100, watchdog=False).limit():
        make("sleep 300").run(1, 0)
    (process,) = begun
    assert has_ended(process.pid)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_braces_in_the_environment_the_folder_and_the_input(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x.txt").touch()
    texts: dict[str, Any] = {
        "command_stdin": "<{stem}{{}}>",
        "cwd": "{parent}",
        "env": {"FILE": "{name}", "N": "{{n}}"},
    }
    value = make("pwd; cat; echo $FILE $N", **texts).run(f"{tmp_path}/d/x.txt", 0)
    assert value["stdout"] == f"{tmp_path}/d\n<x{{}}>x.txt {{n}}\n"


def test_what_is_given_for_all_items_is_a_value_like_theirs() -> None:
    given = {"arcli.0": "$(touch pwned) 'x'", "arcli.1": [1, "a"]}
    command = make("printf '%s|' {arcli.0} {arcli.1} {}", given)
    assert command.run("y", 0)["stdout"] == "$(touch pwned) 'x'|[1, \"a\"]|y|"


def test_a_failing_command_is_failed_before_it_is_parsed() -> None:
    with pytest.raises(CommandFailed, match="exit status 3"):
        make("echo '{}'; exit 3".replace("{}", "{{}}"), parse="json").run(1, 0)
