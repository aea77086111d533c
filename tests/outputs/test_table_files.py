"""CSV and Parquet as the tools that people open tables with see them."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from make_records import batch, context, on_file, play, record
from runs import PATIENCE, Run

from arcli.engine.encode import to_tree
from arcli.outputs import parquet
from arcli.outputs.csvfile import CsvFile, cell, harmless
from arcli.outputs.parquet import ParquetFile
from arcli.outputs.target import StreamTarget
from arcli.record import Record, RecordBatch, in_python

RECORDS = [
    record(
        0,
        input={"lr": 0.5, "name": "a,b"},
        value={"level": 1, "where": {"x": 1.5, "y": [1, 2]}, "good": True},
    ),
    record(1, "error", input={"lr": 1, "name": ""}, stdout='said "no"\n'),
    record(
        2, input={"lr": 0.1, "name": "é"}, value={"level": 3, "where": {"x": 2.0, "y": []}, "good": False}
    ),
]
Make = Callable[[Path], Any]


def csv_text(*batches: RecordBatch, **options: Any) -> str:
    out = io.BytesIO()
    play(CsvFile(context(StreamTarget(out), options=options)), *batches)
    return out.getvalue().decode()


def parts(*records: Record) -> list[RecordBatch]:
    """Each record in a batch of its own."""
    return [batch(item) for item in records]


def test_columns_are_in_the_order_that_a_person_wants() -> None:
    names = csv_text(*parts(*RECORDS)).splitlines()[0].split(",")
    assert names[:9] == [
        "input.lr", "input.name", "value.level", "value.where.x", "value.where.y", "value.good",
        "status", "reason", "error.type",
    ]  # fmt: skip


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abcd"), st.text("a,\"\n é'", max_size=4) | st.integers() | st.none()
        ),
        min_size=1,
        max_size=6,
    )
)
def test_columns_that_turn_up_late_are_as_if_they_had_been_known(values: list[dict[str, Any]]) -> None:
    """Rows say the same, whether the columns were learnt before them or after."""
    records = [record(n, value=value) for n, value in enumerate(values)]
    late = list(csv.DictReader(io.StringIO(csv_text(*parts(*records)), newline="")))
    known = list(csv.DictReader(io.StringIO(csv_text(batch(*records)), newline="")))
    assert late == known


def test_a_cell_of_many_blocks_costs_what_many_cells_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was read anew with each block, with sixty times its size in memory: one of 19 MB took 17 s."""
    monkeypatch.setattr("arcli.outputs.spool.BLOCK", 4096)
    text, count = 'a,"b\n' * 300, 300

    def seconds(*values: str) -> float:
        records = [record(number, value={"text": value}) for number, value in enumerate(values)]
        batches = [batch(*records), batch(record(len(values), value={"late": 1}))]
        began = time.process_time()
        table = csv_text(*batches)
        took = time.process_time() - began
        assert all(f",{cell(value)},," in table for value in set(values))
        return took

    # With each block anew, it was a hundred times as much.
    assert min(seconds(text * count) for _ in range(2)) < 10 * max(
        seconds(*[text] * count) for _ in range(3)
    )
    tracemalloc.start()
    try:
        seconds(text * count)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50 * len(text * count)


def test_nothing_and_empty_text_stay_apart_when_a_column_turns_up_late() -> None:
    text = csv_text(*parts(record(0, stdout="", reason=None), record(1, value={"a": 1})))
    row = text.splitlines()[1]
    assert ',"",' in row
    assert ",," in row


def test_dots_in_keys_and_mappings_in_mappings_do_not_meet() -> None:
    value = {"a.b": 1, "a": {"b": 2}}
    (row,) = csv.DictReader(io.StringIO(csv_text(batch(record(0, value=value)))))
    assert (row['value."a.b"'], row["value.a.b"]) == ("1", "2")


