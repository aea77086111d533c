"""What CI and monitoring read: JUnit, annotations, sections, Markdown, Prometheus, expectations."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st
from make_records import batch, context, on_file, play, record, summary
from runs import Run

from arcli.escape import without_commands
from arcli.outputs.junit import JunitFile
from arcli.outputs.markdown import MarkdownSummary
from arcli.outputs.prometheus import PrometheusFile
from arcli.outputs.target import StreamTarget
from arcli.record import ItemError, Record

SPEC = """
name: fits
map: "fit.py:fit"
over: {product: {seed: {range: 4}}}
expect: wall > 10m
"""
FIT = """def fit(seed):
    print("seed", seed)
    if seed % 2:
        raise ValueError(f"nan at seed {seed}, 100%")
    return seed
"""
SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit-10.xsd"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "fit.py").write_text(FIT)
    return tmp_path


def run(folder: Path, *words: str, code: int = 1, **env: str) -> Run:
    clean = {"GITHUB_ACTIONS": "", "GITLAB_CI": "", "GITHUB_STEP_SUMMARY": ""}
    done = Run(folder, ["run", "spec.yaml", "--inline", *words], env={**clean, **env})
    assert done.wait() == code, done.said()
    return done


def junit(path: Path, *records: Record, **options: Any) -> ET.Element:
    play(JunitFile(on_file(path, options=options)), batch(*records))
    return ET.fromstring(path.read_text())


def test_junit_says_of_each_item_how_it_ended(tmp_path: Path) -> None:
    error = ItemError(type="ValueError", message="nan", traceback="Traceback <here>")
    root = junit(
        tmp_path / "out.xml",
        record(0, input={"lr": 0.5}),
        record(1, "error", error=error, stdout="a & b\n", stderr="\x1b[31mred\x00"),
        record(2, "timeout", reason="longer than 2 s"),
        record(3, "lost", reason="killed by SIGKILL"),
        record(4, "cancelled", reason="halt"),
    )
    (suite,) = root
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5", "failures": "1", "errors": "2", "skipped": "1",
    }  # fmt: skip
    assert suite.get("name") == "squares"
    cases = suite.findall("testcase")
    assert [[part.tag for part in case] for case in cases] == [
        [], ["failure", "system-out", "system-err"], ["error"], ["error"], ["skipped"],
    ]  # fmt: skip
    assert cases[0].get("name") == "lr=0.5"
    failure = cases[1][0]
    assert (failure.get("type"), failure.get("message"), failure.text) == (
        "ValueError", "ValueError: nan", "Traceback <here>",
    )  # fmt: skip
    assert cases[1].findtext("system-out") == "a & b\n"


@given(st.text(), st.text(), st.text())
def test_junit_has_no_character_that_xml_forbids(tmp_path_factory: Any, a: str, b: str, c: str) -> None:
    path = tmp_path_factory.mktemp("junit") / "out.xml"
    error = ItemError(type=a or "E", message=b, traceback=c)
    junit(path, record(0, "error", input=a, error=error, stdout=b, stderr=c + "\ufffe\uffff\x0b"))


def test_junit_lists_at_most_a_thousand_that_are_ok(tmp_path: Path) -> None:
    records = [record(n) for n in range(1200)]
    (suite,) = junit(tmp_path / "a.xml", *records)
    assert len(suite.findall("testcase")) == 1000
    assert suite.find("properties/property[@value='200']") is not None
    (suite,) = junit(tmp_path / "b.xml", *records, ok_cases=2000)
    assert len(suite.findall("testcase")) == 1200


def test_prometheus_reads_the_figures(tmp_path: Path) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    path = tmp_path / "m.prom"
    play(PrometheusFile(on_file(path)), batch(record(0), record(1), record(2, "error")))
    families = {family.name: family for family in parser.text_string_to_metric_families(path.read_text())}
    items = {s.labels["status"]: s.value for s in families["arcli_last_run_items"].samples}
    assert items == {"ok": 2, "error": 1, "timeout": 0, "lost": 0, "cancelled": 0}
    assert families["arcli_last_run_item_seconds"].type == "summary"
    quantiles = {s.labels.get("quantile"): s.value for s in families["arcli_last_run_item_seconds"].samples}
    assert quantiles["0.95"] == 0.25
    assert families["arcli_last_run_exit_code"].samples[0].value == 0


def test_nothing_has_no_quantiles(tmp_path: Path) -> None:
    path = tmp_path / "m.prom"
    play(PrometheusFile(on_file(path)), batch(record(0, "cancelled", seconds=None)))
    text = path.read_text()
    assert "quantile" not in text
    assert re.search(r"^arcli_last_run_item_seconds_count\{.*\} 0$", text, re.MULTILINE)


def test_seconds_are_counted_of_the_items_that_they_are_the_sum_of(folder: Path) -> None:
    """Kept items, whose seconds are another run's, and lost ones counted, too: means were too small."""
    lost = [record(1, "lost", seconds=9.0), record(2, "cancelled", seconds=9.0)]
    play(PrometheusFile(on_file(folder / "m.prom")), batch(record(0), *lost))
    assert "_seconds_count 1\n" in _without_labels(folder / "m.prom")
    (folder / "fit.py").write_text("import os\ndef fit(seed): return 1 / (seed or os.path.exists('go'))\n")
    run(folder, "-q")
    (folder / "go").touch()
    run(folder, "-q", "--resume", "--failed", "-o", "m.prom", code=0)
    assert "_seconds_count 1\n" in _without_labels(folder / "m.prom")


