"""``compare``, and ``run --fail-if``, as typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from runs import running
from test_other_verbs import arcli

SPEC = """\
name: naps
params: {nap: 0}
setup: {imports: [time]}
map: "lambda x, nap: time.sleep(nap)"
over: {range: 20}
kwargs: {nap: "${params.nap}"}
"""


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of `naps`, the second one with naps that no busy machine makes of none."""
    folder = tmp_path_factory.mktemp("compared")
    (folder / "naps.yaml").write_text(SPEC)
    words = ("run", "naps.yaml", "--inline", "-q", "-o", "base.json")
    assert arcli(folder, *words)[0] == 0
    shutil.copy(folder / "base.json", folder / "run.json")
    assert arcli(folder, "report", "-o", "report.json")[0] == 0
    assert arcli(folder, *words, "-p", "nap=0.15")[0] == 0
    return folder


@pytest.mark.parametrize("a", ["previous", "run.json", "./report.json"])
def test_what_is_slower_is_found_whatever_the_baseline_is(past: Path, a: str) -> None:
    code, out, said = arcli(past, "compare", a, "--format", "json", "--fail-if", "median > +200%")
    tree = json.loads(out)
    assert code == 5
    assert said.startswith("arcli: an expectation failed, naps: median > +200%: ")
    assert tree["fail_if"][0]["holds"]
    (job,) = tree["jobs"]
    assert job["items"]["verdict"] == "slower"
    assert job["figures"]["median"]["change"] > 2
    assert tree["b"]["source"] != tree["a"]["source"]


def test_the_other_way_round_nothing_is_wrong(past: Path) -> None:
    words = ("--fail-if", "naps.p95 > +10%", "--fail-if", "failed > 0", "--fail-if", "wall > 1h")
    code, out, said = arcli(past, "compare", "latest", "run.json", *words)
    assert (code, said) == (0, "")
    assert "items: faster in " in out
    assert out.count("\nok    ") == 3
    code, out, _ = arcli(past, "compare", "latest", "latest", "--format", "markdown")
    assert code == 0
    assert "Items: noise (slower in 50 % of pairs, p = 1.000)." in out


def test_a_page_is_written_and_the_exit_code_tells_all_the_same(past: Path, tmp_path: Path) -> None:
    page = tmp_path / "changes.html"
    words = ("compare", "previous", "latest", "-o", str(page), "--fail-if", "median > +200%")
    code, out, said = arcli(past, *words)
    assert (code, out) == (5, "")
    assert said.startswith("arcli: an expectation failed")
    text = page.read_text()
    assert "naps: B against A" in text
    assert "None of 20 items came to something else." in text
    # A document has figures, and no items to compare.
    code, out, _ = arcli(past, "compare", "base.json", "--format", "html")
    assert code == 0
    assert "where A and B are runs, not documents" in out
    code, _, said = arcli(past, "compare", "previous", "-o", "changes.trace")
    assert code == 2
    assert "known are .txt, .json, .md, .html, .htm" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nothing.json"], "nothing.json cannot be read"),
        (["naps.yaml"], "is not what arcli writes of a run"),
        (["2019"], "there is no run '2019'"),
        (["previous", "--fail-if", "p95 >"], "  LIMIT   +10% or -10%"),
        (["previous", "--fail-if", "other.p95 > +1%"], "there is no such job to compare"),
    ],
)
def test_what_cannot_be_compared(past: Path, words: list[str], reason: str) -> None:
    code, out, said = arcli(past, "compare", *words)
    assert (code, out) == (2, "")
    assert reason in said


@pytest.mark.parametrize(
    ("expectation", "code"), [("wall > 1h", 0), ("naps.items < 21", 5), ("failed >= 0", 5)]
)
def test_a_run_can_be_held_to_its_figures(tmp_path: Path, expectation: str, code: int) -> None:
    (tmp_path / "naps.yaml").write_text(SPEC)
    found = arcli(tmp_path, "run", "naps.yaml", "--inline", "-q", "--fail-if", expectation)
    assert found[0] == code
    (run,) = json.loads(arcli(tmp_path, "runs", "--format", "json")[1])["runs"]
    assert run["exit_code"] == code
    assert ("an expectation failed" in found[2]) == (code == 5)
    assert ("naps  20 of 20 items" in found[2]) == (code == 5)  # -q tells of the run where it fails


def test_items_that_fail_are_told_before_expectations(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text('map: "lambda x: 1 / x"\nover: [0, 1]\n')
    words = ("run", "spec.yaml", "--inline", "--format", "json", "--fail-if", "failed > 0")
    code, out, said = arcli(tmp_path, *words)
    assert code == 1
    assert json.loads(out)["run"]["exit_code"] == 1
    assert "an expectation failed, failed > 0: it is 1" in said


@pytest.mark.parametrize("expectation", ["p95 > +10%", "other.p95 > 1s", "p95"])
def test_a_run_does_not_begin_where_an_expectation_makes_no_sense(tmp_path: Path, expectation: str) -> None:
    (tmp_path / "spec.yaml").write_text("map: abs\nover: [1]\n")
    assert arcli(tmp_path, "run", "spec.yaml", "--fail-if", expectation)[0] == 2
    assert not (tmp_path / ".arcli").exists()


def test_expectations_hold_on_engines_too(tmp_path: Path) -> None:
    with running(tmp_path, "map: abs\nover: {range: 9}\n", "--fail-if", "throughput > 0") as run:
        assert run.wait() == 5
        records, errors = run.lines(), run.err.read_text()
    assert [record["status"] for record in records] == ["ok"] * 9
    assert "throughput > 0: it is" in errors