@given(st.lists(st.sampled_from([0.0, -0.0, 0, 1, 1.0, True, False, "1", ""]), min_size=1, max_size=4))
def test_cells_are_what_they_are_beside_equal_ones(values: list[Any]) -> None:
    """What is written once for all rows is so only where it is the same to the letter."""
    together = csv_text(batch(*(record(0, value={"x": value, "y": 2}) for value in values)))
    alone = [csv_text(batch(record(0, value={"x": value, "y": 2}))) for value in values]
    assert together.splitlines()[1:] == [text.splitlines()[1] for text in alone]


def test_a_command_has_its_exit_status_in_a_column() -> None:
    value = {"exit": 0, "stdout": "7\n", "stderr": ""}
    (row,) = csv.DictReader(io.StringIO(csv_text(batch(record(0, value=value))), newline=""))
    assert (row["value.exit"], row["value.stdout"]) == ("0", "7\n")


def test_pandas_reads_csv_with_its_types() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(io.StringIO(csv_text(*parts(*RECORDS))))
    assert list(table["input.lr"]) == [0.5, 1.0, 0.1]
    assert list(table["value.where.x"].dropna()) == [1.5, 2.0]
    assert list(table["stdout"].dropna()) == ['said "no"\n']
    assert json.loads(table["value.where.y"][0]) == [1, 2]


def test_pandas_and_duckdb_read_parquet_with_its_types(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pandas, duckdb = pytest.importorskip("pandas"), pytest.importorskip("duckdb")
    path = tmp_path / "out.parquet"
    play(ParquetFile(on_file(path)), *parts(*RECORDS))
    table = pandas.read_parquet(path)
    assert str(table["started"].dtype).startswith("datetime64")
    assert table["value.good"][0] is True or bool(table["value.good"][0])
    assert list(table["value.level"].dropna()) == [1, 3]
    rows = duckdb.sql(
        f"""select "input.lr", "value.level", status, completed - started as took from '{path}'
        where "value.good" or status = 'error' order by index"""
    ).fetchall()
    assert [row[:3] for row in rows] == [(0.5, 1, "ok"), (1.0, None, "error")]
    assert rows[0][3].total_seconds() == 0.25
    csv_path = tmp_path / "out.csv"
    csv_path.write_text(csv_text(*parts(*RECORDS)))
    assert duckdb.sql(f"""select sum("value.level") from '{csv_path}'""").fetchall() == [(4,)]


def test_parquet_widens_types_and_adds_columns_in_later_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parquet, "GROUP_ROWS", 2)
    values = [None, None, 1, 2, 2.5, None, {"x": True}, {"x": None}, "text", {"y": "late"}]
    path = tmp_path / "out.parquet"
    play(ParquetFile(on_file(path)), *parts(*(record(n, value=value) for n, value in enumerate(values))))
    table = pq.read_table(path).to_pydict()
    assert table["index"] == list(range(10))
    assert table["value"] == [None, None, "1", "2", "2.5", None, None, None, "text", None]
    assert table["value.x"] == [None] * 6 + [True, None, None, None]
    assert table["value.y"] == [None] * 9 + ["late"]
    assert list(tmp_path.iterdir()) == [path]


def test_floats_that_become_text_late_are_spelt_as_in_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One column had 1 and 29999.0: Arrow has a spelling of its own."""
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parquet, "GROUP_ROWS", 2)
    path = tmp_path / "out.parquet"
    values = [1.0, None, -0.0, 2.5, "text", 29999.0]
    play(ParquetFile(on_file(path)), *parts(*(record(n, value=value) for n, value in enumerate(values))))
    assert pq.read_table(path)["value"].to_pylist() == ["1.0", None, "-0.0", "2.5", "text", "29999.0"]


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([1, 2.5, None, 2**53], [1.0, 2.5, None, 2.0**53]),
        ([1, None, 2**53 + 1, -(2**63)], [1, None, 2**53 + 1, -(2**63)]),
        ([2**53 + 1, 1, 2.5, 7], ["9007199254740993", "1", "2.5", "7"]),
        ([2.5, 0.5, 2**53 + 1, 7], ["2.5", "0.5", "9007199254740993", "7"]),
        ([math.nan, "a", math.inf, None], ["nan", "a", "inf", None]),
    ],
    ids=str,
)
@pytest.mark.parametrize("rows", [2, 4])
def test_a_type_of_parquet_loses_nothing(
    values: list[Any], column: list[Any], rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Integers of 64 bits beside fractions, as of two jobs, were rounded; NaN beside text was null."""
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parquet, "GROUP_ROWS", rows)
    path = tmp_path / "out.parquet"
    tagged = [to_tree(value)[0] for value in values]
    play(ParquetFile(on_file(path)), *parts(*(record(n, value=value) for n, value in enumerate(tagged))))
    assert pq.read_table(path)["value"].to_pylist() == column


