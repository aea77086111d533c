"""Runs in Python programs."""

from __future__ import annotations

import gzip
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import has_ended, wait_until

import arcli
from arcli.errors import LockedError, UsageError
from arcli.store.lock import Lock, lock_for

SPEC = """\
params: {n: 4, word: x}
jobs:
- name: fit
  map: "lambda x: {'loss': 1 / (x - 2), 'word': '${params.word}'}"
  over: {range: "${params.n}"}
- {name: total, map: float, over: [1, 2], reduce: operator:add}
- {name: odd, map: "lambda x: frozenset([x]) if x else complex(1, 2)", over: [0, 1]}
- {name: by, map: "lambda x: [x]", over: [b, 5, [3]], collect: dict}
- {name: large, map: "lambda x: __import__('numpy').arange(50_000.0)", over: [1]}
- name: inside
  map: "lambda x: {'loss': 0.5, 'layers': [__import__('numpy').arange(x), b'x' * x], '$array': {'path': 1}}"
  over: [3, 50000]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[arcli.Run]:
    folder = tmp_path_factory.mktemp("api")
    (folder / "sweep.yaml").write_text(SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield arcli.run("sweep.yaml", params={"n": 3, "word": "a b"}, engines=1, options=["--inline"])


def test_a_run_is_loaded_whichever_way_it_is_named(run: arcli.Run) -> None:
    assert run.folder is not None
    for source in ("latest", run.id, run.id[:15], run.folder):
        assert arcli.load(source).id == run.id
    assert arcli.load("latest").exit_code == 1
    assert not run.ok
    with pytest.raises(UsageError, match="there is no run"):
        arcli.load("nowhere")


def test_items_are_decoded_and_chosen(run: arcli.Run) -> None:
    items = list(run.items(job="fit"))
    assert [(item.index, item.input, item.status) for item in items] == [
        (0, 0, "ok"), (1, 1, "ok"), (2, 2, "error"),
    ]  # fmt: skip
    assert items[1].value == {"loss": -1.0, "word": "a b"}
    assert items[2].error is not None
    assert items[2].error["type"] == "ZeroDivisionError"
    assert [item.index for item in run.items(job="fit", where="value.loss < -0.7")] == [1]
    assert [item.index for item in run.items(where=lambda item: not item.ok)] == [2]
    assert len(list(run.items())) == 13


def test_what_no_item_has_is_told(run: arcli.Run, tmp_path: Path) -> None:
    assert run.folder is not None
    records = shutil.copy(run.folder / "journal.jsonl", tmp_path)
    assert arcli.load(records).summary.exit_code == 1
    for source in (run, arcli.load(records)):
        with pytest.raises(UsageError, match=r"^where: no item has 'los'") as told:
            list(source.items(job="total", where="input > 1 and los > 1"))
        assert told.value.hint is not None
        with pytest.raises(UsageError, match="there is no job 'fits'") as told:
            list(source.items(job="fits"))
        assert "'fit'" in str(told.value.hint)
        with pytest.raises(UsageError, match="there is no job 'elsewhere'") as told:
            source.to_arrow(job="elsewhere")
        assert str(told.value.hint).count("total") == 1
        with pytest.raises(UsageError, match="no item has 'los' in its value"):
            list(source.items(job="fit", where="value.los > 1"))
        with pytest.raises(UsageError, match=r"^where 'los >' is no expression"):
            list(source.items(where="los >"))


def test_a_job_without_items_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("none.yaml").write_text("map: abs\nover: []\n")
    run = arcli.run("none.yaml", options=["--inline"])
    assert (list(run.items(job="none")), run.value("none")) == ([], [])


def test_values_of_jobs(run: arcli.Run) -> None:
    assert run.value("total") == 3.0
    assert [value["loss"] for value in run.value("fit")] == [-0.5, -1.0]
    assert run.value("by") == {"b": ["b"], 5: [5], 2: [[3]]}  # an input that is no key has its number
    with pytest.raises(UsageError, match="fit, total"):
        run.value()
    assert np.array_equal(run.value("large")[0], np.arange(50_000.0))
    assert run.summary.jobs[0].counts.error == 1


NO_VALUES = """\
jobs:
- {name: reduced, map: float, over: [1, 2], reduce: "lambda a, b: a / 0"}
- {name: finished, map: float, over: [1, 2], finish: "lambda values: values / 0"}
- {name: twins, map: str, over: [a, b, a], collect: dict}
- {name: object, map: float, over: [1, 2], reduce: "lambda a, b: [complex(a, b)]"}
- {name: halted, map: "lambda x: 1 / x", over: [0, 1], halt: now, reduce: operator:add}
- {name: infinite, map: float, over: [1, .inf], reduce: max, initial: 0}
- {name: bytes, map: "lambda x: b'x'", over: [1, 2], reduce: operator:add}
"""


def test_a_job_without_a_value_has_not_that_of_its_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("values.yaml").write_text(NO_VALUES)
    run = arcli.run("values.yaml", options=["--inline"])
    for job, words in {
        "reduced": "reduced has no value: reduce failed at item 1: ZeroDivisionError",
        "finished": "finished has no value: finish failed: TypeError",
        "twins": "twins has no value: collect: dict failed at item 2: item 0 has the key 'a', too",
        "object": r"the value of object is none that JSON holds: .*\(1\+2j\)",
        "halted": "halted has no value: halt",
    }.items():
        with pytest.raises(UsageError, match=words) as told:
            run.value(job)
        assert (told.value.hint is None) == (job == "halted")
    assert (run.value("infinite"), run.value("bytes")) == (math.inf, b"xx")


def test_values_of_a_run_without_an_end_are_those_of_its_items(run: arcli.Run, tmp_path: Path) -> None:
    assert run.folder is not None
    lines = run.folder.joinpath("journal.jsonl").read_text().splitlines(keepends=True)
    manifest = json.loads((run.folder / "manifest.json").read_text())
    killed = tmp_path / run.id
    killed.mkdir()
    twin = json.loads(next(line for line in lines if '"by"' in line)) | {"index": 3}
    (killed / "journal.jsonl").write_text("".join([*lines, json.dumps(twin, separators=(",", ":")) + "\n"]))
    manifest |= {"exit_code": None, "summary": None}
    (killed / "manifest.json").write_text(json.dumps(manifest))
    manifest["spec"]["jobs"].append({"name": "later", "map": "abs", "over": [1]})
    (killed / "manifest.json").write_text(json.dumps(manifest))
    loaded = arcli.load(killed)
    assert list(loaded.items(job="later")) == []
    with pytest.raises(UsageError, match="later has no value: it did not begin"):
        loaded.value("later")
    with pytest.raises(UsageError, match="there is no job 'late'"):
        loaded.value("late")
    assert [value["loss"] for value in loaded.value("fit")] == [-0.5, -1.0]
    with pytest.raises(UsageError, match="total has no value: the run was killed before its end"):
        loaded.value("total")
    with pytest.raises(UsageError, match="by has no value: item 0 has the key 'b', too"):
        loaded.value("by")


def test_a_pickle_is_opened_by_trust_alone(run: arcli.Run) -> None:
    (first, _) = run.items(job="odd")
    with pytest.raises(UsageError, match="is a pickle"):
        _ = first.value
    (trusted, _) = arcli.load(run.id, trust=True).items(job="odd")
    assert trusted.value == 1 + 2j
    assert run.folder is not None
    forged = {**trusted.record, "value": {"$pickle": "../../../x.pkl", "repr": ""}}
    with pytest.raises(UsageError, match="not in its run's folder"):
        _ = arcli.Item(forged, run.folder, trust=True).value


def test_a_value_with_arrays_inside_is_the_value_and_not_how_its_record_looks(run: arcli.Run) -> None:
    small, large = run.items(job="inside")
    assert small.value == {"loss": 0.5, "layers": [[0, 1, 2], b"xxx"], "$array": {"path": 1}}
    with pytest.raises(UsageError, match="is a pickle"):
        _ = large.value
    (_, large) = arcli.load(run.id, trust=True).items(job="inside")
    weights, text = large.value.pop("layers")
    assert large.value["loss"] == 0.5
    assert np.array_equal(weights, np.arange(50_000))
    assert text == b"x" * 50_000


def test_tables(run: arcli.Run) -> None:
    table = run.to_arrow(job="fit")
    assert table.num_rows == 3
    assert table.column("index").to_pylist() == [0, 1, 2]


def test_a_table_of_a_job_has_its_records_and_no_others(run: arcli.Run, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    (first, *_), (other, *_) = run.items(job="fit"), run.items(job="total")
    text = json.dumps({**other.record, "input": {"job": "fit"}}, separators=(",", ":"))
    path.write_text(f"{json.dumps(dict(first.record))}\n{text}\n")
    assert arcli.load(path).to_arrow(job="fit").column("job").to_pylist() == ["fit"]


def test_a_file_of_records_is_a_run_too(run: arcli.Run, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(dict(item.record)) + "\n" for item in run.items(job="fit")))
    loaded = arcli.load(path)
    assert loaded.id == run.id
    assert [item.index for item in loaded.items(where="status == 'ok'")] == [0, 1]
    assert loaded.summary.jobs[0].counts.ok == 2
    assert loaded.exit_code is None


def test_a_file_of_records_may_be_packed_and_end_in_a_torn_line(run: arcli.Run, tmp_path: Path) -> None:
    records = [json.dumps(dict(item.record)).encode() for item in run.items(job="fit")]
    torn = b"\n".join([*records, records[0][:-9]])
    (tmp_path / "torn.jsonl").write_bytes(torn)
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(torn))
    (tmp_path / "no-newline.jsonl").write_bytes(b"\n".join(records))
    for name in ("torn.jsonl", "packed.jsonl.gz", "no-newline.jsonl"):
        loaded = arcli.load(tmp_path / name)
        assert [item.index for item in loaded.items()] == [0, 1, 2]
        assert loaded.to_arrow().num_rows == 3
        assert not loaded.ok


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", b'{"run": {}, "jobs": []}\n', ":1: not a record"),
        ("x.csv", b"a,b\n1,2\n", ":1: not a record"),
        ("x.csv", b"a,b", "has no records"),
        ("x.jsonl", b'{"a":1}\n', ":1: not a record"),
        ("x.jsonl", b"\xff\xfe\n", ":1: not a record"),
        ("x.jsonl", b"", "has no records"),
        ("x.jsonl.gz", b"no gzip", "Not a gzipped file"),
        ("x.jsonl.gz", gzip.compress(b"{}", mtime=0)[:-9], "cannot be read any further"),
    ],
)
def test_what_is_no_file_of_records_is_told(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        arcli.load(tmp_path / name)


def test_a_line_that_is_no_record_is_told_when_it_is_its_turn(run: arcli.Run, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    (first, *_) = run.items(job="fit")
    path.write_text(json.dumps(dict(first.record)) + '\n{"a":1}\n')
    loaded = arcli.load(path)
    assert next(loaded.items()).index == 0
    for read in (lambda: loaded.ok, lambda: list(loaded.items()), loaded.value, loaded.to_arrow):
        with pytest.raises(UsageError, match=r"results\.jsonl:2: not a record"):
            read()


def test_a_folder_that_is_no_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source in (tmp_path, "."):
        with pytest.raises(UsageError, match=r"no run's folder"):
            arcli.load(source)
    with pytest.raises(UsageError, match="an empty name"):
        arcli.load("")


def test_a_run_whose_folder_is_gone_says_so(run: arcli.Run, tmp_path: Path) -> None:
    assert run.folder is not None
    folder = shutil.copytree(run.folder, tmp_path / run.id)
    removed = arcli.load(folder, trust=True)
    (large,) = removed.items(job="large")
    shutil.rmtree(folder)
    for ask in (
        lambda: list(removed.items()),
        lambda: removed.value("fit"),
        lambda: removed.ok,
        lambda: removed.exit_code,
        lambda: removed.summary,
        removed.to_arrow,
    ):
        with pytest.raises(UsageError, match=f"run {run.id} is gone: there is no {folder}"):
            ask()
    with pytest.raises(UsageError, match="the value of item 0 of large is gone"):
        _ = large.value


def test_a_run_that_was_killed_before_its_first_job_is_not_ok(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    killed = arcli.load(tmp_path)
    assert not killed.ok
    with pytest.raises(UsageError, match="has no jobs"):
        killed.value()


def test_what_cannot_run_is_an_error(run: arcli.Run) -> None:
    with pytest.raises(UsageError, match="nope"):
        arcli.run("nope.yaml")


def test_a_run_of_another_process_with_the_same_number_is_not_taken_for_it(
    run: arcli.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails before it has a folder: then only an earlier run can have this number."""
    assert run.folder is not None
    past = shutil.copytree(run.folder, tmp_path / ".arcli/runs" / run.id)
    python = tmp_path / "python"
    python.write_text(f"""#!{sys.executable}
import json, os, pathlib
file = pathlib.Path({str(past / "state.json")!r})
file.write_text(json.dumps({{**json.loads(file.read_text()), "pid": os.getpid()}}))
raise SystemExit(2)
""")
    python.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(UsageError, match="ended with 2"):
        arcli.run("spec.yaml")


