"""Two runs side by side: as text, Markdown and JSON, and from which documents."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from past_runs import BAD, Paper, failed, item, make, read

from arcli.errors import UsageError
from arcli.reports import compared, formats
from arcli.reports.collect import Wanted, read_report
from arcli.reports.comparison import Comparison, compare, measure_document, measure_report
from arcli.reports.differing import differing
from arcli.store.folder import RunFolder
from arcli.timing.thresholds import OF_ITEMS, Measured, check, parse

SLOW = [item(i, seconds=0.3 * (i + 1)) for i in range(10)]
FAST = [item(i) for i in range(9)] + [failed(9)]
NONE = [item(0, status="cancelled", reason="halt", value=None, seconds=None)]


def measure_run(run: RunFolder) -> Measured:
    return measure_report(read_report(run, Wanted(tallies=True)))


def pair(root: Path, *expectations: str) -> Comparison:
    a, b = (measure_run(make(root, records, exit_code=0)) for records in (FAST, SLOW))
    return compare(a, b, check([parse(text) for text in expectations], b, a))


def shown(comparison: Comparison, width: int) -> str:
    paper = Paper(width)
    paper.page.show(compared.text(comparison, width=width))
    said = re.sub(r"\d{8}-\d{6}-[0-9a-f]{4}", "ID", paper.text)
    return re.sub(r"2023-11-1\d", "DATE", said)  # it depends on the time zone


TEXT = """\
A  ID, squares, DATE
B  ID, squares, DATE

run                 A          B     change
wall           5.00 s     5.00 s          =
start-up       1.00 s     1.00 s          =
failed              1          0   -100.0 %

squares             A          B     change
items              10         10          =
failed              1          0   -100.0 %
wall           5.01 s     5.01 s          =
serial         5.50 s     16.5 s   +200.0 %
speed-up         1.10       3.29   +200.0 %
efficiency     54.9 %    164.7 %   +200.0 %
throughput       2.00       2.00          =
mean           550 ms     1.65 s   +200.0 %
median         550 ms     1.65 s   +200.0 %
p95            1.00 s     3.00 s   +200.0 %
p99            1.00 s     3.00 s   +200.0 %
max            1.00 s     3.00 s   +200.0 %
items: slower in 86 % of pairs, more than noise (p = 0.006)

