"""CSV, JSON Lines and Parquet: what their rows become, and what is wrong with them."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import os
import pickle
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources import source

from arcli.errors import InputError
from arcli.fields import Deferred
from arcli.inputs import csv as csv_input
from arcli.plan.deferred import Resolver


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
        (["1_0"], ["1_0"]), (["-1", "2"], [-1, 2]), (["0.5", "1000.0", "2"], [0.5, 1000.0, 2]),
        (["inf", "1.5", "-inf"], [float("inf"), 1.5, float("-inf")]), (["1", "+2"], ["1", "+2"]),
        (["3.9", "3.10"], ["3.9", "3.10"]), (["99e1"], ["99e1"]), ([".5"], [".5"]), (["2."], ["2."]),
        (["٣"], ["٣"]), (["true", "false"], [True, False]), (["True", "False"], [True, False]),
        (["true", "False"], ["true", "False"]), (["0x1"], ["0x1"]), (["-0"], ["-0"]), ([" 1"], [" 1"]),
    ],
)  # fmt: skip
def test_only_what_is_written_as_a_number_is_one(
    tmp_path: Path, cells: list[str], values: list[Any]
) -> None:
    rows = list(csv_of(tmp_path, "\n".join(["a", *cells, ""])))
    assert [row["a"] for row in rows] == values
    assert [type(row["a"]) for row in rows] == [type(value) for value in values]


words = st.one_of(
    st.integers().map(str), st.floats().map(repr), st.sampled_from(["007", "+1", "1_000", "3.10", "99e1"]),
    st.sampled_from(["true", "False", "", "NaN", " 1", "1 ", "-0"]),
    st.text("0123456789.eE+-_ ", max_size=6),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(words, min_size=1, max_size=5), st.lists(words, max_size=4))
def test_the_text_of_every_cell_comes_back_or_the_row_is_an_error(
    looked_at: list[str], others: list[str]
) -> None:
    """The same rule holds for the rows that types are read off and for all others."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(csv_input, "LOOK", len(looked_at))
        path = Path(folder, "t.csv")
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["a", "b"], *([cell, "x"] for cell in [*looked_at, *others])])
        assert [row["a"] for row in source({"csv": str(path)}, texts=True)] == [*looked_at, *others]
        got: list[Any] = []
        with suppress(InputError):
            got.extend(row["a"] for row in source({"csv": str(path)}))
    assert len(got) >= len(looked_at)
    for value, cell in zip(got, [*looked_at, *others], strict=False):
        text = "" if value is None else str(value)
        assert text.lower() == cell.lower() if isinstance(value, bool) else text == cell


def test_rows_beyond_the_first_are_read_by_the_same_rule(tmp_path: Path) -> None:
    codes = "\n".join(["code", *map(str, range(100, 1100))])
    for cell in ("007", "1_000"):
        with pytest.raises(
            InputError, match=rf"t.csv:1002: '{cell}' in the column 'code' is not int"
        ) as caught:
            list(csv_of(tmp_path, f"{codes}\n{cell}\n"))
        assert caught.value.hint == "say what the column holds, such as types: {code: str}"
    assert list(csv_of(tmp_path, f"{codes}\n007\n", types={"code": "int"}))[-1] == {"code": 7}


