"""The rows of the table: what is measured, who takes part, and the bar that is to be reached."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import measure
from measure import HERE, Command

ARCLI = str(Path(sys.executable).with_name("arcli"))
MODULES = {
    "dask": "distributed",
    "ipyparallel": "ipyparallel",
    "joblib": "joblib",
    "mpire": "mpire",
    "hyperqueue": "hyperqueue",
}
FIXED = (1, 2, 5, 10, 20, 50, 100, 250)

Step = Callable[[Path], dict[str, float]]
"""Measures once in an empty folder, and gives its figures by name."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """``figure`` is to be at most ``limit``: times the best of ``against``, or in itself."""

    figure: str
    limit: float
    against: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of work: ``steps`` by their names, measured in turn in every round."""

    name: str
    title: str
    unit: str
    steps: dict[str, Step]
    bars: tuple[Bar, ...]
    times: int = 1
    """How often each step is measured in a round."""


class Missing(Exception):
    """Somebody who cannot take part, and why."""


def arcli(work: str, n: int, *more: str) -> Command:
    spec = str(HERE / "work.yaml")
    run = [ARCLI, "run", spec, "-n", "2", "--format", "jsonl"]
    return [*run, "-p", f"work={work}", "-p", f"n={n}", *more]


def fixed(chunksize: int) -> tuple[str, str]:
    return "--set", f"jobs.work.chunksize={chunksize}"


def peer(name: str, work: str, n: int, chunksize: int | None = None) -> Command:
    module = MODULES.get(name, "concurrent.futures")
    if importlib.util.find_spec(module) is None:
        raise Missing(f"{module} is not installed: pip install -e '.[bench]'")
    chosen = [] if chunksize is None else [str(chunksize)]
    return [sys.executable, str(HERE / "peers" / f"with_{name}.py"), work, str(n), *chosen]


def timed(name: str, command: Callable[[], Command], lines: int | None) -> Step:
    return lambda folder: {name: measure.seconds(command(), folder, lines)}


def versus(work: str, n: int, peers: dict[str, tuple[str, int | None]]) -> dict[str, Step]:
    """arcli and its peers, ``(program, chunksize)`` by their names in the table."""
    steps = {"arcli": timed("arcli", lambda: arcli(work, n), n)}
    for name, (program, chunksize) in peers.items():

        def command(program: str = program, chunksize: int | None = chunksize) -> Command:
            return peer(program, work, n, chunksize)

        steps[name] = timed(name, command, n)
    return steps


AS_THEY_COME: dict[str, tuple[str, int | None]] = {
    name: (name, None) for name in ("executor", "joblib", "mpire")
}


def trivial(scale: float) -> Row:
    peers = {**AS_THEY_COME, "dask": ("dask", None), "ipyparallel": ("ipyparallel", None)}
    bars = (
        Bar(figure="arcli", limit=0.8, against=("dask",)),
        Bar(figure="arcli", limit=0.2, against=("ipyparallel",)),
    )
    steps = versus("trivial", 1, peers)
    return Row(name="trivial", title="one trivial item", unit="s", steps=steps, bars=bars)


def trivial_200k(scale: float) -> Row:
    n = scaled(200_000, scale)
    peers = {**AS_THEY_COME, "ipyparallel, chunksize 1000": ("ipyparallel", 1000)}
    return Row(
        name="trivial_200k",
        title=f"{n:,} trivial items, full records",
        unit="s",
        steps=versus("trivial", n, peers),
        bars=(Bar(figure="arcli", limit=1.0, against=("joblib",)),),
    )


def busy_2ms(scale: float) -> Row:
    n = scaled(5_000, scale)
    peers = {**AS_THEY_COME, "dask": ("dask", None), "ipyparallel, chunksize 1": ("ipyparallel", 1)}
    return Row(
        name="busy_2ms",
        title=f"{n:,} items of 2 ms busy work",
        unit="s",
        steps=versus("busy_2ms", n, peers),
        bars=(
            Bar(figure="arcli", limit=1.15, against=("joblib",)),
            Bar(figure="arcli", limit=0.2, against=("ipyparallel, chunksize 1",)),
        ),
    )