FAIL  squares: p95 > +10%: 1.00 s became 3.00 s, +200.0 %
ok    failed > 0: it is 0
"""


@pytest.mark.parametrize("width", [60, 80, 160])
def test_text_is_the_same_from_sixty_columns_on(tmp_path: Path, width: int) -> None:
    said = shown(pair(tmp_path, "p95 > +10%", "failed > 0"), width)
    assert said == TEXT


def test_jobs_of_one_side_are_told(tmp_path: Path) -> None:
    a = measure_run(make(tmp_path, [item(0), item(0, job="old")]))
    b = measure_run(make(tmp_path, [item(0), item(0, job="new")]))
    comparison = compare(a, b)
    said = shown(comparison, 80)
    assert said.endswith("only in A: old\nonly in B: new\n")
    assert "fewer than 8 items to compare" in said
    tree = comparison.to_tree()
    assert (tree["only_in_a"], tree["only_in_b"]) == (["old"], ["new"])
    assert [job["name"] for job in tree["jobs"]] == ["squares"]


def test_json_has_every_figure_of_both(tmp_path: Path) -> None:
    tree = json.loads(json.dumps(pair(tmp_path, "p95 > +10%").to_tree()))
    (job,) = tree["jobs"]
    assert job["figures"]["max"] == {"a": 1.0, "b": 3.0, "change": 2.0}
    assert job["figures"]["failed"] == {"a": 1, "b": 0, "change": -1.0}
    assert job["items"]["verdict"] == "slower"
    assert tree["fail_if"] == [
        {
            "expression": "p95 > +10%",
            "job": "squares",
            "a": job["figures"]["p95"]["a"],
            "b": job["figures"]["p95"]["b"],
            "holds": True,
        }
    ]


def test_items_that_differ_are_matched_by_their_inputs(tmp_path: Path) -> None:
    twice = [item(n, input="same", value=n) for n in range(2)]
    a = make(tmp_path, [*twice, item(2, input={"x": 1}), item(3, input=None), item(4, job="old")])
    b = make(
        tmp_path,
        [item(0, input={"x": 1}, value=2, seconds=9.0), item(1, input="same", value=0),
         item(2, input="same", value=7), failed(3, "no", input=None)],
    )  # fmt: skip
    found = differing(a, b)
    assert (found.compared, found.different) == (5, 3)
    shown = [(d.job, d.item, d.status_a, d.status_b, d.result_a, d.result_b) for d in found.items]
    assert shown == [
        ("old", 4, "ok", None, "4", None),
        ("squares", 2, "ok", "ok", "1", "7"),
        ("squares", 3, "ok", "error", "3", "ValueError: no"),
    ]


def test_large_values_differ_by_what_is_in_their_files(tmp_path: Path) -> None:
    """Of those a record has what they look like and where they are, which is the number of the item."""

    def run(shift: int, contents: list[bytes]) -> RunFolder:
        records = []
        for at in range(len(contents)):
            path = f"values/squares/{at + shift}.npy"
            value = {"$array": {"dtype": "float64", "shape": [2], "path": path}}
            records.append(item(at + shift, input=at, value={"best": value}))
        made = make(tmp_path, records)
        for at, content in enumerate(contents):
            made.save_value("squares", at + shift, content, "npy")
        return made

    a, b = run(0, [b"one", b"two", b"three"]), run(5, [b"one", b"other", b"three"])
    b.value_path("squares", 7, "npy").unlink()
    found = differing(a, b)
    assert (found.compared, [different.item for different in found.items]) == (3, [6, 7])


def test_a_large_value_is_its_file_and_not_what_it_looks_like(tmp_path: Path) -> None:
    """A repr may have an address; and a file that is gone says nothing, however alike its name."""

    def run(address: str) -> RunFolder:
        records = []
        for n, text in enumerate([f"<Point at {address}>", "Point(1)"]):
            value = {"$pickle": f"values/squares/{n}.pkl", "repr": text}
            records.append(item(n, input=n, value=value))
        made = make(tmp_path, records)
        made.save_value("squares", 0, b"the same")
        return made

    a, b = run("0x7f01"), run("0x7f02")
    assert [different.item for different in differing(a, b).items] == [1]
    assert differing(a, a).items == []


def test_failures_differ_beyond_what_is_shown_of_them(tmp_path: Path) -> None:
    def run(number: int) -> RunFolder:
        messages = ["arrays differ", f"arrays differ\nin {number} places", 400 * "x" + str(number)]
        return make(tmp_path, [failed(n, message, input=n) for n, message in enumerate(messages)])

    assert [different.item for different in differing(run(1), run(2)).items] == [1, 2]


def test_markdown_is_tables(tmp_path: Path) -> None:
    said = compared.render_markdown(pair(tmp_path, "p95 > +10%", "wall > 1h"))
    assert "- **FAIL**: squares: p95 \\> +10%: 1.00 s became 3.00 s, +200.0 %\n- ok: wall" in said
    assert "| mean | 550 ms | 1.65 s | +200.0 % |" in said
    assert "Items: slower in 86 % of pairs, more than noise" in said


def as_run_document(root: Path, records: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``arcli run --format json`` writes: the items themselves, and no histogram."""
    tree = formats.to_tree(read(root, records, exit_code=1))
    for job in tree["jobs"]:
        del job["histogram"], job["groups"]
        job["items"] = [*records, item(10, replayed=True)]
    return {"run": tree["run"], "jobs": tree["jobs"]}


def same(found: Measured, own: Measured) -> bool:
    walls = [{**each.figures, "wall": 0} for each in (found, own)]
    return walls[0] == walls[1] and found.jobs == own.jobs


