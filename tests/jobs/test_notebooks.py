"""Notebooks as items, run by papermill with a kernel of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runs import Run

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("papermill")

SPEC = """\
notebook: score.ipynb
over: {product: {alpha: [1, 2, 0], scale: [10]}}
kwargs: {offset: 5}
"""


def notebook(path: Path, *cells: str) -> None:
    made = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    )
    made.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    made.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(made, path)


def test_a_sweep_over_a_notebook(tmp_path: Path) -> None:
    notebook(tmp_path / "score.ipynb", "alpha = 7\nscale = 1\noffset = 0", "scale / alpha + offset")
    (tmp_path / "spec.yaml").write_text(SPEC)
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "2", "--format", "json"])
    assert run.wait() == 1
    document = json.loads(run.out.read_text())
    first, second, third = document["jobs"][0]["items"]
    assert (first["value"], second["value"]) == (15.0, 10.0)
    assert third["status"] == "error"
    assert third["error"]["type"] == "CellFailed"
    assert "ZeroDivisionError: division by zero" in third["reason"]
    (folder,) = (tmp_path / ".arcli" / "runs").iterdir()
    copies = sorted((folder / "notebooks" / "spec").iterdir())
    assert [copy.name for copy in copies] == ["0.ipynb", "1.ipynb", "2.ipynb"]
    for copy in copies:
        assert "arcli" not in "".join(cell.source for cell in nbformat.read(copy, 4).cells)
    assert "alpha = 2" in copies[1].read_text()


def test_an_assigned_value_comes_before_what_was_shown(tmp_path: Path) -> None:
    notebook(tmp_path / "score.ipynb", "x = 1", "arcli_value = {'x': x}", "x + 1")
    (tmp_path / "spec.yaml").write_text("notebook: score.ipynb\nover: {cases: [{x: 3}]}\n")
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "1", "--format", "jsonl"])
    assert run.wait() == 0
    assert [record["value"] for record in run.lines()] == [{"x": 3}]


def test_a_notebook_that_takes_too_long(tmp_path: Path) -> None:
    notebook(tmp_path / "score.ipynb", "x = 1", "import time; time.sleep(600)")
    spec = "notebook: score.ipynb\nover: {cases: [{x: 3}]}\ntimeout: 5s\n"
    (tmp_path / "spec.yaml").write_text(spec)
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "1", "--format", "jsonl"])
    assert run.wait() == 1
    assert [record["status"] for record in run.lines()] == ["timeout"]
