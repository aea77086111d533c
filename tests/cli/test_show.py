"""Records of past runs, as tables and whole; everything from one small run."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
from journal_records import many_records
from rich.console import Console
from runs import Run, called

import arcli
from arcli.cli.show import Selection, select
from arcli.errors import UsageError
from arcli.record import decode
from arcli.reports.items import table
from arcli.store.folder import RunFolder
from arcli.store.index import FILE, Condition, JournalIndex, cell_of, sort_key
from arcli.store.manifest import Manifest
from arcli.units import format_seconds

SPEC = """\
jobs:
- name: fit
  map: "lambda lr, seed: print('fitting \\x1b[31m', seed) or {'loss': lr * seed / (seed - 2)}"
  over: {product: {lr: [0.1, 0.5], seed: {range: 4}}}
- {name: last, command: "echo {}", over: [a], ok_exit: [0]}
"""
EVERYTHING = Selection(items=None, job=None, where=None, sort=None, columns=(), limit=None)
Show = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    (folder / "spec.yaml").write_text(SPEC)
    assert Run(folder, ["run", "spec.yaml", "--inline", "-q"]).wait() == 1
    return folder


@pytest.fixture
def show(folder: Path) -> Show:
    def show(*words: str, code: int = 0, env: dict[str, str] | None = None) -> str:
        with patch.dict(os.environ, env or {}):
            ended, out, said = called(folder, "show", *words)
        assert ended == code, said
        return out if code == 0 else said

    return show


def test_a_table_has_what_a_person_wants_first(show: Show) -> None:
    head, *rows = show("--job", "fit", env={"COLUMNS": "120"}).splitlines()
    assert head.split() == ["index", "input.lr", "input.seed", "status", "seconds", "result"]
    assert len(rows) == 8
    assert "ZeroDivisionError: float division by zero" in rows[2]
    assert "\x1b" not in show()


@pytest.mark.parametrize("width", [40, 60])
def test_a_table_on_a_narrow_terminal_cuts_no_figure(folder: Path, width: int) -> None:
    (path,) = (folder / ".arcli" / "runs").iterdir()
    records = RunFolder(path).journal.read_bytes().splitlines()
    made = table(records, (), width=width, most=10)
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(made)
    assert max(map(len, out.getvalue().splitlines())) <= width
    for record in map(decode, records):
        assert format_seconds(record["seconds"]) in out.getvalue()
        assert record["status"] in out.getvalue()


def test_a_pipe_gets_rows_alone(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("map: abs\nover: {range: 1003}\n")
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 0
    run = Run(tmp_path, ["show"])
    assert run.wait() == 0
    assert run.out.read_text().splitlines()[-1].split()[0] == "999"
    assert "arcli: 3 more: --limit N" in run.said()


LARGE = {name: 10**16 * (number + 1) for number, name in enumerate(("alpha", "beta", "gamma", "delta"))}


@pytest.mark.parametrize("given", [LARGE, {"a": "x" * 60, "b": "z" * 44}, {"n": 10**99}], ids=str)
def test_where_there_is_no_terminal_a_table_is_as_wide_as_what_is_in_it(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    job = {"map": "lambda **given: 1 / 0", "over": {"cases": [given]}}
    (tmp_path / "spec.yaml").write_text(
        json.dumps({"jobs": [{"name": name, **job} for name in ("n" * 50, "m")]})
    )
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 1
    show = Run(tmp_path, ["show"])
    assert show.wait() == 0
    head, row, _ = show.out.read_text().splitlines()
    names = ["job", "index", *(f"input.{name}" for name in given), "status", "seconds", "result"]
    assert head.split() == names
    assert row.split()[: len(given) + 3] == ["n" * 50, "0", *map(str, given.values()), "error"]
    report = Run(tmp_path, ["report", "--by", "status", "-o", "report.txt"])
    assert report.wait() == 0
    lines = (tmp_path / "report.txt").read_text().splitlines()
    assert lines[0].endswith("exit 1, some items are not ok")
    assert {"job", f"{'n' * 50},"} <= {line.split(maxsplit=1)[0] for line in lines if line}


def test_values_that_json_lacks_are_shown_as_records_have_them(folder: Path, show: Show) -> None:
    (folder / "generator.py").write_text("def items():\n    yield {'k': b'\\xfey', 'n': float('nan')}\n")
    spec = "{map: 'lambda item: 2j', unpack: none, over: {python: 'generator.py:items'}}"
    (folder / "lacks.yaml").write_text(spec)
    runs = folder / "lacks"
    env = {"ARCLI_DIR": str(runs)}
    assert Run(folder, ["run", "lacks.yaml", "--inline", "-q"], env=env).wait() == 0
    row = show(env=env).splitlines()[-1].split()
    assert (row[:4], row[-1]) == (["0", "\\xfey", "NaN", "ok"], "2j")
    columns = ("--columns", "k,n,value", "--format")
    (record,) = map(json.loads, show(*columns, "jsonl", env=env).splitlines())
    assert record["k"] == {"$bytes": "/nk="}
    assert record["n"] == {"$float": "NaN"}
    assert record["value"]["repr"] == "2j"
    assert show(*columns, "csv", env=env).splitlines()[-1].startswith('"{""$bytes"":""/nk=""}",nan,')


def test_what_a_command_printed_is_its_result_as_it_was_at_the_end_of_its_run(show: Show) -> None:
    assert show("--job", "last").splitlines()[-1].split()[-1] == "a"


def test_conditions_sorting_and_columns(show: Show) -> None:
    words = (
        "--where",
        "lr > 0.1 and value.loss < 1",
        "--sort",
        "-seed",
        "--columns",
        "index,seed,value.loss",
    )
    rows = list(csv.reader(io.StringIO(show(*words, "--format", "csv"))))
    assert rows == [["index", "seed", "value.loss"], ["5", "1", "-0.5"], ["4", "0", "-0.0"]]
    found = json.loads(show("--where", 'status == "error" and error.type != "X"', "--format", "json"))
    assert [(item["job"], item["index"]) for item in found] == [("fit", 2), ("fit", 6)]
    lines = show("--sort", "seconds", "--limit", "3", "--format", "jsonl").splitlines()
    seconds = [json.loads(line)["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    assert json.loads(show("--where", "seed == 77", "--format", "json")) == []


@pytest.mark.parametrize("column", ["seconds", "seed", "status", "value.loss"])
def test_sorted_and_limited_are_the_first_of_all_sorted(show: Show, column: str) -> None:
    for by in (column, f"-{column}"):
        every = show("--sort", by, "--format", "jsonl").splitlines()
        for limit in (1, 3, len(every), len(every) + 1):
            words = ("--sort", by, "--limit", str(limit), "--format", "jsonl")
            assert show(*words).splitlines() == every[:limit]


def test_keys_with_signs_of_their_own_are_columns_as_any(tmp_path: Path) -> None:
    over = "{cases: [{$x: 1, a: 5}, {a.b: 2, a: 3}, {a: 9, $x: 2}]}"
    function = "lambda item: {'v': item['a'] * 10} if item['a'] < 9 else 1 / 0"
    (tmp_path / "spec.yaml").write_text(f"map: {json.dumps(function)}\nunpack: none\nover: {over}\n")
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 1

    def rows(*words: str) -> list[list[str]]:
        code, out, said = called(tmp_path, "show", *words, "--format", "csv")
        assert code == 0, said
        return list(csv.reader(io.StringIO(out)))[1:]

    assert rows("--columns", "value.v,input.a,$x,input.a.b,error.type") == [
        ["50", "5", "1", "", ""],
        ["30", "3", "", "2", ""],
        ["", "9", "2", "", "ZeroDivisionError"],
    ]
    assert rows("--sort", "-value.v", "--columns", "index") == [["0"], ["1"], ["2"]]
    # The table of all has them, too.
    run = Run(tmp_path, ["show"])
    assert run.wait() == 0
    head, first, second, _ = (line.split() for line in run.out.read_text().splitlines())
    assert head[:4] == ["index", "input.$x", "input.a", "input.a.b"]
    assert (first[1:3], second[1:3]) == (["1", "5"], ["3", "2"])


def test_one_item_whole(show: Show, folder: Path) -> None:
    text = show("2", "--job", "fit")
    for part in (
        "item 2 of fit, run ", "error after", '{"lr":0.1,"seed":2}', "ZeroDivisionError: float division",
        "<lambda>", "fitting \\x1b[31m 2", "(lr=0.1, seed=2)", "arcli rerun", "engine   0",
    ):  # fmt: skip
        assert part in text
    both = show("latest", "0")
    assert "item 0 of fit" in both
    assert "item 0 of last" in both
    assert "call     echo a" in both
    # The command that runs an item again says which job it is of, where several have its number.
    for job in ("fit", "last"):
        assert f" 0 --job {job}\n" in both
    (run,) = (folder / ".arcli" / "runs").iterdir()
    assert "value    {" in show(run.name[:15], "1")


def test_what_is_not_there_is_told(show: Show) -> None:
    assert "did you mean 'seed'" in show("--where", "sead > 1", code=2)
    assert "is no expression" in show("--where", "seed >", code=2)
    assert "no record of an item 99" in show("99", code=2)
    assert "there are: fit, last" in show("--job", "nope", code=2)
    assert "is not the number of an item" in show("latest", "x", code=2)


@pytest.mark.parametrize("form", ["text", "csv", "jsonl"])
def test_a_column_that_no_item_has_is_told(show: Show, form: str) -> None:
    for flag in ("--columns", "--sort"):
        told = show(flag, "sead", "--format", form, code=2)
        assert f"{flag}: no item has 'sead'" in told
        assert "did you mean 'seed'?" in told
    assert "there are: lr, seed, run, job, index, " in show("--columns", "index,???", code=2)
    assert "did you mean 'loss'?" in show("--sort", "-value.los", code=2)
    assert "no item has 'weight' in its input\nhint: there are: lr, seed" in show(
        "--columns", "input.weight", code=2
    )
    assert "input has no parts" in show("--job", "last", "--columns", "input.x", code=2)
    # What only some items have is a column all the same, and so is what they could have.
    show("--columns", "index,error.type,usage.user,seed,input.lr,value.exit", "--sort", "artifacts")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("value.lozz < 1", "no item has 'lozz' in its value\nhint: there are: loss"),
        ("value.loss.x < 1", "no item has 'x' in its value.loss\nhint: value.loss has no parts"),
        ("input.lrr > 0 or index == 0", "no item has 'lrr' in its input\nhint: did you mean 'lr'?"),
        ("error.nosuch", "no item has 'nosuch' in its error\nhint: there are: type, message, traceback"),
        ("status == 'ok' and error.nosuch", "no item has 'nosuch' in its error"),
        ("index.x > 1", "no item has 'x' in its index\nhint: index has no parts"),
        ("any(v > value.lozz for v in value.values())", "no item has 'lozz' in its value"),
    ],
)
def test_a_part_that_no_item_has_is_told(folder: Path, show: Show, text: str, told: str) -> None:
    assert f"--where: {told}" in show("--job", "fit", "--where", text, code=2)
    (path,) = (folder / ".arcli/runs").iterdir()
    with pytest.raises(UsageError, match=told.partition("\n")[0]):
        list(arcli.load(path).items(job="fit", where=text))
    # A file of records has no index.
    file = path / "journal.jsonl"
    with pytest.raises(UsageError, match=told.partition("\n")[0]):
        list(arcli.load(file).items(job="fit", where=text))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("value.exit == 0", ["last"]),  # only the other job has it
        ("index > 6 and value.exit == 0 or lr == 0.5 and seed == 3", ["fit"]),
        ("error.type.startswith('Zero') and error.message", ["fit", "fit"]),
        ("error.type and usage.user and artifacts", []),
        ("'a' in value.stdout.strip() and input.upper() == 'A'", ["last"]),
        ("len(value.values()) > 2", ["last"]),
    ],
)
def test_a_part_that_only_some_items_have_is_no_error(show: Show, text: str, found: list[str]) -> None:
    assert [item["job"] for item in json.loads(show("--where", text, "--format", "json"))] == found


def test_what_stands_for_a_value_is_in_no_hint(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("secret\n")
    assert Run(tmp_path, ["map", "--inline", "-q", "--pipe", "cat"], stdin=tmp_path / "lines").wait() == 0
    for words in (["--columns", "index,repr"], ["--where", "status and reprs"], ["--sort", "$pickle"]):
        code, _, said = called(tmp_path, "show", *words)
        assert code == 2
        assert "no item has '" in said
        assert "repr'?" not in said
        assert "hint: there are: run, job, index, key, input, status" in said
        assert said.count("status") == 1


def test_results_go_to_files_in_every_format(show: Show, folder: Path) -> None:
    show("--job", "fit", "-o", "x.parquet")
    assert pq.read_table(folder / "x.parquet").num_rows == 8
    show("-o", "x.jsonl", "--where", 'status == "ok"')
    assert len((folder / "x.jsonl").read_text().splitlines()) == 7
    show("-o", "x.json")
    assert [len(job["items"]) for job in json.loads((folder / "x.json").read_text())["jobs"]] == [8, 1]
    rows = list(csv.DictReader(io.StringIO(show("--format", "csv"))))
    assert [row["status"] for row in rows][:3] == ["ok", "ok", "error"]
    assert "known are" in show("-o", "x.pdf", code=2)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--columns", "index,lr", "-o", "refused.csv"], "--columns is of what is shown"),
        (["--format", "json", "-o", "refused.txt"], "--format is of what is shown"),
        (["--where", "index < 2", "-o", "refused.json"], "not of what is left of it by --where"),
        (["--where", "index < 2", "--limit", "1", "-o", "refused.md"], "by --where and --limit"),
        (["0", "-o", "refused.prom"], "by INDEX"),
    ],
)
def test_what_a_file_would_pass_over_is_refused(
    show: Show, folder: Path, words: list[str], reason: str
) -> None:
    assert reason in show(*words, code=2)
    assert not (folder / words[-1]).exists()


def test_a_file_that_nothing_could_be_written_to_is_told(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / ".arcli", Manifest(name="killed")).close()
    run = Run(tmp_path, ["show", "-o", "x.jsonl"])
    assert run.wait() == 2
    assert "has no records that could be written to x.jsonl" in run.said()
    assert not (tmp_path / "x.jsonl").exists()


def test_a_condition_holds_for_items_by_number_too(show: Show) -> None:
    assert show("1", "5", "--job", "fit", "--where", "lr > 0.1").startswith("item 5 of fit")
    assert "is no expression" in show("1", "--where", "lr >(", code=2)
    assert "no item has 'sead'" in show("1", "--job", "fit", "--where", "sead > 1", code=2)


def test_items_that_a_condition_leaves_out_are_told(folder: Path) -> None:
    told = called(folder, "show", "1", "--job", "fit", "--where", "lr > 99", "--format", "jsonl")
    assert told == (0, "", "arcli: --where does not hold for item 1 of fit\n")


CALLS = """\
jobs:
- {name: sum, map: "lambda x: x", over: [1, 2], reduce: operator:add}
- {name: all, map: "lambda x: x", over: [1, 2], collect: list}
- {name: tuples, map: "lambda x: (x,)", over: [1, 2], collect: list}
- {name: shell, command: "echo ${jobs.sum.value} ${jobs.all.value} {} $${X}", over: [a b]}
- {name: words, command: [echo, "s=${jobs.sum.value}", "{}"], over: [a b]}
- {name: secret, command: "echo $K", env: {K: abc}, over: [1]}
- name: call
  map: "lambda x, **k: 0"
  over: [1]
  kwargs: {a b: "${jobs.all.value}", t: "${jobs.sum.value}."}
