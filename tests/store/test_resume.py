from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_lines import key, line

from arcli.errors import UsageError
from arcli.record import Record
from arcli.store.folder import RunFolder
from arcli.store.journal import Damage
from arcli.store.manifest import Manifest
from arcli.store.resume import Kept

STATUSES = ["ok", "error", "timeout", "lost", "cancelled"]


def past(root: Path, lines: Sequence[bytes]) -> RunFolder:
    run = RunFolder.create(root, Manifest())
    run.journal.write_bytes(b"".join(lines))
    run.close()
    return run


def no_damage(path: Path, damage: Damage) -> None:
    raise AssertionError(damage)


@pytest.fixture
def new(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, Manifest())


def kept(new: RunFolder, *journals: Sequence[bytes], **options: Any) -> Kept:
    runs = [past(new.path.parents[1], lines) for lines in journals]
    return Kept(runs, new, **{"on_damage": no_damage, **options})


@settings(max_examples=40, deadline=None)
@given(
    history=st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.sampled_from(STATUSES)), max_size=8),
        min_size=1,
        max_size=3,
    ),
    failed=st.booleans(),
)
def test_the_newest_record_of_an_item_counts(history: list[list[tuple[int, str]]], failed: bool) -> None:
    newest: dict[int, tuple[str, int]] = {}
    journals = []
    serial = 0
    for records in history:
        lines = []
        for number, status in records:
            serial += 1
            newest[number] = (status, serial)
            lines.append(line(key(number), status=status, value=serial))
        journals.append(lines)
    again = {"lost", "cancelled"} | ({"error", "timeout"} if failed else set())
    with tempfile.TemporaryDirectory() as folder:
        new = RunFolder.create(Path(folder), Manifest())
        with kept(new, *journals, failed=failed) as store:
            expected = {n: s for n, (status, s) in newest.items() if status not in again}
            assert len(store) == len(expected)
            for number in range(5):
                taken = store.take("job", key(number))
                value = json.loads(taken)["value"] if taken is not None else None
                assert value == expected.get(number)
        new.close()


def test_a_record_is_readdressed_and_otherwise_the_same(new: RunFolder) -> None:
    before = line(key(1), index=7, value=[2**80, 1e-300, "é", '{"run":"x"}'], input="a\nb")
    with kept(new, [before]) as store:
        taken = store.take("job", key(1), index=12)
        unmoved = store.take("job", key(1))
    assert taken is not None
    assert unmoved is not None
    was, now = json.loads(before), json.loads(taken)
    assert now == {**was, "run": new.id, "index": 12, "replayed": True}
    assert json.loads(unmoved)["index"] == 7
    assert list(now) == [*was, "replayed"]
    assert taken.count(b"\n") == 1
    assert taken.endswith(b"}\n")


def test_a_record_that_was_replayed_before_is_marked_once(new: RunFolder, tmp_path: Path) -> None:
    with kept(new, [line(key(1))]) as store:
        once = store.take("job", key(1))
    assert once is not None
    newer = RunFolder.create(tmp_path, Manifest())
    with kept(newer, [once]) as store:
        twice = store.take("job", key(1))
    assert twice == once.replace(new.id.encode(), newer.id.encode())


def test_a_line_of_the_record_class_can_be_taken(new: RunFolder) -> None:
    fields = json.loads(line(key(3), run="20260101-000000-ffff", index=3, status="error"))
    empty: dict[str, Any] = dict.fromkeys(Record.__struct_fields__)
    error = {"type": "ValueError", "message": "no", "traceback": ""}
    record = Record(**{**empty, **fields, "error": error, "replayed": False, "stderr": ""})
    with kept(new, [record.to_line()]) as store:
        taken = store.take("job", key(3), index=4)
    assert taken is not None
    assert Record.from_line(taken).index == 4
    assert Record.from_line(taken).replayed


