"""A randomised soak: runs whose engines, controller, supervisor and arcli itself are killed or stopped.

``make soak ARGS='--kills 1000 --seed 7'``. Each round is one batch (in turn a map, a pipeline with a
reducer, commands, ``view: direct``, retries, timeouts), resumed until it is done. Then every index of
every job must be there exactly once, every value right, no process left and no file torn.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from runs import Run, each_once, wait_until

SPEC = """\
name: soak
setup: {{imports: [os, time]}}
defaults: {{chunksize: {chunksize}, ordered: {ordered}, timeout: 120s}}
cluster: {{max_restarts: 1000}}
jobs:
{jobs}
"""
MAP = """\
- name: soak
  map: work.py:item
  over: {{range: {items}}}
  kwargs: {{folder: "{folder}", deadly: {deadly}, failing: {failing}, slow: {slow}}}
"""
SUM = """\
- name: sum
  map: "lambda x: 2 * x"
  over: {{from: soak}}
  reduce: operator:add
"""
COMMAND = """\
- name: soak
  command: "expr {{}} '*' {{}} || :"
  over: {{range: {items}}}
  parse: json
"""
SHAPES = {
    "map": MAP,
    "pipeline": MAP + SUM,
    "command": COMMAND,
    "direct": MAP + "  view: direct\n",
    "retries": MAP + "  retries: 3\n  retry_delay: 10ms\n",
    "timeouts": MAP + "  timeout: 1s\n  retries: 3\n  retry_delay: 10ms\n",
}
"""By the kind of work; the job ``soak`` squares its items in each."""
WORK = """\
import ctypes
import os
import time

def first_time(path):
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def item(x, folder, deadly, failing, slow):
    time.sleep(0.004 * (x % 5))
    if deadly and x % deadly == deadly - 1 and first_time(f"{folder}/died-{x}"):
        os._exit(9)
    if failing and x % failing == 0 and first_time(f"{folder}/failed-{x}"):
        raise ValueError(x)
    if slow and x % slow == 0 and first_time(f"{folder}/slow-{x}"):
        # The second kind holds the interpreter's lock: no timer of the engine's own can run.
        (ctypes.CDLL if x % (2 * slow) else ctypes.PyDLL)(None).sleep(60)
    return x * x
