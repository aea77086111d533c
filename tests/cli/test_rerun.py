"""Items of past runs once more, in this process; in two runs' worth of processes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from runs import Run

SPEC = """\
params: {n: 3, token: none}
cluster: {env: {MINE: "from the spec"}}
setup: {run: "offset = 10"}
jobs:
- {name: base, map: "lambda x: x * 2", over: {range: "${params.n}"}, reduce: operator:add}
- {name: fit, map: "fit.py:fit", over: [1, 2, 3], kwargs: {base: "${jobs.base.value}"}}
- {name: shell, command: "echo $MINE in $PWD; exit {code}", over: {cases: [{code: 0}, {code: 3}]}}
"""
FIT = """\
import os
def fit(x, base):
    print('fitting', x, base, os.environ['MINE'], os.path.basename(os.getcwd()))
    return 1 / (x - 2)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("again")
    (folder / "spec.yaml").write_text(SPEC)
    (folder / "fit.py").write_text(FIT)
    assert Run(folder, ["run", "spec.yaml", "--inline", "-q", "-p", "n=5", "-p", "token=abc"]).wait() == 1
    return folder


def rerun(folder: Path, *words: str, code: int = 0, stdin: str = "") -> tuple[str, str]:
    (folder / "typed").write_text(stdin)
    run = Run(folder, ["rerun", *words], stdin=folder / "typed")
    assert run.wait() == code, run.said()
    return run.out.read_text(), run.said()


KEPT = ("-p", "token=abc")
"""What was not kept of the run's parameters, as it is a secret by its name."""


def test_an_item_runs_again_with_all_that_it_had(folder: Path) -> None:
    (place,) = (folder / ".arcli" / "runs").iterdir()
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.name != "journal.index"}
    out, told = rerun(folder, "2", "--job", "fit", "--times", "2", *KEPT)
    assert out.count("item 2 of fit") == 2
    assert out.count(f"fitting 3 20 from the spec {folder.name}") == 2
    assert "value    1.0" in out
    assert told == ""
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing is written into the run"
    assert len(list((folder / ".arcli" / "runs").iterdir())) == 1


def test_what_fails_again_is_exit_1_and_a_command_is_an_item_too(folder: Path) -> None:
    out, _ = rerun(folder, "latest", "0", "1", "--job", "shell", *KEPT, code=1)
    assert f"from the spec in {folder}" in out
    assert "exit status 3" in out or '"exit":3' in out


def test_the_debugger_stops_where_it_raised(folder: Path) -> None:
    out, told = rerun(folder, "1", "--job", "fit", "--pdb", *KEPT, code=1, stdin="p 'x is', x\nq\n")
    assert "('x is', 2)" in out
    assert "ZeroDivisionError" in told


def test_what_is_not_there_or_not_clear_is_told(folder: Path) -> None:
    assert "several jobs have an item 1" in rerun(folder, "1", code=2)[1]
    assert "has no record of item 77" in rerun(folder, "77", code=2)[1]
    assert "the value of token was not kept" in rerun(folder, "1", "--job", "fit", code=2)[1]
    assert "give the number of an item" in rerun(folder, "latest", code=2)[1]


def test_a_parameter_of_set_that_was_not_kept_can_be_given_again(tmp_path: Path) -> None:
    spec = "params: {token: x}\nmap: 'lambda x: x'\nover: ['${params.token}']\n"
    (tmp_path / "spec.yaml").write_text(spec)
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "--set", 'params.token="abc"']).wait() == 0
    assert "give it again: -p token=…" in rerun(tmp_path, "0", code=2)[1]
    assert "value    abc" in rerun(tmp_path, "0", "-p", "token=abc")[0]


