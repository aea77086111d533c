"""One table of formats, which other packages add to."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from runs import Run

from arcli.errors import UsageError
from arcli.outputs import registry
from arcli.outputs.open import Destination, format_of

TOY = """
from arcli.outputs.registry import Format

class Toy:
    def __init__(self, context):
        self.target, self.mark, self.count = context.target, context.options.get("mark", "*"), 0
    def start(self):
        self.target.open()
    def record(self, batch):
        self.count += batch.count
    def finish(self, summary, values):
        self.target.write((self.mark * self.count + "\\n").encode())
        self.target.commit()
    def abort(self):
        self.target.discard()

toy = Format(name="toy", suffixes=(".toy",), make=Toy, options={"mark": str})
"""
ONE_LINE_SPEC = "map: abs\nover: {range: 3}\noutput: [{path: spec.toy, options: {mark: '+'}}]\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder in which a package with a format is installed as an installer leaves it."""
    site = tmp_path / "site"
    about = site / "arcli_toy-1.dist-info"
    about.mkdir(parents=True)
    (site / "arcli_toy.py").write_text(TOY)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: arcli-toy\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[arcli.outputs]\ntoy = arcli_toy:toy\n")
    return site


def arcli(folder: Path, site: Path, *words: str) -> Run:
    run = Run(folder, list(words), env={"PYTHONPATH": str(site)})
    run.wait()
    return run


def test_a_package_adds_a_format(tmp_path: Path, site: Path) -> None:
    (tmp_path / "spec.yaml").write_text(ONE_LINE_SPEC)
    run = arcli(tmp_path, site, "run", "spec.yaml", "--inline", "-o", "flag.toy", "--format", "toy")
    assert run.process.returncode == 0, run.said()
    assert (tmp_path / "spec.toy").read_text() == "+++\n"
    assert (tmp_path / "flag.toy").read_text() == "***\n"
    assert run.out.read_text() == "***\n"


def test_a_spec_is_told_what_a_format_lacks(tmp_path: Path, site: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        "map: abs\nover: {range: 3}\noutput:\n"
        "- {path: a.toy, options: {marc: x}}\n- {path: b.toy, options: {mark: 3}}\n"
        "- {path: c, format: tyo}\n"
    )
    run = arcli(tmp_path, site, "check", "spec.yaml")
    assert run.process.returncode == 2
    assert "spec.yaml:4:27: the format toy has no option 'marc'" in run.said()
    assert "spec.yaml:5:33: mark must be of type str" in run.said()
    assert "there is no format 'tyo'" in run.said()
    assert "there are: text, jsonl, json, csv" in run.said()


def test_a_format_that_cannot_be_loaded_says_which(tmp_path: Path, site: Path) -> None:
    (site / "arcli_toy.py").write_text("raise RuntimeError('no good')")
    (tmp_path / "spec.yaml").write_text(ONE_LINE_SPEC)
    run = arcli(tmp_path, site, "run", "spec.yaml", "--inline", "-o", "flag.toy")
    assert run.process.returncode == 2
    assert "arcli_toy:toy cannot be loaded: RuntimeError('no good')" in run.said()


@pytest.mark.parametrize("form", registry.BUILT_IN, ids=lambda form: form.name)
def test_each_format_goes_by_its_suffixes(form: registry.Format) -> None:
    for suffix in form.suffixes:
        assert registry.by_suffix(f"results/Of.v1{suffix.upper()}") is form
        assert (registry.by_suffix(f"x{suffix}.gz") is form) == form.packable
    assert registry.named(form.name) is form


def test_a_name_that_says_nothing_is_refused() -> None:
    for name in ("results", "results.pdf", "results.gz", ".json.bak"):
        with pytest.raises(UsageError, match="says no known format"):
            format_of(Destination(path=name), "text")


def test_packed_files_hold_what_plain_ones_do(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("map: abs\nover: {range: 300}\n")
    words = [part for name in ("a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz") for part in ("-o", name)]
    run = Run(tmp_path, ["run", "spec.yaml", "--inline", "-q", *words])
    assert run.wait() == 0, run.said()
    lines = gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes())
    assert [json.loads(line)["value"] for line in lines.splitlines()] == list(range(300))
    for name in ("a.jsonl", "a.csv"):
        assert gzip.decompress((tmp_path / f"{name}.gz").read_bytes()) == (tmp_path / name).read_bytes()


def test_help_and_spec_speak_of_the_same_formats(tmp_path: Path) -> None:
    run = Run(tmp_path, ["run", "--help"])
    assert run.wait() == 0
    words = " ".join(run.out.read_text().split())
    assert f"({' '.join(registry.suffixes())})" in words
    assert f"[{'|'.join(each.name for each in registry.BUILT_IN if each.on_stdout)}]" in words
