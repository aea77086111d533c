"""Whether there is something under a name, also under names that the system refuses.

``pathlib`` raises for a name that is too long or that may not be looked at; a spec can hold any text.
"""

from __future__ import annotations

import os
from pathlib import Path

_OWN_FILES = ("/dev/stdin", "/dev/fd/", "/proc/")


def exists(path: Path) -> bool:
    """Tell whether there is anything."""
    return os.path.exists(path)  # noqa: PTH110 - see above


def is_file(path: Path) -> bool:
    """Tell whether there is a regular file."""
    return os.path.isfile(path)  # noqa: PTH113 - see above


def is_stored(path: Path) -> bool:
    """Tell whether there is a regular file that other processes find under this name, again and again.

    ``/dev/stdin`` and its like are another file to each process, also where they lead to a regular one,
    and what else is in ``/proc`` has no size.
    """
    return is_file(path) and not os.path.abspath(path).startswith(_OWN_FILES)  # noqa: PTH100


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder."""
    return os.path.isdir(path)  # noqa: PTH112 - see above


def is_refused(path: Path) -> bool:
    """Tell whether nobody can say what there is: a folder above it may not be entered."""
    try:
        path.stat()
    except PermissionError:
        return True
    except (OSError, ValueError):
        pass
    return False


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder; none where there is no folder, or one that may not be listed."""
    try:
        return [entry.name for entry in folder.iterdir()]
    except (OSError, ValueError):
        return []