def test_what_kept_a_run_from_beginning_is_raised_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-n.yaml").write_text("map: abs\nover: [1]\n")
    assert arcli.run("-n.yaml", options=["--inline"]).value() == [1]
    lock = lock_for(Path(".arcli").resolve(), str(Path("-n.yaml").resolve()), os.environ)
    with Lock.hold(lock, "the spec"), pytest.raises(LockedError, match="is locked by process"):
        arcli.run("-n.yaml", options=["--inline", "--no-overlap"])


def test_parameters_arrive_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(
        "params: {number: 1, word: x, token: x}\nmap: 'lambda x: x'\nunpack: none\n"
        "over: ['${params.number}', '${params.word}', '${params.token}']\n"
    )
    texts = ["007", "5", "true", "null", "~", "", "1e3", "[1]", " lead", "${env.HOME}", '"', "a=b"]
    values: dict[str, Any] = {"number": texts, "word": 7, "token": {"$${x": [math.inf, None, 'sesame"']}}
    done = arcli.run("spec.yaml", params=values, options=["--inline"])
    assert [item.input for item in done.items()] == list(values.values())
    done = arcli.run("spec.yaml", params={"number": Path("/x"), "word": (1, 2)}, options=["--inline"])
    assert [item.input for item in done.items()] == ["/x", [1, 2], "x"]
    with pytest.raises(UsageError, match=r"params\['word'\].*complex"):
        arcli.run("spec.yaml", params={"word": [1j]})
    with pytest.raises(UsageError, match="there is no parameter 'wrod'"):
        arcli.run("spec.yaml", params={"wrod": 1})
    with pytest.raises(UsageError, match="too long for a command line"):
        arcli.run("spec.yaml", params={"word": "x" * 10_000_000})
    for name in ("a.b", "a=b", "", 1):
        with pytest.raises(UsageError, match="is not a parameter's name"):
            arcli.run("spec.yaml", params={name: 1})  # type: ignore[dict-item]


