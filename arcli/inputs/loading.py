"""Code of the user's in this process: the generators that ``python:`` sources name."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from arcli.engine.functions import find


def loader(folder: Path, path: Iterable[str] = ()) -> Callable[[str], Any]:
    """Return what finds the callable that ``module:name`` or ``file.py:name`` means.

    ``folder`` is the spec's, ``path`` its ``setup: path``.
    """
    folders = [str(folder), *(str(folder / part) for part in path)]

    def load(text: str) -> Any:
        _put_on_path(folders)
        return find(text, {}, str(folder))

    return load


def _put_on_path(folders: Iterable[str]) -> None:
    """Before what is installed, and behind Python's own modules.

    arcli itself is still going to import some of these: a ``random.py`` beside the spec must not
    take their place.
    """
    installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    places = [at for at, folder in enumerate(sys.path) if folder in installed]
    at = min(places, default=len(sys.path))
    sys.path[at:at] = [folder for folder in folders if folder not in sys.path]