def test_a_command_gets_the_text_of_cells_and_rows_are_picked_by_their_values(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("version,phone,n\n3.10,+15550100,5\n3.9,+1,\n")
    rows = source({"csv": {"path": "t.csv", "where": "n == 5"}}, tmp_path, texts=True)
    assert list(rows) == [{"version": "3.10", "phone": "+15550100", "n": "5"}]
    stdin = io.BytesIO(b"a\n1e3\n")
    assert list(source({"stdin": "csv"}, stdin=stdin, texts=True)) == [{"a": "1e3"}]


TABLE = "a,b,c\n1,x,3.10\n2,y,3.9\n3,,1\n"


@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize("key", ["csv", "stdin"])
@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({"exclude": [{"a": 1}]}, "23"), ({"exclude": [{"a": 1.0, "b": "x"}, {"b": "y"}]}, "3"),
        ({"exclude": [{"c": "3.10"}, {"a": "2"}]}, "23"), ({"where": {"a": 1}}, "1"),
        ({"where": {"a": ["2", 3]}}, "23"), ({"where": "a > 1"}, "23"), ({"where": {"b": None}}, "3"),
        ({"where": "a > 1", "exclude": [{"a": 3}]}, "2"), ({"exclude": [{"a": 9}], "shuffle": 1}, "123"),
        ({"where": {"c": 3.1}}, ""), ({"where": {"c": "3.10"}}, "1"),
    ],
)  # fmt: skip
def test_a_table_compares_values_also_where_its_items_are_texts(
    tmp_path: Path, filters: dict[str, Any], kept: str, key: str, texts: bool
) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    over = {key: "csv" if key == "stdin" else "t.csv", **filters}
    rows = [*source(over, tmp_path, stdin=io.BytesIO(TABLE.encode()), texts=texts)]
    assert sorted(str(row["a"]) for row in rows) == [*kept]
    assert all(type(row) is dict and isinstance(row["a"], str) == texts for row in rows)
    assert {row["c"] for row in rows} <= {"3.10", "3.9", "1"}


@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize(
    ("over", "kept"),
    [
        ({"product": {"r": {"csv": "t.csv"}, "n": [1, 2]}, "where": "r['a'] > n"}, ["21", "31", "32"]),
        ({"product": {"n": [1, 2], "r": {"csv": "t.csv"}}, "exclude": [{"r": {"a": 1}}, {"n": 2}]},
         ["21", "31"]),
        ({"zip": {"r": {"csv": "t.csv"}, "n": [1, 2, 3]}, "where": "r['a'] == n > 1"}, ["22", "33"]),
        ({"product": {"in": {"zip": {"r": {"csv": "t.csv", "exclude": [{"a": 2}]}, "n": [0, 1]}}, "m": [0]},
          "where": {"m": 0}}, ["10", "31"]),
    ],
)  # fmt: skip
def test_so_does_what_is_combined_of_tables(
    tmp_path: Path, over: dict[str, Any], kept: list[str], texts: bool
) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    rows = [*source(over, tmp_path, texts=texts)]
    assert [f"{row['r']['a']}{row['n']}" for row in rows] == kept
    assert all(type(row["r"]) is dict and isinstance(row["r"]["a"], str) == texts for row in rows)
    assert {row["r"]["c"] for row in rows} <= {"3.10", "3.9", "1"}


@pytest.mark.parametrize(("form", "where"), [("lines", "item > '1'"), ("jsonl", "item > 1")])
def test_other_forms_of_standard_input_pick_items_too(form: str, where: str) -> None:
    for over in ({"stdin": form, "where": where}, {"stdin": {"form": form, "where": where}}):
        assert [*map(str, source(over, stdin=io.BytesIO(b"1\n2\n")))] == ["2"]
    with pytest.raises(InputError, match=r"stdin:1: where: 'nothing' fails: NameError"):
        list(source({"stdin": form, "where": "nothing"}, stdin=io.BytesIO(b"1\n")))


