"""Blocks of files and of standard input: nothing is lost, and no record is cut."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import PATIENCE, Run, ended_runs, finish, running

from arcli.errors import SpecError
from arcli.inputs import blocks as blocks_input
from arcli.inputs.blocks import blocks_of, parts_of
from arcli.specfile.load import load

texts = st.lists(st.sampled_from([b"a", b">", b"\n", b"bb", b"\n>"]), max_size=60).map(b"".join)


@given(texts, st.integers(1, 20), st.sampled_from([b"\n", b"\n>"]), st.integers(1, 7))
def test_both_cut_alike_and_only_between_records(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, size: int, mark: bytes, read: int
) -> None:
    path = tmp_path_factory.mktemp("blocks") / "f"
    path.write_bytes(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_input, "READ", read)
        parts = list(parts_of(path, size, mark))
        blocks = list(blocks_of(io.BytesIO(text), size, mark))
    assert [text[part["offset"] :][: part["length"]] for part in parts] == blocks
    assert b"".join(blocks) == text
    for block, after in itertools.pairwise(blocks):
        assert len(block) >= size
        assert block.endswith(b"\n")
        assert after.startswith(mark[1:])
        assert block.find(mark, size - 1) in {-1, len(block) - 1}


def test_large_blocks_cost_about_what_small_ones_do() -> None:
    """Each read used to copy all of the block that was there: 64 MB took 17 s."""
    text = (b"x" * 31 + b"\n") * (1 << 20)

    def seconds(size: int) -> float:
        began = time.process_time()
        assert sum(map(len, blocks_of(io.BytesIO(text), size, b"\n"))) == len(text)
        return time.process_time() - began

    # Copied each time, it was forty times as much.
    assert min(seconds(1 << 25) for _ in range(2)) < 10 * max(seconds(1 << 20) for _ in range(3))


COMBINED = """
command: [grep, -c, "{k}"]
ok_exit: [0, 1]
parse: float
over: {product: {rest: {zip: {part: {blocks: {of: OF, bytes: 3}}, n: [1, 2]}}, k: ["2", "3"]}}
"""


@pytest.mark.parametrize("of", ["in", "stdin"])
def test_a_command_reads_its_block_of_a_combination(of: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("1\n2\n3\n")
    code, records = finish(tmp_path, COMBINED.replace("OF", of), "--inline", stdin=tmp_path / "in")
    assert code == 0
    assert [record["value"] for record in records] == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("over: {zip: {a: {blocks: in}, b: {blocks: in}}}", "there are a and b"),
        ("over: {product: {a: {blocks: in}, b: [1]}}\nbatch: 2", "reads one block a call"),
    ],
)
def test_a_command_has_one_standard_input(more: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("1\n")
    (tmp_path / "spec.yaml").write_text(f"command: cat\n{more}\n")
    with pytest.raises(SpecError) as caught:
        load(str(tmp_path / "spec.yaml"))
    (problem,) = caught.value.problems
    assert message in problem.message
    (tmp_path / "spec.yaml").write_text(f"command: cat\n{more}\ncommand_stdin: '{{}}'\n")
    load(str(tmp_path / "spec.yaml"))


@pytest.mark.parametrize("words", [["--inline"], []], ids=["inline", "engines"])
@pytest.mark.parametrize("of", ["/dev/stdin", "/proc/self/fd/0", "fifo"])
def test_what_is_another_file_to_an_engine_is_read_here(of: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "in").write_text("1\n2\n3\n")
    os.mkfifo(tmp_path / "fifo")
    spec = f"command: wc -l\nparse: float\nover: {{blocks: {{of: {of}, bytes: 3}}}}\n"
    with running(tmp_path, spec, *words, stdin=tmp_path / "in") as run:
        if of == "fifo":
            subprocess.run(["sh", "-c", "seq 3 > fifo"], cwd=tmp_path, timeout=PATIENCE, check=True)
        assert run.wait() == 0, run.said()
        assert [record["value"] for record in run.lines()] == [2, 1]


def test_blocks_of_a_pipe_that_has_a_name(tmp_path: Path) -> None:
    words = ["map", "--inline", "--pipe", "-a", "/dev/stdin", "wc -l"]
    with subprocess.Popen(["seq", "3"], stdout=subprocess.PIPE) as seq:
        done = subprocess.run(
            [sys.executable, "-m", "arcli", *words],
            cwd=tmp_path,
            stdin=seq.stdout,
            capture_output=True,
            check=True,
        )
    assert done.stdout == b"3\n"


@pytest.mark.parametrize("over", ["--pipe", "-k"])
def test_an_estimate_does_not_read_a_pipe_to_count_its_items(over: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    words = ["map", "--inline", "--estimate", "--format", "json", over, "-a", "fifo", "cat"]
    with ended_runs():
        run = Run(tmp_path, words)
        subprocess.run(["sh", "-c", "seq 3 > fifo"], cwd=tmp_path, timeout=PATIENCE, check=True)
        assert run.wait() == 0, run.said()
    (estimate,) = json.loads(run.out.read_text())["jobs"]
    assert estimate["seen"] > 0


@pytest.mark.parametrize("name", ["in.gz", "IN.GZ"])
def test_a_packed_file_is_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"".join(b"%d\n" % n for n in range(99))))
    spec = f"command: cat\nparse: lines\nover: {{blocks: {{of: {name}, bytes: 50}}}}\n"
    code, records = finish(tmp_path, spec)
    assert code == 0
    assert len(records) > 2
    assert [line for record in records for line in record["value"]] == [str(n) for n in range(99)]


@pytest.mark.parametrize("over", ["{of: b.txt, bytes: 4}", None], ids=["alone", "combined"])
def test_a_resumed_run_reads_blocks_of_a_file_that_has_changed_again(
    over: str | None, tmp_path: Path
) -> None:
    blocks = over or "{of: b.txt, bytes: 4}"
    source = f"{{blocks: {blocks}}}" if over else f"{{product: {{part: {{blocks: {blocks}}}, n: [1]}}}}"
    spec = f"command: cat\nover: {source}\n"
    file = tmp_path / "b.txt"
    file.write_text("one\ntwo\n")
    _, first = finish(tmp_path, spec, "--inline")
    _, kept = finish(tmp_path, spec, "--inline", "--resume")
    assert [record.get("replayed") for record in kept] == [True, True]
    file.write_text("six\nten\n")
    os.utime(file, ns=(0, 1))
    _, again = finish(tmp_path, spec, "--inline", "--resume")
    assert [record["value"]["stdout"] for record in again] == ["six\n", "ten\n"]
    assert [record["input"] for record in again] == [record["input"] for record in first]


def test_a_command_reads_its_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "in.fa").write_text("".join(f">{n}\n{'acgt' * n}\n" for n in range(50)))
    code, records = finish(
        tmp_path,
        "command: grep -c '>'\nparse: float\nover: {blocks: {of: in.fa, bytes: 500, start: '>'}}\n",
    )
    assert code == 0
    assert len(records) > 5
    assert sum(record["value"] for record in records) == 50
    assert records[1]["input"]["offset"] == records[0]["input"]["length"]
