"""What another user, a strange file system or a strange name could do to a run's folder."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_lines import key, line
from runs import Run

from arcli.cluster.base import EngineInfo
from arcli.engine.encode import decode as decode_value
from arcli.engine.encode import encode, from_tree
from arcli.escape import plain
from arcli.record import decode
from arcli.session.core.lines import tally_of
from arcli.store import files
from arcli.store.channel import STATE, Cancel, post, read_state, take
from arcli.store.folder import RunFolder
from arcli.store.index import JournalIndex
from arcli.store.journal import Damage, entries
from arcli.store.lock import holder_of
from arcli.store.manifest import Manifest
from arcli.store.past import records
from arcli.store.resume import Kept

SPEC = "map: abs\nover: {jsonl: in.jsonl}\n"


def ran(folder: Path, *words: str, env: dict[str, str] | None = None, code: int = 0) -> Run:
    run = Run(folder, list(words), env=env or {})
    assert run.wait() == code, run.said()
    return run


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "in.jsonl").write_text("-1\n-2\n-3\n")
    return tmp_path


def replayed(run: Run) -> list[bool]:
    return [record.get("replayed", False) for record in run.lines()]


def test_a_run_that_is_complete_is_gone_on_with_when_its_input_has_grown(spec: Path) -> None:
    words = ["run", "spec.yaml", "--inline", "--format", "jsonl"]
    ran(spec, *words)
    with (spec / "in.jsonl").open("a") as file:
        file.write("-4\n")
    assert replayed(ran(spec, *words, "--resume")) == [True, True, True, False]
    with (spec / "in.jsonl").open("a") as file:
        file.write("-5\n")
    assert replayed(ran(spec, *words, "--resume", "--run", "latest")) == [True] * 4 + [False]


def test_resuming_nothing_is_told_under_quiet_too(spec: Path) -> None:
    assert (
        "there is no run of spec.yaml" in ran(spec, "run", "spec.yaml", "--inline", "-q", "--resume").said()
    )


@pytest.fixture(scope="session")
def no_locks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which no file system has locks."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("nolocks")
    source, library = folder / "nolocks.c", folder / "nolocks.so"
    source.write_text(
        "#include <errno.h>\nint flock(int fd, int how) { errno = ENOLCK; return -1 + 0 * (fd + how); }\n"
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library)}


def test_without_locks_everything_works_and_says_so(spec: Path, no_locks: dict[str, str]) -> None:
    run = ran(spec, "run", "spec.yaml", "--inline", "--no-overlap", "--format", "jsonl", env=no_locks)
    assert "without locks" in run.said()
    assert "--no-overlap cannot see another run" in run.said()
    assert len(run.lines()) == 3
    runs = json.loads(ran(spec, "runs", "--format", "json", env=no_locks).out.read_text())
    assert [each["exit_code"] for each in runs["runs"]] == [0]
    assert "removed" in ran(spec, "clean", "--all", env=no_locks).out.read_text()


def test_without_locks_a_run_is_told_by_its_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arcli.store.folder.is_held", lambda path: None)
    run = RunFolder.create(tmp_path, Manifest())
    assert RunFolder(run.path).alive
    os.utime(run.path / "alive", (1.0, 1.0))
    assert not RunFolder(run.path).alive
    run.beat()
    assert RunFolder(run.path).alive
    run.close()
    assert not RunFolder(run.path).alive


def test_from_another_host_a_run_is_told_by_its_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder.create(tmp_path, Manifest())
    run._alive = None  # its lock is on another host: here it cannot be seen
    monkeypatch.setattr("arcli.store.folder.is_held", lambda path: False)
    assert not RunFolder(run.path).alive, "on its own host a lock that is not held says it all"
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    assert RunFolder(run.path).alive
    os.utime(run.path / "alive", (1.0, 1.0))
    assert not RunFolder(run.path).alive


def test_from_a_folder_that_is_gone_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("map: abs\nover: [-1]\n")
    gone = tmp_path / "gone"
    gone.mkdir()

    def leave() -> None:
        os.chdir(gone)
        gone.rmdir()

    for words in (["run", f"{tmp_path}/spec.yaml", "--inline"], ["runs"], ["check", "x.yaml"]):
        gone.mkdir(exist_ok=True)
        run = Run(tmp_path, words, preexec=leave)
        assert run.wait() == 2
        assert "the working directory does not exist any more" in run.said()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@needs_root
def test_files_that_are_nested_too_deeply_say_nothing(tmp_path: Path) -> None:
    deep = b'{"pid": ' + b"[" * 100_000
    (tmp_path / "alive").write_bytes(deep)
    assert holder_of(tmp_path / "alive") is None
    (tmp_path / STATE).write_bytes(deep)
    assert read_state(tmp_path) is None
    path = post(tmp_path, Cancel())
    path.write_bytes(deep)
    assert list(take(tmp_path)) == []
    assert not path.exists()


@pytest.mark.parametrize("forged", [lambda run: run.path, lambda run: run.journal])
def test_records_that_another_user_could_have_forged_are_refused(
    spec: Path, forged: Callable[[RunFolder], Path]
) -> None:
    ran(spec, "run", "spec.yaml", "--inline")
    (folder,) = (spec / ".arcli" / "runs").iterdir()
    os.chown(forged(RunFolder(folder)), 12345, 12345)
    run = ran(spec, "run", "spec.yaml", "--inline", "--resume", code=2)
    assert "belongs to another user" in run.said()


@needs_root
def test_no_run_is_made_in_another_users_folder(spec: Path) -> None:
    (spec / ".arcli").mkdir()
    os.chown(spec / ".arcli", 12345, 12345)
    assert "belongs to another user" in ran(spec, "run", "spec.yaml", "--inline", code=2).said()


@pytest.mark.parametrize("name", [".", ".."])
def test_no_job_is_called_as_folders_are(spec: Path, name: str) -> None:
    (spec / "spec.yaml").write_text(f"jobs:\n- {{name: '{name}', map: abs, over: [1]}}\n")
    ran(spec, "check", "spec.yaml", code=2)


def test_a_forged_job_name_leads_nowhere(spec: Path) -> None:
    ran(spec, "run", "spec.yaml", "--inline")
    (folder,) = (spec / ".arcli" / "runs").iterdir()
    forged = {"$pickle": "values/../0.pkl", "repr": "x"}
    (folder / "journal.jsonl").write_bytes(line(key(1), job="..", value=forged, exact=False))
    assert (
        replayed(ran(spec, "run", "spec.yaml", "--inline", "--resume", "--format", "jsonl")) == [False] * 3
    )


DAMAGED: list[Any] = [
    {"status": []}, {"status": "no"}, {"status": None}, {"seconds": "x"}, {"seconds": []}, {"index": True},
    {"index": -1}, {"index": 10**7}, {"index": 10**15}, {"index": 10**30}, {"job": 5}, {"error": "x"},
    {"error": {"type": "E", "message": 5}}, 5, [], {"job": "../.."}, {"seconds": -1}, {"seconds": 1e11},
    {"error": {"type": "E", "message": "", "traceback": 5}}, {"completed": "9999-99-99"}, {"started": {}},
    {"received": "2026-01-01T00:00:00"}, {"truncated": {}}, {"attempt": {}}, {"attempt": 2**63},
    {"stderr": [1]}, {"reason": 5}, {"outdir": 5}, {"artifacts": [{"path": "x"}]},
    {"earlier_attempts": [5]}, {"usage": [1]},
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED, ids=str)
def test_every_reader_passes_over_what_is_no_record(tmp_path: Path, damage: Any) -> None:
    good, other = line(key(1), index=1), line(key(2), index=2)
    damaged = {**json.loads(line(key(3))), **damage} if isinstance(damage, dict) else damage
    run, into = (RunFolder.create(tmp_path, Manifest()) for _ in range(2))
    run.journal.write_bytes(good + json.dumps(damaged).encode() + b"\n" + other)
    run.close()
    with JournalIndex(RunFolder(run.path)) as index:
        assert list(index.items()) == [("job", 1), ("job", 2)]
    if not isinstance(damage, dict) or "index" not in damage:
        damages: list[Damage] = []
        assert [each["index"] for each in records(RunFolder(run.path), damages.append)] == [1, 2]
        assert [each.reason for each in damages] == ["not a record"]
    with Kept([RunFolder(run.path)], into) as kept:
        assert [kept.is_kept("job", key(number)) for number in (1, 2)] == [True, True]
        if not isinstance(damage, dict) or "index" not in damage:
            assert not kept.is_kept("job", key(3))
    into.close()


def test_names_of_files_are_printed_plain(tmp_path: Path) -> None:
    name = "a\x1b[31m\u202eb.yaml"
    (tmp_path / name).write_text("map: abs\nover: [1]\n")
    assert "\x1b" not in ran(tmp_path, "check", name).out.read_text()
    assert "\x1b" not in ran(tmp_path, "init", f"new-{name}").out.read_text()


@pytest.mark.parametrize("char", "\u061c\u200b\u200e\u200f\u2060\u3164\u115f\uffa0\u00ad\U000e0041")
def test_what_cannot_be_seen_is_shown(char: str) -> None:
    assert char not in plain(f"a{char}b")
    assert plain(f"a{char}b").startswith("a\\")
    assert plain("naïve 日本 🎉") == "naïve 日本 🎉"


def test_engines_that_come_up_cost_few_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bool] = []
    write_whole = files.write_whole

    def count(path: Path, data: bytes, *, durable: bool) -> None:
        written.append(durable)
        write_whole(path, data, durable=durable)

    monkeypatch.setattr("arcli.store.folder.write_whole", count)
    run = RunFolder.create(tmp_path, Manifest())
    for number in range(500):
        engine = EngineInfo(engine_id=number, slot=number, uuid=str(number), host="here", pid=None)
        run.note_engines([engine])
    run.beat()
    assert len(RunFolder(run.path).manifest.engines) == 500
    assert written.count(True) == 1, "the disk is waited for at the start and at the end only"
    assert len(written) < 50
    run.close()


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**400), 10**400),
    st.sampled_from([10**309, -(10**4000), 2**63, 2**64, 1e308, 5e-324, math.nan, -math.inf]),
    st.floats(),
    st.text(st.characters()),  # lone surrogates, too
    st.binary(max_size=5),
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(values)
def test_every_reader_reads_every_record_that_can_be_written(value: Any) -> None:
    """The journal, the tally of a session's chunk, records, a resumed run and results."""
    written, exact = encode(value)
    text = written.encode()
    record = line(key(1), value=0, input=0).replace(b'"value":0', b'"value":' + text)
    record = record.replace(b'"input":0', b'"input":' + text)
    with tempfile.TemporaryDirectory() as name:
        earlier = RunFolder.create(Path(name), Manifest())
        earlier.journal.write_bytes(record)
        earlier.close()
        damaged: list[Damage] = []
        (entry,) = entries(earlier.journal, damaged.append)
        assert damaged == []
        # Text that is no Unicode is in JSON as bytes, which the record says.
        assert repr(from_tree(entry.data["value"])) == repr(value if exact else decode_value(written))
        assert [each["index"] for each in records(earlier, damaged.append)] == [0]
        with Kept([earlier], RunFolder.create(Path(name), Manifest()), on_damage=lambda *_: None) as kept:
            assert kept.take("job", key(1)) is not None
    assert tally_of(record).total == 1
    assert decode(record)["index"] == 0
