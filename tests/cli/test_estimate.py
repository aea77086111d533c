"""``arcli run --estimate``: what it predicts, held against the run itself."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path

import pytest
from runs import Run, finish, running, wait_until

from arcli.timing.estimate import Estimate, JobEstimate

SLEEPS = """
setup: {imports: [time]}
jobs:
  - {name: nap, map: "lambda x: time.sleep(0.02) or x", over: {range: 300}}
  - {name: doze, map: "lambda x: time.sleep(0.01)", over: {from: nap}}
"""


def job(**more: float | int | None) -> JobEstimate:
    figures: dict[str, float | int | None] = {
        "items": 1000,
        "seen": 50,
        "mean": 0.1,
        "stddev": 0.01,
        "fastest": 0.08,
        "slowest": 0.13,
    }
    figures |= {"message": 0.002, "chunksize": 2, **more}
    return JobEstimate(name="job", **figures)  # type: ignore[arg-type]


def test_the_prediction_holds(tmp_path: Path) -> None:
    # A busy machine may be twice as slow the next minute, and not each time; never off by an order.
    assert any(0.4 < ratio < 2.5 for ratio in (predicted_by_taken(tmp_path) for _ in range(4)))


def test_blocks_of_standard_input_are_not_read_to_be_counted(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("".join(f"{number}\n" for number in range(9)))
    words = ["map", "--inline", "--estimate", "--format", "json", "--pipe", "--block", "1", "wc -l"]
    run = Run(tmp_path, words, stdin=tmp_path / "in")
    assert run.wait() == 0, run.said()
    (estimate,) = json.loads(run.out.read_text())["jobs"]
    assert estimate["seen"] > 0


def predicted_by_taken(tmp_path: Path) -> float:
    """Estimate a run, and have it: how many times as long as it took its worst job was said to take."""
    (tmp_path / "spec.yaml").write_text(SLEEPS)
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "2", "--estimate", "--format", "json"])
    assert run.wait() == 0
    estimate = json.loads(run.out.read_text())
    assert [(one["name"], one["items"]) for one in estimate["jobs"]] == [("nap", 300), ("doze", 300)]
    assert all(one["seen"] < 300 and one["mean"] >= 0.01 for one in estimate["jobs"])
    assert finish(tmp_path, SLEEPS)[0] == 0
    summary = Run.manifest(run)["summary"]
    for predicted in estimate["jobs"]:
        assert predicted["seconds"] >= 300 * predicted["mean"] / 2
    ratios: list[float] = [
        predicted["seconds"] / one["timing"]["wall"]
        for one, predicted in zip(summary["jobs"], estimate["jobs"], strict=True)
    ]
    return max(ratios, key=lambda ratio: abs(math.log(ratio)))


def test_the_time_of_a_reducer_is_in_it(tmp_path: Path) -> None:
    spec = "setup: {imports: [time]}\nmap: 'lambda x: x'\nover: {range: 400}\n"
    spec += "reduce: 'lambda a, b: (time.sleep(0.01), a + b)[1]'"
    (tmp_path / "spec.yaml").write_text(spec)
    run = Run(tmp_path, ["run", "spec.yaml", "-n", "2", "--estimate", "--format", "json"])
    assert run.wait() == 0
    estimate = json.loads(run.out.read_text())
    (job,) = estimate["jobs"]
    assert job["seen"] < job["items"] == 400
    assert finish(tmp_path, spec)[0] == 0
    assert 0.4 < estimate["seconds"] / Run.manifest(run)["summary"]["wall"] < 2.5


def test_what_no_reducer_folds_takes_no_time(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("map: 'lambda x: x'\nover: {range: 9}")
    run = Run(tmp_path, ["run", "spec.yaml", "--inline", "--estimate", "--format", "json"])
    assert run.wait() == 0
    assert [job["folding"] for job in json.loads(run.out.read_text())["jobs"]] == [0]


def test_for_people_and_without_outputs(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\n" * 40)
    spec = "map: str\nover: {lines: in.txt}\noutput: [out.jsonl]\nnotify: {run: [touch, told]}"
    (tmp_path / "spec.yaml").write_text(spec)
    run = Run(tmp_path, ["run", "spec.yaml", "--inline", "--estimate"])
    assert run.wait() == 0
    text = run.out.read_text()
    assert "spec: 40 items, estimated from 40" in text
    assert "chunksize" in text
    assert "on 1 engine" in text
    assert not (tmp_path / "out.jsonl").exists()
    assert not (tmp_path / "told").exists()


def test_what_ends_a_pilot_early_is_told(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("setup: {imports: [no_such_module]}\nmap: str\nover: [1]")
    run = Run(tmp_path, ["run", "spec.yaml", "--inline", "--estimate"])
    assert run.wait() == 6
    assert "no_such_module" in run.said()


@pytest.mark.parametrize(("items", "engines"), [(1000, 4), (2, 2), (1, 1), (0, 1)])
def test_more_engines_than_help_are_not_recommended(items: int, engines: int) -> None:
    found = Estimate(engines=2, around=0.5, jobs=(job(items=items),))
    assert found.recommended(4) == engines


def test_a_prediction_is_never_below_its_work_or_its_longest_item() -> None:
    for items in (1, 3, 10, 1000):
        for engines in (1, 2, 7, 64):
            one = job(items=items)
            assert one.seconds(engines) >= max(items * one.mean / engines, one.slowest)
            assert one.uncertainty(engines) > 0


def test_what_varies_more_is_less_certain() -> None:
    assert job(stddev=0.09).uncertainty(2) > job(stddev=0.01).uncertainty(2) > job(seen=1000).uncertainty(2)


def test_items_side_by_side_are_reckoned_as_such(tmp_path: Path) -> None:
    (tmp_path / "nap.py").write_text("import asyncio\n\nasync def nap(x):\n    await asyncio.sleep(0.05)\n")
    (tmp_path / "spec.yaml").write_text("map: nap.py:nap\nover: {range: 4000}\nconcurrency: 8")
    for words, at_once in ((["-n", "1"], 8), (["-n", "1", "-j", "16"], 16)):
        run = Run(tmp_path, ["run", "spec.yaml", *words, "--estimate", "--format", "json"])
        assert run.wait() == 0
        (predicted,) = json.loads(run.out.read_text())["jobs"]
        assert predicted["chunksize"] >= predicted["beside"] == at_once
        work = 4000 * predicted["mean"] / at_once
        assert work <= predicted["seconds"] < 4 * work


def test_a_number_of_engines_that_takes_longer_is_not_recommended(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("command: sleep 0.2\nover: {range: 40}")
    cpu = min(os.sched_getaffinity(0))
    words = ["run", "spec.yaml", "-n", "3", "--estimate", "--format", "json"]
    run = Run(tmp_path, words, preexec=lambda: os.sched_setaffinity(0, {cpu}))
    assert run.wait() == 0
    assert json.loads(run.out.read_text())["recommended_engines"] == 3


def test_a_pilot_that_is_interrupted_is_the_last_one(tmp_path: Path) -> None:
    (tmp_path / "wait.py").write_text(
        "import time\nfrom pathlib import Path\n\n"
        "def wait(x):\n    Path('begun').touch()\n    time.sleep(3600)\n"
    )
    with running(tmp_path, "map: wait.py:wait\nover: {range: 100}", "-n", "1", "--estimate") as run:
        wait_until((tmp_path / "begun").exists)
        run.signal(signal.SIGINT)
        assert run.wait() == 130
    assert len(list((tmp_path / ".arcli" / "runs").glob("*-*"))) == 1
    # Going on with it is the run itself, not another pilot.
    (line,) = [line for line in run.said().splitlines() if "again" in line]
    assert line.endswith("--resume")
    assert "--estimate" not in line


def test_what_cannot_be_counted_is_not_predicted(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\n" * 40)
    (tmp_path / "spec.yaml").write_text("map: str\nover: {stdin: lines}")
    run = Run(tmp_path, ["run", "spec.yaml", "--inline", "--estimate"], stdin=tmp_path / "in.txt")
    assert run.wait() == 0
    text = run.out.read_text()
    assert "how many there are is not known" in text
    assert text.rstrip().endswith("this is for the items of the pilot alone")
