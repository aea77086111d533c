"""``arcli map`` as a shell sees it: what goes in as items, and what comes out of a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import MARK, PATIENCE, Run, finish, measured

from arcli.cli import main
from arcli.cli.map_spec import relative_to, spec_tree, yaml_text
from arcli.cli.map_words import Batch, Input, marked_inputs
from arcli.errors import UsageError
from arcli.specfile.compose import compose
from arcli.specfile.load import load
from arcli.specfile.tree import Text


def mapped(folder: Path, *words: str, stdin: bytes = b"", engines: bool = False) -> tuple[int, bytes, str]:
    """The exit code, stdout and stderr of ``arcli map``, without engines where they do not matter."""
    done = subprocess.run(
        [
            sys.executable,
            *measured("map"),
            "-m",
            "arcli",
            "map",
            *([] if engines else ["--inline"]),
            *words,
        ],
        cwd=folder,
        input=stdin,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")


def lines(out: bytes) -> list[str]:
    return sorted(out.decode().splitlines())


def test_items_are_appended_where_no_place_is_named(tmp_path: Path) -> None:
    code, out, err = mapped(tmp_path, "-k", "echo hello", ":::", "a b", "$HOME; ls", "'q'")
    assert (code, out, err) == (0, b"hello a b\nhello $HOME; ls\nhello 'q'\n", "")


def test_several_inputs_give_every_combination(tmp_path: Path) -> None:
    code, out, _ = mapped(tmp_path, "-k", "echo", ":::", "a", "b", ":::", "1", "2")
    assert (code, out) == (0, b"a 1\na 2\nb 1\nb 2\n")
    code, out, _ = mapped(
        tmp_path, "-k", "echo {2}-{1}", ":::", "a", "b", ":::+", "1", "2", ":::", "x", "y"
    )
    assert (code, out) == (0, b"1-a\n1-a\n2-b\n2-b\n")


def test_the_short_placeholders_of_gnu_parallel(tmp_path: Path) -> None:
    command = "echo {.} {/} {//} {/.} {1} '{{.}}'"
    code, out, _ = mapped(tmp_path, "-k", command, ":::", "d/a.tar.gz", "b")
    assert (code, out) == (0, b"d/a.tar a.tar.gz d a.tar d/a.tar.gz {.}\nb b . b b {.}\n")
    code, out, _ = mapped(tmp_path, "-k", "--", "echo", "{2.}-{1/.}", ":::", "d/a.b", ":::", "c.d")
    assert (code, out) == (0, b"c-a\n")


def test_a_number_in_quotes_is_a_patterns_where_no_input_can_be_meant(tmp_path: Path) -> None:
    pattern = "printf {} | grep -qE '^a{2}$' && echo {}"
    assert mapped(tmp_path, "-k", pattern, ":::", "aa", "a", "aaa")[1] == b"aa\n"
    doubled = "printf {1} | grep -qE '^a{{2}}b{3}$' && echo {2}"
    assert mapped(tmp_path, "-k", doubled, ":::", "aabbb", ":::", "c")[:2] == (0, b"c\n")


def test_a_dry_run_shows_every_call(tmp_path: Path) -> None:
    code, out, _ = mapped(tmp_path, "--dry-run", "gzip -9 {}", ":::", *"abcdefgh", "i j")
    assert code == 0
    assert out.decode().splitlines() == [*(f"gzip -9 {name}" for name in "abcdefgh"), "gzip -9 'i j'"]
    assert mapped(tmp_path, "--dry-run", "-f", "f.py:g", ":::", "1")[:2] == (2, b"")
    assert mapped(tmp_path, "--dry-run", "-f", "max", ":::", "1", ":::", "2")[1] == b"max(1, 2)\n"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["-N", "2", "echo {1} {2}"], "echo a 'b b'\necho c ''\n"),
        (["-N", "2", "echo {} {outdir}"], "echo a 'b b' HERE/o/0.partial\necho c HERE/o/1.partial\n"),
        (["-N", "2", "--", "echo", "-n"], "echo -n a 'b b'\necho -n c\n"),
        (["-N", "2", "--", "echo", "x{}"], "echo 'xa b b'\necho xc\n"),
        (["cat {outdir}/{number}"], "".join(f"cat HERE/o/{n}.partial/{n + 1}\n" for n in range(3))),
    ],
)
def test_a_dry_run_shows_what_runs(words: list[str], shown: str, tmp_path: Path) -> None:
    words = ["-k", "--outdir", "o/{index}", *words, ":::", "a", "b b", "c"]
    code, out, _ = mapped(tmp_path, "--dry-run", *words)
    assert (code, out.decode()) == (0, shown.replace("HERE", str(tmp_path)))
    if "echo" in shown:
        script = subprocess.run(["sh"], input=out, capture_output=True, check=True).stdout
        assert mapped(tmp_path, *words)[1] == script


def test_a_folder_can_be_called_as_the_items_of_a_batch(tmp_path: Path) -> None:
    words = ["-N", "2", "echo {} > {outdir}/o", ":::", "a", "b", "c"]
    assert mapped(tmp_path, "--outdir", "one/{1}", *words)[0] == 0
    assert mapped(tmp_path, "--outdir", "all/{}", *words)[0] == 0
    files = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.glob("*/*/o")}
    assert files == {"one/a/o": "a b\n", "one/c/o": "c\n", "all/a b/o": "a b\n", "all/c/o": "c\n"}
    code, _, err = mapped(tmp_path, "--outdir", "two/{2}", *words, "b")
    assert (code, "have one folder" in err) == (2, True)
    assert not (tmp_path / "two").exists()


def test_numbers_are_text_to_a_command_and_have_parts_as_any(tmp_path: Path) -> None:
    for place, item in (("{/}", b"2024\n"), ("{.}", b"2024\n"), ("{//}", b".\n"), ("{/.}", b"2024\n")):
        assert mapped(tmp_path, f"echo {place}", ":::", "2024")[:2] == (0, item)
    assert mapped(tmp_path, "-k", "echo {2/} {1}", ":::", "a", ":::", "1.5", "2")[1] == b"1.5 a\n2 a\n"


def test_an_item_more_that_is_no_number_leaves_the_others_done(tmp_path: Path) -> None:
    words = ["-k", "echo {} >> log; [ {} != 2 ]", ":::", "1", "2"]
    assert mapped(tmp_path, *words)[0] == 1
    assert mapped(tmp_path, "--resume", *words, "x")[0] == 1
    assert (tmp_path / "log").read_text() == "1\n2\nx\n"


@pytest.mark.parametrize(
    ("items", "words"), [("a", "1 of 1 item ok in"), ("abc", "1 of 1 item ok, 2 never read in")]
)
def test_what_an_output_that_failed_did_not_get_is_counted(items: str, words: str, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "arcli", "map", "--inline", "-k", "echo", ":::", *items]
        done = subprocess.run(
            command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE, check=False
        )
    assert done.returncode == 4
    assert words in done.stderr.decode()
    assert "again  arcli map --resume" in done.stderr.decode()


def test_files_of_items_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "hosts.txt").write_text("one\ntwo\n")
    code, out, _ = mapped(tmp_path, "-k", "--tag", "echo up {}", "::::", "hosts.txt")
    assert (code, out) == (0, b"one\tup one\ntwo\tup two\n")
    assert mapped(tmp_path, "-k", "echo", stdin=b"x y\nz\n")[:2] == (0, b"x y\nz\n")
    assert mapped(tmp_path, "-k", "echo", "::::", "-", stdin=b"x\n")[:2] == (0, b"x\n")
    assert mapped(tmp_path, "-k", "-0", "echo", stdin=b"a\nb\0c\0")[:2] == (0, b"a\nb\nc\n")
    assert mapped(tmp_path, "-k", "--lines", "hosts.txt", "echo")[:2] == (0, b"one\ntwo\n")


def test_items_from_a_terminal_are_asked_for(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        os.write(ours, b"a\nb\n\x04")
        command = [sys.executable, "-m", "arcli", "map", "--inline", "-k", "echo"]
        done = subprocess.run(
            command, cwd=tmp_path, stdin=theirs, capture_output=True, timeout=PATIENCE, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stdout) == (0, b"a\nb\n")
    assert b"items are read from the terminal" in done.stderr


def test_named_inputs_and_tables(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("size,seed\n10,1\n20,2\n")
    (tmp_path / "runs.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    code, out, _ = mapped(tmp_path, "-k", "echo {a}{b}", "--over", "a=x,y", "--over", "b=range:2")
    assert (code, out) == (0, b"x0\nx1\ny0\ny1\n")
    assert mapped(tmp_path, "-k", "--csv", "runs.csv", "echo {size}/{seed}")[1] == b"10/1\n20/2\n"
    assert mapped(tmp_path, "-k", "--jsonl", "runs.jsonl", "echo {n}")[1] == b"1\n2\n"
    (tmp_path / "wide.csv").write_text("learning-rate,2x,übung\n1,a b,$x\n")
    assert mapped(tmp_path, "--csv", "wide.csv", "echo {learning-rate} {2x} {übung}")[1] == b"1 a b $x\n"
    assert mapped(tmp_path, "-k", "echo {a-b}", "--over", "a-b=1,2")[:2] == (0, b"1\n2\n")
    assert mapped(tmp_path, "-k", "--csv", "-", "echo {n}", stdin=b"n\n7\n")[1] == b"7\n"


def test_functions_print_what_they_return(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def score(x, y=1):\n    print('at', x)\n    return x * 2 + y\n")
    code, out, _ = mapped(tmp_path, "-k", "-f", "model.py:score", ":::", "1", "2.5")
    assert (code, out) == (0, b"at 1\n3\nat 2.5\n6.0\n")
    assert mapped(tmp_path, "-k", "-f", "lambda a, b: f'{a}{b}'", ":::", "x", ":::", "1")[1] == b"x1\n"


def test_a_program_and_its_arguments_need_no_shell(tmp_path: Path) -> None:
    code, out, _ = mapped(tmp_path, "-k", "--", "printf", "[%s]", "-n", ":::", "$x", "*")
    assert (code, out) == (0, b"[-n][$x][-n][*]")


@pytest.mark.parametrize("at_once", ["2", "4"])
def test_without_order_what_is_done_first_comes_first(at_once: str, tmp_path: Path) -> None:
    waits = "test {} = quick || until grep -qs quick stdout-*; do sleep 0.05; done; echo {}"
    run = Run(tmp_path, ["map", "-j", at_once, waits, ":::", "slow", "quick"])
    assert run.wait() == 0
    assert run.out.read_text() == "quick\nslow\n"


def test_in_order_what_is_done_first_waits(tmp_path: Path) -> None:
    waits = (
        "test {} = quick || until test -e done; do sleep 0.05; done; echo {}; test {} = slow || touch done"
    )
    code, out, _ = mapped(tmp_path, "-j", "2", "-k", waits, ":::", "slow", "quick", engines=True)
    assert (code, out) == (0, b"slow\nquick\n")


def test_stderr_goes_to_stderr_and_failures_to_the_exit_code(tmp_path: Path) -> None:
    code, out, err = mapped(
        tmp_path, "-k", "echo out {}; echo err {} >&2; test {} != b", ":::", "a", "b", "c"
    )
    assert (code, out) == (1, b"out a\nout b\nout c\n")
    assert "err a\n" in err
    assert "exit status 1" in err


@pytest.mark.parametrize("engines", [True, False], ids=["engines", "inline"])
def test_what_is_printed_arrives_byte_for_byte(tmp_path: Path, engines: bool) -> None:
    contents = {
        "a": os.urandom(5000),
        "b": b"x" * (3 << 20) + b"\r\n\0",
        "c": "no end, ü".encode(),
        "d": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    code, out, err = mapped(
        tmp_path, "-k", "cat {}; cat {} >&2; test {} != b", ":::", *contents, engines=engines
    )
    assert (code, out) == (1, b"".join(contents.values()))
    assert "x" * 1000 in err
    # What is kept of an earlier run is as whole.
    os.truncate(tmp_path / "a", 0)
    again = ["-k", "--failed", "cat {}; cat {} >&2; test {} != b", ":::", "new", *contents]
    assert mapped(tmp_path, *again, engines=engines)[1] == b"".join(contents.values())


def test_tagged_lines_are_whole_lines(tmp_path: Path) -> None:
    code, out, _ = mapped(tmp_path, "-k", "--tag", "printf 'one\\n\\n{{}}' {}", ":::", "a", "b c")
    assert (code, out) == (0, b"a\tone\na\t\na\t{}\nb c\tone\nb c\t\nb c\t{}\n")


def test_a_tag_stands_before_whole_lines_and_is_what_a_command_gets(tmp_path: Path) -> None:
    long = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo"
    _, out, _ = mapped(tmp_path, "--tag", long, ":::", "a")
    assert [len(line) for line in out.splitlines()] == [len("a\t") + 3_000_000, len("a\ta")]
    _, out, _ = mapped(tmp_path, "--tag", "printf", "%s", stdin=b"caf\xe9\n")
    assert out == b"caf\xe9\tcaf\xe9\n"
    _, out, _ = mapped(tmp_path, "-k", "--tag", "--pipe", "--block", "1", "cat", stdin=b"x\ny\n")
    assert out == b"0\tx\n1\ty\n"


PRINTS = """
import os, sys
def large(x):
    print("x" * 3_000_000)
    if x == "fails":
        raise ValueError(x)
