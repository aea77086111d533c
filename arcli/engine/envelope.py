"""What goes between client and engine: requests as pickles, replies as bytes that cannot execute.

A reply is one line of JSON and the binary parts that it announces. The client never unpickles what
an engine sent.
"""

from __future__ import annotations

import json
from typing import Any


def pack(header: dict[str, Any], *parts: bytes) -> bytes:
    """A reply: ``header`` as JSON, then the parts."""
    head = json.dumps({**header, "sizes": [len(part) for part in parts]}, separators=(",", ":"))
    return b"".join((head.encode(), b"\n", *parts))


def unpack(reply: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The inverse of ``pack``. Raises ValueError for what is not a whole reply."""
    end = reply.index(b"\n")
    header: dict[str, Any] = json.loads(reply[:end])
    parts: list[bytes] = []
    offset = end + 1
    for size in header.pop("sizes"):
        parts.append(reply[offset : offset + size])
        offset += size
    if offset != len(reply):
        raise ValueError(f"a reply of {len(reply)} bytes that announces {offset}")
    return header, parts