def _without_labels(path: Path) -> str:
    return re.sub(r"\{.*\}", "", path.read_text())


def test_a_run_without_a_job_that_began_is_told_to_ci(tmp_path: Path) -> None:
    """The old file would say that all is well."""
    (tmp_path / "spec.yaml").write_text("setup: {run: 1/0}\nmap: abs\nover: [1]\n")
    old = tmp_path / "m.prom"
    old.write_text("old")
    run(tmp_path, "-o", "m.prom", "-o", "out.junit.xml", "-o", "s.md", code=6)
    assert 'arcli_last_run_exit_code{spec="spec"} 6' in old.read_text()
    SCHEMA.validate(tmp_path / "out.junit.xml")
    root = ET.fromstring((tmp_path / "out.junit.xml").read_text())
    assert [case.get("name") for case in root.iter("testcase")] == ["run"]
    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    assert "ZeroDivisionError" in (tmp_path / "s.md").read_text()


@pytest.mark.parametrize(
    ("spec", "code", "case", "words"),
    [
        ('map: abs\nover: [1]\nfinish: "lambda values: 1 / 0"\n', 1, ("fits", "job"), "ZeroDivisionError"),
        ("map: abs\nover: [1]\nexpect: items > 0\n", 5, ("fits", "run"), "items > 0: it is 1"),
        (
            'command: "sleep 60"\nover: [1, 2, 3]\ndeadline: 0.1s\n',
            124,
            ("fits", "job"),
            "never read, ended: deadline",
        ),
    ],
    ids=["no value", "expectation", "deadline"],
)
def test_what_no_item_tells_is_told_to_ci(
    tmp_path: Path, spec: str, code: int, case: tuple[str, str], words: str
) -> None:
    """Items that are ok, or skipped, would say that all is well."""
    (tmp_path / "spec.yaml").write_text(f"name: fits\n{spec}")
    out = tmp_path / "out.junit.xml"
    done = run(tmp_path, "-o", "out.junit.xml", "-o", "s.md", code=code, GITHUB_ACTIONS="true")
    SCHEMA.validate(out)
    root = ET.fromstring(out.read_text())
    errors = [
        (c.get("classname"), c.get("name"), c[0].get("message")) for c in root.iter("testcase") if len(c)
    ]
    (message,) = [message for *name, message in errors if tuple(name) == case]
    assert words in str(message)
    assert root.get("errors") == "1"
    assert int(root.get("tests", "")) == len(list(root.iter("testcase")))
    assert [line for line in done.said().splitlines() if line.startswith("::error") and words in line]
    assert words in (tmp_path / "s.md").read_text().replace("\\", "")