def test_jobs_and_equal_items_are_told_apart(new: RunFolder) -> None:
    lines = [
        line(key(1), job="a", value=1),
        line(key(1), job="b", value=2),
        line(key(1) + "-1", job="a", value=3),
    ]
    with kept(new, lines) as store:
        values = [
            json.loads(taken)["value"] if (taken := store.take(job, content)) else None
            for job in ("a", "b", "c")
            for content in (key(1), key(1) + "-1", key(1) + "-2")
        ]
    assert values == [1, 3, None, 2, None, None, None, None, None]


def test_inexact_values_run_again_where_they_are_needed(new: RunFolder) -> None:
    with kept(new, [line(key(1), exact=False), line(key(2))]) as store:
        assert store.take("job", key(1)) is not None
        assert store.take("job", key(1), exact=True) is None
        assert store.take("job", key(2), exact=True) is not None


def test_a_key_that_says_nothing_is_never_found(new: RunFolder) -> None:
    with kept(new, [line("opaque"), line("")]) as store:
        assert store.take("job", "opaque") is None
        assert store.take("job", "") is None


def test_long_records_are_whole(new: RunFolder) -> None:
    texts = ["x" * size for size in (3800, 3900, 4000, 20_000, 300_000)]
    with kept(new, [line(key(i), value=text) for i, text in enumerate(texts)]) as store:
        taken = [store.take("job", key(i)) for i in range(len(texts))]
    assert [json.loads(one or b"{}")["value"] for one in taken] == texts


def pickled(index: int) -> bytes:
    value = {"$pickle": f"values/job/{index}.pkl", "repr": "<x>"}
    return line(key(index), index=index, value=value, exact=False)


def test_values_beside_the_journal_come_along(new: RunFolder, tmp_path: Path) -> None:
    run = past(tmp_path, [pickled(1), pickled(2), pickled(3)])
    run.save_value("job", 1, b"one")
    run.save_value("job", 3, b"")
    with Kept([run], new, on_damage=no_damage) as store:
        for _ in range(2):
            taken = store.take("job", key(1), index=9)
            assert taken is not None
            assert json.loads(taken)["value"] == {"$pickle": "values/job/9.pkl", "repr": "<x>"}
        assert store.take("job", key(2)) is None
        assert store.take("job", key(3)) is None
    assert new.value_path("job", 9).read_bytes() == b"one"
    new.save_value("job", 9, b"other")
    assert run.value_path("job", 1).read_bytes() == b"one"


def test_executed_notebooks_come_along(new: RunFolder, tmp_path: Path) -> None:
    run = past(tmp_path, [line(key(1), index=1)])
    (run.path / "notebooks/job").mkdir(parents=True)
    (run.path / "notebooks/job/1.ipynb").write_text("{}")
    with Kept([run], new, on_damage=no_damage) as store:
        assert store.take("job", key(1), index=9) is not None
    assert (new.path / "notebooks/job/9.ipynb").read_text() == "{}"


def test_damage_is_told_and_as_good_as_missing(new: RunFolder) -> None:
    told: list[tuple[Path, Damage]] = []
    lines = [line(key(1)), line(key(2))[10:], line(key(3)), line(key(4))[:-5]]
    with kept(new, lines, on_damage=lambda *damage: told.append(damage)) as store:
        found = [store.take("job", key(number)) is not None for number in range(1, 5)]
    assert found == [True, False, True, False]
    assert [damage.reason for _, damage in told] == ["not a record", "a torn line"]


def test_a_run_under_way_is_not_resumed(new: RunFolder) -> None:
    new.journal.write_bytes(line(key(1)))
    with pytest.raises(UsageError, match=f"run {new.id} is still going on"):
        Kept([new], new, on_damage=no_damage)


def test_a_run_without_a_journal_keeps_nothing(new: RunFolder, tmp_path: Path) -> None:
    empty = RunFolder.create(tmp_path, Manifest())
    empty.close()
    full = past(tmp_path, [line(key(1))])
    with Kept([empty, full], new, on_damage=no_damage) as store:
        assert len(store) == 1
        assert store.take("job", key(1)) is not None