- {name: inexact, map: "lambda x, k: 0", over: [1], kwargs: {k: "${jobs.tuples.value}"}}
- {name: keys, map: "lambda item: item[1]", over: [{1: 2}], unpack: none}
- {name: made, map: "lambda x: 0", over: {python: "made.py:items"}, unpack: none}
"""
NOT_KNOWN = "not known: the record does not hold all of its input"


def test_a_call_is_the_one_that_was_or_says_what_of_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(CALLS)
    made = "def items():\n    yield {1: 2}\n    yield b'x'\n    yield float('nan')\n    yield object()\n"
    (tmp_path / "made.py").write_text(made)
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 0

    def call(job: str, number: int = 0) -> list[str]:
        code, out, said = called(tmp_path, "show", str(number), "--job", job)
        assert code == 0, said
        lines = out.splitlines()
        (first,) = (at for at, line in enumerate(lines) if line.startswith("  call"))
        last = next(at for at in range(first + 1, len(lines)) if lines[at][2] != " ")
        return [line[11:] for line in lines[first:last]]

    assert call("shell") == ["echo 3 '[1, 2]' 'a b' ${X}"]
    assert call("words") == ["echo s=3 'a b'"]
    assert call("secret") == ["K='***' echo $K", "with *** for what is not kept"]
    assert call("call") == ["(lambda x, **k: 0)(1, t='3.', **{'a b': [1, 2]})"]
    assert call("inexact") == [
        "(lambda x, k: 0)(1, k=${jobs.tuples.value})",
        "with ${jobs.tuples.value} for what only the run had",
    ]
    assert call("keys") == [NOT_KNOWN]
    assert call("made") == ["(lambda x: 0)({'1': 2})", "with its input as JSON has it"]
    assert (call("made", 1), call("made", 3)) == ([NOT_KNOWN], [NOT_KNOWN])
    assert call("made", 2)[0] == "(lambda x: 0)(float('nan'))"


def test_a_call_of_a_command_has_each_byte_of_its_item(tmp_path: Path) -> None:
    words = [os.fsdecode(b"ren\xe9"), "it's"]
    assert Run(tmp_path, ["map", "--inline", "-q", "echo", ":::", *words]).wait() == 0
    run = Run(tmp_path, ["show", "0", "1"])
    assert run.wait() == 0
    calls = [line.split(maxsplit=1)[1] for line in run.out.read_text().splitlines() if "  call" in line]
    assert calls == [r"echo $'ren\xe9'", """echo 'it'"'"'s'"""]


VALUES = """\
jobs:
- {name: sum, map: float, over: [1, 2], reduce: operator:add}
- {name: list, map: "lambda x: {'x': 1 / x}", over: [1, 0], collect: list}
- {name: dict, map: repr, over: [b, 3, [1]], collect: dict}
- {name: count, map: abs, over: [1, 2], collect: count}
- {name: none, map: abs, over: [1]}
- {name: fails, map: abs, over: [1, 2], reduce: "lambda a, b: a / 0"}
- {name: pids, apply: abs, args: [3]}
- {name: halted, map: "lambda x: 1 / x", over: [1, 0, 2], collect: list, halt: now}
- {name: needs, map: abs, over: [1], collect: list, needs: [halted]}
"""


def test_a_document_of_a_past_run_is_the_runs_own(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(VALUES)
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q", "-o", "run.json"]).wait() == 1
    own = json.loads((tmp_path / "run.json").read_text())
    for job in (None, "dict"):
        assert Run(tmp_path, ["show", "-o", "show.json", *(["--job", job] if job else [])]).wait() == 0
        shown = json.loads((tmp_path / "show.json").read_text())
        assert shown["jobs"] == [each for each in own["jobs"] if job in {None, each["name"]}]
        assert {**shown["run"], **times(own)} == own["run"]
    values = {each["name"]: each["value"] for each in own["jobs"]}
    assert values["dict"] == {"b": "'b'", "3": "3", "2": "[1]"}
    assert (values["fails"], values["pids"]) == (None, [3])


def test_text_of_a_past_run_is_the_runs_own(tmp_path: Path) -> None:
    spec = {"jobs": [{"name": name, "map": "abs", "over": [1, 2]} for name in "ab"], "output": ["run.txt"]}
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    assert Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"]).wait() == 0
    assert Run(tmp_path, ["show", "-o", "show.txt", "-o", "show.jsonl"]).wait() == 0
    own, shown = ((tmp_path / name).read_text().splitlines() for name in ("run.txt", "show.txt"))
    # How long outputs took to write is known only later.
    assert [line for line in shown if "✓" not in line] == [line for line in own if "✓" not in line]
    assert {"a", "b"} <= set(shown)
    assert len((tmp_path / "show.jsonl").read_text().splitlines()) == 4


def test_every_file_is_written_or_refused(show: Show, folder: Path) -> None:
    rows = show("-o", "both.csv", "-o", "both.json.gz", "-o", "-")
    assert (folder / "both.csv").read_text() == rows
    assert json.loads(gzip.decompress((folder / "both.json.gz").read_bytes()))["run"]["name"] == "spec"
    assert "named twice" in show("-o", "x.csv", "-o", "./x.csv", code=2)


def times(document: dict[str, Any]) -> dict[str, Any]:
    """What is known of a run only when its files are written."""
    return {name: document["run"][name] for name in ("wall", "finish", "stopping", "writing")}


def test_the_index_is_made_once_and_is_right_in_any_order(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, Manifest(name="many"))
    order = [(index * 7919) % 20_000 for index in range(20_000)]
    run.journal.write_bytes(many_records(order))
    run.finish(0, None)
    past = run.fresh()
    with JournalIndex(past) as index:
        assert index.line("job", 12_345) == many_records([12_345])
    made = (run.path / FILE).stat().st_mtime_ns
    with JournalIndex(past) as index:
        items = list(index.items())
        assert [index.record(*item)["index"] for item in items[:3]] == [0, 1, 2]
        assert all(index.record(*item)["index"] == number for number, item in enumerate(items))
        assert sum(1 for _ in index.items("job")) == 20_000
        assert index.line("job", 20_000) is None
    assert (run.path / FILE).stat().st_mtime_ns == made
    about = (run.journal.stat().st_size, run.journal.stat().st_mtime_ns)
    for wrong in (
        b"{}",
        b"",
        b'{"version":3,"size":%d,"changed":%d,"damaged":0,"jobs":[["job",3]]}\n123' % about,
    ):
        (run.path / FILE).write_bytes(wrong)
        with JournalIndex(past) as index:
            assert index.line("job", 7) == many_records([7])


@pytest.mark.parametrize("noticed", [True, False], ids=["by its time", "by its lines"])
@pytest.mark.parametrize("change", ["NULs", "order"])
def test_a_journal_that_has_changed_since_is_indexed_once_more(
    tmp_path: Path, change: str, noticed: bool
) -> None:
    run = RunFolder.create(tmp_path, Manifest(name="many"))
    lines = [many_records([number]) for number in range(1000, 3000)]
    run.journal.write_bytes(b"".join(lines))
    run.finish(0, None)
    with JournalIndex(run.fresh()) as index:
        assert index.count() == 2000
    about = run.journal.stat()
    if change == "NULs":
        text = run.journal.read_bytes()
        run.journal.write_bytes(text[:50_000] + b"\0" * 4096 + text[54_096:])
        lines = [line for line in run.journal.read_bytes().splitlines(keepends=True) if b"\0" not in line]
    else:
        run.journal.write_bytes(b"".join(reversed(lines)))
    os.utime(run.journal, ns=(about.st_atime_ns, about.st_mtime_ns + noticed))
    for _ in range(2):
        with JournalIndex(run.fresh()) as index:
            assert list(select(index, EVERYTHING)) == lines
            assert index.count() == len(lines)
            assert index.line("job", 2999) == lines[-1]
            assert index.damaged == (change == "NULs")


@pytest.mark.parametrize("words", [["--format", "csv"], ["-o", "x.csv"], ["0", "--job", "last"]])
def test_damage_is_told(folder: Path, tmp_path: Path, words: list[str]) -> None:
    (place,) = (folder / ".arcli/runs").iterdir()
    copy = tmp_path / ".arcli/runs" / place.name
    shutil.copytree(place, copy)
    with (copy / "journal.jsonl").open("ab") as journal:
        journal.write(b"\0" * 4096 + b"\n")
    code, _, said = called(tmp_path, "show", *words)
    assert code == 0
    assert f"1 part of {copy}/journal.jsonl is damaged: items may be missing" in said


def test_a_run_that_goes_on_has_no_index_yet(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, Manifest())
    with JournalIndex(run) as index:
        assert (index.jobs, list(index.items())) == ([], [])
    run.journal.write_bytes(many_records([3, 1]) + b'{"torn')
    with JournalIndex(run) as index:
        assert list(index.numbers("job")) == [1, 3]
    assert not (run.path / FILE).exists()
    run.close()


@pytest.mark.parametrize(
    ("text", "record", "holds"),
    [
        ("x > 1", {"input": {"x": 2}}, True),
        ("x > 1", {"input": {"x": "a"}}, False),
        ("x > 1", {"input": 3}, False),
        ("input == 3", {"input": 3}, True),
        ("status == 'ok'", {"input": {"status": "mine"}, "status": "ok"}, True),
        ("value.a.b == 1", {"value": {"a": {"b": 1}}}, True),
        ("value.a.b == None", {"value": {"a": 1}}, False),
        ("value.items > 1 and value.get.pop == 3", {"value": {"items": 2, "get": {"pop": 3}}}, True),
        ("input.values == 'a' and update", {"input": {"values": "a", "update": 1}}, True),
        ("error.copy.keys == 1", {"error": {"copy": {"keys": 1}}}, True),
        ("any(v > 2 for v in value.values())", {"value": {"a": 3}}, True),
        ("any(v > 2 for v in value)", {"value": [1, 3]}, True),
        ("repr == '2j'", {"input": {"$pickle": None, "repr": "2j"}}, False),
        ("value > 1e300", {"value": {"$float": "Infinity"}}, True),
        ("usage.user > 1 and outdir", {"usage": {"user": 2.0}, "outdir": "out/1"}, True),
    ],
)
def test_conditions(text: str, record: dict[str, Any], holds: bool) -> None:
    assert Condition(text)(record) is holds


def test_sorting_takes_all_kinds() -> None:
    values = [None, "b", 2, "a", float("nan"), [1], 1, True]
    assert sorted(values, key=sort_key)[:5] == [1, True, 2, "a", "b"]
    assert cell_of({"input": {"a.b": 1, "c": {"d": 2}}}, "a.b") == 1
    assert cell_of({"input": {"c": {"d": 2}}}, "c.d") == 2
    assert cell_of({"input": {"c": {"d": None}}}, "c.d", "nothing") is None
    assert cell_of({"input": {"c": {"d": None}}}, "c.e", "nothing") == "nothing"
    assert cell_of({"input": {"$$x": {"$$y": 1}, "a": {"b": 2}}}, "a.b") == 2
    assert cell_of({"input": {"$$x": {"$$y": 1}}}, "input.$x.$y") == 1
    assert cell_of({"input": {"a.b": {"c.d": 1}}}, "input.a.b") == {"c.d": 1}
    assert cell_of({"input": {"$pickle": None, "repr": "2j"}}, "repr", "nothing") == "nothing"
    assert cell_of({"usage": {"user": 2.0}}, "usage.user") == 2.0
    with pytest.raises(UsageError, match="no expression"):
        Condition("import os")


@pytest.mark.parametrize(
    "text",
    [
        'status == "error"',
        'status == "error" and x > 1',
        "seconds > 0.02 and index < 5",
        "index > 2 or x == 0",
        "seconds > 0.02 and status",
        "value.y > 1 and seconds < 1",
        "min < 3 and index > 0",
    ],
)
def test_what_the_index_answers_is_what_the_records_would(tmp_path: Path, text: str) -> None:
    records: list[dict[str, Any]] = [
        {
            "job": "job",
            "index": number,
            "status": "error" if number % 3 == 1 else "ok",
            "seconds": None if number == 6 else number / 100,
            "input": {"x": number % 4, "min": number},
            "value": {"y": number} if number % 2 else None,
        }
        for number in range(9)
    ]
    run = RunFolder.create(tmp_path, Manifest())
    blank = json.loads(many_records([0]))
    run.journal.write_text("".join(json.dumps({**blank, **record}) + "\n" for record in reversed(records)))
    run.finish(0, None)
    condition = Condition(text)
    expected = [("job", record["index"]) for record in records if condition({**blank, **record})]
    assert 0 < len(expected) < 9
    # Both times: the index as it is made, and as it is read from its file.
    for _ in range(2):
        with JournalIndex(run.fresh()) as index:
            assert list(index.items(None, Condition(text))) == expected
            assert index.count() == 9
    assert not Condition('status == "error"').needs_records


@pytest.mark.parametrize("text", ['"n": 1234567890123456789012', '"n": 12345678901234567890'])
def test_numbers_of_any_size_are_read_exactly(text: str) -> None:
    assert decode(b"{%s}" % text.encode())["n"] == int(text.rpartition(" ")[2])