def test_what_differs_from_then_is_said(folder: Path) -> None:
    text = (folder / "fit.py").read_text()
    os.utime(folder / "fit.py")
    assert rerun(folder, "0", "--job", "fit", *KEPT)[1] == ""
    try:
        (folder / "fit.py").write_text(text.replace("1 / (x - 2)", "x"))
        out, told = rerun(folder, "1", "--job", "fit", *KEPT)
        assert "fit.py has changed since" in told
        assert "value    2" in out
    finally:
        (folder / "fit.py").write_text(text)


ENGINES = """\
setup: {scatter: {part: [1, 2, 3, 4]}}
jobs:
- {name: each, apply: "lambda: list(part)", collect: list}
- {name: use, map: "lambda x, all: [x, all]", over: [5, 6], args: ["${jobs.each.value}"]}
- {name: words, command: "echo {x} {y}", over: {zip: {x: [1, 2], y: [a b, c]}}}
"""


@pytest.mark.cluster
def test_this_process_stands_for_the_engine_that_an_item_ran_on(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(ENGINES)
    assert Run(tmp_path, ["run", "spec.yaml", "-n", "2", "-q"]).wait() == 0
    out, _ = rerun(tmp_path, "0", "1", "--job", "each")
    assert out.index("item 0 of each") < out.index("value    [1,2]") < out.index("item 1 of each")
    assert "value    [3,4]" in out
    assert "value    [6,[[1,2],[3,4]]]" in rerun(tmp_path, "1", "--job", "use")[0]
    # How an item was called is told of what it was then, whatever the spec says now.
    (tmp_path / "spec.yaml").write_text("map: abs\nover: [1]\n")
    for job, call in (
        ("each", "(lambda: list(part))()"),
        ("use", "(lambda x, all: [x, all])(5, [[1, 2], [3, 4]])"),
        ("words", "echo 1 'a b'"),
    ):
        run = Run(tmp_path, ["show", "0", "--job", job])
        assert run.wait() == 0
        assert f"call     {call}\n" in run.out.read_text()


@pytest.mark.parametrize(
    ("form", "unpack", "call", "typed"),
    [
        ("jsonl", "args", "lambda a, b: a + b", "[0, 0]\n[3, 4]\n"),
        ("jsonl", "kwargs", "lambda a, b: a + b", '{"a": 0, "b": 0}\n{"a": 3, "b": 4}\n'),
        ("csv", "none", "lambda row: row['a'] + row['b']", "a,b\n0,0\n3,4\n"),
        ("csv", None, "lambda a, b: a + b", "a,b\n0,0\n3,4\n"),
    ],
)
def test_an_item_of_standard_input_is_unpacked_as_it_was(
    tmp_path: Path, form: str, unpack: str | None, call: str, typed: str
) -> None:
    how = f"unpack: {unpack}\n" if unpack else ""
    (tmp_path / "s.yaml").write_text(f'map: "{call}"\n{how}over: {{stdin: {form}}}\n')
    (tmp_path / "in").write_text(typed)
    assert Run(tmp_path, ["run", "s.yaml", "--inline", "-q"], stdin=tmp_path / "in").wait() == 0
    out, _ = rerun(tmp_path, "1")
    assert re.search(r"value +7$", out, re.MULTILINE)


def test_an_item_with_keys_that_are_numbers_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("{map: 'lambda item: item[1]', over: [{1: 7}], unpack: none}")
    assert Run(tmp_path, ["run", "s.yaml", "--inline", "-q"]).wait() == 0
    assert re.search(r"value +7$", rerun(tmp_path, "0")[0], re.MULTILINE)


def test_a_block_of_standard_input_is_read_again(tmp_path: Path) -> None:
    lines = "".join(f"{number}\n" for number in range(3000))
    (tmp_path / "lines").write_text(lines)
    words = ["map", "--inline", "-q", "--pipe", "--block", "5K", "tail -n 1"]
    assert Run(tmp_path, words, stdin=tmp_path / "lines").wait() == 0
    out, _ = rerun(tmp_path, "0", "2", "--times", "2", stdin=lines)
    assert out.count("item 0 of ") == out.count("item 2 of ") == out.count("    2999\n") == 2
    # It is not kept: where it is not given, or is another one, that is said.
    _, told = rerun(tmp_path, "2", code=2)
    assert "are blocks of standard input, which a run does not keep" in told
    assert re.search(r"hint: give it what the run had: arcli rerun \S+ 2 < FILE", told)
    _, told = rerun(tmp_path, "2", code=2, stdin=lines + "more\n")
    assert "item 2 of tail is another block of this standard input" in told
    _, told = rerun(tmp_path, "2", code=2, stdin=lines[::-1].lstrip() + "\n")
    assert "item 2 of tail is another block of this standard input" in told


BLOCKS = [
    "{blocks: {of: stdin, bytes: 8}}",
    "{zip: {line: {blocks: {of: stdin, bytes: 8}}, n: {range: 3}}}",
]


@pytest.mark.parametrize("over", BLOCKS, ids=["alone", "zip"])
@pytest.mark.parametrize("call", ["command: 'wc -c'", "map: 'lambda *args, **kwargs: 1'"])
def test_what_is_in_a_block_of_standard_input_is_in_no_record(tmp_path: Path, over: str, call: str) -> None:
    (tmp_path / "spec.yaml").write_text(f"name: job\n{call}\nover: {over}\n")
    (tmp_path / "lines").write_text("secret 1\nsecret 2\n" + "x" * 20_000 + "\n")
    run = Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"], stdin=tmp_path / "lines")
    assert run.wait() == 0, run.said()
    (place,) = (tmp_path / ".arcli" / "runs").iterdir()
    journal = (place / "journal.jsonl").read_text()
    blocks = [record["input"] for record in map(json.loads, journal.splitlines())]
    if "zip" in over:
        assert [block.pop("n") for block in blocks] == [0, 1, 2]
        blocks = [block["line"] for block in blocks]
    assert blocks == [{"$pickle": None, "repr": f"{size} bytes"} for size in ("9", "9", "20,001")]
    assert "$bytes" not in journal
    # Another block of the same size is told from that of the run all the same.
    lines = (tmp_path / "lines").read_text()
    assert "item 1 of job" in rerun(tmp_path, "1", stdin=lines)[0]
    _, told = rerun(tmp_path, "1", code=2, stdin=lines.replace("t 2", "t 3"))
    assert "item 1 of job is another block of this standard input" in told


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("words", "stdin", "number", "printed"),
    [
        (["test {} != b; echo got {}", ":::", "a", "b", "c"], "", 1, "got b"),
        (["-f", "lambda word: print(word * 2)"], "x\ny\nz\n", 2, "zz"),
        (["echo {a}-{b}", "--over", "a=1,2", "--over", "b=range:2"], "", 3, "2-1"),
    ],
    ids=["marks", "stdin", "over"],
)
def test_an_item_of_a_batch_without_a_file(
    tmp_path: Path, words: list[str], stdin: str, number: int, printed: str
) -> None:
    (tmp_path / "items").write_text(stdin)
    run = Run(tmp_path, ["map", "-j", "1", "-q", *words], stdin=tmp_path / "items")
    assert run.wait() == 0, run.said()
    out, told = rerun(tmp_path, str(number))
    assert f"    {printed}\n" in out
    assert told == ""


