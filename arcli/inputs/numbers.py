"""Numbers between two ends, bit for bit as NumPy has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from arcli.errors import InputError


class Linspace(Sequence[float]):
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


class Logspace(Sequence[float]):
    """``num`` numbers from ``10 ** start`` to ``10 ** stop``, evenly spaced in their logarithm.

    NumPy's own power function may differ in the last bit on some machines.
    """

    def __init__(self, start: float, stop: float, num: int) -> None:
        self._exponents = Linspace(start, stop, num)

    def __len__(self) -> int:
        return len(self._exponents)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> list[float]: ...
    def __getitem__(self, index: int | slice) -> float | list[float]:
        if isinstance(index, slice):
            return [10.0**exponent for exponent in self._exponents[index]]
        return float(10.0 ** self._exponents[index])


def range_of(value: Any) -> range:
    """``range: 100`` or ``range: [start, stop, step]``. Raises InputError."""
    parts = value if isinstance(value, list) else [value]
    try:
        return range(*map(_whole, parts))
    except (TypeError, ValueError) as error:
        raise InputError(f"range: {value!r} is not a range: {error}") from None


def spaced(kind: type[Linspace] | type[Logspace], value: list[Any], name: str) -> Any:
    """``[start, stop, number of points]`` as numbers. Raises InputError."""
    start, stop, num = *value[:2], _whole(value[2])
    if not isinstance(num, int) or isinstance(num, bool) or num < 0:
        raise InputError(f"{name}: the number of points is {num!r}, which is not a count")
    for end in (start, stop):
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise InputError(f"{name}: {end!r} is not a number")
        try:
            kind(end, end, 1)[0]
        except OverflowError:
            power = "10 to the power of " if kind is Logspace else ""
            raise InputError(f"{name}: {power}{end} is too large a number") from None
    return kind(start, stop, num)


def _whole(value: Any) -> Any:
    """A whole number that is written as ``1e3`` or ``2.0`` as what it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