def skewed(scale: float) -> Row:
    n = scaled(5_000, scale)
    steps = versus("skewed", n, {"joblib": ("joblib", None)})
    names = {size: f"arcli, chunksize {size}" for size in FIXED}
    for size, name in names.items():

        def command(size: int = size) -> Command:
            return arcli("skewed", n, *fixed(size))

        steps[name] = timed(name, command, n)
    return Row(
        name="skewed",
        title=f"{n:,} items, 1 % of them take 100 ms, the rest 1 ms",
        unit="s",
        steps=steps,
        bars=(Bar(figure="arcli", limit=1.05, against=tuple(names.values())),),
    )


def first_record(scale: float) -> Row:
    n = scaled(100_000, scale)

    def step(folder: Path) -> dict[str, float]:
        return {"arcli": measure.ready_to_first_line(arcli("trivial", n), folder)}

    return Row(
        name="first_record",
        title=f"cluster ready to first record, {n:,} items queued",
        unit="s",
        steps={"arcli": step},
        bars=(Bar(figure="arcli", limit=0.2),),
    )


def memory(scale: float) -> Row:
    few, many = scaled(100_000, scale), scaled(1_000_000, scale)

    def step(folder: Path) -> dict[str, float]:
        by_size = []
        for n in (few, many):
            (folder / str(n)).mkdir()
            by_size.append(measure.peaks(arcli("trivial", n), folder / str(n), n))
        before, after = by_size
        # A helper that only the longer run shows has no counterpart.
        growth = [large / small for small, large in zip(before, after, strict=False)]
        return {
            "client, MB": after[0],
            "all processes, MB": sum(after),
            "largest growth of a process": max(growth),
            "growth of the client": growth[0],
            **{f"growth of process {place}": by for place, by in enumerate(growth[1:], 2)},
        }

    return Row(
        name="memory",
        title=f"{many:,} trivial items against {few:,}: peak memory of every process",
        unit="",
        steps={"arcli": step},
        bars=(
            Bar(figure="largest growth of a process", limit=1.2),
            Bar(figure="client, MB", limit=200.0),
        ),
    )


def chunksize1(scale: float) -> Row:
    n = scaled(2_000, scale)

    def ours(folder: Path) -> dict[str, float]:
        taken = {}
        for count in (1, n):
            (folder / str(count)).mkdir()
            command = arcli("trivial", count, *fixed(1))
            taken[count] = measure.seconds(command, folder / str(count), count)
        return {"arcli": taken[n] - taken[1]}

    def theirs(folder: Path) -> dict[str, float]:
        return {"ipyparallel": measure.told(peer("ipyparallel", "trivial", n, 1), folder, n, "warm")}

    return Row(
        name="chunksize1",
        title=f"{n:,} trivial items at chunksize 1, warm",
        unit="s",
        steps={"arcli": ours, "ipyparallel": theirs},
        bars=(Bar(figure="arcli", limit=1.0, against=("ipyparallel",)),),
    )


def help_page(scale: float) -> Row:
    imports = "python -c 'import click'"
    return Row(
        name="help",
        title="arcli --help",
        unit="s",
        steps={
            "arcli": timed("arcli", lambda: [ARCLI, "--help"], None),
            imports: timed(imports, lambda: [sys.executable, "-c", "import click"], None),
        },
        bars=(Bar(figure="arcli", limit=5.0, against=(imports,)),),
        times=10,
    )


def commands(scale: float) -> Row:
    n = scaled(2_000, scale)
    numbers = [str(number) for number in range(n)]

    def ours() -> Command:
        spec = str(HERE / "true.yaml")
        return [ARCLI, "run", spec, "-n", "2", "--format", "jsonl", "-p", f"n={n}"]

    def xargs() -> Command:
        if shutil.which("xargs") is None:
            raise Missing("xargs is not installed")
        return ["sh", "-c", f"seq {n} | xargs -P 2 -n 1 true"]

    def gnu() -> Command:
        if not has_gnu_parallel():
            raise Missing("GNU parallel is not installed")
        return ["parallel", "-j", "2", "--joblog", "joblog", "true", ":::", *numbers]

    return Row(
        name="commands",
        title=f"{n:,} runs of `true`",
        unit="s",
        steps={
            "arcli": timed("arcli", ours, n),
            "GNU parallel --joblog": timed("GNU parallel --joblog", gnu, None),
            "xargs": timed("xargs", xargs, None),
            "HyperQueue": timed("HyperQueue", lambda: hyperqueue(n, 2, "true"), None),
        },
        bars=(Bar(figure="arcli", limit=0.5, against=("GNU parallel --joblog",)),),
    )


