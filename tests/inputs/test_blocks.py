"""Blocks of files and of standard input: nothing is lost, and no record is cut."""

from __future__ import annotations

import gzip
import io
import itertools
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import finish

from arcli.inputs import blocks as blocks_input
from arcli.inputs.blocks import blocks_of, parts_of

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


def test_a_packed_file_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "in.gz").write_bytes(gzip.compress(b"".join(b"%d\n" % n for n in range(99))))
    code, records = finish(tmp_path, "command: cat\nparse: lines\nover: {blocks: {of: in.gz, bytes: 50}}\n")
    assert code == 0
    assert len(records) > 2
    assert [line for record in records for line in record["value"]] == [str(n) for n in range(99)]


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
