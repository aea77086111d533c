"""The position files of a run's engines, by their slots."""

from __future__ import annotations

from pathlib import Path

from arcli.engine import position_file
from arcli.engine.position_file import Position


class PositionFiles:
    """Reads where engines are, and writes what is recalled of them. Without a folder it knows nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, slot: int) -> Position | None:
        """Tell where the engine in a slot is."""
        return None if self._folder is None else position_file.read(self._folder / f"{slot}")

    def recall(self, slot: int, chunk: int, position: int, last: int) -> None:
        """Have it begin nothing from a position of ``chunk`` on, up to the end of ``last``."""
        if self._folder is not None:
            position_file.recall(self._folder / f"{slot}", chunk, position, last)
