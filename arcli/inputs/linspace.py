"""Evenly spaced numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from arcli.inputs.base import Fixed, Input, Source, SourceContext
from arcli.inputs.spaced import Even, Points, spaced


class Linspace(Input):
    """Evenly spaced numbers as NumPy's linspace: ``[start, stop, number of points]``."""

    key: ClassVar[str] = "linspace"
    short: ClassVar[str] = "points"
    paths: ClassVar[bool] = False
    points: Points
    """Start, stop, and the number of points."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        points = context.resolve(self.points)
        return Fixed(spaced(Even, points, "linspace"), distinct=points[0] != points[1])

    def keys(self, source: Source) -> Iterable[str] | None:
        """See Input."""
        return ()
