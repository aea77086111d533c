"""Large tables are written by a process of their own, and nobody can tell but by the time that it takes."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import pyarrow.parquet as pq
import pytest
from make_records import batch, context, play, record, summary
from msgspec.structs import replace
from runs import PATIENCE, Run, running, wait_until, waiting_in, words_of

from arcli.errors import ExitCode, OutputError, UsageError
from arcli.outputs import registry, writer_process
from arcli.outputs.base import Output, OutputContext
from arcli.outputs.registry import Format
from arcli.outputs.target import FileTarget, GzipTarget
from arcli.outputs.writer import write
from arcli.outputs.writer_process import WriterFailed, WriterProcess, WriterTask, WrittenBeside
from arcli.record import RecordBatch

BATCHES = [
    batch(*(record(at, value={"level": at / 8, "name": "é,"}) for at in range(first, first + 50)))
    for first in range(0, 200, 50)
]
BATCHES[-1] = batch(*(record(at, "error", value={"late": True}) for at in range(150, 200)))
"""What is known of columns when the first rows are written is not all of it."""


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the first record begin a process, and each batch go to it by itself."""
    monkeypatch.setattr(writer_process, "HELD", 1)
    monkeypatch.setattr(writer_process, "SENT", 1)


def parts(path: Path, form: str, options: dict[str, Any]) -> tuple[Format, OutputContext, FileTarget]:
    """What a run makes an output of a file with."""
    file = FileTarget(path)
    target = GzipTarget(file) if path.suffix == ".gz" else file
    return registry.named(form), context(target, str(path), options=options), file


def beside(path: Path, form: str = "csv", **options: Any) -> WrittenBeside:
    """An output as a run has it for a file."""
    return WrittenBeside(*parts(path, form, options))


