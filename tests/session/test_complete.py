"""Records are put together in two ways, for small items and for large ones; both give the same."""

from __future__ import annotations

import pytest

from arcli.session.core.lines import LARGE, complete


@pytest.mark.parametrize("size", [0, 1, LARGE, LARGE + 1, 3 * LARGE])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_record_has_its_chunks_begin_and_end_whatever_its_size(size: int, count: int) -> None:
    items = [b'"index":%d,"value":"%b"' % (index, b"x" * size) for index in range(count)]
    lines = b"".join(item + b"\n" for item in items)
    expected = b"".join(b'{"run":"r",' + item + b',"slot":1}\n' for item in items)
    assert complete(lines, count, b'{"run":"r",', b',"slot":1}\n') == expected
