"""The jobs that ship, each validated and run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from runs import Run, each_once

JOBS = Path(__file__).parents[2] / "jobs"


def run_job(tmp_path: Path, name: str, *words: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the one JSON document of a job that ships."""
    shutil.copytree(JOBS, tmp_path / "jobs")
    run = Run(tmp_path, ["run", f"jobs/{name}.yaml", "--format", "json", *words])
    code = run.wait()
    return code, json.loads(run.out.read_text())


@pytest.mark.parametrize("spec", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.stem)
def test_it_is_valid_and_its_plan_can_be_shown(tmp_path: Path, spec: Path) -> None:
    check = Run(tmp_path, ["check", str(spec)])
    assert check.wait() == 0
    assert "valid" in check.out.read_text()
    plan = Run(tmp_path, ["run", str(spec), "--dry-run"])
    assert plan.wait() == 0
    assert spec.stem in plan.out.read_text()
    assert not (tmp_path / ".arcli").exists()


def test_every_engine_has_the_map_of_all_process_ids(tmp_path: Path) -> None:
    code, document = run_job(tmp_path, "pid_map", "-n", "3")
    first, second = document["jobs"]
    assert code == 0
    assert set(first["value"]) == {"0", "1", "2"}
    assert len(set(first["value"].values())) == 3
    assert os.getpid() not in first["value"].values()
    assert second["value"] == dict.fromkeys("012", first["value"])


def test_each_engine_sleeps_for_its_own_id(tmp_path: Path) -> None:
    code, document = run_job(tmp_path, "sleep_by_id", "-n", "3")
    items = document["jobs"][0]["items"]
    assert code == 0
    assert [item["slot"] for item in items] == [0, 1, 2]
    assert all(item["seconds"] >= item["slot"] for item in items)


@pytest.mark.parametrize(("name", "size"), [("one_call_per_task", 1), ("four_calls_per_task", 4)])
def test_naps_come_in_order_and_tell_who_took_them(tmp_path: Path, name: str, size: int) -> None:
    code, document = run_job(tmp_path, name, "-p", "unit=0.0005")
    items = document["jobs"][0]["items"]
    assert code == 0
    assert each_once(items, 100)
    chunks = [item["chunk"] for item in items]
    assert len(set(chunks)) == 100 / size
    for item in items:
        assert item["value"].startswith(f"item {item['input']} on engine {item['slot']} after ")
        assert item["seconds"] >= 0.0005 * item["input"]


def test_the_fast_ones_come_first(tmp_path: Path) -> None:
    shutil.copytree(JOBS, tmp_path / "jobs")
    words = [
        "run",
        "jobs/unordered.yaml",
        "--format",
        "jsonl",
        "-p",
        "longest=19",
        "-p",
        "unit=0.03",
    ]
    run = Run(tmp_path, words)
    assert run.wait() == 0
    items = run.lines()
    assert sorted(item["index"] for item in items) == list(range(20))
    # By their numbers they would be in the order of their ends only if one engine had run them all.
    ends = [item["received"] for item in sorted(items, key=lambda item: item["index"])]
    assert each_once(items) == (ends == sorted(ends))
    # Chunks need not start together, since the first engine that is there begins.
    received = [item["received"] for item in items]
    assert received == sorted(received)


def test_the_root_mean_square_is_exact(tmp_path: Path) -> None:
    code, document = run_job(tmp_path, "rms")
    assert (code, document["jobs"][0]["value"]) == (0, 58.028845747399714)


def test_each_record_tells_what_was_printed_as_it_finished(tmp_path: Path) -> None:
    code, document = run_job(tmp_path, "as_they_finish", "-p", "longest=0.05")
    items = document["jobs"][0]["items"]
    assert code == 0
    assert sorted(item["index"] for item in items) == list(range(12))
    assert len({item["msg_id"] for item in items}) == 12
    for item in items:
        assert item["stdout"] == f"task {item['input']} took {item['value']:.3f} s\n"
        assert item["engine_id"] is not None


def test_words_are_counted_over_files(tmp_path: Path) -> None:
    code, document = run_job(tmp_path, "files")
    (job,) = document["jobs"]
    counts: dict[str, int] = {}
    for text in sorted((JOBS / "texts").glob("*.txt")):
        for word in text.read_text("utf-8").lower().split():
            word = word.strip('.,;:!?"()\u2013\u2014')
            counts[word] = counts.get(word, 0) + 1
    assert code == 0
    assert len(job["items"]) == 3
    assert list(job["value"])[:3] == ["the", "and", "of"]
    assert job["value"]["the"] == counts["the"]
    assert sum(job["value"].values()) == sum(sum(item["value"].values()) for item in job["items"])