def test_each_job_whose_input_broke_is_told_to_ci(tmp_path: Path) -> None:
    """The run's own error is the first one."""
    over = "over: '${jobs.a.value}'"
    (tmp_path / "spec.yaml").write_text(f"""
jobs:
- {{name: a, map: abs, over: [1], finish: "lambda values: 5"}}
- {{name: b, map: abs, {over}}}
- {{name: c, map: abs, {over}}}
""")
    run(tmp_path, "-o", "out.junit.xml", code=2)
    SCHEMA.validate(tmp_path / "out.junit.xml")
    root = ET.fromstring((tmp_path / "out.junit.xml").read_text())
    errors = [(case.get("classname"), case.get("name")) for case in root.iter("testcase") if len(case)]
    assert errors == [("c", "job"), ("spec", "run")]


def test_github_gets_annotations_a_summary_and_a_group(folder: Path) -> None:
    step = folder / "step.md"
    step.write_text("before\n")
    done = run(folder, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(step), GITHUB_WORKSPACE=str(folder))
    (line,) = [line for line in done.said().splitlines() if line.startswith("::error")]
    assert line.startswith("::error file=fit.py,line=4,title=fits%3A 2 failed::ValueError: nan at seed …")
    assert "100%25" in line
    text = step.read_text()
    assert text.startswith("before\n### ❌ fits: 2 ok, 2 failed of 4 items")
    assert "| 2 | ValueError: nan at seed …" in text
    # Standard output is a file here: it has results and nothing else.
    assert "::" not in done.out.read_text()
    quiet = run(folder, "--ci", "never", GITHUB_ACTIONS="true")
    assert "::error" not in quiet.said()


def test_inputs_and_outputs_are_no_commands_to_github(tmp_path: Path) -> None:
    """Neither what begins a line with ``::``, also after blanks, nor ``##[`` anywhere in one."""
    (tmp_path / "spec.yaml").write_text(
        "name: s\nmap: 'lambda text: print(text) or text[99]'\n"
        "over: ['::add-mask::a', '  ::error::b', '##[add-mask]c', 'd ##[error]d']\n"
    )
    words = [sys.executable, "-m", "arcli", "run", "spec.yaml", "--inline", "--ci", "github"]
    words.append("--tail=out")
    done = subprocess.run(words, cwd=tmp_path, capture_output=True)
    lines = (done.stdout + done.stderr).decode().splitlines()
    told = [line for line in lines if line.lstrip().startswith("::") or "##[" in line]
    names = [line.lstrip().split("::")[1].split()[0] for line in told]
    assert set(names) <= {"group", "endgroup", "error"}, told
    assert sum(r"#\x23[add-mask]c" in line for line in lines) >= 3
    assert not any("::add-mask" in line.lstrip()[:10] for line in lines)


@given(st.text(":# [\n\t\x0b\xa0a"))
def test_no_text_is_a_command_to_github(text: str) -> None:
    harmless = without_commands(text)
    assert not any(line.strip().startswith("::") or "##[" in line for line in harmless.split("\n"))
    assert harmless.replace(r"\x3a", ":").replace(r"\x23", "#") == text


@pytest.mark.parametrize(
    ("ci", "begin", "end"),
    [
        ("github", r"^::group::items$", r"^::endgroup::$"),
        (
            "gitlab",
            r"\x1b\[0Ksection_start:\d+:arcli_items\[collapsed=true\]\r",
            r"\x1b\[0Ksection_end:\d+:arcli_items\r",
        ),
    ],
)
def test_lines_of_results_are_folded(folder: Path, ci: str, begin: str, end: str) -> None:
    words = [sys.executable, "-m", "arcli", "run", "spec.yaml", "--inline", "--ci", ci]
    out = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE).stdout.decode()
    first, last = re.search(begin, out, re.MULTILINE), re.search(end, out, re.MULTILINE)
    assert first is not None
    assert last is not None
    assert first.end() < out.index("seed=3") < last.start()


def test_results_for_a_program_are_not_folded(folder: Path) -> None:
    """By what standard output really has, also where the spec says so."""
    (folder / "spec.yaml").write_text(SPEC + "output: [{path: '-', format: json}]\n")
    words = [sys.executable, "-m", "arcli", "run", "spec.yaml", "--inline", "--ci", "github"]
    out = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE).stdout
    assert len(json.loads(out)["jobs"][0]["items"]) == 4