def test_encodings_and_decimal_commas(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("größe;n\n1,5;x\n".encode("latin-1"))
    table = {"path": "t.csv", "delimiter": ";", "encoding": "latin-1", "decimal": ","}
    assert list(source({"csv": table}, tmp_path)) == [{"größe": 1.5, "n": "x"}]
    with pytest.raises(InputError, match=r"t.csv:1: 'gr\\xf6\\xdfe' is not utf-8") as caught:
        source({"csv": {"path": "t.csv", "delimiter": ";"}}, tmp_path)
    assert "latin-1" in (caught.value.hint or "")
    (tmp_path / "t.csv").write_bytes("a,b\n1,2\n".encode("utf-16"))
    assert list(source({"csv": {"path": "t.csv", "encoding": "utf-16"}}, tmp_path)) == [{"a": 1, "b": 2}]


@pytest.mark.parametrize(
    ("encoding", "cell"),
    [
        ("utf-8", b"caf\xe9"), ("UTF8", b"\xf0\x9f"), ("ascii", b"caf\xe9"), ("cp1252", b"\x81"),
        ("shift_jis", b"\x81"), ("utf-16-le", b"x\x00\x00\xd8"), ("utf-16-le", b"\x00\xdc"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("texts", [False, True])
def test_a_cell_that_is_no_text_is_an_error_of_its_row_alone(
    tmp_path: Path, encoding: str, cell: bytes, texts: bool
) -> None:
    before, after = "n,name,x\n1,a,0.5\n2,".encode(encoding), ",1.5\n3,c,2.5\n".encode(encoding)
    (tmp_path / "t.csv").write_bytes(before + cell + after)
    table = {"path": "t.csv", "encoding": encoding}
    first, bad, last = source({"csv": table}, tmp_path, texts=texts)
    assert list(first.values()) == (["1", "a", "0.5"] if texts else [1, "a", 0.5])
    assert list(last.values()) == (["3", "c", "2.5"] if texts else [3, "c", 2.5])
    assert list(bad) == ["n", "name", "x"]
    assert (bad["n"], bad["x"]) == (("2", "1.5") if texts else (2, 1.5))
    with pytest.raises(InputError, match=rf"t.csv:3: '.*' is not {encoding} \(column 'name'\)") as caught:
        pickle.dumps([bad])
    assert "encoding: latin-1" in caught.value.message


def test_a_cell_that_is_no_text_changes_no_type_of_its_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"n,ok\n1,true\n\xff,\xfe\n3,false\n")
    first, bad, last = source({"csv": "t.csv"}, tmp_path)
    assert (first, last) == ({"n": 1, "ok": True}, {"n": 3, "ok": False})
    assert repr(bad) == r"{'n': <'\xff' is not utf-8>, 'ok': <'\xfe' is not utf-8>}"
    asked = {"path": "t.csv", "types": {"n": "float", "ok": "str"}}
    assert [row["n"] for row in source({"csv": asked}, tmp_path)][::2] == [1.0, 3.0]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("n > 1", [2, 3]), ("n != 2", [1, 3]), ("name == 'c'", [2, 3]), ("name != 'c'", [1, 2]),
        ("n == 1 and name", [1]), ("n < 3 and len(name) == 1", [1, 2]), ("name.startswith('a')", [1, 2]),
        ("name in {'a'}", [1, 2]), ("not name", [2]), ({"name": "c"}, [2, 3]), ({"n": 3}, [3]),
        ({"name": "c", "n": 1}, []), ({"name": None}, [2]), ({"n": [1, 2], "name": ["a", "b"]}, [1, 2]),
    ],
)  # fmt: skip
def test_a_row_stays_where_only_what_is_no_text_could_tell(
    tmp_path: Path, where: Any, kept: list[int]
) -> None:
    (tmp_path / "t.csv").write_bytes(b"n,name\n1,a\n2,\xff\n3,c\n")
    rows = source({"csv": {"path": "t.csv", "where": where}}, tmp_path)
    assert [row["n"] for row in rows] == kept
    texts = source({"csv": {"path": "t.csv", "where": where}}, tmp_path, texts=True)
    assert [row["n"] for row in texts] == [str(n) for n in kept]
    if isinstance(where, str):
        names = {name: f"t['{name}']" for name in ("name", "n")}
        condition = re.sub(r"\bname\b|\bn\b", lambda found: names[found[0]], where)
        pairs = source({"product": {"k": [0, 1], "t": {"csv": "t.csv"}}, "where": condition}, tmp_path)
        assert [(pair["k"], pair["t"]["n"]) for pair in pairs] == [(k, n) for k in (0, 1) for n in kept]


def test_what_is_no_text_is_excluded_by_what_else_is_in_its_row_only(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"n,name\n1,a\n2,\xff\n3,c\n")
    for pattern, kept in (({"name": "a"}, [2, 3]), ({"n": 2}, [1, 3]), ({"n": 2, "name": "b"}, [1, 2, 3])):
        rows = source({"csv": "t.csv", "exclude": [pattern]}, tmp_path)
        assert [row["n"] for row in rows] == kept


def test_a_table_on_standard_input_that_is_no_text_tells_where_its_encoding_goes() -> None:
    _, bad = source({"stdin": "csv"}, stdin=io.BytesIO(b"a\nb\n\xff\n"))
    with pytest.raises(InputError, match=r"stdin:3: .*csv: {path: /dev/stdin, encoding: latin-1}"):
        pickle.dumps(bad)


def test_files_that_are_packed_are_unpacked_as_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n1,x\n"))
    (tmp_path / "T.CSV.GZ").write_bytes(gzip.compress(b"a,b\n2,y\n"))
    (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n'))
    (tmp_path / "bad.txt.gz").write_bytes(gzip.compress(b"x" * 1000)[:-9])
    (tmp_path / "none.txt.gz").write_text("text")
    assert list(source({"csv": "t.csv.gz"}, tmp_path)) == [{"a": 1, "b": "x"}]
    assert list(source({"csv": "T.CSV.GZ"}, tmp_path)) == [{"a": 2, "b": "y"}], (
        "as an output's name says it"
    )
    assert list(source({"jsonl": "r.jsonl.gz"}, tmp_path)) == [{"a": 1}]
    for name in ("bad.txt.gz", "none.txt.gz"):
        with pytest.raises(InputError, match=f"{name} cannot be read any further"):
            list(source({"lines": name}, tmp_path))


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
        ({"b": 5}, [3]), ({"d": True}, [1, 3]), ({"a": 2.0}, [2]), ({"a": [1e0, 3]}, [1, 3]),
        ("any(a == x for x in [1, 3])", [1, 3]),
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


def test_a_number_is_wanted_however_numbers_are_written_in_the_file(tmp_path: Path) -> None:
    text = 'x;n\n"1,5";1\n"2,0";1000\n'
    for where, kept in [({"x": 1.5}, 1), ({"x": "1,5"}, 1), ({"x": 2}, 1000), ({"n": 1e3}, 1000)]:
        rows = csv_of(tmp_path, text, delimiter=";", decimal=",", where=where)
        assert [row["n"] for row in rows] == [kept]


def test_a_wide_table_costs_what_its_cells_do(tmp_path: Path) -> None:
    """Each column's name used to be compared with all others."""

    def seconds(columns: int) -> float:
        header = ",".join(f"column{number}" for number in range(columns))
        began = time.process_time()
        assert len(csv_of(tmp_path, header + "\n").names) == columns
        return time.process_time() - began

    # Quadratic, eight times as many took sixty times as long.
    assert min(seconds(24000) for _ in range(2)) < 24 * max(seconds(3000) for _ in range(3))


def test_what_a_column_can_never_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1\.5 is not int, as the column 'a' is"):
        list(csv_of(tmp_path, "a\n1\n", where={"a": 1.5}))
    with pytest.raises(InputError, match="'x' is not int, as the column 'a' is"):
        list(csv_of(tmp_path, "a\n1\n", where={"a": "x"}))


cells_of_a_table = st.sampled_from(
    [
        b"1",
        b"20",
        b"007",
        b"0.5",
        b"1e3",
        b"1e999",
        b"nan",
        b"",
        b"x",
        b"1_0",
        b"-0.0",
        b"\xff",
        b"\xc3\xa9",
        b'"1',
    ]
)
rows_of_a_table = st.lists(cells_of_a_table, min_size=1, max_size=3).map(b",".join)


@given(
    st.lists(st.lists(st.sampled_from([b"1", b"2.5", b"-3"]), min_size=2, max_size=2).map(b",".join)),
    st.lists(rows_of_a_table, max_size=4),
    st.integers(1, 4),
    st.integers(1, 5),
    st.sampled_from([{}, {"types": {"a": "float"}}, {"where": "a == 1"}, {"decimal": ","}]),
)
def test_rows_are_the_same_many_at_a_time_and_one_by_one(
    plain: list[bytes], odd: list[bytes], look: int, size: int, more: dict[str, Any]
) -> None:
    raw = b"\n".join([b"a,b", *plain, *odd, *plain, b""])
    ends = []
    for at_once in (False, True):
        items: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(csv_input, "LOOK", look)
            patch.setattr(csv_input, "BLOCK", size)
            settings = csv_input.Csv(path="t", **more)
            rows = csv_input.read_csv(settings, io.BytesIO(raw), "t", texts=False, at_once=at_once)
            try:
                items.extend(map(repr, rows))
            except InputError as error:
                items.append(str(error))
        ends.append(items)
    assert ends[0] == ends[1]


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


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 400 + ".5"])
def test_a_number_that_no_float_holds_is_an_error_of_its_place(tmp_path: Path, number: str) -> None:
    (tmp_path / "f").write_text(f'1e3\n{{"a": [2.5, {number}]}}\n')
    with pytest.raises(InputError, match=rf"f:2:13: {number} is too large for a float"):
        list(source({"jsonl": "f"}, tmp_path))
    (tmp_path / "t").write_text(f'a\n"[{number}]"\n')
    with pytest.raises(InputError, match="t:2"):
        list(source({"csv": {"path": "t", "types": {"a": "json"}}}, tmp_path))
    (tmp_path / "f").write_text("[NaN, Infinity, -Infinity]\n")
    assert repr(list(source({"jsonl": "f"}, tmp_path))) == "[[nan, inf, -inf]]"