def in_process(path: Path, form: str = "csv", **options: Any) -> Output:
    """The same without a process."""
    make, its_context, _ = parts(path, form, options)
    return make(its_context)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("options", [{}, {"spreadsheet": True}])
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_a_table_is_what_it_would_be_without_a_process(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    before = children()
    play(beside(tmp_path / name, **options), *BATCHES)
    play(in_process(tmp_path / f"other-{name}", **options), *BATCHES)
    unpacked: Callable[[bytes], bytes] = gzip.decompress if name.endswith(".gz") else bytes
    text = unpacked((tmp_path / name).read_bytes())
    assert text == unpacked((tmp_path / f"other-{name}").read_bytes())
    assert text.count(b"\n") == 201
    assert {path.name for path in tmp_path.iterdir()} == {name, f"other-{name}"}
    assert children() <= before


@pytest.mark.usefixtures("at_once")
def test_parquet_is_what_it_would_be_without_a_process(tmp_path: Path) -> None:
    play(beside(tmp_path / "x.parquet", "parquet"), *BATCHES)
    play(in_process(tmp_path / "y.parquet", "parquet"), *BATCHES)
    assert pq.read_table(tmp_path / "x.parquet").equals(pq.read_table(tmp_path / "y.parquet"))


def journaled(journal: BinaryIO, batches: list[RecordBatch]) -> Iterator[RecordBatch]:
    """Batches as a run has them, whose lines stand in a journal."""
    for part in batches:
        offset = journal.tell()
        journal.write(part.lines)
        journal.flush()
        yield replace(part, offset=offset, length=len(part.lines), journal=journal.fileno())


@pytest.mark.usefixtures("at_once")
def test_what_stands_in_the_journal_is_read_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    send = WriterProcess.send

    def note(process: WriterProcess, message: Any) -> None:
        sent.append(message)
        send(process, message)

    monkeypatch.setattr(WriterProcess, "send", note)
    with (tmp_path / "journal").open("wb+") as journal, (tmp_path / "other").open("wb+") as other:
        # What stands in another one, or in none, goes over the connection.
        batches = [*journaled(journal, BATCHES[:2]), *journaled(other, BATCHES[2:3]), BATCHES[3]]
        play(beside(tmp_path / "x.csv"), *batches)
    play(in_process(tmp_path / "y.csv"), *BATCHES)
    assert (tmp_path / "x.csv").read_bytes() == (tmp_path / "y.csv").read_bytes()
    lines = [part.lines for message in sent if isinstance(message, list) for part in message]
    assert lines == [b"", b"", BATCHES[2].lines, BATCHES[3].lines]


@pytest.mark.usefixtures("at_once")
def test_a_journal_that_was_cut_is_told(tmp_path: Path) -> None:
    output = beside(tmp_path / "x.csv")
    output.start()
    with (tmp_path / "journal").open("wb+") as journal:
        (part,) = journaled(journal, BATCHES[:1])
        os.truncate(tmp_path / "journal", part.length - 1)
        output.record(part)
        with pytest.raises(OutputError, match=r"x\.csv: the run's journal was cut"):
            output.finish(summary(), {})
    output.abort()


def test_little_needs_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(subprocess, "Popen")
    play(beside(tmp_path / "x.csv"), *BATCHES)
    assert (tmp_path / "x.csv").read_bytes().count(b"\n") == 201


@pytest.mark.usefixtures("at_once")
def test_a_file_is_as_it_was_where_a_run_does_not_come_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("before")
    before = children()
    output = beside(tmp_path / "x.csv")
    output.start()
    output.record(BATCHES[0])
    assert children() > before
    output.abort()
    assert children() <= before
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


@pytest.mark.usefixtures("at_once")
def test_a_process_that_is_killed_is_told_of_with_the_files_name(tmp_path: Path) -> None:
    before = children()
    output = beside(tmp_path / "x.csv")
    output.start()
    output.record(BATCHES[0])
    (pid,) = children() - before
    os.kill(pid, 9)
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    with pytest.raises(OutputError, match=r"cannot write .*x\.csv: .* was killed by SIGKILL"):
        output.record(BATCHES[1])
    output.abort()
    assert not list(tmp_path.iterdir())
    assert children() <= before


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("moment", ["while it imports", "while it writes"])
def test_a_signal_that_all_of_a_run_gets_costs_no_table(tmp_path: Path, moment: str) -> None:
    """As systemd and Slurm send it. arcli then has what came until then written down."""
    before = children()
    output = beside(tmp_path / "x.csv")
    output.start()
    output.record(BATCHES[0])
    (pid,) = children() - before
    if moment == "while it writes":
        wait_until(lambda: signal.SIGTERM in ignored(pid))
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(pid, number)
    output.finish(summary(*BATCHES), {})
    assert (tmp_path / "x.csv").read_text().count("\n") == 51


def ignored(pid: int) -> set[int]:
    """The signals that a process ignores."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigIgn" in line)
    mask = int(line.split()[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


@pytest.mark.usefixtures("at_once")
def test_where_there_can_be_no_process_the_run_writes_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def refuse(*words: Any, **options: Any) -> None:
        asked.append(words)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    play(beside(tmp_path / "x.csv"), *BATCHES)
    # A later one would lack what was written before, and until then all would be held.
    assert len(asked) == 1
    assert (tmp_path / "x.csv").read_bytes().count(b"\n") == 201


@pytest.mark.usefixtures("at_once")
def test_a_file_in_the_place_of_a_standard_stream_is_written_too(tmp_path: Path) -> None:
    program = """
import os, sys
os.close(0)
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from make_records import play
from test_writer_process import BATCHES, beside, writer_process
writer_process.HELD = writer_process.SENT = 1
play(beside(Path(sys.argv[1])), *BATCHES)
"""
    words = [sys.executable, "-c", program, str(tmp_path / "x.csv"), *sys.path]
    subprocess.run(words, check=True, timeout=PATIENCE)
    assert (tmp_path / "x.csv").read_bytes().count(b"\n") == 201


@pytest.mark.usefixtures("at_once")
def test_what_goes_wrong_there_is_raised_here(tmp_path: Path) -> None:
    full = beside(Path("/dev/full"))
    with pytest.raises(OutputError, match="cannot write /dev/full: No space") as caught:
        play(full, *BATCHES)
    assert caught.value.hint == "make room there, or choose a path on another disk"
    full.abort()
    wrong = beside(tmp_path / "x.csv")
    lines = RecordBatch(job="squares", first=0, count=1, lines=b"{}}\n" * 9_999, tally=BATCHES[0].tally)
    with pytest.raises(WriterFailed, match=r"(?s)Traceback.*columns\.py"):
        play(wrong, *[lines] * 99)
    wrong.abort()


def task(path: Path, flags: int = os.O_WRONLY, *, packed: bool = False) -> WriterTask:
    return WriterTask(
        format="csv",
        descriptor=os.open(path, flags),
        folder=path.parent,
        packed=packed,
        name="x",
        job=None,
        options={},
    )


def test_a_process_ends_with_who_started_it(tmp_path: Path) -> None:
    """It gets no end of the records then, and leaves what is in the file to who opened it."""
    (tmp_path / "x").touch()
    ours, theirs = Pipe()
    serving = threading.Thread(target=write, args=(theirs,))
    serving.start()
    ours.send(task(tmp_path / "x"))
    ours.send(BATCHES[:1])
    ours.close()
    serving.join(PATIENCE)
    assert not serving.is_alive()
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [0]


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_is_none_or_an_exception(tmp_path: Path, packed: bool) -> None:
    for flags, kind in ((os.O_WRONLY, type(None)), (os.O_RDONLY, OutputError)):
        (tmp_path / "x").touch()
        ours, theirs = Pipe()
        messages: list[Any] = [task(tmp_path / "x", flags, packed=packed), BATCHES, (summary(*BATCHES), {})]
        for message in messages:
            ours.send(message)
        write(theirs)
        assert type(ours.recv()) is kind


LARGE = """
setup: {imports: [os, time]}
map: >
  lambda x:
  ([time.sleep(0.02) for _ in iter(lambda: x < 20 or os.path.exists('go'), True)], 'v' * 400_000)[1]
over: {range: 30}
"""


def writers(run: Run) -> list[psutil.Process]:
    """The processes of a run that write its tables."""
    return [process for process in run.relatives() if "arcli.outputs.writer" in words_of(process)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_however_a_run_with_a_large_table_ends_no_process_stays(tmp_path: Path, number: int) -> None:
    (tmp_path / "x.csv").write_text("before")
    with running(tmp_path, LARGE, "-o", "x.csv", "--format", "text") as run:
        wait_until(lambda: writers(run))
        run.signal(number)
        (tmp_path / "go").touch()
        assert run.wait() in {130, -number}
    text = (tmp_path / "x.csv").read_text()
    if number == signal.SIGKILL:
        assert text == "before"
    else:
        rows = text.splitlines()
        assert len(rows) > 10  # so many are more than is held
        assert rows[1].startswith("0," + "v" * 400_000)


def test_no_process_waits_for_a_reader_when_its_run_was_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.csv")
    reader = os.open(tmp_path / "x.csv", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with running(tmp_path, LARGE, "-o", "x.csv", "--format", "text") as run:
            (writer,) = wait_until(lambda: writers(run))
            (tmp_path / "go").touch()
            # One row is more than a pipe takes.
            wait_until(lambda: waiting_in(reader))
            run.signal(signal.SIGKILL)
            run.wait()
            wait_until(lambda: not writer.is_running())
    finally:
        os.close(reader)


def test_a_run_whose_table_cannot_be_written_by_its_process_says_so(tmp_path: Path) -> None:
    with running(tmp_path, LARGE, "-o", "x.csv", "--format", "text") as run:
        (writer,) = wait_until(lambda: writers(run))
        writer.kill()
        (tmp_path / "go").touch()
        assert run.wait() == ExitCode.OUTPUT
        assert "cannot write" in run.said()
        assert "was killed by SIGKILL" in run.said()
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("items", [3, 20_000])
def test_a_pyarrow_that_cannot_be_imported_costs_the_file_alone(tmp_path: Path, items: int) -> None:
    """Whether this process writes the rows or another one, which holds for many of them."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "pyarrow.py").write_text("raise ImportError('built for another NumPy')\n")
    spec = f"map: abs\nover: {{range: {items}}}\n"
    env = {"PYTHONPATH": str(tmp_path / "broken")}
    with running(tmp_path, spec, "-o", "x.parquet", env=env) as run:
        assert run.wait() == ExitCode.OUTPUT
        said = run.said()
        assert "cannot write x.parquet: pyarrow cannot be imported: built for another NumPy" in said
        assert "Traceback" not in said
        assert sum("index" in line for line in run.lines()) == items
    assert not (tmp_path / "x.parquet").exists()


def test_what_needs_a_pyarrow_that_is_not_there_ends_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="which is not installed"):
        beside(tmp_path / "x.parquet", "parquet").start()