def test_stderr_for_a_program_has_json_alone(folder: Path) -> None:
    for words in ([], ["--format", "csv", "--tail=out"], ["--format", "text"]):
        done = run(folder, "--errors", "json", *words, GITHUB_ACTIONS="true")
        told = [json.loads(line) for line in done.said().splitlines()]
        assert any("printed" in each for each in told) == ("--tail=out" in words)


def test_a_summary_of_one_job(tmp_path: Path) -> None:
    """It was one of all jobs, also where the output was to have but one."""
    batches = [batch(record(0)), batch(record(0, "error", job="other"))]
    for job, others in (("squares", "other"), ("other", "squares")):
        path = tmp_path / f"{job}.md"
        play(MarkdownSummary(on_file(path, job=job)), *batches)
        text = path.read_text()
        assert f"| {job} |" in text
        assert others not in text
        assert ("1 of 1 item ok" in text) == ("ZeroDivisionError" not in text) == (job == "squares")


def test_a_summary_as_markdown(folder: Path) -> None:
    run(folder, "-o", "summary.md")
    text = (folder / "summary.md").read_text()
    assert text.startswith("### ❌ fits: 2 ok, 2 failed of 4 items in ")
    assert re.search(r"^\| fits \| 4 \| 2 \| 2 \|", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("expect", "job", "code"),
    [
        ("wall > 1us", "", 5),
        ("wall > 1h", "", 0),
        ("wall > 1h", "items > 2", 5),
        ("failed > 0", "items > 3", 0),
        ("wall > 1us", "items > 3", 5),
    ],
)
def test_expectations_of_the_run_and_of_a_job_hold_together(
    tmp_path: Path, expect: str, job: str, code: int
) -> None:
    lines = [f"expect: ['{expect}']", "jobs:", "- name: a", "  map: abs", "  over: {range: 3}"]
    (tmp_path / "spec.yaml").write_text("\n".join([*lines, *([f"  expect: {job}"] if job else [])]))
    done = run(tmp_path, "-q", code=code)
    assert ("expectation failed" in done.said()) == (code == 5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("expect: p95 > 200", "200 has no unit: 200ms, 200s"),
        ("expect: p95 > +10%", "no other run that it could be compared with"),
        ("expect: nothing", "it is not FIGURE OP LIMIT"),
    ],
)
def test_what_cannot_be_decided_is_a_problem_of_the_spec(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "spec.yaml").write_text(f"map: abs\nover: [1]\n{line}\n")
    done = run(tmp_path, code=2)
    assert message in done.said()
    assert "spec.yaml:3:9" in done.said()


def test_text_of_any_kind_is_one_line_in_a_textfile() -> None:
    out = io.BytesIO()
    output = PrometheusFile(context(StreamTarget(out)))
    output.start()
    part = batch(record(0, job="j"))
    output.finish(summary(part), {})
    assert all(line.startswith(("# ", "arcli_")) for line in out.getvalue().decode().splitlines())


def test_junit_keeps_to_the_schema_of_jenkins(tmp_path: Path) -> None:
    error = ItemError(type="E", message="m", traceback="t")
    records = [
        record(0), record(1, "error", error=error, stdout="a", stderr="b"), record(2, "lost"),
        record(3, "timeout"), record(4, "cancelled"), *(record(index) for index in range(5, 9)),
    ]  # fmt: skip
    root = junit(tmp_path / "out.xml", *records, ok_cases=2)
    SCHEMA.validate(tmp_path / "out.xml")
    assert {element.tag for element in root.iter()} == {
        "testsuites", "testsuite", "properties", "property", "testcase", "skipped", "error", "failure",
        "system-out", "system-err",
    }  # fmt: skip
    # What the schema leaves open: numbers are numbers, and those of the cases that are there.
    for element in (root, *root.iter("testsuite")):
        assert int(element.get("tests", "")) == len(list(element.iter("testcase")))
        assert all(element.get(name, "").isdigit() for name in ("failures", "errors"))