"""
VICTIMS = (*["engine"] * 12, "controller", "supervisor", "arcli")
BURSTS = (1, 1, 1, 2, 3, 4)
"""How many are hit within a second."""
MOST_RESUMES = 100


def soak(rounds: int, items: int, seed: int, folder: Path, kills: int = 0) -> Counter[str]:
    """Run ``rounds`` rounds, or until there were so many kills. Returns how often what was hit.

    Raises AssertionError where a promise is not kept.
    """
    dice = random.Random(seed)
    hits: Counter[str] = Counter()
    while hits["rounds"] < rounds or hits["kills"] < kills:
        place = folder / f"round-{hits['rounds']}"
        place.mkdir()
        hits += one_round(place, items, dice, [*SHAPES][hits["rounds"] % len(SHAPES)])
        hits["rounds"] += 1
        print(f"round {hits['rounds']}: {dict(hits)}", flush=True)
    return hits


def one_round(folder: Path, items: int, dice: random.Random, shape: str) -> Counter[str]:
    """One batch from its start to its last record."""
    hits: Counter[str] = Counter()
    items = items // 4 if shape == "command" else items
    jobs = SHAPES[shape].format(
        items=items,
        folder=folder,
        deadly=dice.choice([0, 0, 97]),
        failing=50 if shape == "retries" else 0,
        slow=100 if shape == "timeouts" else 0,
    )
    spec = SPEC.format(
        jobs=jobs,
        chunksize=dice.choice(["auto", "auto", "1", "7", "50"]),
        ordered=dice.choice(["true", "false"]),
    )
    (folder / "spec.yaml").write_text(spec)
    (folder / "work.py").write_text(WORK)
    (folder / "tmp").mkdir()
    words = ["run", "spec.yaml", "-n", "4", "--format", "jsonl", "-o", "out.jsonl", "-o", "out.csv"]
    words += ["-o", "out.json"]
    if importlib.util.find_spec("pyarrow") is not None:
        words += ["-o", "out.parquet"]
    for attempt in range(MOST_RESUMES):
        run = Run(folder, [*words, *(["--failed"] if attempt else [])], env=_env(folder))
        # What is hit becomes less and less, so that a round comes to its end.
        harass(run, dice, hits, mean=0.15 * 1.2**attempt)
        code = run.wait()
        hits["runs"] += 1
        assert code in {0, 1, 3, -9}, (code, run.said())
        if code == 0:
            break
    hits[shape] += 1
    hits["overstays"] += len([*folder.glob("slow-*")])
    check(folder, run, items, shape)
    if not hits["supervisor"]:  # killed together with arcli, nobody is left to tidy up
        assert list((folder / "tmp").iterdir()) == []
    return hits


def _env(folder: Path) -> dict[str, str]:
    return {"TMPDIR": str(folder / "tmp")}


def harass(run: Run, dice: random.Random, hits: Counter[str], mean: float) -> None:
    """Kill or stop something every now and then, several at a time at times, until the run ends."""
    while run.process.poll() is None:
        _pause(run, dice.expovariate(1 / mean))
        for _ in range(dice.choice(BURSTS)):
            victim, number = dice.choice(VICTIMS), dice.random()
            stop = victim != "arcli" and dice.random() < 0.1
            if run.process.poll() is None and hit(run, victim, number, stop=stop):
                hits["stops" if stop else "kills"] += 1
                hits[victim] += 1
            _pause(run, dice.uniform(0, 0.3))


def _pause(run: Run, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and run.process.poll() is None:
        time.sleep(0.01)  # the moment is what is random


def hit(run: Run, victim: str, number: float, *, stop: bool) -> bool:
    """Kill or stop one of a run's processes, if it is there."""
    try:
        if victim == "arcli":
            run.process.kill()
            return True
        supervisor = psutil.Process(run.process.pid).children()
        if victim == "controller" or not supervisor:
            parts = supervisor[0].children() if supervisor else []
            parts = sorted(parts, key=lambda process: process.create_time())[:1]
        elif victim == "supervisor":
            parts = supervisor
        else:
            parts = sorted(supervisor[0].children(), key=lambda process: process.create_time())[1:]
        if not parts:
            return False
        parts[int(number * len(parts))].send_signal(signal.SIGSTOP if stop else signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def check(folder: Path, run: Run, items: int, shape: str) -> None:
    """Everything that a batch promises, once it is done."""
    assert_complete(run.lines(), items, shape)
    assert_complete(
        [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()], items, shape
    )
    with (folder / "out.csv").open(newline="") as file:
        rows = [(row["job"], int(row["index"])) for row in csv.DictReader(file)]
    jobs = ["soak", "sum"] if shape == "pipeline" else ["soak"]
    assert sorted(rows) == [(job, index) for job in jobs for index in range(items)]
    document = json.loads((folder / "out.json").read_text())
    for job in document["jobs"]:
        assert job["counts"]["ok"] == items
    if shape == "pipeline":
        assert document["jobs"][1]["value"] == sum(2 * x * x for x in range(items))
    if (folder / "out.parquet").exists():
        import pyarrow.parquet

        assert pyarrow.parquet.read_metadata(folder / "out.parquet").num_rows == items * len(jobs)
    for journal in (folder / ".arcli" / "runs").glob("*/journal.jsonl"):
        for line in journal.read_bytes().splitlines(keepends=True):
            assert not line.endswith(b"\n") or json.loads(line)
    newest = max((folder / ".arcli" / "runs").iterdir(), key=lambda path: path.name)
    assert (newest / "journal.jsonl").read_bytes().endswith(b"\n")
    wait_until(lambda: not run.relatives(), "processes are left")


def assert_complete(records: list[dict[str, Any]], items: int, shape: str) -> None:
    """Each index of each job is there once, and its value is right."""
    for job, factor in [("soak", 1), ("sum", 2)][: 2 if shape == "pipeline" else 1]:
        of_job = sorted((r for r in records if r["job"] == job), key=lambda record: record["index"])
        assert each_once(of_job, items)
        assert all(record["status"] == "ok" for record in of_job)
        assert all(record["value"] == factor * record["index"] ** 2 for record in of_job)


def main() -> None:
    """Parse the command line, say the seed, soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--items", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    wanted = parser.parse_args()
    print(f"seed {wanted.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        began = time.monotonic()
        hits = soak(wanted.rounds, wanted.items, wanted.seed, Path(folder), kills=wanted.kills)
        seconds = time.monotonic() - began
        print(f"ok: {seconds:.0f} s; {dict(hits)}; seed {wanted.seed}")


if __name__ == "__main__":
    main()
