from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_lines import key, line

from arcli.cluster.base import EngineDown, EngineInfo, EngineUp
from arcli.errors import OutputError, UsageError
from arcli.store import folder as folder_module
from arcli.store.folder import (
    RUN_ID,
    RunFolder,
    find_run,
    latest_to_resume,
    lineage,
    list_runs,
    run_id,
)
from arcli.store.lock import Lock
from arcli.store.manifest import Manifest
from arcli.store.storage import RunStorage


def up(engine_id: int, slot: int, uuid: str) -> EngineInfo:
    return EngineInfo(engine_id=engine_id, slot=slot, uuid=uuid, host="here", pid=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".arcli"


def made(root: Path, **about: Any) -> RunFolder:
    return RunFolder.create(root, Manifest(**about))


def ended(root: Path, code: int | None = 0, *, records: bool = True, **about: Any) -> RunFolder:
    """A past run; ``code`` None: it was killed."""
    run = made(root, **about)
    run.journal.write_bytes(line(key(1)) if records else b"")
    if code is None:
        run.close()
    else:
        run.finish(code, None)
    return run


@given(st.lists(st.floats(0, 4e9), min_size=2, max_size=10))
def test_ids_sort_as_the_runs_began(moments: list[float]) -> None:
    ids = [run_id(moment) for moment in sorted(moments)]
    assert ids == sorted(ids)
    assert all(map(RUN_ID.fullmatch, ids))


def test_ids_are_unique_under_concurrency(root: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from arcli.store.folder import RunFolder; "
        "from arcli.store.manifest import Manifest; sys.stdin.read(1)\n"
        "for _ in range(30): print(RunFolder.create(Path(sys.argv[1]), Manifest()).id)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    with ThreadPoolExecutor(len(processes)) as pool:
        outputs = list(pool.map(lambda process: process.communicate("x")[0], processes))
    ids = [one for output in outputs for one in output.split()]
    assert len(set(ids)) == len(ids) == 90
    assert sorted(ids, reverse=True) == [run.id for run in list_runs(root)]


def test_an_id_that_is_taken_is_left_to_its_owner(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(root, name="first")
    names = iter([first.id, first.id, "20990101-000000-0000"])
    monkeypatch.setattr(folder_module, "run_id", lambda now: next(names))
    assert made(root, name="second").id == "20990101-000000-0000"
    assert RunFolder(first.path).manifest.name == "first"


def test_only_its_owner_may_look_into_it(root: Path) -> None:
    run = made(root)
    run.save_value("job", 3, b"x")
    for path in [root, *root.rglob("*")]:
        if path.name != ".gitignore":
            assert path.stat().st_mode & 0o077 == 0, path


def test_it_is_never_committed_but_other_folders_are_left_alone(tmp_path: Path) -> None:
    made(tmp_path / ".arcli")
    made(tmp_path / "new" / "runs")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "code.py").write_text("")
    made(tmp_path / "project")
    Lock.hold(tmp_path / "locked" / "locks" / "a.lock", "a").release()
    made(tmp_path / "locked")
    assert (tmp_path / ".arcli" / ".gitignore").read_text() == "*\n"
    assert (tmp_path / "new" / "runs" / ".gitignore").exists()
    assert (tmp_path / "locked" / ".gitignore").exists()
    assert not (tmp_path / "project" / ".gitignore").exists()


def test_the_manifest_tells_of_each_engine_once(root: Path) -> None:
    run = made(root, name="a", argv=("arcli", "run"))
    run.note_engines([up(0, 0, "u0"), up(1, 1, "u1")])
    run.note_engine_ready(1)
    run.note_engine_ready(7)
    run.note_engine_gone(1, "killed by SIGSEGV")
    run.note_engine_gone(7, "never came up")
    run.note_engines([up(0, 0, "u0"), up(2, 1, "u2")])
    run.finish(1, {"jobs": 1})
    manifest = RunFolder(run.path).manifest
    assert manifest == run.manifest
    engines: list[Any] = list(manifest.engines)
    assert [(e["engine_id"], e["slot"], e["reason"]) for e in engines] == [
        (0, 0, None),
        (1, 1, "killed by SIGSEGV"),
        (2, 1, None),
    ]
    stamps = [(e["started"], e["ended"]) for e in engines]
    assert [e["ready"] is None for e in engines] == [True, False, True]
    ready = engines[1]
    assert ready["started"] <= ready["ready"] <= ready["ended"]
    assert manifest.started is not None
    assert all(manifest.started <= up <= down for up, down in stamps)
    assert manifest.ended is not None
    assert (manifest.exit_code, manifest.summary) == (1, {"jobs": 1})
    assert stamps[1][1] < manifest.ended


def test_an_engine_that_was_let_go_and_is_back_has_not_ended(root: Path) -> None:
    run = made(root)
    storage = RunStorage(run)
    first, back = up(0, 0, "u0"), up(0, 1, "u0")
    storage.note_event(EngineUp(first))
    storage.note_ready(first)
    storage.note_event(EngineDown(engine_id=0, slot=0, reason="was let go"))
    # What is told late of its first coming does not bring it back.
    storage.note_ready(first)
    assert run.manifest.engines[0]["ended"] is not None
    storage.note_event(EngineUp(back))
    (engine,) = run.manifest.engines
    assert (engine["slot"], engine["ended"], engine["reason"]) == (1, None, None)
    assert engine["ready"] is not None


def test_a_reader_never_sees_half_a_manifest(root: Path) -> None:
    run = made(root)
    done = threading.Event()

    def write() -> None:
        for number in range(100):
            run.note_engines([up(number, number, str(number))])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    while not done.is_set():
        counts.append(len(json.loads((run.path / "manifest.json").read_bytes())["engines"]))
    writer.join()
    run.beat()
    assert counts == sorted(counts)
    assert len(RunFolder(run.path).manifest.engines) == 100
    assert sorted(path.name for path in run.path.iterdir()) == ["alive", "manifest.json"]


def test_a_manifest_of_a_later_version_can_be_read() -> None:
    text = Manifest(id="x", name="n").to_json()
    assert Manifest.from_json(text.replace(b"{", b'{"later": 1,', 1)).name == "n"


def test_a_damaged_manifest_is_no_obstacle(root: Path) -> None:
    run = ended(root)
    for text in (
        b"",
        b"{",
        b"[]",
        b"\0\0",
        b'{"spec": ' + b"[" * 100_000,
        b'{"argv": [1]}',
        b'{"engines": [{}]}',
    ):
        (run.path / "manifest.json").write_bytes(text)
        assert [one.manifest for one in list_runs(root)] == [Manifest(id=run.id)]


def test_runs_are_listed_newest_first_and_strangers_not_at_all(root: Path) -> None:
    runs = [ended(root) for _ in range(3)]
    (root / "runs" / "notes").mkdir()
    (root / "runs" / "20200101-000000-0000").write_text("a file")
    assert [run.id for run in list_runs(root)] == [run.id for run in reversed(runs)]
    assert list(list_runs(root / "nowhere")) == []


def test_a_run_is_found_by_its_id_or_its_beginning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ["20200101-000000-0123", "20200101-000000-0145"]
    names = iter(ids)
    monkeypatch.setattr(folder_module, "run_id", lambda now: next(names))
    first, _ = ended(root), ended(root)
    assert [find_run(root, one, {}).id for one in ids] == ids
    assert [find_run(root, one[:-1], {}).id for one in ids] == ids
    with pytest.raises(UsageError, match="2 runs begin with"):
        find_run(root, "20200101-000000-01", {})
    for wrong in ("nope", "../runs", f"../runs/{first.id}"):
        with pytest.raises(UsageError, match="there is no run"):
            find_run(root, wrong, {})


def test_the_newest_unfinished_run_of_a_spec(root: Path, tmp_path: Path) -> None:
    spec = tmp_path / "a.yaml"
    spec.write_text("")
    (tmp_path / "link.yaml").symlink_to(spec)
    mine: dict[str, Any] = {"spec_file": os.path.realpath(spec)}

    def found() -> str | None:
        run = latest_to_resume(root, str(tmp_path / "link.yaml"), {})
        return run.id if run is not None else None

    assert found() is None
    complete = ended(root, 0, **mine)
    assert found() == complete.id, "its inputs may have grown"
    killed = ended(root, None, **mine)
    assert found() == killed.id
    ended(root, None, spec_file="/another.yaml")
    ended(root, 3, records=False, **mine)
    ended(root, 0, limit=1, **mine)
    ended(root, 5, spec={"jobs": [{"name": "another"}]}, **mine)
    under_way = made(root, **mine)
    under_way.journal.write_bytes(line(key(1)))
    assert found() == killed.id
    under_way.finish(130, None)
    assert found() == under_way.id


def test_what_a_later_run_completed_is_not_unfinished(root: Path) -> None:
    first = ended(root, None, spec_file="-")
    second = ended(root, 130, spec_file="-", resumes=first.id)
    assert [run.id for run in lineage(second)] == [first.id, second.id]
    third = ended(root, 0, spec_file="-", resumes=second.id)
    newest = latest_to_resume(root, "-", {})
    assert newest is not None
    assert newest.id == third.id
    assert [run.id for run in lineage(third)] == [first.id, second.id, third.id]
    shutil.rmtree(first.path)
    assert [run.id for run in lineage(third)] == [second.id, third.id]


def test_what_a_later_run_did_anew_is_not_unfinished(root: Path) -> None:
    def found() -> str | None:
        run = latest_to_resume(root, "-", {})
        return run.id if run is not None else None

    mine: dict[str, Any] = {"spec_file": "-", "spec": {"jobs": [{"name": "a", "map": "abs"}]}}
    before = ended(root, 1, **mine)
    killed = ended(root, None, resumes=before.id, **mine)
    another = {"jobs": [{"name": "a", "map": "len"}]}
    for other in ({"limit": 3}, {"spec": another}, {"spec_file": "/b.yaml"}):
        ended(root, 0, **{**mine, **other})
    assert found() == killed.id
    anew = ended(root, 0, params={"nowhere": 1}, **mine)
    assert found() == anew.id
    ended(root, 5, records=False, **mine)
    assert found() == anew.id
    failed = ended(root, 1, **mine)
    assert found() == failed.id


def test_a_lineage_ends_where_it_makes_no_sense(root: Path) -> None:
    run = ended(root)
    for strange in (run.id, "../../etc", "29990101-000000-0000"):
        made_up = run.manifest.to_json().replace(b'"resumes": null', b'"resumes": "%b"')
        (run.path / "manifest.json").write_bytes(made_up % strange.encode())
        assert [one.id for one in lineage(RunFolder(run.path))] == [run.id]


def test_a_run_is_alive_until_its_process_ends(root: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from arcli.store.folder import RunFolder; "
        "from arcli.store.manifest import Manifest; "
        "run = RunFolder.create(Path(sys.argv[1]), Manifest()); print(run.path, flush=True); "
        "sys.stdin.read(1)"
    )
    command = [sys.executable, "-c", script, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run = RunFolder(Path(process.stdout.readline().strip()))
        before = run.alive
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (before, run.alive) == (True, False)
    assert run.manifest.ended is None


def test_values_have_files_of_their_own(root: Path) -> None:
    run = made(root)
    run.save_value("job", 12, b"first")
    run.save_value("job", 12, b"second")
    assert (run.path / "values" / "job" / "12.pkl").read_bytes() == b"second"
    assert [path.name for path in (run.path / "values" / "job").iterdir()] == ["12.pkl"]


def test_where_no_folder_can_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Not a directory") as caught:
        made(tmp_path / "file" / ".arcli")
    assert "ARCLI_DIR" in (caught.value.hint or "")


def test_a_folder_that_vanished_is_told(root: Path) -> None:
    run = made(root)
    shutil.rmtree(run.path)
    with pytest.raises(OutputError, match=r"manifest\.json cannot be written"):
        run.finish(0, None)
    shutil.rmtree(root)
    root.write_text("")
    with pytest.raises(OutputError, match=r"3\.pkl cannot be written"):
        run.save_value("job", 3, b"x")
