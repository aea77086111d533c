from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_lines import key, line
from runs import PATIENCE

from arcli.errors import OutputError
from arcli.store.journal import LONGEST_NUMBER, Damage, Journal, LineReader, entries, follow, outlines

LINES = st.lists(
    st.builds(
        line,
        st.integers(0, 99).map(key),
        index=st.integers(0, 10**12),
        status=st.sampled_from(["ok", "error", "lost"]),
        value=st.text(max_size=8),
        stdout=st.sampled_from(["", "a\nb", "}\n{", "\x00", "é"]),
    ),
    min_size=1,
    max_size=4,
)


def read_all(path: Path) -> tuple[list[bytes], list[Damage]]:
    damages: list[Damage] = []
    found = [entry.line for entry in entries(path, damages.append)]
    return found, damages


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A file for property tests, which a function's own folder would be made anew for."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "journal.jsonl"


@given(batches=st.lists(LINES, max_size=5))
def test_what_was_appended_stands_at_its_offset(scratch: Path, batches: list[list[bytes]]) -> None:
    scratch.unlink(missing_ok=True)
    journal = Journal(scratch)
    chunks = [b"".join(batch) for batch in batches]
    offsets = [journal.append(chunk) for chunk in chunks]
    for offset, chunk in zip(offsets, chunks, strict=True):
        assert journal.read(offset, len(chunk)) == chunk
    journal.close()
    assert scratch.read_bytes() == b"".join(chunks)
    assert read_all(scratch) == ([one for batch in batches for one in batch], [])


@settings(max_examples=15, deadline=None)
@given(lines=LINES, tail=st.sampled_from([b"", b"\0" * 5000, b"\0", b"\xff", b"{"]))
def test_a_cut_at_any_byte_leaves_exactly_the_whole_lines(
    scratch: Path, lines: list[bytes], tail: bytes
) -> None:
    whole = b"".join(lines)
    ends = [0]
    for one in lines:
        ends.append(ends[-1] + len(one))
    for cut in range(len(whole) + 1):
        scratch.write_bytes(whole[:cut] + tail)
        kept = sum(end <= cut for end in ends) - 1
        found, damages = read_all(scratch)
        assert found == lines[:kept]
        torn = cut + len(tail) - ends[kept]
        assert [(d.offset, d.length) for d in damages] == ([(ends[kept], torn)] if torn else [])


PLACES = st.integers(0, 400)
PIECES = st.sampled_from(
    [b"", b'"', b"\\", b"\xff", b"\xc3\xa9", b"\\ud800", b"\x01", b"-", b"1", b"NaN", b"1e999", b"[", b"}"]
)


