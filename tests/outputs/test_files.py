"""Files that appear whole or not at all, and outputs that cannot be written."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from make_records import batch, context, on_file, play, record, summary

from arcli.errors import OutputError, ReaderGone
from arcli.outputs.base import Output
from arcli.outputs.csvfile import CsvFile
from arcli.outputs.jsondoc import JsonDocument
from arcli.outputs.jsonl import JsonlFile, JsonlStream
from arcli.outputs.parquet import ParquetFile
from arcli.outputs.target import StreamTarget
from arcli.outputs.text import TextOutput

Make = Callable[[Path], Output]


def _text(path: Path) -> Output:
    return TextOutput(on_file(path))


WHOLE: dict[str, Make] = {
    "json": lambda path: JsonDocument(on_file(path)),
    "csv": lambda path: CsvFile(on_file(path)),
    "text": _text,
}
ALL: dict[str, Make] = {**WHOLE, "jsonl": JsonlFile}

whole = pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE.keys())
every = pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())


@every
def test_appears_at_the_end_with_ordinary_rights(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "out"
    play(make(path), batch(record(0), record(1)))
    plain = tmp_path / "plain"
    plain.touch()
    assert {b"squares", b"rms"} & set(re.findall(rb"\w+", path.read_bytes()))
    assert path.stat().st_mode == plain.stat().st_mode
    assert sorted(tmp_path.iterdir()) == [path, plain]


@whole
def test_abort_leaves_what_was_there(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "out"
    path.write_text("precious")
    output = make(path)
    output.start()
    output.record(batch(record(0)))
    assert path.read_text() == "precious"
    output.abort()
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


@whole
def test_it_is_written_with_a_name_where_the_system_has_no_files_without(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arcli.outputs.target._nameless", lambda folder: None)
    path, plain = tmp_path / "out", tmp_path / "plain"
    plain.touch()
    output = make(path)
    output.start()
    assert len(list(tmp_path.iterdir())) == 2
    output.abort()
    assert list(tmp_path.iterdir()) == [plain]
    play(make(path), batch(record(0)))
    assert path.stat().st_mode == plain.stat().st_mode
    assert sorted(tmp_path.iterdir()) == [path, plain]


@every
def test_abort_before_any_record_leaves_nothing(tmp_path: Path, make: Make) -> None:
    output = make(tmp_path / "out")
    output.start()
    output.abort()
    assert list(tmp_path.iterdir()) == []


@whole
def test_replaces_with_the_rights_of_the_old_file_and_keeps_a_link(tmp_path: Path, make: Make) -> None:
    path, link = tmp_path / "real", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    play(make(link), batch(record(0)))
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "old" not in path.read_text()


@every
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/out", "No such file or directory"),
        ("file/out", "Not a directory"),
        ("folder", "Is a directory"),
        ("x" * 300, "File name too long"),
    ],
)
def test_an_impossible_place_is_found_at_the_start(
    tmp_path: Path, make: Make, name: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    output = make(tmp_path / name)
    with pytest.raises(OutputError, match=reason) as caught:
        output.start()
    output.abort()
    assert str(tmp_path / name) in caught.value.message
    assert sorted(tmp_path.rglob("*")) == before


@every
def test_a_full_disk_names_the_file(make: Make) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    output = make(Path("/dev/full"))
    with pytest.raises(OutputError, match=r"/dev/full: No space left") as caught:
        play(output, batch(*(record(i) for i in range(100))))
    output.abort()
    assert caught.value.exit_code == 4
    assert Path("/dev/full").is_char_device()


@every
def test_a_device_stays_a_device(make: Make) -> None:
    play(make(Path(os.devnull)), batch(record(0)))
    assert Path(os.devnull).is_char_device()


@whole
def test_a_folder_that_vanishes(tmp_path: Path, make: Make) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    output = make(folder / "out")
    output.start()
    part = batch(record(0))
    output.record(part)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with pytest.raises(OutputError, match="folder/out: No such file"):
        output.finish(summary(part), {})
    output.abort()


def test_a_jsonl_file_that_vanishes(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    output = JsonlFile(path)
    output.start()
    output.record(batch(record(0)))
    path.unlink()
    with pytest.raises(OutputError, match="deleted while the run wrote it"):
        output.finish(summary(), {})


def test_jsonl_is_there_at_once_and_replaces_only_with_records(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    first = batch(record(0), record(1))
    output = JsonlFile(path)
    output.start()
    assert path.read_text() == "old\n"
    output.record(first)
    assert path.read_bytes() == first.lines
    output.abort()
    assert path.read_bytes() == first.lines


def test_a_jsonl_file_is_one_runs_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    first, second = JsonlFile(path), JsonlFile(path)
    first.start()
    first.record(batch(record(0), record(1)))
    lines = path.read_bytes()
    with pytest.raises(OutputError, match="another run is writing it"):
        second.start()
    second.abort()
    assert path.read_bytes() == lines
    first.finish(summary(), {})
    play(second, batch(record(0)))
    assert len(path.read_bytes().splitlines()) == 1


def test_a_run_without_items_empties_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    play(JsonlFile(path))
    assert path.read_bytes() == b""


_LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from make_records import batch, record
from arcli.errors import OutputError
from arcli.outputs.jsonl import JsonlFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
output = JsonlFile(Path(sys.argv[1]))
output.start()
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    for i in range(0, 1000, 3):
        output.record(batch(record(i), record(i + 1), record(i + 2)))
except OutputError as error:
    output.abort()
    print(error)
"""


def test_jsonl_has_whole_lines_when_there_is_no_more_room(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"cannot write {path}: File too large" in done.stdout
    lines = path.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))
    assert len(lines) > 0
    assert lines[-1].endswith(b"\n")
    assert 4000 < path.stat().st_size <= 5000


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stream:
        output = JsonlStream(context(StreamTarget(stream)))
        output.start()
        with pytest.raises(ReaderGone):
            output.record(batch(record(0)))


def test_a_pipe_that_somebody_made_non_blocking_gets_everything() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    part = batch(*(record(i) for i in range(2000)))
    with subprocess.Popen(["cat"], stdin=reading, stdout=subprocess.PIPE) as cat:
        os.close(reading)
        assert cat.stdout is not None
        child = os.fork()
        if child == 0:
            with os.fdopen(writing, "wb") as stream:
                JsonlStream(context(StreamTarget(stream))).record(part)
            os._exit(0)
        os.close(writing)
        received = cat.stdout.read()
    os.waitpid(child, 0)
    assert received == part.lines


def test_parquet_is_whole_or_not_at_all(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "out.parquet"
    output = ParquetFile(on_file(path))
    output.start()
    output.record(batch(record(0)))
    output.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_text_of_one_job_has_nothing_of_others(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    batches = [batch(record(0)), batch(record(0, "error", job="other"))]
    output = TextOutput(on_file(path, job="squares"))
    output.start()
    output.record(batches[0])
    output.finish(summary(*batches), {"squares": 7, "other": 8})
    text = path.read_text()
    assert "squares = 7" in text
    assert "1 of 1 item ok" in text
    assert "other" not in text