def map_true(scale: float) -> Row:
    n = scaled(2_000, scale)

    def ours() -> Command:
        return ["sh", "-c", f"seq {n} | {ARCLI} map -j 2 -q true"]

    def gnu() -> Command:
        if not has_gnu_parallel():
            raise Missing("GNU parallel is not installed")
        return ["sh", "-c", f"seq {n} | parallel -j 2 true"]

    return Row(
        name="map_true",
        title=f"`arcli map true`, {n:,} times",
        unit="s",
        steps={
            "arcli": timed("arcli", ours, None),
            "GNU parallel": timed("GNU parallel", gnu, None),
            "HyperQueue": timed("HyperQueue", lambda: hyperqueue(n, 2, "true"), None),
        },
        bars=(Bar(figure="arcli", limit=0.35, against=("GNU parallel",)),),
    )


def map_first(scale: float) -> Row:
    def step(folder: Path) -> dict[str, float]:
        command = ["sh", "-c", f"seq 2000 | {ARCLI} map -j 2 echo"]
        return {"arcli": measure.start_to_first_line(command, folder)}

    return Row(
        name="map_first",
        title="`arcli map echo`: start to first line",
        unit="s",
        steps={"arcli": step},
        bars=(Bar(figure="arcli", limit=0.6),),
    )


def side_by_side(scale: float) -> Row:
    n = scaled(6_400, scale)
    # The items are the seconds, so that everybody runs the same command.
    items = f"yes 0.05 | head -n {n}"

    def ours() -> Command:
        return ["sh", "-c", f"{items} | {ARCLI} map -j 64 -q sleep"]

    def xargs() -> Command:
        return ["sh", "-c", f"{items} | xargs -P 64 -n 1 sleep"]

    return Row(
        name="side_by_side",
        title=f"{n:,} runs of `sleep 0.05`, 64 at a time",
        unit="s",
        steps={
            "arcli": timed("arcli", ours, None),
            "xargs": timed("xargs", xargs, None),
            "HyperQueue": timed("HyperQueue", lambda: hyperqueue(n, 64, "sleep", "0.05"), None),
        },
        bars=(Bar(figure="arcli", limit=1.2, against=("xargs",)),),
    )


def hyperqueue(n: int, cores: int, *program: str) -> Command:
    if importlib.util.find_spec("hyperqueue") is None:
        raise Missing("hyperqueue is not installed: pip install -e '.[bench]'")
    return [sys.executable, str(HERE / "peers" / "with_hyperqueue.py"), str(n), str(cores), *program]


def engines(count: int, limit: float) -> Callable[[float], Row]:
    """Items that sleep 50 ms, 100 an engine: the cores only carry the messages."""

    def row(scale: float) -> Row:
        each = scaled(100, scale)

        def step(folder: Path) -> dict[str, float]:
            n = count * each
            command = [*arcli("nap", n), "-n", str(count)]
            wall = measure.seconds(command, folder, n)
            timing = measure.summary(folder)["jobs"][0]["timing"]
            return {"arcli": wall, "job ÷ ideal": float(timing["wall"]) / (each * 0.05)}

        return Row(
            name=f"engines_{count}",
            title=f"{count} engines, {each} items of 50 ms each",
            unit="s",
            steps={"arcli": step},
            bars=(Bar(figure="job ÷ ideal", limit=limit),),
        )

    return row


def started(count: int) -> Callable[[float], Row]:
    """How long it takes until the first record of a run with many engines."""

    def row(scale: float) -> Row:
        def step(folder: Path) -> dict[str, float]:
            command = [*arcli("nap", count), "-n", str(count)]
            return {"arcli": measure.start_to_first_line(command, folder)}

        return Row(
            name=f"first_of_{count}",
            title=f"{count} engines: start to first record",
            unit="s",
            steps={"arcli": step},
            bars=(Bar(figure="arcli", limit=1.5),),
        )

    return row


def live_output(scale: float) -> Row:
    """What it costs that somebody watches: the job alone, since starting engines is no part of that."""
    n = scaled(16, scale)

    def step(name: str, *more: str) -> Step:
        def measured(folder: Path) -> dict[str, float]:
            measure.seconds([*arcli("chatty", n, *fixed(1)), "-n", "8", *more], folder, n)
            return {name: float(measure.summary(folder)["jobs"][0]["timing"]["wall"])}

        return measured

    return Row(
        name="live_output",
        title=f"8 engines that print 1,000 lines a second each, {n} items of 4 s",
        unit="s",
        steps={"arcli --tail": step("arcli --tail", "--tail"), "arcli": step("arcli")},
        bars=(Bar(figure="arcli --tail", limit=1.03, against=("arcli",)),),
    )


