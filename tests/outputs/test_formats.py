"""What is in the files: JSON, CSV and Parquet say the same as the records."""

from __future__ import annotations

import csv
import io
import json
import math
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_records import batch, context, on_file, play, record, summary

from arcli.engine.tally import Tally
from arcli.outputs import columns as columns_module
from arcli.outputs.base import Output
from arcli.outputs.columns import MOST_COLUMNS, Block, Columns
from arcli.outputs.csvfile import CsvFile, cell
from arcli.outputs.jsondoc import JsonDocument
from arcli.outputs.jsonl import JsonlStream
from arcli.outputs.parquet import ParquetFile
from arcli.outputs.registry import BUILT_IN, Format
from arcli.outputs.spool import BLOCK
from arcli.outputs.target import StreamTarget
from arcli.record import RecordBatch, decode, dump

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def document(*batches: RecordBatch, values: dict[str, Any] | None = None) -> Any:
    out = io.BytesIO()
    play(JsonDocument(context(StreamTarget(out))), *batches, values=values)
    return json.loads(out.getvalue())


def rows(*batches: RecordBatch) -> list[dict[str, str]]:
    out = io.BytesIO()
    play(CsvFile(context(StreamTarget(out))), *batches)
    return list(csv.DictReader(io.StringIO(out.getvalue().decode(), newline="")))


def test_jsonl_is_the_lines_as_they_are() -> None:
    out = io.BytesIO()
    first, second = batch(record(0)), batch(record(1, "error"))
    play(JsonlStream(context(StreamTarget(out))), first, second)
    assert out.getvalue() == first.lines + second.lines


def test_the_document() -> None:
    parts = batch(record(0), record(1)), batch(record(2, "error"))
    tree = document(*parts, values={"squares": 5})
    assert list(tree) == ["run", "jobs"]
    assert tree["run"]["name"] == "rms"
    (job,) = tree["jobs"]
    assert {"name", "status", "counts", "timing", "value", "items"} <= set(job)
    assert (job["name"], job["status"], job["value"]) == ("squares", "failed", 5)
    assert job["items"] == [json.loads(line) for part in parts for line in part.lines.splitlines()]


def test_jobs_that_come_in_turn_are_put_together() -> None:
    def part(index: int, job: str) -> RecordBatch:
        return batch(record(index, job=job))

    tree = document(part(0, "a"), part(0, "b"), part(1, "a"), part(1, "b"))
    assert [job["name"] for job in tree["jobs"]] == ["a", "b"]
    assert all([item["index"] for item in job["items"]] == [0, 1] for job in tree["jobs"])


def test_a_run_without_jobs_or_items_is_a_document_too() -> None:
    assert document()["jobs"] == []
    out = io.BytesIO()
    output = JsonDocument(context(StreamTarget(out)))
    output.start()
    output.finish(summary(exit_code=3, error="no engine"), {})
    assert json.loads(out.getvalue())["run"]["error"] == "no engine"


def test_a_document_of_one_job() -> None:
    out = io.BytesIO()
    output = JsonDocument(context(StreamTarget(out), job="a"))
    play(output, batch(record(0, job="a")), values={"a": 1})
    output = JsonDocument(context(StreamTarget(io.BytesIO()), job="a"))
    assert [job["name"] for job in json.loads(out.getvalue())["jobs"]] == ["a"]


def test_blocks_of_the_spool_may_cut_anywhere() -> None:
    """A line that ends exactly where a block does, and lines longer than one."""
    line = len(record(0, value="").to_line())
    exact = batch(record(0, value="x" * (BLOCK - line)))
    assert len(exact.lines) == BLOCK
    huge = batch(record(1, value="y" * (3 * BLOCK)))
    tree = document(exact, huge, batch(record(2)))
    assert [item["index"] for item in tree["jobs"][0]["items"]] == [0, 1, 2]


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=5))
def test_any_values_come_back_from_the_document(pairs: list[tuple[Any, Any]]) -> None:
    lines = [
        json.dumps({"job": "j", "index": i, "status": "ok", "input": a, "value": b}).encode() + b"\n"
        for i, (a, b) in enumerate(pairs)
    ]
    tally = batch(record(0, job="j")).tally
    part = RecordBatch(job="j", first=0, count=len(lines), lines=b"".join(lines), tally=tally)
    items = document(part, values={"j": pairs[0][0]})["jobs"][0]
    assert [(item["input"], item["value"]) for item in items["items"]] == pairs
    assert items["value"] == pairs[0][0]


def test_csv_has_a_row_an_item() -> None:
    table = rows(batch(record(0), record(1, "error")), batch(record(2, value=[1, {"a": None}])))
    assert [row["index"] for row in table] == ["0", "1", "2"]
    assert [row["value"] for row in table] == ["0", "", '[1,{"a":null}]']
    assert table[1]["error.message"] == "division by zero"
    assert table[0]["input"] == "0"
    assert table[0]["truncated"] == "false"


def test_inputs_that_are_mappings_get_columns_also_late_ones() -> None:
    table = rows(
        batch(record(0, input={"x": 1, "y": "a,b"})),
        batch(record(1, input={"x": 2, "z": {"$float": "NaN"}})),
        batch(record(2, input={"$$odd": True})),
    )
    assert [row["input.x"] for row in table] == ["1", "2", ""]
    assert table[0]["input.y"] == "a,b"
    assert table[1]["input.z"] == "nan"
    assert table[2]["input.$odd"] == "true"
    assert "input" not in table[0]


