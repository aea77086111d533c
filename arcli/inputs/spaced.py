"""Numbers between two ends, bit for bit as NumPy has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, overload

from pydantic import AfterValidator, Field

from arcli.errors import InputError
from arcli.fields import Deferred
from arcli.inputs.base import Fixed, Input, Source, SourceContext, integral

Number = Annotated[int | float, Field(allow_inf_nan=False)] | Deferred


class Even(Sequence[float]):
    """``num`` evenly spaced numbers from ``start`` to ``stop``, both included.

    ``start + i * step``, the last one exactly ``stop``, as ``numpy.linspace`` computes it
    (https://numpy.org/doc/stable/reference/generated/numpy.linspace.html).
    """

    def __init__(self, start: float, stop: float, num: int) -> None:
        self._start, self._stop, self._num = float(start), float(stop), num
        self._delta = self._stop - self._start
        self._div = max(1, num - 1)
        self._step = self._delta / self._div

    def __len__(self) -> int:
        return self._num

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> list[float]: ...
    def __getitem__(self, index: int | slice) -> float | list[float]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._num))]
        position = range(self._num)[index]
        if position and position == self._num - 1:
            return self._stop
        if self._step == 0:  # so small that it underflows: NumPy divides first
            return position / self._div * self._delta + self._start
        return position * self._step + self._start

    def __iter__(self) -> Iterator[float]:
        return (self[position] for position in range(self._num))


class Powers(Sequence[float]):
    """``num`` numbers from ``base ** start`` to ``base ** stop``, evenly spaced in their logarithm.

    NumPy's own power function may differ in the last bit on some machines.
    """

    def __init__(self, start: float, stop: float, num: int, base: float = 10.0) -> None:
        self._exponents = Even(start, stop, num)
        self._base = float(base)

    def __len__(self) -> int:
        return len(self._exponents)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> list[float]: ...
    def __getitem__(self, index: int | slice) -> float | list[float]:
        if isinstance(index, slice):
            return [self._base**exponent for exponent in self._exponents[index]]
        return float(self._base ** self._exponents[index])


def _three(value: list[Any]) -> list[Any]:
    if len(value) != 3:
        raise ValueError("needs [start, stop, number of points]")
    return value


Points = Annotated[list[Number], AfterValidator(_three)]
"""``[start, stop, number of points]``."""


def spaced(
    kind: Callable[[float, float, int], Sequence[float]], points: list[Any], name: str, power: str = ""
) -> Sequence[float]:
    """Return the numbers of ``points`` that ``kind`` makes.

    Raises InputError, which begins with ``name`` and calls an end an exponent in words of ``power``.
    """
    start, stop, num = *points[:2], integral(points[2])
    if not isinstance(num, int) or isinstance(num, bool) or num < 0:
        raise InputError(f"{name}: the number of points is {num!r}, which is not a count")
    for end in (start, stop):
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise InputError(f"{name}: {end!r} is not a number")
        try:
            kind(end, end, 1)[0]
        except (OverflowError, ZeroDivisionError):
            raise InputError(f"{name}: {power}{end} is too large a number") from None
    return kind(start, stop, num)


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
