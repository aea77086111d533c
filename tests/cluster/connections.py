"""Connection files for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOOD: dict[str, Any] = {
    "interface": "tcp://127.0.0.1",
    "registration": 1,
    "control": 2,
    "mux": 3,
    "task": 4,
    "iopub": 5,
    "notification": 6,
    "broadcast": 7,
    "task_scheme": "leastload",
    "key": "0123-abc",
    "signature_scheme": "hmac-sha256",
    "pack": "orjson",
    "unpack": "orjson",
    "location": "host.example.org",
    "ssh": "",
    "curve_serverkey": None,
}


def write_connection(folder: Path, info: Any, mode: int = 0o600) -> Path:
    """A connection file."""
    file = folder / "client.json"
    file.write_text(json.dumps(info))
    file.chmod(mode)
    return file