def test_a_run_that_does_not_say_its_spec_is_told(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("map: abs\nover: [1]")
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 0
    (place,) = (tmp_path / ".arcli" / "runs").iterdir()
    (place / "manifest.json").write_text("{")
    _, told = rerun(tmp_path, "0", code=2)
    assert f"run {place.name} does not say which spec it had" in told
    assert "None" not in told


def files(folder: Path) -> dict[Path, bytes]:
    """What is in the files below a folder, but for the index that is made where it is looked into."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "journal.index")
    return {path: path.read_bytes() for path in paths}


def test_an_item_is_the_one_that_it_was_whatever_its_source_has_now(tmp_path: Path) -> None:
    command = "case {} in *b.txt) exit 3;; esac"
    (tmp_path / "spec.yaml").write_text(f'command: "{command}"\nover: {{glob: "*.txt"}}\n')
    for name in "bc":
        (tmp_path / f"{name}.txt").touch()
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 1
    (tmp_path / "a.txt").touch()
    assert "b.txt" in rerun(tmp_path, "0", code=1)[0]
    assert "c.txt" in rerun(tmp_path, "1")[0]


@pytest.mark.parametrize(
    ("over", "more", "printed"),
    [
        ("{csv: in.csv}", 'command: "echo {n} {ARCLI_INDEX}"', "007 1"),
        ("{lines: in.csv}", 'command: "echo {arg1}-{arg2}"\nbatch: 2', "1,007-2,8"),
        ("{product: {a: {lines: in.csv}, b: [x, y]}}", 'map: "lambda a, b: print(a + b)"', "ny"),
    ],
    ids=["csv", "batch", "product"],
)
def test_a_recorded_item_is_called_as_it_was(tmp_path: Path, over: str, more: str, printed: str) -> None:
    more = more.replace("{ARCLI_INDEX}", "$ARCLI_INDEX")
    (tmp_path / "spec.yaml").write_text(f"{more}\nover: {over}\n")
    (tmp_path / "in.csv").write_text("n\n1\n007\n" if "csv:" in over else "n\n0\n1,007\n2,8\n")
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 0
    (tmp_path / "in.csv").write_text("n\n")
    out, told = rerun(tmp_path, "1")
    assert f"    {printed}\n" in out
    assert told == ""


def test_an_item_that_its_source_does_not_give_any_more_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("""
params: {n: 1}
jobs:
- {name: a, map: abs, over: {python: {call: "g.py:items", args: ["${params.n}"]}}}
- {name: b, map: abs, over: ["${params.n}"]}
""")
    (tmp_path / "g.py").write_text("def items(n):\n    yield n\n    yield n + 1\n")
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 0
    assert "value    2" in rerun(tmp_path, "1", "--job", "a")[0]
    (tmp_path / "g.py").write_text("def items(n):\n    yield n\n    yield n + 2\n")
    assert "item 1 of a was 2 in the run, and is 3 now" in rerun(tmp_path, "1", "--job", "a", code=2)[1]
    # Another parameter is meant to give another item.
    out, told = rerun(tmp_path, "0", "--job", "b", "-p", "n=5")
    assert "value    5" in out
    assert "item 0 of b was 1 in the run, and is 5 now" in told


@pytest.mark.parametrize("outdir", ['"out/{x}"', "true"])
def test_the_folders_of_a_run_stay_as_they_are(tmp_path: Path, outdir: str) -> None:
    (tmp_path / "spec.yaml").write_text(f"""
command: "echo {{x}} $(date +%N) > a.txt; test ! -e {tmp_path}/broken"
cwd: "{{outdir}}"
outdir: {outdir}
artifacts: [a.txt]
over: {{cases: [{{x: 1}}, {{x: 2}}]}}
""")
    (tmp_path / "tmp").mkdir()
    env = {"TMPDIR": str(tmp_path / "tmp")}
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"], env=env).wait() == 0
    places = [place for place in (tmp_path / "out", tmp_path / ".arcli") if place.exists()]
    before = {place: files(place) for place in places}
    for code, name in ((0, "1"), (1, "1.failed")):
        run = Run(tmp_path, ["rerun", "1"], env=env)
        assert run.wait() == code
        match = re.search(r"^  folder   (.*)$", run.out.read_text(), re.MULTILINE)
        assert match is not None
        own = Path(match[1])
        assert (own.name, own.parents[1]) == (name, tmp_path / "tmp")
        assert (own / "a.txt").read_text().startswith("2 ")
        (tmp_path / "broken").touch()
    assert {place: files(place) for place in places} == before
