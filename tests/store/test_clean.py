"""What may go and what must stay."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from journal_lines import key, line

from arcli.errors import OutputError
from arcli.store import clean, folder
from arcli.store.clean import (
    AGAIN,
    USUAL,
    Policy,
    has_grown_large,
    leftovers,
    removable,
    remove_folder,
    remove_run,
    size_of,
)
from arcli.store.folder import RunFolder, latest_to_resume, lineage, list_runs, run_id
from arcli.store.manifest import Manifest
from arcli.units import isoformat

DAY = 86400.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".arcli"


def ran(
    root: Path, days_ago: float, code: int | None = 0, *, spec: str = "a.yaml", **about: Any
) -> RunFolder:
    """A past run; ``code`` None: it was killed."""
    began = time.time() - days_ago * DAY
    path = root / "runs" / run_id(began)
    path.mkdir(parents=True)
    manifest = Manifest(id=path.name, spec_file=spec, started=isoformat(began), exit_code=code, **about)
    (path / "manifest.json").write_bytes(manifest.to_json())
    (path / "journal.jsonl").write_bytes(line(key(1)))
    return RunFolder(path)


def gone(root: Path, policy: Policy) -> list[str]:
    return [run.id for run in removable(root, policy)]


def ids(*runs: RunFolder) -> list[str]:
    return sorted((run.id for run in runs), reverse=True)


def test_usually_the_newest_of_each_spec_and_all_of_a_month_stay(root: Path) -> None:
    old = [ran(root, 40 + n) for n in range(12)]
    other = [ran(root, 50 + n, spec="b.yaml") for n in range(3)]
    assert gone(root, USUAL) == ids(*old[10:])
    new = [ran(root, n) for n in range(11)]
    assert gone(root, USUAL) == ids(*old)
    assert len(list(list_runs(root))) == len(old + other + new)


def test_each_limit_alone_and_both(root: Path) -> None:
    runs = [ran(root, days) for days in (1, 2, 3, 40)]
    assert gone(root, Policy(keep=1)) == ids(*runs[1:])
    assert gone(root, Policy(keep=0)) == ids(*runs)
    assert gone(root, Policy(older_than=2.5 * DAY)) == ids(*runs[2:])
    assert gone(root, Policy(keep=3, older_than=1.5 * DAY)) == ids(runs[3])
    assert gone(root, Policy(everything=True)) == ids(*runs)


def test_one_that_is_alive_stays_with_all_that_it_takes_over(root: Path) -> None:
    first = ran(root, 3, None)
    second = ran(root, 2, None, resumes=first.id)
    alive = RunFolder.create(root, Manifest(spec_file="a.yaml", resumes=second.id))
    for policy in (Policy(keep=0), Policy(everything=True)):
        assert gone(root, policy) == []
    alive.finish(0, None)
    assert gone(root, Policy(everything=True)) == ids(first, second, alive)


def test_what_resume_would_go_on_with_stays_unless_everything_goes(root: Path) -> None:
    first = ran(root, 9, 1)
    second = ran(root, 8, 1, resumes=first.id)
    ok = ran(root, 7, 0, spec="b.yaml")
    unfinished = latest_to_resume(root, "a.yaml", {})
    assert unfinished is not None
    assert [run.id for run in lineage(unfinished)] == [first.id, second.id]
    assert gone(root, Policy(keep=0)) == ids(ok)
    assert gone(root, Policy(everything=True)) == ids(first, second, ok)


def test_what_was_completed_since_may_go(root: Path) -> None:
    first = ran(root, 9, 1)
    second = ran(root, 8, 0, resumes=first.id)
    assert gone(root, Policy(keep=0)) == ids(first, second)
    assert gone(root, Policy(keep=1)) == ids(first)


def test_what_was_done_anew_since_may_go(root: Path) -> None:
    first, second = ran(root, 9, 1), ran(root, 8, 0)
    assert gone(root, Policy(keep=0)) == ids(first, second)
    third = ran(root, 7, 0, limit=1)
    ran(root, 6, 1)
    assert gone(root, Policy(keep=0)) == ids(first, second, third)


def test_folders_of_items_stay_as_long_as_a_run_that_took_them_over(root: Path) -> None:
    """A record says where its item's folder is: in the run that made it."""
    oldest = ran(root, 9, 1)
    maker = ran(root, 8, 1, resumes=oldest.id)
    (maker.path / "outdir").mkdir()
    between = ran(root, 7, 1, resumes=maker.id)
    newest = ran(root, 6, 0, resumes=between.id)
    assert gone(root, Policy(keep=1)) == ids(oldest)
    assert gone(root, Policy(keep=2)) == ids(oldest)
    assert gone(root, Policy(keep=0)) == ids(oldest, maker, between, newest)
    assert gone(root, Policy(everything=True)) == ids(oldest, maker, between, newest)
    ran(root, 5, 0)
    assert gone(root, Policy(keep=1)) == ids(oldest, maker, between, newest)
    assert gone(root, Policy(older_than=5.5 * DAY)) == ids(oldest, maker, between, newest)