def binary(x):
    sys.stdout.buffer.write(b"\\xff\\n")
    os.write(2, b"\\xfe\\n")
"""


@pytest.mark.parametrize("engines", [True, False], ids=["engines", "inline"])
def test_what_functions_print_arrives_byte_for_byte(tmp_path: Path, engines: bool) -> None:
    (tmp_path / "prints.py").write_text(PRINTS)
    code, out, err = mapped(tmp_path, "-f", "prints.py:large", ":::", "a", "fails", "b", engines=engines)
    assert (code, [len(line) for line in out.splitlines()]) == (1, [3_000_000] * 3)
    assert "more than is kept" not in err
    done = mapped(tmp_path, "-f", "prints.py:binary", ":::", "a", "b", engines=engines)
    assert done == (0, b"\xff\n" * 2, "\ufffd\n" * 2)


def test_text_that_is_no_utf8_is_returned_as_it_came(tmp_path: Path) -> None:
    code, out, _ = mapped(tmp_path, "-f", "lambda x: x", stdin=b"caf\xe9\n")
    assert (code, out) == (0, b"caf\xe9\n")
    code, out, _ = mapped(tmp_path, "-f", "lambda x: bytes([x])", ":::", "255")
    assert (code, out) == (0, b"\xff\n")


def test_a_run_of_it_is_in_the_list_of_runs(tmp_path: Path) -> None:
    assert mapped(tmp_path, "-q", "test {} = b", ":::", "a", "b")[0] == 1
    run = Run(tmp_path, ["runs", "--format", "json"])
    assert run.wait() == 0
    assert '"test"' in run.out.read_text()
    code, _, err = mapped(tmp_path, "--failed", "test {} = c", ":::", "c")
    assert code == 0
    assert "there is no run of arcli map" in err


def test_resume_goes_by_content(tmp_path: Path) -> None:
    script = "echo {} >> log; test -e fixed || test {} != b"
    assert mapped(tmp_path, "-k", script, ":::", "a", "b")[0] == 1
    (tmp_path / "fixed").touch()
    (tmp_path / "log").unlink()
    assert mapped(tmp_path, "-k", "--failed", script, ":::", "a", "b", "c")[0] == 0
    assert lines((tmp_path / "log").read_bytes()) == ["b", "c"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is nothing to call"),
        (["-f", "f", "echo", ":::", "1"], "exclude each other"),
        (["echo", ":::", "a", "--save", "x.yaml"], "--save stands after :::"),
        (["echo", ":::+", "a"], "there is none"),
        (["echo", "::::"], "needs a file"),
        (["ping", "-c1", ":::", "a"], "put -- before it"),
        (["echo", "--csv", "a.csv", ":::", "1"], "they go with no other"),
        (["echo", "--over", "a=1", "--over", "a=2"], "there twice"),
        (["echo", "--over", "arg1=a,b", ":::", "c", "d"], "arg1 is the name of an input after :::"),
        (["echo", "--over", "arg2=a,b", ":::", "c", "::::", "f"], "arg2 is the name of an input"),
        (["echo", "--over", "arg1_arg2=p", ":::", "a", ":::+", "b"], "arg1_arg2 is the name of an input"),
        (["--halt", "maybe", "echo", ":::", "1"], "none of never, soon, now"),
        (["--halt", "now,done=3", "echo", ":::", "1"], "fail=N and success=N"),
        (["echo {x}", ":::", "1"], "the command:1:6: there is no {x}"),
        (['echo "{}"', ":::", "1"], "leave the quotes out"),
        (["echo", ":::", "1", ":::+", "2", "3"], "zip"),
        (["--cluster", "x", "echo", ":::", "1"], "give one of them"),
        (["--dry-run", "--estimate", "echo", ":::", "1"], "give one of them"),
        (["echo {2}", ":::", "1"], "there is one input"),
        (["echo {.}", ":::", "1", ":::", "2"], "say which: {1.}"),
        (["echo {3#}", ":::", "1"], "means nothing here"),
        (['cp {1} "out/{2}"', ":::", "a", ":::", "b"], "the command:1:13: {2} stands inside double quotes"),
        (["echo '{2}'", "--over", "a=1", "--over", "b=2"], "{{2}} is {2} itself"),
        (["-N", "2", 'echo "{2}"', ":::", "a", "b"], "{2} stands inside double quotes"),
        (["echo '{1/.}'", ":::", "a"], "{1/.} stands inside single quotes"),
        (["echo {%}", ":::", "1"], "{slot} is an engine's number, from 0"),
        (["--pipe", "-N", "2", "cat"], "a command reads one block a call"),
    ],
)
def test_what_makes_no_sense_is_exit_2(
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["map", "--inline", *words])
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert message in err
    assert not list(tmp_path.iterdir())


def test_a_saved_spec_does_the_same(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "names.txt").write_text("x\ny\n")
    (tmp_path / "model.py").write_text("def twice(x): return x * 2\n")
    words = ["-k", "echo ${HOME:+home} {1} {2}", "::::", "in/names.txt", ":::", "007", "1e3", "no"]
    direct = mapped(tmp_path, *words)
    assert direct[:2] == (
        0,
        b"".join(b"home %b %b\n" % (x, y) for x in (b"x", b"y") for y in (b"007", b"1e3", b"no")),
    )
    (tmp_path / "specs").mkdir()
    assert mapped(tmp_path, "--save", "specs/job.yaml", *words)[:2] == (0, b"")
    code, records = finish(tmp_path, (tmp_path / "specs" / "job.yaml").read_text().replace("../", ""))
    assert code == 0
    assert "".join(record["stdout"] for record in records).encode() == direct[1]
    saved = subprocess.run(
        [sys.executable, "-m", "arcli", "run", "specs/job.yaml", "--format", "raw"],
        cwd=tmp_path, env={**os.environ, MARK: "1"}, capture_output=True, check=False,
    )  # fmt: skip
    assert (saved.returncode, saved.stdout) == (0, direct[1])
    assert mapped(tmp_path, "--save", "specs/f.yaml", "-k", "-f", "model.py:twice", ":::", "1")[0] == 0
    assert yaml.safe_load((tmp_path / "specs" / "f.yaml").read_text())["map"] == "../model.py:twice"


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["--set", "shell=bash", "echo {}"], {"shell": "bash"}),
        (["--set", "cluster.max_restarts=3", "echo {}"], {"cluster": {"max_restarts": 3}}),
        (["-n", "3", "echo {}"], {"cluster": {"engines": 3}}),
        (["-n", "3", "-j", "8", "echo {}"], {"cluster": {"engines": 3}, "concurrency": 3}),
        (["-n", "3", "-j", "1", "echo {}"], {"cluster": {"engines": 1}}),
        (["-n", "3", "-j", "2", "-f", "str"], {"cluster": {"engines": 2}}),
        (["-j", "8", "--delay", "1s", "echo {}"], {"cluster": {"engines": 8}, "delay": 1.0}),
        (["-j", "8", "-f", "f.py:nap"], {"cluster": {"engines": 1}, "concurrency": 8}),
        (["-j", "8", "-f", "f.py:plain"], {"cluster": {"engines": 8}}),
        (["-j", "8", "-f", "f.py:nap", "--outdir", "o/{}"], {"cluster": {"engines": 8}}),
        (["--tail", "echo {}"], {"tail": "both"}),
        (["--fail-if", "p95 > 2s", "--fail-if", "wall>1m", "true"], {"expect": ["p95 > 2s", "wall > 1m"]}),
        (
            ["-o", "out.jsonl", "--deadline", "1h", "echo {}"],
            {"output": ["../out.jsonl"], "deadline": 3600.0},
        ),
    ],
)
def test_a_saved_spec_says_what_flags_of_a_run_do(
    words: list[str], keys: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "f.py").write_text("async def nap(x): return x\ndef plain(x): return x\n")
    (tmp_path / "specs").mkdir()
    assert mapped(tmp_path, "--save", "specs/job.yaml", *words, ":::", "a")[:2] == (0, b"")
    saved = tmp_path / "specs" / "job.yaml"
    tree = yaml.safe_load(saved.read_text())
    asked = ("cluster", "concurrency", "shell", "delay", "output", "deadline", "tail", "expect")
    assert {key: tree[key] for key in asked if key in tree} == keys
    load(str(saved))


def test_what_no_spec_says_is_told_where_one_is_saved(tmp_path: Path) -> None:
    words = ["--limit", "2", "--tag", "--errors", "text", "echo", ":::", "a", "b"]
    _, _, err = mapped(tmp_path, "--save", "x.yaml", *words)
    assert err == "arcli: the saved spec does not have --tag, --limit, --inline: say it to arcli run\n"
    assert mapped(tmp_path, "--save", "y.yaml", "-q", *words)[2] == ""


def test_what_cannot_be_set_is_not_saved(tmp_path: Path) -> None:
    code, _, err = mapped(tmp_path, "--save", "x.yaml", "--set", "over.1.x=3", "echo", ":::", "a", "b")
    assert (code, "over.1.x" in err, (tmp_path / "x.yaml").exists()) == (2, True, False)


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1), st.lists(TEXTS))
def test_a_spec_that_is_saved_is_read_back_as_it_was(call: list[str], items: list[str]) -> None:
    batch = Batch(call=call, inputs=[Input(label=":::", items=tuple(items))], job={"retries": 2})
    tree = spec_tree(batch, relative_to(Path.cwd()))
    assert compose(Text("saved", yaml_text(tree))).plain_data() == tree.plain_data()


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1))
def test_items_keep_the_text_that_was_written(items: list[str]) -> None:
    batch = Batch(call=["echo"], inputs=[Input(label=":::", items=tuple(items))])
    over = spec_tree(batch, relative_to(Path.cwd())).get("over")
    assert over is not None
    assert [str(value).replace("$${", "${") for value in over.plain_data()] == items


def test_it_goes_on_by_itself(tmp_path: Path) -> None:
    code, out, err = mapped(tmp_path, "-d", "-k", "echo {} >> log", ":::", "a", "b")
    assert code == 0, err
    wait = Run(tmp_path, ["wait", out.decode().strip()])
    assert wait.wait() == 0
    assert (tmp_path / "log").read_text() == "a\nb\n"


def test_raw_output_is_for_one_job(tmp_path: Path) -> None:
    spec = "jobs: [{name: a, command: 'echo {}', over: [1, 2]}, {name: b, command: 'echo {}', over: [3]}]"
    code, _ = finish(tmp_path, spec, "--format", "raw")
    assert code == 2
    run_one = Run(tmp_path, ["run", "spec.yaml", "--job", "a", "--format", "raw"])
    assert run_one.wait() == 0
    assert run_one.out.read_text() == "1\n2\n"


def test_saving_what_is_no_text_is_refused(tmp_path: Path) -> None:
    code, _, err = mapped(tmp_path, "--save", "x.yaml", "echo", ":::", os.fsdecode(b"\xff"))
    assert code == 2
    assert "not UTF-8" in err
    assert not (tmp_path / "x.yaml").exists()


def test_usage_errors_are_raised_for_late_options() -> None:

    with pytest.raises(UsageError, match="stands after"):
        list(marked_inputs([":::", "a", "--save=x"], ["--save"]))


def test_a_call_gets_so_many_items_and_a_function_their_list(tmp_path: Path) -> None:
    code, out, _ = mapped(tmp_path, "-k", "-N", "2", "echo", ":::", "a b", "c", "$d")
    assert (code, out) == (0, b"a b c\n$d\n")
    code, out, _ = mapped(tmp_path, "-k", "-N", "2", "-f", "lambda pair: len(pair)", ":::", "1", "2", "3")
    assert (code, out) == (0, b"2\n1\n")
    code, out, _ = mapped(tmp_path, "-N", "2", "--save", "-", "echo {2}", ":::", "1", "2", "3")
    assert yaml.safe_load(out) == {
        "name": "echo", "command": "echo {arg2}", "over": ["1", "2", "3"], "ordered": False, "batch": 2,
    }  # fmt: skip
