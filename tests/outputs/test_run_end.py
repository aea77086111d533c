"""What people read when a run has ended, in every width."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import pytest
from make_records import Paper, batch, context, record, summary
from msgspec.structs import replace

from arcli.escape import plain, shell_line
from arcli.outputs.base import RunOrigin
from arcli.outputs.run_end import again, write_end
from arcli.outputs.stream import Stream
from arcli.outputs.target import Target
from arcli.outputs.text import TextOutput
from arcli.record import ItemError, Record
from arcli.timing.failures import word
from arcli.timing.ledger import End
from arcli.timing.summary import RunSummary

ORIGIN = RunOrigin(
    spec="sweep.yaml", host="node7", argv=("/bin/arcli", "run", "sweep.yaml", "-q", "-p", "n=3")
)


def nan(seed: int) -> Record:
    error = ItemError(
        type="ValueError", message=f"loss is nan at seed {seed}", traceback='  File "f.py", line 4'
    )
    return record(seed, "error", input={"alpha": 0.9, "seed": seed}, error=error)


def end(run: RunSummary, width: int | None = None, *, quiet: bool = False, full: bool = False) -> str:
    paper = Paper(width)
    write_end(paper.page, run, ORIGIN, quiet=quiet, full=full)
    return paper.text


FAILED = summary(batch(record(0), *(nan(seed) for seed in range(1, 8))), exit_code=1)


def test_a_good_run_is_two_lines() -> None:
    assert end(summary(batch(record(0), record(1)))) == (
        "✓ rms  2 of 2 items ok in 3.00 s\n  run    r1   tables: arcli report\n"
    )


def test_a_failure_says_what_where_which_and_what_next() -> None:
    assert end(FAILED) == (
        "✗ rms  1 ok, 7 failed of 8 items in 3.00 s\n"
        "  7  ValueError: loss is nan at seed …  f.py:4\n"
        + "".join(f"     alpha=0.9 seed={seed}  loss is nan at seed {seed}\n" for seed in range(1, 6))
        + '     and 2 more\n     |   File "f.py", line 4\n'
        "  run    r1   tables: arcli report\n"
        "  again  arcli run sweep.yaml -p n=3 --failed\n"
    )


def test_a_past_run_is_gone_on_with_itself_and_not_the_newest_of_its_spec() -> None:
    paper = Paper(None)
    write_end(paper.page, FAILED, replace(ORIGIN, past=True))
    assert paper.text.endswith("  again  arcli run sweep.yaml -p n=3 --failed --run r1\n")


def test_cron_is_told_which_run_it_was_and_how_to_go_on_on_one_screen() -> None:
    lines = end(FAILED, quiet=True).splitlines()
    assert lines[1] == "  sweep.yaml on node7, run r1"
    assert lines[-1] == "  again  arcli run sweep.yaml -p n=3 --failed"
    assert len(lines) < 24


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("full", [False, True])
def test_nothing_is_cut_and_nothing_is_too_wide(width: int, full: bool) -> None:
    text = end(FAILED, width, full=full)
    # A command stays on its line, so that it can be copied.
    assert max(len(line) for line in text.splitlines() if "again" not in line) <= width
    words = re.sub(r"\s+", " ", text)
    for part in ("1 ok, 7 failed of 8 items", "loss is nan at seed 5", "alpha=0.9 seed=5", "--failed"):
        assert part in words
    assert not re.search(r"\w…\s+\w*…", text)  # as in: j…  ite…  fai…
    if full:
        assert "speed-up" in text


def test_what_kept_a_run_from_beginning_is_told_once() -> None:
    assert end(summary(exit_code=3, error="no cluster")) == ""


def test_a_deadline_before_the_first_record_is_told() -> None:
    job = replace(FAILED.jobs[0], counts=replace(FAILED.jobs[0].counts, planned=0), ended=End.DEADLINE)
    late = replace(FAILED, jobs=(job,), exit_code=124)
    assert not late.began
    assert "ended: deadline" in end(late, quiet=True)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ("arcli run a.yaml", "arcli run a.yaml --failed"),
        ("arcli run --resume --run 2026 a.yaml --run=3 -n 2", "arcli run a.yaml -n 2 --failed"),
        ("arcli map echo ::: a b", "arcli map --failed echo ::: a b"),
        ("arcli map echo :::: /dev/fd/63", "arcli map --failed echo :::: FILE"),
        ("arcli map --csv=/dev/fd/63 cat", "arcli map --failed --csv=FILE cat"),
        ("arcli map --pipe -a /proc/self/fd/11 cat", "arcli map --failed --pipe -a FILE cat"),
        ("arcli map cat ::: /dev/fd/63x", "arcli map --failed cat ::: /dev/fd/63x"),
        ("arcli run -", None),
        ("arcli", None),
        ("arcli map echo ::: " + "x " * 400, None),
    ],
)
def test_the_command_that_goes_on(argv: str, line: str | None) -> None:
    assert again(argv.split(), "--failed") == line


def test_the_command_that_goes_on_names_the_standard_input_that_is_missing() -> None:
    assert again(["arcli", "map", "echo"], "--failed", stdin=True) == "arcli map --failed echo < FILE"
    assert again(["arcli", "run", "-"], "--failed", stdin=True) is None


def shown(target: Target, *records: Record, width: int | None = None, kind: str = "map") -> None:
    kinds = {"squares": kind}
    output = TextOutput(context(target, results=Stream(target=target, width=width), kinds=kinds))
    output.start()
    output.record(batch(*records))


def lines(*records: Record, width: int | None = None, kind: str = "map") -> list[str]:
    paper = Paper()
    shown(paper.page.target, *records, width=width, kind=kind)
    return paper.text.splitlines()


def test_a_line_says_which_parameters_it_belongs_to() -> None:
    head, line = lines(record(3, input={"alpha": 0.9, "seed": 3}))
    assert head.split()[-2:] == ["input", "result"]
    assert "alpha=0.9 seed=3" in line


def test_an_input_that_is_null_is_not_taken_for_none() -> None:
    assert lines(record(1, input=None), kind="map")[1].split()[-2:] == ["null", "1"]
    assert lines(record(1, input=None), kind="apply")[1].split()[-3:] == ["engine", "1", "1"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"$array": {"dtype": "float64", "shape": [2, 3]}}, "array of 2 x 3 float64"),
        ({"$array": {"dtype": "int8", "shape": [2], "path": "a.npy"}}, "array of 2 int8: a.npy"),
        ({"$bytes": "aGk="}, "hi"),
        ({"$pickle": "p", "repr": "Point(1)"}, "Point(1)"),
        ({"$float": "NaN"}, "NaN"),
        ({"$int": "1" * 400}, "1" * 400),
    ],
)
def test_what_json_lacks_is_shown_by_what_it_is(value: dict[str, Any], words: str) -> None:
    assert lines(record(1, value=value))[1].endswith(f"  {words}")
    assert word(value) == words


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_lines_fit(width: int) -> None:
    parts = lines(record(3, input="文" * 90, value="文" * 300), record(4, input="x" * 300), width=width)
    assert max(len(line) + line.count("文") for line in parts) <= width


def test_a_commands_output_is_shown_once_as_it_was_printed() -> None:
    def run(stdout: str, stderr: str = "", status: int = 0) -> list[str]:
        value = {"exit": status, "stdout": stdout, "stderr": stderr}
        return lines(record(0, value=value, stdout=stdout, stderr=stderr))[1:]

    (line,) = run("done\n")
    assert line.endswith("  done")
    first, *rest = run("a\nb\n", "careful\n")
    assert first.endswith("exit 0")
    assert [line.partition("| ")[2] for line in rest] == ["a", "b", "careful"]
    (line,) = run("10 %\r50 %\r100 %\n")
    assert line.endswith("  100 %")
    assert [line.partition("| ")[2] for line in run("x\n10 %\r90 %\r\n", "e")[1:]] == ["x", "90 %", "e"]


def test_a_shell_reads_any_words_as_they_were_and_a_terminal_shows_them() -> None:
    words = [
        "plain",
        "a b",
        "it's",
        "ü ñ",
        "",
        "$HOME",
        "a\nb\t\x1b[0m",
        "\\x41'",
        "\udcff0",
        "\u202eü\udcfe'\\",
    ]
    line = shell_line(words)
    assert line == plain(line)
    assert "\n" not in line
    typed = ["bash", "-c", f"printf '%s\\0' {line}"]
    read = subprocess.run(typed, capture_output=True, check=True).stdout
    assert read.split(b"\0")[:-1] == [os.fsencode(word) for word in words]