def test_only_the_newest_unfinished_run_of_a_spec_is_needed(root: Path) -> None:
    older, newer = ran(root, 9, 1), ran(root, 8, None)
    assert gone(root, Policy(keep=0)) == ids(older)
    assert gone(root, Policy(older_than=8.5 * DAY)) == ids(older)
    assert newer.id not in gone(root, Policy(keep=0))


def test_an_unfinished_run_that_is_kept_keeps_what_it_needs(root: Path) -> None:
    first = ran(root, 9, 1)
    second = ran(root, 3, 1, resumes=first.id)
    ran(root, 2, 1)  # the newest unfinished one; --run ID still goes on with the second
    assert gone(root, Policy(keep=2)) == []
    assert gone(root, Policy(keep=1)) == ids(first, second)


def test_a_run_that_recorded_nothing_is_not_needed(root: Path) -> None:
    run = ran(root, 3, None)
    run.journal.write_bytes(b"")
    assert gone(root, Policy(keep=0)) == ids(run)


def test_a_run_goes_as_a_whole(root: Path) -> None:
    run, other = ran(root, 3), ran(root, 2)
    run.save_value("job", 1, b"x" * 1000)
    remove_run(run)
    assert [each.id for each in list_runs(root)] == [other.id]
    assert sorted(path.name for path in (root / "runs").iterdir()) == [other.id]
    with pytest.raises(OutputError, match="No such file"):
        remove_run(run)


def test_what_an_interrupted_removal_left_is_found_and_no_run(root: Path) -> None:
    run = ran(root, 3)
    aside = run.path.with_name(f".{run.id}.removed")
    run.path.rename(aside)
    (root / "runs" / ".other.removed").mkdir()
    assert list(list_runs(root)) == []
    assert leftovers(root) == [aside]
    remove_folder(aside)
    assert leftovers(root) == []
    assert leftovers(root / "none") == []


def test_a_link_to_a_folder_elsewhere_is_left_alone(root: Path, tmp_path: Path) -> None:
    run = ran(root, 3)
    run.path.rename(tmp_path / "elsewhere")
    run.path.symlink_to(tmp_path / "elsewhere")
    assert gone(root, Policy(everything=True)) == []


def test_bytes_are_those_that_go(root: Path) -> None:
    run = ran(root, 3)
    before = size_of(run.path)
    assert before == sum(path.stat().st_size for path in run.path.iterdir())
    run.save_value("job", 1, b"x" * 1000)
    assert size_of(run.path) == before + 1000
    os.link(run.value_path("job", 1), root / "kept")
    assert size_of(run.path) == before


def test_damaged_folders_can_go(root: Path) -> None:
    run = ran(root, 3)
    (run.path / "manifest.json").write_text("{")
    assert gone(root, Policy(keep=0)) == []  # its journal may be wanted
    assert gone(root, Policy(everything=True)) == ids(run)


def test_a_chain_of_resumed_runs_is_followed_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = [ran(root, 100)]
    for days in range(99, 49, -1):
        chain.append(ran(root, days, code=1, resumes=chain[-1].id))
    steps: list[str] = []

    def roots(spec: str, environ: Mapping[str, str]) -> list[Path]:
        steps.append(spec)
        return []

    monkeypatch.setattr(folder, "roots_of", roots)
    for policy in (Policy(keep=1), Policy(keep=60), Policy(older_than=70 * DAY)):
        steps.clear()
        assert gone(root, policy) == []
        assert len(steps) <= 2 * len(chain)


def test_many_runs_are_told_of_once_and_are_not_measured_after_each_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean, "LARGE", 1000)
    run = ran(root, 1)
    assert not has_grown_large(root)
    (run.path / "values.bin").write_bytes(bytes(2000))
    assert not has_grown_large(root)  # it has looked a moment ago
    later(root)
    assert has_grown_large(root)
    later(root)
    assert not has_grown_large(root)  # it has told
    monkeypatch.setattr(clean, "LOOK", -1.0)
    monkeypatch.setattr(clean, "LARGE", 10_000)
    later(root)
    assert not has_grown_large(root)  # whatever it would have found: it takes too long
    monkeypatch.setattr(clean, "LARGE", 1000)
    later(root)
    assert not has_grown_large(root)
    (run.path / "values.bin").unlink()
    monkeypatch.setattr(clean, "LOOK", 60.0)
    later(root)
    assert not has_grown_large(root)
    (run.path / "values.bin").write_bytes(bytes(2000))
    later(root)
    assert has_grown_large(root)  # they were small in between


def later(root: Path) -> None:
    """Have the last look at the size of all runs be long ago."""
    seen = (root / ".size").stat().st_mtime - AGAIN
    os.utime(root / ".size", (seen, seen))