def test_a_document_of_a_report_or_of_a_run_measures_as_the_run_itself(tmp_path: Path) -> None:
    own = measure_run(make(tmp_path, FAST))
    document = tmp_path / "x.json"
    document.write_bytes(formats.render_json(read(tmp_path, FAST)))
    assert same(measure_document(document), own)
    document.write_text(json.dumps(as_run_document(tmp_path, FAST)))
    assert same(measure_document(document), own)
    packed = tmp_path / "x.json.gz"
    packed.write_bytes(gzip.compress(document.read_bytes()))
    assert same(measure_document(packed), own)
    for broken in (packed.read_bytes()[:-20], b"{}"):
        packed.write_bytes(broken)
        with pytest.raises(UsageError, match="cannot be read"):
            measure_document(packed)


def test_a_run_is_as_fast_as_its_own_document_where_items_were_cut_short(tmp_path: Path) -> None:
    """How long they ran until then counted in the document: the run was faster, by more than noise."""
    cut = [item(n, status=status, seconds=30.0) for n in (10, 11) for status in ("cancelled", "lost")]
    records = [*FAST, *cut]
    own = measure_run(make(tmp_path, records))
    (tmp_path / "x.json").write_text(json.dumps(as_run_document(tmp_path, records)))
    assert same(measure_document(tmp_path / "x.json"), own)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", '{"error": {"type": "UsageError"}}', '{"run": 1, "jobs": []}',
        '{"run": {}, "jobs": []}', '{"run": {"run": "r"}, "jobs": 3}',
    ],
)  # fmt: skip
def test_other_documents_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match="is not what arcli writes of a run"):
        measure_document(tmp_path / "x.json")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        measure_document(tmp_path / "y.json")


@pytest.mark.parametrize("damage", [[["x", 1]], [[0, 1]], [[-1.0, 1]], [[1, -5]], [[1, 0]], [3], {"a": 1}])
def test_a_damaged_histogram_is_refused(tmp_path: Path, damage: Any) -> None:
    tree = formats.to_tree(read(tmp_path, FAST))
    tree["jobs"][0]["histogram"] = damage
    (tmp_path / "x.json").write_text(json.dumps(tree))
    with pytest.raises(UsageError, match="is not what arcli writes of a run"):
        measure_document(tmp_path / "x.json")


def test_a_hostile_document_does_no_harm(tmp_path: Path) -> None:
    tree = formats.to_tree(read(tmp_path, FAST))
    tree["run"].update(name=BAD, started=BAD, run=BAD)
    tree["jobs"][0]["name"] = BAD
    (tmp_path / "x.json").write_text(json.dumps(tree))
    a = measure_document(tmp_path / "x.json")
    said = shown(compare(a, a), 60)
    assert "alert" in said
    assert "\x1b" not in said
    assert re.search(r"^p95 +1.00 s +1.00 s +=$", said, re.MULTILINE)
    assert re.search(r"(?<!\\)<script", compared.render_markdown(compare(a, a))) is None


@pytest.mark.parametrize("sides", [(FAST, NONE), (NONE, FAST), (NONE, NONE)], ids=["b", "a", "both"])
def test_items_that_have_not_run_have_no_seconds(
    tmp_path: Path, sides: tuple[list[Any], list[Any]]
) -> None:
    a, b = (measure_run(make(tmp_path, records, exit_code=0)) for records in sides)
    expectations = [parse("p95 < 1h"), parse("squares.max > -99%"), parse("squares.mean <= 0")]
    comparison = compare(a, b, check(expectations, b, a))
    rows = {row.figure.name for row in comparison.jobs[0].rows}
    assert not rows & OF_ITEMS
    assert {"items", "wall", "throughput"} <= rows
    assert not comparison.to_tree()["jobs"][0]["figures"].keys() & OF_ITEMS
    held = {finding.expectation.figure for finding in comparison.findings if finding.holds}
    assert held == ({"p95"} if sides[1] is FAST else set())