class TimeLimitError(Exception):
    """What a caller's own handler of a signal raises."""


@contextmanager
def interrupting(*conditions: Callable[[], Any]) -> Iterator[None]:
    """Raise TimeLimitError in this thread, by a signal, each time that a further condition comes true."""

    def handler(number: int, frame: Any) -> None:
        raise TimeLimitError

    def watch() -> None:
        for condition in conditions:
            wait_until(condition)
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def test_what_interrupts_the_caller_ends_the_run_softly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    work = "lambda x: (open('begun', 'w').close(), time.sleep(0.01))"
    Path("spec.yaml").write_text(f'setup: {{imports: [time]}}\nmap: "{work}"\nover: {{range: 1000000}}\n')
    with interrupting(Path("begun").exists), pytest.raises(TimeLimitError):
        arcli.run("spec.yaml", engines=1)
    assert arcli.load("latest").exit_code == 143


def test_what_interrupts_a_run_that_has_closed_its_stderr_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"""#!{sys.executable}
import os, pathlib, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.close(2)
signal.sigwait([signal.SIGTERM])
pathlib.Path("told").touch()
""")
    python.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(python))
    processes: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            processes.append(self)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    waits = lambda: bool(processes) and processes[0].stderr is not None and processes[0].stderr.closed  # noqa: E731
    with interrupting(waits), pytest.raises(TimeLimitError):
        arcli.run("spec.yaml")
    assert Path("told").exists()