@given(line=LINES, changes=st.lists(st.tuples(PLACES, PLACES, PIECES), max_size=2))
def test_outlines_are_of_the_records_that_entries_are(
    scratch: Path, line: list[bytes], changes: list[tuple[int, int, bytes]]
) -> None:
    text = b"".join(line)
    for start, length, piece in changes:
        text = text[:start] + piece + text[start + length % 4 :]
    scratch.write_bytes(text)
    assert_outlines_are_right(scratch)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "none"},
        {"index": -1},
        {"index": 1.0},
        {"index": True},
        {"index": 2**70},
        {"seconds": True},
        {"seconds": 3},
        {"seconds": "3"},
        {"seconds": 2**70},
        {"exact": None},
        {"exact": False},
        {"key": [1]},
        {"job": 1},
        {"error": {"type": "E", "message": "m", "traceback": "t"}},
        {"error": {"type": "E", "message": None}},
        {"error": "E"},
        {"value": "\ud800"},
        {"value": 2**90},
        {"value": [[[]]]},
    ],
    ids=str,
)
def test_an_outline_is_what_the_record_says(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = tmp_path / "journal.jsonl"
    data = {"job": "job", "index": 1, "key": key(1), "status": "ok", **fields}
    path.write_text(json.dumps(data) + "\n")
    assert_outlines_are_right(path)


def test_a_number_too_long_for_python_is_no_records(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line(key(1), value=0).replace(b'"value":0', b'"value":' + b"1" * (LONGEST_NUMBER + 1)))
    assert_outlines_are_right(path)
    assert not list(outlines(path))


def assert_outlines_are_right(path: Path) -> None:
    """Compare the outlines of a journal with its entries."""
    damages: list[Damage] = []
    others: list[Damage] = []
    found = list(outlines(path, damages.append))
    assert [(offset, line) for offset, line, _ in found] == [
        (entry.offset, entry.line) for entry in entries(path, others.append)
    ]
    assert damages == others
    for (_, _, outline), entry in zip(found, entries(path, others.append), strict=True):
        defaults = {"seconds": None, "exact": True, **entry.data}
        for name in ("job", "index", "key", "status", "seconds"):
            assert getattr(outline, name) == defaults[name]
        assert outline.exact == bool(defaults["exact"])


@given(
    lengths=st.lists(st.integers(0, 9000), min_size=1, max_size=30),
    picks=st.lists(st.integers(0, 29), max_size=40),
    tail=st.booleans(),
)
def test_lines_are_read_in_any_order(
    scratch: Path, lengths: list[int], picks: list[int], tail: bool
) -> None:
    lines = [bytes([65 + number]) * length + b"\n" for number, length in enumerate(lengths)]
    scratch.write_bytes(b"".join(lines) + b"torn" * tail)
    offsets = [sum(map(len, lines[:number])) for number in range(len(lines) + 1)]
    with scratch.open("rb") as file:
        reader = LineReader(file.fileno())
        assert [reader.line(offset) for offset in offsets] == [*lines, b""]
        for pick in picks:
            number = pick % len(lines)
            assert reader.line(offsets[number]) == lines[number]


@given(lines=LINES, size=st.integers(1, 500), tail=st.sampled_from([b"", b"torn", b"\xff\n", b"\n\n"]))
def test_who_follows_gets_each_whole_line_whatever_is_read_at_a_time(
    scratch: Path, lines: list[bytes], size: int, tail: bytes
) -> None:
    scratch.write_bytes(b"".join(lines) + tail)
    ended = threading.Event()
    ended.set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arcli.store.journal.FOLLOW_BYTES", size)
        found = list(follow(scratch, ended))
    assert [entry.line for entry in found] == lines
    assert [entry.offset for entry in found] == [sum(map(len, lines[:n])) for n in range(len(lines))]


def test_one_long_record_is_followed_at_the_cost_of_many_short_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a line that was there was copied with each block: one of 200 MB took 21 s."""
    path, ended = tmp_path / "journal.jsonl", threading.Event()
    ended.set()
    monkeypatch.setattr("arcli.store.journal.FOLLOW_BYTES", 4096)

    def seconds(*lines: bytes) -> float:
        path.write_bytes(b"".join(lines))
        began = time.process_time()
        assert sum(1 for _ in follow(path, ended)) == len(lines)
        return time.process_time() - began

    short = [line(key(1), value="x" * 4000)] * 2000
    long = line(key(1), value="x" * len(b"".join(short)))
    # Copied each time, it was some eighty times as much.
    assert min(seconds(long) for _ in range(2)) < 10 * max(seconds(*short) for _ in range(3))


def test_whole_last_lines_that_are_no_records_are_told(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    good = line(key(1))
    for bad in (b"\n", b"{}\n", b"[1]\n", b"\0\0\n", b'{"job":\n', b'x\n{"index":1}\n'):
        path.write_bytes(good + bad)
        found, damages = read_all(path)
        assert found == [good]
        assert damages[0].offset == len(good)
        assert sum(damage.length for damage in damages) == len(bad)


def test_damage_in_the_middle_is_passed_over_and_told(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first, last = line(key(1)), line(key(2))
    hole = b"\0" * 70_000 + b'"status":"ok"}\n'
    path.write_bytes(first + hole + last)
    found, damages = read_all(path)
    assert found == [first, last]
    assert [(d.offset, d.length) for d in damages] == [(len(first), len(hole))]


def test_gigabytes_of_nuls_cost_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line(key(1)))
    os.truncate(path, 1_000_000_000)
    tracemalloc.start()
    try:
        found, damages = read_all(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 1
    assert [damage.offset for damage in damages] == [len(line(key(1)))]
    assert "power failure" in damages[0].reason
    assert peak < 5_000_000


def test_a_journal_that_is_there_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line(key(1)))
    with pytest.raises(OutputError, match=r"journal\.jsonl cannot be made: File exists"):
        Journal(path)
    assert path.read_bytes() == line(key(1))


def test_reading_goes_on_beside_writing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    written: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
    wrong: list[bytes] = []

    def check() -> None:
        while (place := written.get()) is not None:
            if journal.read(place[0], len(place[1])) != place[1]:
                wrong.append(place[1])

    reader = threading.Thread(target=check)
    reader.start()
    for index in range(3000):
        text = line(key(index), index=index, value="x" * (index % 700))
        written.put((journal.append(text), text))
    written.put(None)
    reader.join()
    journal.close()
    assert wrong == []


WRITER = """
import sys
from pathlib import Path
from journal_lines import key, line
from arcli.store.journal import Journal
journal = Journal(Path(sys.argv[1]))
for index in range(10**9):
    journal.append(line(key(index), index=index))
    print(index, flush=True)
"""


def child(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )


def test_what_was_appended_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with child(WRITER, str(path)) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    last = max(int(number) for number in said if number.endswith("\n"))
    found, damages = read_all(path)
    whole = [line(key(index), index=index) for index in range(last + 1)]
    assert found[: last + 1] == whole
    # A write that the kill came into may end with a page of memory.
    assert all(damage.offset >= sum(map(len, whole)) for damage in damages)


LIMITED = """
import resource, sys
from pathlib import Path
from journal_lines import key, line
from arcli.errors import OutputError
from arcli.store.journal import Journal
journal = Journal(Path(sys.argv[1]))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
good = 0
try:
    while True:
        journal.append(line(key(good)) * 3)
        good += 1
except OutputError as error:
    print(error.message)
assert Path(sys.argv[1]).stat().st_size == good * 3 * len(line(key(0)))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
journal.append(line(key(99)))
journal.close()
print(good)
"""


def test_a_write_that_stops_half_way_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with child(LIMITED, str(path)) as process:
        assert process.stdout is not None
        message, count = process.stdout.read().splitlines()
    assert process.returncode == 0
    assert str(path) in message
    found, damages = read_all(path)
    assert len(found) == 3 * int(count) + 1
    assert damages == []


def fill(journal: Journal, text: bytes) -> None:
    while True:
        journal.append(text)


def test_a_full_disk_is_told_and_the_journal_stays_whole(tiny_disk: Path) -> None:
    path = tiny_disk / "journal.jsonl"
    journal = Journal(path)
    text = line(key(1), value="x" * 3000)
    with pytest.raises(OutputError, match="No space left") as caught:
        fill(journal, text)
    assert str(path) in caught.value.message
    found, damages = read_all(path)
    assert found == [text] * len(found)
    assert (1 << 20) - 8192 - 2 * len(text) < len(found) * len(text) <= 1 << 20
    assert damages == []
    journal.close()


def test_a_journal_that_was_removed_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(line(key(1)))
    (tmp_path / "journal.jsonl").unlink()
    with pytest.raises(OutputError, match=r"journal\.jsonl was removed"):
        journal.close()
    journal.close()


def test_what_the_syncing_thread_finds_is_told_to_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arcli.store.journal.SYNC_SECONDS", 0.001)
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(line(key(1)))
    (tmp_path / "journal.jsonl").unlink()
    with pytest.raises(OutputError, match="was removed"):
        fill(journal, line(key(2)))
    with pytest.raises(OutputError, match="was removed"):
        journal.close()


def test_its_thread_syncs_at_once_where_it_is_asked_to_and_nobody_does_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    synced: list[str] = []

    def fdatasync(file: int) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        synced.append(threading.current_thread().name)

    monkeypatch.setattr("arcli.store.journal.SYNC_SECONDS", 2 * PATIENCE)
    monkeypatch.setattr("arcli.store.journal._fdatasync", fdatasync)
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(line(key(1)))
    journal.sync_soon()
    assert begun.wait(PATIENCE)
    threading.Timer(0.05, go_on.set).start()
    journal.sync()
    journal.close()
    assert synced == ["arcli-journal"]


def test_a_journal_that_something_else_cuts_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    offset = journal.append(line(key(1)))
    os.truncate(tmp_path / "journal.jsonl", 5)
    with pytest.raises(OutputError, match="ends too early"):
        journal.read(offset, 20)
    journal.close()


def test_a_journal_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Not a directory"):
        Journal(tmp_path / "file" / "journal.jsonl")


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.jsonl").close()
    assert (tmp_path / "journal.jsonl").stat().st_mode & 0o777 == 0o600
