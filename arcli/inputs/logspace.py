"""Numbers that are evenly spaced in their logarithm."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field

from arcli.inputs.base import Fixed, Input, Source, SourceContext
from arcli.inputs.spaced import Points, Powers, spaced


class Logspace(Input):
    """Powers of a base as NumPy's logspace: ``[start, stop, number of points]`` are exponents."""

    key: ClassVar[str] = "logspace"
    short: ClassVar[str] = "points"
    paths: ClassVar[bool] = False
    points: Points
    """The exponents of start and stop, and the number of points."""
    base: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    """What is raised to these powers."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        powers = partial(Powers, base=self.base)
        points = context.resolve(self.points)
        return Fixed(spaced(powers, points, "logspace", f"{self.base:g} to the power of "))

    def keys(self, source: Source) -> Iterable[str] | None:
        """See Input."""
        return ()
