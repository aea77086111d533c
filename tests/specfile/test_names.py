"""Names that runs and jobs have of their spec's file."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest
from runs import Run

from arcli.specfile.load import load
from arcli.specfile.names import job_name, run_name


@pytest.mark.parametrize(
    ("stem", "run", "job"),
    [
        ("plain-1.2", "plain-1.2", "plain-1.2"),
        ("a b(1)", "a_b_1_", "a_b_1_"),
        ("ü ñ", "ü_ñ", "u_n"),
        (unicodedata.normalize("NFD", "ü ñ"), "ü_ñ", "u_n"),
        ("Straße_øl", "Straße_øl", "Strasse_ol"),
        ("данные", "данные", "job"),
        ("測定2", "測定2", "_2"),
        ("a\u202eb\x1b", "a_b_", "a_b_"),
        (os.fsdecode(b"x\xff"), "x_", "x_"),
    ],
)
def test_letters_of_any_script_name_a_run_and_ascii_its_job(
    tmp_path: Path, stem: str, run: str, job: str
) -> None:
    assert (run_name(stem), job_name(run)) == (run, job)
    file = tmp_path / f"{stem}.yaml"
    file.write_text("map: abs\nover: [1]\n")
    spec = load(str(file))
    assert (spec.name, spec.jobs[0].name) == (run, job)


@pytest.mark.parametrize(
    ("name", "run", "job"),
    [
        ("Über", "Über", "Uber"),
        ("learning rates (1/2)", "learning rates (1/2)", "learning_rates_1_2_"),
        ("ü ${params.größe}", "ü 3", "u_3"),
        ("..", "..", "job"),
    ],
)
def test_a_name_that_is_written_is_a_jobs_in_ascii(tmp_path: Path, name: str, run: str, job: str) -> None:
    (tmp_path / "a.yaml").write_text(f'params: {{größe: 3}}\nname: "{name}"\nmap: abs\nover: [1]\n')
    spec = load(str(tmp_path / "a.yaml"))
    assert (spec.name, spec.jobs[0].name) == (run, job)


def test_outputs_and_past_runs_have_the_name(tmp_path: Path) -> None:
    (tmp_path / "ü ñ.yaml").write_text("map: '{}.pop'\nover: [1]\n")
    words = [
        "run",
        "ü ñ.yaml",
        "--inline",
        "-q",
        "-o",
        "j.xml",
        "-o",
        "m.md",
        "-o",
        "p.prom",
        "-o",
        "r.json",
    ]
    assert Run(tmp_path, words).wait() == 1
    for name in ("j.xml", "m.md", "p.prom", "r.json"):
        assert "ñ" in (tmp_path / name).read_text("utf-8")
    assert json.loads((tmp_path / "r.json").read_text("utf-8"))["jobs"][0]["name"] == "u_n"
    runs = Run(tmp_path, ["runs", "ü_ñ", "--format", "json"])
    assert runs.wait() == 0
    assert json.loads(runs.out.read_text("utf-8"))["runs"][0]["name"] == "ü_ñ"
