"""A notebook: whether it is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from arcli.errors import Problem
from arcli.specfile.places import Places


def check(name: str, at: int, folder: Path, places: Places) -> Iterator[Problem]:
    """Yield what the file itself tells; kernels are looked for on the engines."""
    try:
        data = json.loads((folder / name).read_bytes())
    except FileNotFoundError:
        yield places.problem(f"there is no file {name}", "jobs", at, "notebook")
    except OSError as error:
        yield places.problem(f"{name} cannot be read: {error.strerror}", "jobs", at, "notebook")
    except (ValueError, RecursionError) as error:
        yield places.problem(f"{name} is not a notebook: {error}", "jobs", at, "notebook")
    else:
        if not isinstance(data, dict) or "nbformat" not in data:
            message = f"{name} is not a notebook: it has no nbformat"
            yield places.problem(message, "jobs", at, "notebook")