def test_mixed_and_tagged_inputs_stay_in_one_piece() -> None:
    table = rows(
        batch(record(0, input={"x": 1}), record(1, input=[1]), record(2, input={"$bytes": "eA=="}))
    )
    assert [row["input"] for row in table] == ["", "[1]", '{"$bytes":"eA=="}']
    assert table[0]["input.x"] == "1"


def test_the_number_of_columns_is_bounded() -> None:
    columns = Columns()
    for i in range(MOST_COLUMNS + 5):
        block = columns.block(batch(record(i, input={f"k{i}": i})).lines, {})
    assert sum(name.startswith("input.") for name in columns.names) == MOST_COLUMNS
    assert block.same["input"] == f'{{"k{MOST_COLUMNS + 4}":{MOST_COLUMNS + 4}}}'


ends = st.tuples(st.sampled_from(["ok", "error"]), st.integers(1, 2), VALUES, st.sampled_from(["", "x"]))


@given(
    st.lists(st.lists(ends, min_size=1, max_size=3), min_size=1, max_size=3),
    st.sampled_from([1, 1000, 1 << 20]),
)
def test_what_is_known_of_a_batch_is_what_its_records_say(
    chunks: list[list[tuple[Any, ...]]], size: int
) -> None:
    """Columns are the same, whether or not it is told; batches that are small are looked at together."""
    tables = []
    for told in (False, True):
        columns, blocks = Columns(), list[Block]()
        for number, items in enumerate(chunks):
            around = {
                "run": "r1",
                "job": "j",
                "engine_id": 0,
                "slot": number,
                "msg_id": None,
                "chunk": number,
            }
            part = batch(
                *(
                    record(at, status, value=value, input=value, stdout=out, attempt=attempt, **around)
                    for at, (status, attempt, value, out) in enumerate(items)
                )
            )
            part.shared = dump(around) if told else b""
            part.tally = part.tally if told else Tally()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(columns_module, "BLOCK_BYTES", size)
                blocks += columns.add(part)
        blocks += columns.rest()
        cells = {
            name: [
                repr(cell)
                for block in blocks
                for cell in block.columns.get(name) or [block.same.get(name)] * block.rows
            ]
            for name in columns.names
        }
        tables.append((columns.names, cells))
    assert tables[0] == tables[1]


@given(st.lists(st.text(), min_size=1))
def test_csv_cells_come_back(texts: list[str]) -> None:
    line = ",".join(cell(text) for text in texts) + "\n"
    (row,) = csv.reader(io.StringIO(line, newline=""))
    assert row == texts


def test_empty_text_and_nothing_differ_in_csv() -> None:
    assert (cell(""), cell(None)) == ('""', "")


def test_numbers_that_json_libraries_bend() -> None:
    big = {"index": 0, "value": 2**70}
    assert decode(dump(big)) == big
    assert decode(b'{"value": "\\ud800"}') == {"value": "\ud800"}
    assert json.loads(dump({"x": "\ud800"})) == {"x": "\ud800"}
    with pytest.raises(ValueError, match="not a record"):
        decode(b"[1]")


def test_hostile_text_in_every_format(tmp_path: Path) -> None:
    line = (
        b'{"job":"j","index":0,"status":"ok","input":"\\u0000","value":"\\ud800",'
        b'"stdout":"\\u001b[31m,\\"\\r\\n\\u0000"}\n'
    )
    tally = batch(record(0, job="j")).tally
    part = RecordBatch(job="j", first=0, count=1, lines=line, tally=tally)
    assert document(part)["jobs"][0]["items"] == [json.loads(line)]
    (row,) = rows(part)
    assert (row["input"], row["value"]) == ("\0", "\\ud800")
    assert row["stdout"] == '\x1b[31m,"\r\n\0'


def test_parquet_has_types(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "out.parquet"
    play(
        ParquetFile(on_file(path)),
        batch(record(0, value=1, input={"x": 1, "big": 2**70})),
        batch(record(1, value=0.5, input={"x": "a"}), record(2, "error", input={"x": None})),
        batch(record(3, value={"$float": "NaN"}, input={"x": [1]})),
    )
    table = pq.read_table(path).to_pydict()
    assert table["index"] == [0, 1, 2, 3]
    assert table["value"][:3] == [1.0, 0.5, None]
    assert math.isnan(table["value"][3])
    assert table["input.x"] == ["1", "a", None, "[1]"]
    assert table["input.big"] == [str(2**70), None, None, None]
    assert table["started"][0] == datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)
    assert table["truncated"] == [False] * 4
    assert table["error.type"] == [None, None, "ZeroDivisionError", None]


_SINKS: dict[str, Callable[[Path], Output]] = {
    "json": lambda path: JsonDocument(on_file(path)),
    "csv": lambda path: CsvFile(on_file(path)),
}


@pytest.mark.parametrize("make", _SINKS.values(), ids=_SINKS.keys())
def test_memory_does_not_grow_with_the_items(tmp_path: Path, make: Callable[[Path], Output]) -> None:
    part = batch(*(record(i, value="v" * 200) for i in range(500)))

    def peak(batches: int) -> int:
        output = make(tmp_path / "out")
        tracemalloc.start()
        output.start()
        for _ in range(batches):
            output.record(part)
        output.finish(summary(part), {})
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    small = peak(8)
    assert peak(80) < 1.2 * small


@pytest.mark.parametrize("each", BUILT_IN, ids=lambda each: each.name)
def test_a_run_without_items_has_all_of_its_files(tmp_path: Path, each: Format) -> None:
    path = tmp_path / "out"
    play(each(on_file(path)))
    assert path.exists()
    if each.name == "csv":
        assert path.read_text().splitlines()[0].startswith("input,value,status,")
        assert len(path.read_text().splitlines()) == 1
