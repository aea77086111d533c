"""A randomised soak: runs whose engines, controller, supervisor and arcli itself are killed.

``make soak ARGS='--rounds 50 --seed 7'``. Each round is one batch, resumed until it is done. Then
every index must be there exactly once, every value right, no process left and no file torn.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from runs import Run, each_once, wait_until

SPEC = """\
name: soak
setup: {{imports: [os, time]}}
map: work.py:item
over: {{range: {items}}}
kwargs: {{folder: "{folder}", deadly: {deadly}}}
chunksize: {chunksize}
ordered: {ordered}
cluster: {{max_restarts: 1000}}
"""
WORK = """\
import os
import time

def item(x, folder, deadly):
    time.sleep(0.001 * (x % 4))
    if deadly and x % deadly == deadly - 1:
        try:
            os.close(os.open(f"{folder}/died-{x}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return x * x
        os._exit(9)
    return x * x
"""
VICTIMS = ("engine", "engine", "engine", "engine", "controller", "supervisor", "arcli")
MOST_RESUMES = 100


def soak(rounds: int, items: int, seed: int, folder: Path) -> Counter[str]:
    """Run all rounds. Returns how often what was killed. Raises AssertionError."""
    dice = random.Random(seed)
    killed: Counter[str] = Counter()
    for number in range(rounds):
        place = folder / f"round-{number}"
        place.mkdir()
        killed += one_round(place, items, dice)
        killed["rounds"] += 1
        print(f"round {number + 1}/{rounds}: {dict(killed)}", flush=True)
    return killed


def one_round(folder: Path, items: int, dice: random.Random) -> Counter[str]:
    """One batch from its start to its last record."""
    killed: Counter[str] = Counter()
    spec = SPEC.format(
        items=items,
        folder=folder,
        deadly=dice.choice([0, 0, 97]),
        chunksize=dice.choice(["auto", "auto", "1", "7", "50"]),
        ordered=dice.choice(["true", "false"]),
    )
    (folder / "spec.yaml").write_text(spec)
    (folder / "work.py").write_text(WORK)
    (folder / "tmp").mkdir()
    words = ["run", "spec.yaml", "-n", "2", "--format", "jsonl", "-o", "out.jsonl"]
    for attempt in range(MOST_RESUMES):
        run = Run(folder, [*words, *(["--resume"] if attempt else [])], env=_env(folder))
        # What is hit becomes less and less, so that a round comes to its end.
        harass(run, dice, killed, mean=0.6 * 1.3**attempt)
        code = run.wait()
        killed["runs"] += 1
        assert code in {0, 1, 3, -9}, (code, run.said())
        if code == 0:
            break
    check(folder, run, items)
    if not killed["supervisor"]:  # killed together with arcli, nobody is left to tidy up
        assert list((folder / "tmp").iterdir()) == []
    return killed


def _env(folder: Path) -> dict[str, str]:
    return {"TMPDIR": str(folder / "tmp")}


def harass(run: Run, dice: random.Random, killed: Counter[str], mean: float) -> None:
    """Kill something every now and then, until the run ends."""
    while run.process.poll() is None:
        pause = dice.expovariate(1 / mean)
        end = time.monotonic() + pause
        while time.monotonic() < end and run.process.poll() is None:
            time.sleep(0.01)  # the moment is what is random
        victim = dice.choice(VICTIMS)
        number = dice.random()
        if run.process.poll() is None and kill(run, victim, number):
            killed[victim] += 1


def kill(run: Run, victim: str, number: float) -> bool:
    """Kill one of a run's processes, if it is there."""
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
        parts[int(number * len(parts))].kill()
    except psutil.NoSuchProcess:
        return False
    return True


def check(folder: Path, run: Run, items: int) -> None:
    """Everything that a batch promises, once it is done."""
    records = run.lines()
    in_order = sorted(records, key=lambda record: record["index"])
    assert each_once(in_order, items), run.said()
    assert all(record["status"] == "ok" for record in records)
    assert all(record["value"] == record["input"] ** 2 for record in records)
    written = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert each_once(sorted(written, key=lambda record: record["index"]), items)
    for journal in (folder / ".arcli" / "runs").glob("*/journal.jsonl"):
        for line in journal.read_bytes().splitlines(keepends=True):
            assert not line.endswith(b"\n") or json.loads(line)
    newest = max((folder / ".arcli" / "runs").iterdir(), key=lambda path: path.name)
    assert (newest / "journal.jsonl").read_bytes().endswith(b"\n")
    wait_until(lambda: not run.relatives(), "processes are left")


def main() -> None:
    """Parse the command line, say the seed, soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--items", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    wanted = parser.parse_args()
    print(f"seed {wanted.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        began = time.monotonic()
        killed = soak(wanted.rounds, wanted.items, wanted.seed, Path(folder))
        total = wanted.rounds * wanted.items
        seconds = time.monotonic() - began
        print(f"ok: {total} items in {seconds:.0f} s; {dict(killed)}; seed {wanted.seed}")


if __name__ == "__main__":
    main()
