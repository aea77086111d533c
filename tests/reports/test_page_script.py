"""The page's own script: it may run, nothing else may, and it finds and sorts items."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from past_runs import failed, item, make

from arcli.reports import html
from arcli.reports.collect import Wanted, read_report
from arcli.reports.page import HASH, SCRIPT

BAD = "</script><script>alert(1)</script>"


def page(root: Path, *records: dict[str, Any]) -> str:
    run = make(root, list(records))
    return "".join(html.render(read_report(run, Wanted(drawn=True, items=100))))


def test_only_the_pages_own_script_may_run(tmp_path: Path) -> None:
    text = page(tmp_path, item(0, input={"n": BAD}), failed(1, BAD))
    assert f"script-src 'sha256-{HASH}'" in text
    assert "default-src 'none'" in text
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL)
    assert [attributes.strip() for attributes, _ in scripts] == [
        'type="application/json" id="items-data"',
        "",
    ]
    assert scripts[1][1] == SCRIPT
    rows = json.loads(scripts[0][1])
    assert [row[1] for row in rows] == [0, 1]
    assert BAD in rows[0][2]


def test_a_page_without_items_has_no_table(tmp_path: Path) -> None:
    assert "items-data" not in page(tmp_path).replace(SCRIPT, "")


@pytest.mark.skipif(shutil.which("node") is None, reason="no JavaScript here")
@pytest.mark.parametrize(
    ("words", "column", "ascending", "indices"),
    [
        ("", None, True, [0, 1, 2]),
        ("error SEED=2", None, True, [2]),
        ("", 4, True, [1, 0, 2]),
        ("", 4, False, [0, 1, 2]),
        ("", 2, False, [2, 1, 0]),
        ("nothing like it", None, True, []),
    ],
)
def test_items_are_found_and_sorted(
    words: str, column: int | None, ascending: bool, indices: list[int]
) -> None:
    items = [
        ["fit", 0, "seed=0", "ok", 0.5, ""],
        ["fit", 1, "seed=1", "ok", 0.25, ""],
        ["fit", 2, "seed=2", "error", None, "ValueError: no"],
    ]
    call = (
        f"choose({json.dumps(items)}, {json.dumps(words)}, {json.dumps(column)}, {json.dumps(ascending)})"
    )
    code = f"{SCRIPT}\nconsole.log(JSON.stringify({call}.map(item => item[1])))"
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == indices
