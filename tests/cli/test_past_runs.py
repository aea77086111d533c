"""``runs`` and ``report``, as typed, about real runs."""

from __future__ import annotations

import json
import os
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from runs import Run, running, wait_until
from test_other_verbs import arcli

SPEC = """\
map: "lambda a, b: 1 / (b - 1)"
over: {product: {a: [small, large], b: {range: 3}}}
"""


def document(folder: Path, *words: str) -> dict[str, Any]:
    code, out, said = arcli(folder, *words)
    assert (code, said) == (0, "")
    tree: dict[str, Any] = json.loads(out)
    return tree


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs on engines: `first`, 2 of 6 items failed, and `second`, all ok."""
    folder = tmp_path_factory.mktemp("past")
    (folder / "first.yaml").write_text(SPEC)
    (folder / "second.yaml").write_text("map: abs\nover: {range: 4}\n")
    assert arcli(folder, "run", "first.yaml", "-n", "2", "-o", "first.json")[0] == 1
    assert arcli(folder, "run", "second.yaml", "--inline")[0] == 0
    return folder


def test_runs_are_listed_newest_first(past: Path) -> None:
    code, out, _ = arcli(past, "runs")
    assert code == 0
    head, second, first = out.splitlines()
    assert head.split() == ["run", "spec", "when", "took", "ok", "failed", "exit"]
    assert re.fullmatch(r"\S+ +second +(today|yesterday) \d\d:\d\d +\S+ m?s +4 +0 +0", second)
    assert re.fullmatch(r"\S+ +first +(today|yesterday) \d\d:\d\d +\S+ m?s +4 +2 +1", first)


def test_a_run_took_as_long_for_every_verb(past: Path) -> None:
    """And as long as it said at its end: what came before its folder was made is a part of it."""
    took = re.split(r"  +", arcli(past, "runs")[1].splitlines()[1])[3]
    report, _, status = (arcli(past, verb)[1] for verb in ("report", "runs", "status"))
    assert f" in {took}" in report
    assert f"ended after {took}," in status


def test_runs_can_be_chosen_and_counted(past: Path) -> None:
    for words, names in (
        ([], ["second", "first"]),
        (["--limit", "1"], ["second"]),
        (["first"], ["first"]),
        (["./first.yaml"], ["first"]),
        (["third"], []),
    ):
        tree = json.loads(arcli(past, "runs", *words, "--format", "json")[1])
        assert [run["name"] for run in tree["runs"]] == names
    run = document(past, "runs", "first", "--format", "json")["runs"][0]
    assert (run["state"], run["exit_code"], run["ok"], run["failed"]) == ("ended", 1, 4, 2)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", run["started"])
    assert run["seconds"] > 0
    assert Path(run["folder"]).name == run["id"]


def test_where_nothing_was_run_that_is_said(tmp_path: Path) -> None:
    code, out, said = arcli(tmp_path, "runs")
    assert (code, out, said) == (0, "", "arcli: there are no runs in .arcli\n")
    code, out, said = arcli(tmp_path, "report")
    assert code == 2
    assert "there is no run in .arcli" in said
    assert arcli(tmp_path, "runs", "--format", "json")[1] == '{"runs":[]}\n'
    assert arcli(tmp_path, "report", "2026")[0] == 2


def test_a_report_says_what_the_run_said(past: Path) -> None:
    own = json.loads((past / "first.json").read_text())
    report = document(past, "report", "previous", "--format", "json")
    # What the run wrote into its output, it did not know yet: how long writing that took.
    assert report["run"] == {**own["run"], **{k: report["run"][k] for k in ("wall", "finish", "writing")}}
    for job in own["jobs"]:
        del job["items"], job["value"]
    histogram = report["jobs"][0].pop("histogram")
    assert report["jobs"] == own["jobs"]
    assert sum(count for _, count in histogram) == 6


def test_the_journal_alone_says_the_same(past: Path, tmp_path: Path) -> None:
    own = json.loads((past / "first.json").read_text())["jobs"][0]
    (folder,) = (path for path in (past / ".arcli/runs").iterdir() if '"first"' in _text(path))
    copy = tmp_path / ".arcli/runs" / folder.name
    copy.mkdir(parents=True)
    (copy / "journal.jsonl").write_bytes((folder / "journal.jsonl").read_bytes())
    manifest = json.loads(_text(folder))
    manifest.update(summary=None, exit_code=None, ended=None)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    report = document(tmp_path, "report", "--format", "json")
    job = report["jobs"][0]
    assert report["run"]["status"] == "killed"
    assert {**job["counts"], "unread": 0} == own["counts"]
    for figure in ("serial", "mean", "stddev", "min", "median", "p95", "p99", "max"):
        assert job["timing"][figure] == pytest.approx(own["timing"][figure])
    assert job["timing"]["wall"] <= own["timing"]["wall"]
    assert job["timing"]["chunks"] == own["timing"]["chunks"]
    # Of an engine that came up too late to get an item, the journal knows nothing.
    used = [[engine for engine in each["timing"]["engines"] if engine["items"]] for each in (job, own)]
    for now, then in zip(*used, strict=True):
        for same in ("engine_id", "slot", "host", "pid", "items", "chunks"):
            assert now[same] == then[same]
        assert now["compute"] == pytest.approx(then["compute"])
        assert now["busy"] <= then["busy"]


def _text(folder: Path) -> str:
    return (folder / "manifest.json").read_text()


def test_a_run_that_ended_well_is_told_of_without_its_journal(past: Path, tmp_path: Path) -> None:
    (folder,) = (path for path in (past / ".arcli/runs").iterdir() if '"second"' in _text(path))
    shutil.copytree(folder, tmp_path / ".arcli/runs" / folder.name)
    journal = tmp_path / ".arcli/runs" / folder.name / "journal.jsonl"
    journal.unlink()
    journal.mkdir()
    for form in ("text", "markdown"):
        assert arcli(tmp_path, "report", "--format", form)[0] == 0
    for words in (["--format", "json"], ["--by", "input"], ["--slowest", "1"]):
        assert arcli(tmp_path, "report", *words)[0] == 4


def test_a_report_on_paper(past: Path) -> None:
    code, out, said = arcli(past, "report", "previous", "--by", "a", "--slowest", "1")
    assert (code, said) == (0, "")
    assert "exit 1, some items are not ok" in out
    assert re.search(r"^ +2  ZeroDivisionError: division by zero", out, re.MULTILINE)
    assert re.search(r"^small +3 +2 +1 ", out, re.MULTILINE)
    assert re.search(r"^slowest +seconds", out, re.MULTILINE)
    code, _, said = arcli(past, "report", "previous", "--by", "c")
    assert code == 2
    assert "hint: there are: a, b, engine, host, slot, status, job" in said


def test_a_report_in_a_file_has_the_format_of_its_suffix(past: Path, tmp_path: Path) -> None:
    for name, begins in (
        ("x.html", "<!DOCTYPE html>"),
        ("x.md", "### second: exit 0"),
        ("x.json", '{"run":'),
        ("x.trace", '{"displayTimeUnit"'),
        ("x.txt", "second, run "),
    ):
        code, out, said = arcli(past, "report", "-o", str(tmp_path / name))
        assert (code, out, said) == (0, "", "")
        assert (tmp_path / name).read_text().startswith(begins)
    code, _, _ = arcli(past, "report", "-o", str(tmp_path / "y.json"), "--format", "markdown")
    assert code == 0
    assert (tmp_path / "y.json").read_text().startswith("### ")
    code, _, said = arcli(past, "report", "-o", str(tmp_path / "no" / "x.html"))
    assert code == 4
    assert "cannot write" in said


def test_the_events_of_a_trace_follow_one_another_on_each_engine(past: Path) -> None:
    tree = document(past, "report", "previous", "--format", "trace")
    events = [event for event in tree["traceEvents"] if event["ph"] == "X"]
    items = [event for event in events if event["cat"] != "engine"]
    assert sorted(event["args"]["index"] for event in items) == list(range(6))
    tracks = {event["args"]["name"] for event in tree["traceEvents"] if event["ph"] == "M"}
    for engine in {event["tid"] for event in events}:
        assert f"engine {engine}" in tracks
        track = sorted((e["ts"], e["dur"]) for e in events if e["tid"] == engine)
        assert all(a + took <= b + 1 for (a, took), (b, _) in pairwise(track))
        assert all(begin >= 0 and took >= 0 for begin, took in track)


def test_a_beginning_that_means_several_runs_is_refused(past: Path) -> None:
    code, _, said = arcli(past, "report", "20")
    assert code == 2
    assert "2 runs begin with '20'" in said


def test_a_run_that_goes_on_and_one_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(
        "import os, time\n\n"
        "def work(x):\n"
        "    while x == 3 and not os.path.exists('go'):\n"
        "        time.sleep(0.01)\n"
        "    return x\n"
    )
    spec = "name: slow\nmap: work.py:work\nover: {range: 4}\nchunksize: 1\n"
    with running(tmp_path, spec) as run:
        wait_until(lambda: len(run.lines()) == 3, run.said)
        (row,) = document(tmp_path, "runs", "--format", "json")["runs"]
        assert (row["state"], row["exit_code"], row["ok"]) == ("running", None, 3)
        assert "running" in arcli(tmp_path, "runs")[1]
        out = arcli(tmp_path, "report")[1]
        assert "still running" in out
        assert "never came" not in out
        tree = document(tmp_path, "report", "--format", "json")
        assert tree["run"]["status"] == "running"
        assert tree["jobs"][0]["counts"]["ok"] == 3
        run.process.kill()
        run.process.wait()
    (row,) = document(tmp_path, "runs", "--format", "json")["runs"]
    assert (row["state"], row["exit_code"], row["ok"]) == ("killed", None, 3)
    assert "killed before its end" in arcli(tmp_path, "report")[1]
    (tmp_path / "go").touch()
    resumed = Run(tmp_path, ["run", "spec.yaml", "--resume", "--inline", "-q"])
    assert resumed.wait() == 0
    newest, oldest = document(tmp_path, "runs", "--format", "json")["runs"]
    assert newest["resumes"] == oldest["id"]
    tree = document(tmp_path, "report", "--format", "json", "--by", "status")
    assert tree["jobs"][0]["counts"]["replayed"] == 3
    assert tree["jobs"][0]["groups"]["groups"][0]["items"] == 4


def test_damaged_folders_are_listed_all_the_same(tmp_path: Path) -> None:
    runs = tmp_path / ".arcli/runs"
    for name in ("20260101-000000-0000", "99999999-999999-ffff", "20260102-000000-0000"):
        (runs / name).mkdir(parents=True)
    (runs / "20260102-000000-0000/manifest.json").write_text('{"name": "x\\u001b[31m", "engines')
    (runs / "20260102-000000-0000/journal.jsonl").write_text('{"job": "x"}\nxx\n')
    (runs / "20260101-000000-0000/manifest.json").mkdir()
    (runs / "20260101-000000-0000/journal.jsonl").mkdir()
    code, out, said = arcli(tmp_path, "runs")
    assert (code, said) == (0, "")
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["killed"] * 3
    assert arcli(tmp_path, "report", "20260102")[0] == 0
    code, _, said = arcli(tmp_path, "report", "20260101")
    assert code == 4
    assert "cannot be read" in said


def clean(folder: Path, *words: str) -> tuple[int, list[str], str]:
    """``arcli clean``: what it says of runs, and of clusters below the test's own folder.

    It also looks in ``/tmp``, where the user may have others.
    """
    (folder / "tmp").mkdir(exist_ok=True)
    run = Run(folder, ["clean", *words], env={"TMPDIR": str(folder / "tmp")})
    code, lines = run.wait(), run.out.read_text().splitlines()
    ours = [line for line in lines if "of a cluster" not in line or str(folder) in line]
    if len(ours) < len(lines):  # then the sum has to be ours, too
        ours = [line for line in ours if not re.search(r"removed? \w+ folders", line)]
        word = "would remove" if "--dry-run" in words else "removed"
        total = f"{len(ours)} folders, SIZE" if ours else "no folders"
        ours += [] if len(ours) == 1 else [f"{word} {total}"]
    return code, ours, run.said()


def without_sizes(lines: list[str]) -> list[str]:
    return [re.sub(r", [\d.]+ k?B$", ", SIZE", line) for line in lines]


def test_clean_removes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("map: abs\nover: [1]\n")
    for _ in range(3):
        assert arcli(tmp_path, "run", "spec.yaml", "--inline", "-q")[0] == 0
    ids = [run["id"] for run in document(tmp_path, "runs", "--format", "json")["runs"]]
    assert clean(tmp_path) == (0, ["removed no folders"], "")
    code, out, _ = clean(tmp_path, "--keep", "1", "--dry-run")
    assert code == 0
    lines = without_sizes(out)
    assert [re.sub(r"(today|yesterday) \d\d:\d\d", "WHEN", line) for line in lines] == [
        f"would remove {ids[1]}: spec, WHEN, SIZE",
        f"would remove {ids[2]}: spec, WHEN, SIZE",
        "would remove 2 folders, SIZE",
    ]
    assert len(list((tmp_path / ".arcli/runs").iterdir())) == 3
    removed = [line.replace("would remove", "removed") for line in lines]
    assert without_sizes(clean(tmp_path, "--keep", "1")[1]) == removed
    assert [path.name for path in (tmp_path / ".arcli/runs").iterdir()] == [ids[0]]
    code, _, said = clean(tmp_path, "--all", "--keep", "1")
    assert code == 2
    assert "--all keeps no past run" in said
    assert clean(tmp_path, "--older-than", "soon")[0] == 2
    assert clean(tmp_path, "--all")[0] == 0
    assert list((tmp_path / ".arcli/runs").iterdir()) == []


def test_clean_removes_the_folder_of_a_cluster_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "tmp" / "arcli-gone_gon"
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "supervisor.log").write_text("last words")
    clean(tmp_path)
    assert folder.is_dir()  # it may be about to begin
    for path in (folder / "supervisor.log", folder):
        os.utime(path, (0, 0))
    code, (line, *_), said = clean(tmp_path)
    assert (code, line, said) == (0, f"removed {folder} of a cluster that is gone, 10 B", "")
    assert not folder.exists()


@pytest.mark.parametrize("verb", [("report",), ("compare", "latest")])
def test_a_report_is_written_to_one_file_and_no_other_is_passed_over(
    past: Path, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    files = [tmp_path / "a.txt", tmp_path / "b.json"]
    code, _, said = arcli(past, *verb, *(word for file in files for word in ("-o", str(file))))
    assert code == 2
    assert "one -o FILE" in said
    assert not any(file.exists() for file in files)


@pytest.mark.parametrize("name", ["x.pdf", "x", "x.csv"])
def test_a_report_is_not_written_into_a_name_that_says_no_format(tmp_path: Path, name: str) -> None:
    run = Run(tmp_path, ["report", "-o", name])
    assert run.wait() == 2
    assert f"{name}: the name" in run.said()
    assert not (tmp_path / name).exists()