def test_a_second_interruption_leaves_no_run_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, told = tmp_path / "begun", tmp_path / "told"
    python = tmp_path / "python"
    python.write_text(f"""#!{sys.executable}
import os, pathlib, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
pathlib.Path({str(begun)!r}).write_text(f"{{os.getpid()}}\\n")
while True:
    signal.sigwait([signal.SIGTERM])
    pathlib.Path({str(told)!r}).touch()
""")
    python.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(python))
    written = lambda: begun.exists() and begun.read_text().endswith("\n")  # noqa: E731
    with interrupting(written, told.exists), pytest.raises(TimeLimitError):
        arcli.run("spec.yaml")
    assert has_ended(int(begun.read_text()))


@pytest.mark.parametrize("option", ["--detach", "-vd", "--dry-run", "--estimate", "--help"])
def test_options_that_make_no_run_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text("map: abs\nover: [1]\n")
    with pytest.raises(UsageError, match="--detach" if option == "-vd" else option):
        arcli.run("spec.yaml", options=[option, "--inline"])
    assert not Path(".arcli").exists()


def test_a_file_in_the_working_directory_is_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("queue", "click", "arcli"):
        Path(f"{name}.py").write_text("1 / 0\n")
    (tmp_path / "specs").mkdir()
    Path("specs/spec.yaml").write_text("map: abs\nover: [-1]\n")
    assert arcli.run("specs/spec.yaml", options=["--inline"]).value() == [1]


HEAVY = "ipyparallel IPython pydantic rich click zmq numpy pyarrow yaml"


def test_importing_costs_nothing() -> None:
    code = f"import sys, arcli; arcli.load; print(*set('{HEAVY}'.split()) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
