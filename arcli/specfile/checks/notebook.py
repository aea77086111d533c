"""A notebook: whether it is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arcli.errors import Problem
from arcli.paths import is_file
from arcli.specfile.places import Places


def check(name: str, at: int, folder: Path, places: Places) -> Iterator[Problem]:
    """Yield what the file itself tells; kernels are looked for on the engines."""
    path = folder / name
    if not is_file(path):
        yield places.problem(f"there is no file {name}", "jobs", at, "notebook")
        return
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        yield places.problem(f"{name} cannot be read: {error.strerror}", "jobs", at, "notebook")
    except (ValueError, RecursionError) as error:
        yield places.problem(f"{name} is not a notebook: {error}", "jobs", at, "notebook")
    else:
        if not isinstance(data, dict) or "nbformat" not in data:
            message = f"{name} is not a notebook: it has no nbformat"
            yield places.problem(message, "jobs", at, "notebook")
        elif not any(_is_tagged(cell) for cell in _list(data.get("cells"))):
            message = f"{name} has no cell that is tagged 'parameters', so that items would change nothing"
            hint = "tag the cell that gives the parameters their defaults: parameters"
            yield places.problem(message, "jobs", at, "notebook", hint=hint)


def _is_tagged(cell: Any) -> bool:
    metadata = cell.get("metadata") if isinstance(cell, dict) else None
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return "parameters" in _list(tags)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
