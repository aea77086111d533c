"""Lines as engines and the session write them, for the tests of the store."""

from __future__ import annotations

import json
from typing import Any


def key(number: int) -> str:
    """A content key."""
    return f"{number:024x}"


def line(
    content: str,
    *,
    index: int = 0,
    job: str = "job",
    status: str = "ok",
    run: str = "20260101-000000-0000",
    **fields: Any,
) -> bytes:
    """A record, its keys in the journal's order."""
    data = {
        "run": run,
        "job": job,
        "index": index,
        "key": content,
        "input": None,
        "status": status,
        "value": None,
        "exact": True,
        "stdout": "",
        "attempt": 1,
        "seconds": 0.25,
        **fields,
        "received": "2026-01-01T00:00:00.000000Z",
    }
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