@pytest.mark.parametrize("inside", [True, False])
def test_what_is_wanted_may_depend_on_the_engines(tmp_path: Path, inside: bool) -> None:
    where = {"a": [Deferred("engines", "count"), 5]}
    for key, text in {"csv": "a\n1\n2\n5\n", "jsonl": '{"a": 1}\n{"a": 2}\n{"a": 5}\n'}.items():
        (tmp_path / "t").write_text(text)
        over = {key: {"path": "t", "where": where}} if inside else {key: "t", "where": where}
        assert list(source(over, tmp_path, resolve=Resolver(2, lambda name: None))) == [{"a": 2}, {"a": 5}]


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
    parquet.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="the column 'a' is there twice"):
        source({"parquet": "t.parquet"}, tmp_path)
    (tmp_path / "t.parquet").write_text("a,b\n")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        source({"parquet": "t.parquet"}, tmp_path)


def test_a_cell_that_python_cannot_hold_is_an_error_of_its_row_alone(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "date": pa.array([1, 10**8, None], pa.int32()).cast(pa.date32()),
        "text": pa.array([b"a", b"b", b"\xff"], pa.binary()).view(pa.string()),
        "span": pa.array([1, 2**62, 2], pa.int64()).cast(pa.duration("s")),
        "time": pa.array([1000, 2000, 1500], pa.int64()).cast(pa.time64("ns")),
    }
    good = [dt.date(1970, 1, 2), "a", dt.timedelta(seconds=1), dt.time(microsecond=1)]
    bad = {"date": {1}, "text": {2}, "span": {1}, "time": {2}}
    for (name, column), value in zip(columns.items(), good, strict=True):
        parquet.write_table(pa.table({"n": [1, 2, 3], name: column}), tmp_path / "t.parquet")
        rows = list(source({"parquet": "t.parquet"}, tmp_path))
        assert rows[0] == {"n": 1, name: value}
        for place, row in enumerate(rows):
            if place not in bad[name]:
                pickle.dumps(row)
                continue
            with pytest.raises(InputError, match=rf"t.parquet: row {place + 1}: .*column '{name}'"):
                pickle.dumps(row)
        picked = source({"parquet": {"path": "t.parquet", "where": {"n": [1]}}}, tmp_path)
        assert list(picked) == rows[:1]