@given(
    st.one_of(
        st.lists(st.text(), min_size=1).map(lambda cells: ("string", cells)),
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1).map(lambda cells: ("int64", cells)),
        st.lists(st.floats(allow_nan=False), min_size=1).map(lambda cells: ("double", cells)),
        st.booleans().map(lambda cell: ("bool", [cell])),
    )
)
def test_cells_that_are_packed_are_those_that_arrow_reads(column: tuple[str, list[Any]]) -> None:
    pa = pytest.importorskip("pyarrow")
    kind = pa.type_for_alias(column[0])
    try:
        packed = parquet._packed(column[1], kind)
    except UnicodeEncodeError:  # half of a surrogate pair, which Arrow does not take, either
        return
    packed.validate(full=True)
    assert packed.equals(pa.array(column[1], kind))


PANDAS = """
import sys
from make_records import *
from pathlib import Path
from arcli.outputs.parquet import ParquetFile
rows = [record(n, input={"size": n, "name": "\xe9"}, value=n / 2) for n in range(50)]
play(ParquetFile(on_file(Path(sys.argv[1]))), batch(*rows))
print("pyarrow" in sys.modules, "pandas" in sys.modules)
"""


def test_parquet_of_whole_columns_does_not_import_pandas(tmp_path: Path) -> None:
    """pyarrow does so to look whether cells are pandas', which takes half a second."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    path = tmp_path / "out.parquet"
    printed = subprocess.run(
        [sys.executable, "-c", PANDAS, path],
        cwd=Path(__file__).parent,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    ).stdout
    assert printed == "True False\n"
    assert path.exists()


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_finds_no_formula(text: str) -> None:
    table = csv_text(
        batch(record(0, value={"=key": text, "n": -2}, stdout="\x1b[2J\x00")), spreadsheet=True
    )
    assert table.isprintable() or set(filter(lambda c: not c.isprintable(), table)) == {"\n"}
    (row,) = csv.DictReader(io.StringIO(table))
    assert row["value.=key"].startswith("'")
    assert row["value.n"] == "-2"  # a number is one
    assert harmless("plain - text = ok") == "plain - text = ok"


def test_a_spec_asks_for_a_harmless_table(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        "map: str\nover: ['=1+1']\noutput: [{path: a.csv, options: {spreadsheet: true}}, b.csv]\n"
    )
    run = Run(tmp_path, ["run", "spec.yaml", "--inline", "-q"])
    assert run.wait() == 0, run.said()
    assert "'=1+1" in (tmp_path / "a.csv").read_text()
    assert "'=1+1" not in (tmp_path / "b.csv").read_text()


@given(st.lists(st.integers() | st.floats(), min_size=1))
@example([1e16, 5e-5, 1e-5])
@example([2**64])
@example([math.nan])
@example([1e-5, 1e-9, 1e-10])
@example([6.1e-05, -9.99e-05, 1e-4, 10.00001, -20.00001])
@example([1e16])
@example([1e100])
@example([5e-324])
@example([1, False])
def test_numbers_together_are_written_as_each_by_itself_or_not_at_all(numbers: list[float]) -> None:
    assert in_python(numbers) in (None, ",".join(map(repr, numbers)))


def test_common_numbers_are_written_together() -> None:
    assert (
        in_python([0, -7, 2**63, 0.1, -0.0, 1e15, 3.587e-06, 6.1e-05])
        == "0,-7,9223372036854775808,0.1,-0.0,1000000000000000.0,3.587e-06,6.1e-05"
    )