def large_values(scale: float) -> Row:
    n = scaled(500, scale)
    return Row(
        name="large_values",
        title=f"{n:,} values of 1 MB",
        unit="s",
        steps=versus("large", n, {"joblib": ("joblib", None)}),
        bars=(Bar(figure="arcli", limit=1.2, against=("joblib",)),),
    )


def csv_rows(scale: float) -> Row:
    n = scaled(500_000, scale)

    def table(folder: Path) -> Path:
        path = folder / "rows.csv"
        rows = "".join(f"{number},{number * 7 % 1000 / 10},name-{number % 50}\n" for number in range(n))
        path.write_text(f"number,level,name\n{rows}")
        return path

    def ours(suffix: str) -> Step:
        def step(folder: Path) -> dict[str, float]:
            command = over_file("csv", table(folder), "-q", "-o", f"out{suffix}")
            return {
                "arcli" if suffix == ".jsonl" else f"arcli -o x{suffix}": measure.seconds(command, folder)
            }

        return step

    def joblib(folder: Path) -> dict[str, float]:
        return {"joblib": measure.seconds(rows_peer("csv", table(folder)), folder, n)}

    return Row(
        name="csv_rows",
        title=f"{n:,} rows of a CSV of three columns, -o x.jsonl",
        unit="s",
        steps={"joblib": joblib, **{suffix: ours(suffix) for suffix in (".jsonl", ".csv", ".parquet")}},
        bars=(
            Bar(figure="arcli", limit=1.2, against=("joblib",)),
            Bar(figure="arcli -o x.csv", limit=1.3, against=("arcli",)),
            Bar(figure="arcli -o x.parquet", limit=1.3, against=("arcli",)),
        ),
    )


def text_lines(scale: float) -> Row:
    n = scaled(1_000_000, scale)

    def lines(folder: Path) -> Path:
        path = folder / "lines.txt"
        path.write_text("".join(f"line {number}\n" for number in range(n)))
        return path

    def ours(folder: Path) -> dict[str, float]:
        command = over_file("lines", lines(folder), "--format", "jsonl")
        return {"arcli": measure.seconds(command, folder, n)}

    def joblib(folder: Path) -> dict[str, float]:
        return {"joblib": measure.seconds(rows_peer("lines", lines(folder)), folder, n)}

    return Row(
        name="text_lines",
        title=f"{n:,} lines of a file",
        unit="s",
        steps={"arcli": ours, "joblib": joblib},
        bars=(Bar(figure="arcli", limit=1.0, against=("joblib",)),),
    )


def over_file(kind: str, path: Path, *more: str) -> Command:
    over = f'jobs.rows.over={{{kind}: "{path}"}}'
    return [ARCLI, "run", str(HERE / "rows.yaml"), "-n", "2", "--set", over, *more]


def rows_peer(kind: str, path: Path) -> Command:
    if importlib.util.find_spec("joblib") is None:
        raise Missing("joblib is not installed: pip install -e '.[bench]'")
    return [sys.executable, str(HERE / "peers" / "with_joblib_rows.py"), kind, str(path)]


def has_gnu_parallel() -> bool:
    """Whether ``parallel`` is GNU's; moreutils has another program of that name."""
    found = shutil.which("parallel")
    if found is None:
        return False
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return told.stdout.startswith("GNU parallel")


def scaled(n: int, scale: float) -> int:
    return max(2, round(n * scale))


ROWS: dict[str, Callable[[float], Row]] = {
    "trivial": trivial,
    "trivial_200k": trivial_200k,
    "busy_2ms": busy_2ms,
    "skewed": skewed,
    "first_record": first_record,
    "memory": memory,
    "chunksize1": chunksize1,
    "help": help_page,
    "commands": commands,
    "map_true": map_true,
    "map_first": map_first,
    "side_by_side": side_by_side,
    "engines_64": engines(64, 1 / 0.95),
    "engines_128": engines(128, 1 / 0.78),
    "engines_256": engines(256, 1 / 0.60),
    "first_of_64": started(64),
    "first_of_256": started(256),
    "live_output": live_output,
    "large_values": large_values,
    "csv_rows": csv_rows,
    "text_lines": text_lines,
}
