"""Notebooks as items, run by papermill with a kernel of their own."""

from __future__ import annotations

import json
import sys
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


def notebook(path: Path, *cells: str, kernel: str = "python3") -> None:
    made = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": kernel, "display_name": "Python", "language": "python"}}
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


UNLUCKY = """\
echo start >> starts
[ $(wc -l < starts) -gt $UNLUCKY ] || exit 1
exec PYTHON -m ipykernel_launcher "$@"
"""


@pytest.mark.parametrize(("times", "code"), [(2, 0), (9, 1)])
def test_a_kernel_that_ends_before_it_answers_starts_again(tmp_path: Path, times: int, code: int) -> None:
    """As where another kernel has taken a port that was free when it was chosen."""
    place = tmp_path / "kernels" / "unlucky"
    place.mkdir(parents=True)
    (tmp_path / "start.sh").write_text(UNLUCKY.replace("PYTHON", sys.executable))
    argv = ["sh", str(tmp_path / "start.sh"), "-f", "{connection_file}"]
    (place / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "unlucky"}))
    notebook(tmp_path / "score.ipynb", "x = 1", "x + 1", kernel="unlucky")
    (tmp_path / "spec.yaml").write_text("notebook: score.ipynb\nover: {cases: [{x: 3}]}\n")
    run = Run(
        tmp_path,
        ["run", "spec.yaml", "-n", "1", "--format", "jsonl"],
        env={"JUPYTER_PATH": str(tmp_path), "UNLUCKY": str(times)},
    )
    assert run.wait() == code, run.out.read_text()
    (record,) = run.lines()
    assert record["value"] == (None if code else 4)
    assert not code or "Kernel died" in record["reason"]
    assert (tmp_path / "starts").read_text().count("\n") == 3


MORE = """\
jobs:
- {name: unpicklable, notebook: lambda.ipynb, over: {cases: [{x: 1}]}, kwargs: {}}
- {name: own_class, notebook: class.ipynb, over: {cases: [{x: 1}]}}
- {name: shown_before, notebook: before.ipynb, over: {cases: [{x: 1}]}}
- {name: typo, notebook: prints.ipynb, over: {cases: [{xx: 1}]}}
- {name: prints, notebook: prints.ipynb, over: {cases: [{x: 1}]}}
- {name: fails, notebook: fails.ipynb, over: {cases: [{x: 1}]}}
"""


def test_what_a_notebook_says_beside_its_value(tmp_path: Path) -> None:
    notebook(tmp_path / "lambda.ipynb", "x = 0", "lambda: x")
    notebook(tmp_path / "class.ipynb", "x = 0", "class C:\n    pass", "C()")
    notebook(tmp_path / "before.ipynb", "x = 0", "x + 1", "b = 3")
    notebook(
        tmp_path / "prints.ipynb",
        "x = 0",
        "import sys; print('out', x); print('err', file=sys.stderr)",
    )
    notebook(tmp_path / "fails.ipynb", "x = 0", "def f(): return 1 / 0", "f()")
    (tmp_path / "spec.yaml").write_text(MORE)
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "2", "--format", "json"])
    assert run.wait() == 1
    jobs = {job["name"]: job["items"][0] for job in json.loads(run.out.read_text())["jobs"]}
    assert "UserWarning" not in json.dumps(jobs)
    for name, shown in (("unpicklable", "<function <lambda>"), ("own_class", "<__main__.C object")):
        assert jobs[name]["status"] == "ok"
        assert jobs[name]["value"]["repr"].startswith(shown)
    assert (jobs["shown_before"]["status"], jobs["shown_before"]["value"]) == ("ok", None)
    assert jobs["prints"]["stdout"] == "out 1\n"
    assert "err\n" in jobs["prints"]["stderr"]
    assert "no parameter 'xx'; it has x" in jobs["typo"]["reason"]
    assert jobs["fails"]["reason"] == "cell 3: ZeroDivisionError: division by zero"
    assert "in f()" in jobs["fails"]["error"]["traceback"]


def test_what_is_no_notebook_is_a_mistake_in_the_spec(tmp_path: Path) -> None:
    for number, text in enumerate(["no json", "[]", "{}"]):
        (tmp_path / "study.ipynb").write_text(text)
        (tmp_path / "spec.yaml").write_text("notebook: study.ipynb\nover: {cases: [{x: 3}]}\n")
        run = Run(tmp_path, ["check", "spec.yaml"])
        assert (number, run.wait()) == (number, 2)
        assert "spec.yaml:1:11" in run.said() + run.out.read_text()


def test_a_kernel_that_is_not_there_is_found_before_items_are_spent(tmp_path: Path) -> None:
    notebook(tmp_path / "score.ipynb", "x = 1")
    made = nbformat.read(tmp_path / "score.ipynb", 4)
    made.metadata["kernelspec"]["name"] = "nokernel"
    nbformat.write(made, tmp_path / "score.ipynb")
    first = "{name: a, map: math:sqrt, over: [1]}"
    second = "{name: b, notebook: score.ipynb, over: {cases: [{x: 3}]}}"
    (tmp_path / "spec.yaml").write_text(f"jobs: [{first}, {second}]\n")
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "1", "--format", "jsonl"])
    assert run.wait() == 6
    assert [record for record in run.lines() if "index" in record] == []
    assert "there is no kernel 'nokernel'" in run.said()
    assert "python3" in run.said()
