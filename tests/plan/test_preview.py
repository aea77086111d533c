"""What is known of the inputs before anything is run, at its place in the spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import pytest

from arcli.errors import SpecError
from arcli.plan.preview import preview
from arcli.specfile.checks.inputs import SOME_INPUT
from arcli.specfile.load import load
from arcli.syntax import used_names

MAP = "map: math:sqrt\n"
WRONG = [
    ("over: {csv: empty.csv}\n", 2, 13, "no header"),
    ("over: {csv: {path: t.csv, where: 'a >'}}\n", 2, 34, "no expression"),
    ("over: {csv: {path: t.csv, types: {bb: int}}}\n", 2, 39, "no column 'bb'"),
    ("over: {jsonl: {path: t.csv, where: '1 +'}}\n", 2, 36, "no expression"),
    ("over: {product: {x: [1], y: {csv: {path: t.csv, where: {c: 1}}}}}\n", 2, 60, "column 'c'"),
    ("over: {parquet: t.csv}\n", 2, 17, "cannot be read as Parquet"),
    ("over: {logspace: [0, 400, 3]}\n", 2, 18, "10 to the power of 400 is too large"),
    ("over: {linspace: [0, 1, 2.5]}\n", 2, 18, "is not a count"),
    ("over: {product: {a: [1]}, exclude: [{bb: 1}]}\n", 2, 42, "no 'bb'"),
    ("over: {product: {a: [1], b: {cases: [{a: 2}]}}}\n", 2, 29, "'a' comes from 'a'"),
    ("over: {lines: t.csv}\nview: direct\n", 3, 7, "dealt out"),
    ("over: {lines: t.csv}\ntargets: [0]\n", 3, 10, "dealt out"),
    ("over: {stdin: lines}\n", 2, 15, "closed"),
    ("over: [1]\ntargets: [0, 5]\n", 3, 14, "no engine 5"),
]


def spec_of(tmp_path: Path, text: str, stdin: BinaryIO | None = SOME_INPUT) -> Any:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "spec.yaml").write_text(MAP + text)
    return load(str(tmp_path / "spec.yaml"), stdin=stdin)


@pytest.mark.parametrize(("text", "line", "column", "message"), WRONG)
def test_inputs_that_cannot_be_right(
    tmp_path: Path, text: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        preview(spec_of(tmp_path, text, stdin=None), slots=2)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)


@pytest.mark.parametrize(
    "text",
    [
        "over: {product: {a: [1], b: {python: 'nowhere:f'}}}\n",
        "over: {product: {a: [1], b: {stdin: lines}}}\nallow_empty: false\n",
        "over: {product: {a: [1], b: {csv: t.csv}}}\nallow_empty: false\n",
        "over: [1]\ntargets: [0, 5]\n",
        "over: {lines: t.csv}\nview: direct\ntargets: any\n",
        "over: {range: 1e3}\n",
        "over: {linspace: [0, 1, 2.0]}\n",
        "over: {range: [0, 1e1, 2]}\n",
    ],
)
def test_inputs_that_only_the_run_reads(tmp_path: Path, text: str) -> None:
    (found,) = preview(spec_of(tmp_path, text))
    assert found.source is not None


def test_a_number_of_items_may_be_written_as_one_likes(tmp_path: Path) -> None:
    (found,) = preview(spec_of(tmp_path, "over: {range: 1e3}\n"))
    assert found.source is not None
    assert found.source.length == 1000


RUN = """
import helper
def named(x, total=0):
    rest = [total for total in x]
    return rest
class Sum:
    total = 1
    def of(self, x):
        return x.total + self.start(x)
def uses(x):
    def inner():
        return x + total
    return inner()
"""


@pytest.mark.parametrize(
    ("text", "run", "uses"),
    [
        ("lambda x: x + total", None, True),
        ("total.fit", None, True),
        ("lambda x, y=total: y", None, True),
        ("lambda x: [total for y in x]", None, True),
        ("lambda x: [total for total in total]", None, True),
        ("lambda total: [total for y in x]", None, False),
        ("lambda x: [total for total in x]", None, False),
        ("lambda x: {total: 1 for total in x}", None, False),
        ("[total for total in (min, max)][0]", None, False),
        ("lambda x: f(x, total=1).total", None, False),
        ("lambda x: (total := x) + total", None, False),
        ("helper:total", None, False),
        ("named", RUN.partition("def uses")[0], False),
        ("Sum().of", RUN.partition("def uses")[0], False),
        ("lambda x: x", RUN, False),
        ("uses", RUN, True),
    ],
)
def test_a_function_uses_a_name_that_is_not_its_own(text: str, run: str | None, uses: bool) -> None:
    used = used_names([text], run)
    assert used is not None
    assert ("total" in used) == uses


@pytest.mark.parametrize("text", ["lambda x: eval(x)", "lambda x: globals()[x]", "lambda x: ("])
def test_which_names_a_function_uses_may_be_unknown(text: str) -> None:
    assert used_names([text], None) is None
