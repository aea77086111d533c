"""CSV, JSON Lines and Parquet: what their rows become, and what is wrong with them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from sources import source

from arcli.errors import InputError


def csv_of(tmp_path: Path, text: str, **more: Any) -> Any:
    (tmp_path / "t.csv").write_text(text)
    return source({"csv": {"path": "t.csv", **more}}, tmp_path)


def test_csv_types_columns_and_names_the_bad_line(tmp_path: Path) -> None:
    text = 'n,x,name,code\n1,0.5,"a, b",007\n2,,c,010\n'
    rows = list(csv_of(tmp_path, text))
    assert rows[0] == {"n": 1, "x": 0.5, "name": "a, b", "code": "007"}
    assert rows[1]["x"] is None
    with pytest.raises(InputError, match=r"t.csv:2: where: 'n > 1' fails: TypeError"):
        list(csv_of(tmp_path, text, where="n > 1", types={"n": "str"}))
    assert len(list(csv_of(tmp_path, text, where={"n": [2, 3]}))) == 1
    with pytest.raises(InputError, match=r"t.csv:3: 1 cells, but 2 columns"):
        list(csv_of(tmp_path, "a,b\n1,2\n3\n"))
    with pytest.raises(InputError, match=r"t.csv:1002: 'x' in the column 'a' is not int"):
        list(csv_of(tmp_path, "a\n" + "1\n" * 1000 + "x\n"))


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["12e4567", "1"], ["12e4567", "1"]), (["99e9999"], ["99e9999"]),
        (["1" * 5000], ["1" * 5000]), (["nan", "inf"], ["nan", "inf"]), (["007"], ["007"]),
        (["1_0"], ["1_0"]), (["-1", "+2"], [-1, 2]), ([".5", "1e3", "2."], [0.5, 1000.0, 2.0]),
        (["inf", "1.5", "-Infinity"], [float("inf"), 1.5, float("-inf")]),
        (["٣"], ["٣"]), (["true", "False"], [True, False]), (["0x1"], ["0x1"]), (["-0"], [0]),
    ],
)  # fmt: skip
def test_only_what_is_written_as_a_number_is_one(
    tmp_path: Path, cells: list[str], values: list[Any]
) -> None:
    rows = list(csv_of(tmp_path, "\n".join(["a", *cells, ""])))
    assert [row["a"] for row in rows] == values
    assert [type(row["a"]) for row in rows] == [type(value) for value in values]


def test_a_number_that_is_too_large_is_not_infinity(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'1e999' in the column 'a' is not float"):
        list(csv_of(tmp_path, "a\n1e999\n", types={"a": "float"}))


@pytest.mark.parametrize("bad", ['"x\n', 'y"z"\n"a"b\n', "3,4\n"])
def test_rows_before_a_bad_one_are_good(tmp_path: Path, bad: str) -> None:
    got = []
    with pytest.raises(InputError, match=r"t.csv:[456]"):
        got.extend(csv_of(tmp_path, f"a\n1\n2\n{bad}"))
    assert [str(row["a"]) for row in got][:2] == ["1", "2"]


def test_a_cell_may_be_long(tmp_path: Path) -> None:
    assert len(next(iter(csv_of(tmp_path, f"a\n{'x' * 200_000}\n")))["a"]) == 200_000


def test_a_file_without_a_header_gets_names(tmp_path: Path) -> None:
    rows = csv_of(tmp_path, "1,x\n2,y\n", header=["n", "s"], where="n > 1")
    assert (list(rows), rows.names) == ([{"n": 2, "s": "y"}], ("n", "s"))
    assert list(csv_of(tmp_path, "", header=["n"])) == []
    with pytest.raises(InputError, match="1 cells, but 2 columns"):
        list(csv_of(tmp_path, "1\n", header=["n", "s"]))


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"a": "1"}, [1]), ({"a": [1, "2"]}, [1, 2]), ({"b": None}, [2]), ({"c": None}, [1]),
        ({"b": 5}, [3]), ({"d": True}, [1, 3]), ("any(a == x for x in [1, 3])", [1, 3]),
        ("(lambda: a == 2)()", [2]), ("b == '' and len([b]) == 1", [2]), (" a > 2 ", [3]),
    ],
)  # fmt: skip
def test_rows_that_are_wanted(tmp_path: Path, where: Any, kept: list[int]) -> None:
    text = "a,b,c,d\n1,x,,true\n2,,1.5,false\n3,5,2,true\n"
    assert [row["a"] for row in csv_of(tmp_path, text, where=where)] == kept


@pytest.mark.parametrize(
    ("text", "more", "message", "path"),
    [
        ("", {}, "no header", ()),
        ("a,b,a\n", {}, "'a' is there twice", ()),
        ("a\n", {"types": {"b": "int"}}, "types: there is no column 'b'", ("types", "b")),
        ("a\n", {"where": {"b": 1}}, "where: there is no column 'b'", ("where", "b")),
        ("a\n", {"where": "len(b) > a"}, "where: there is no column 'b'", ("where", "b")),
        ("a\n", {"where": "a >"}, "'a >' is no expression: invalid syntax", ("where",)),
        ("", {"header": ["a"], "where": {"b": 1}}, "there is no column 'b'", ("where", "b")),
        ('"a\n', {}, r"t.csv:1: unexpected end", ()),
    ],
)  # fmt: skip
def test_what_a_header_tells_is_known_before_the_run(
    tmp_path: Path, text: str, more: dict[str, Any], message: str, path: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        csv_of(tmp_path, text, **more)
    assert caught.value.path == ("csv", *path)


def test_what_a_column_can_never_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'x' is not int, as the column 'a' is"):
        list(csv_of(tmp_path, "a\n1\n", where={"a": "x"}))


def test_a_slow_table_is_read_as_it_comes(tmp_path: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as stdin, os.fdopen(write, "wb", buffering=0) as out:
        path = {"path": f"/dev/fd/{read}", "types": {"a": "int"}}
        for over in ({"csv": path}, {"csv": {**path, "header": ["a"]}}):
            rows = iter(source(over, stdin=stdin))
            out.write(b"a\n1\n" if "header" not in over["csv"] else b"2\n")
            assert next(rows)["a"] in (1, 2)


def test_a_table_on_standard_input() -> None:
    rows = source({"stdin": "csv"}, stdin=io.BytesIO(b"\xef\xbb\xbfa,b\r\n1,x\r\n"))
    assert (list(rows), rows.unpack) == ([{"a": 1, "b": "x"}], "kwargs")


def test_jsonl_names_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"a": 1}\n\n[1,]\n')
    with pytest.raises(InputError, match=r"f:3:4: not JSON|f:3:3: not JSON"):
        list(source({"jsonl": "f"}, tmp_path))
    (tmp_path / "f").write_text("1\n" + "[" * 100_000)
    with pytest.raises(InputError, match=r"f:2: nested too deeply"):
        list(source({"jsonl": "f"}, tmp_path))


def test_rows_of_json_lines_that_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"a": 1}\n{"a": 2, "b": 3}\n{"a": null}\n')

    def kept(where: Any) -> list[Any]:
        return [row["a"] for row in source({"jsonl": {"path": "f", "where": where}}, tmp_path)]

    assert kept({"a": [2, None]}) == [2, None]
    assert kept({"b": None}) == [1, None]
    assert kept("a == 2") == [2]
    with pytest.raises(InputError, match=r"f:1: where: 'b' fails: NameError"):
        kept("b")
    (tmp_path / "f").write_text("[1]\n")
    with pytest.raises(InputError, match=r"f:1: where: needs rows with names, and this is \[1\]"):
        kept({"a": 1})


def test_parquet_tells_its_columns_and_its_length(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "t.parquet")
    rows = source({"parquet": "t.parquet"}, tmp_path)
    assert (rows.length, rows.names, list(rows)) == (3, ("a",), [{"a": 1}, {"a": 2}, {"a": 3}])
    picked = source({"parquet": {"path": "t.parquet", "where": "a > 1"}}, tmp_path)
    assert (picked.length, list(picked)) == (None, [{"a": 2}, {"a": 3}])
    with pytest.raises(InputError, match="no column 'b'"):
        source({"parquet": {"path": "t.parquet", "where": {"b": 1}}}, tmp_path)
    (tmp_path / "t.parquet").write_text("a,b\n")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        source({"parquet": "t.parquet"}, tmp_path)
