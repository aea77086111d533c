"""Items that stand in the spec, or are an earlier job's values: lists, ranges and evenly spaced numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from arcli.errors import InputError
from arcli.fields import Deferred, DeferredText
from arcli.inputs.base import Fixed, Input, Lazy, Source, SourceContext, Stream, integral

Numbers = TypeVar("Numbers", bound=Sequence[float])
Number = Annotated[int | float, Field(allow_inf_nan=False)] | Deferred


class List(Input):
    """Items as they stand in the spec, or the list that an earlier job came to."""

    key: ClassVar[str] = "list"
    short: ClassVar[str] = "items"
    items: list[Any] | Deferred
    """The items."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        items = context.resolve(self.items)
        if not isinstance(items, list):
            raise InputError(f"over: {type(items).__name__} is not a list of items")
        return Fixed(items)

    def keys(self, source: Source) -> Iterable[str] | None:
        """See Input."""
        if not isinstance(self.items, list) or any(isinstance(item, Deferred) for item in self.items):
            return None
        return [str(key) for item in self.items if isinstance(item, dict) for key in item]

    @property
    def paths(self) -> bool:
        """See Input."""
        return not isinstance(self.items, list) or any(map(may_be_path, self.items))


def may_be_path(item: Any) -> bool:
    """Tell whether an item is text, or has one text in it, as far as that is known."""
    values = list(item.values()) if isinstance(item, dict) else [item]
    return sum(isinstance(value, str | Deferred | DeferredText) for value in values) == 1


class FromJob(Input):
    """Values of an earlier job, in the order of its items; ``each``: the elements of each of them."""

    key: ClassVar[str] = "from"
    short: ClassVar[str] = "job"
    only_in_runs: ClassVar[bool] = True
    job: str
    """An earlier job."""
    where: Literal["ok", "all"] = "ok"
    """Its items that are ok, or all of them."""
    each: bool = False
    """Take the elements of each value, one by one."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        values = context.jobs.get(self.job)
        if values is None:
            raise InputError(f"from: the job {self.job!r} has not run")
        if self.each:
            return Stream(lambda: chain.from_iterable(map(context.elements, values(self.where))))
        return Stream(lambda: values(self.where))

    def jobs(self) -> Iterator[str]:
        """See Input."""
        yield self.job


class _Numbers(Input):
    """Numbers, which are no paths of files and have no keys."""

    named: ClassVar[bool] = False

    @property
    def paths(self) -> bool:
        """See Input."""
        return False


class Range(_Numbers):
    """Whole numbers as Python's range: ``100``, ``[start, stop]`` or ``[start, stop, step]``."""

    key: ClassVar[str] = "range"
    short: ClassVar[str] = "numbers"
    numbers: Annotated[int | list[int | Deferred] | Deferred, BeforeValidator(integral)]
    """The stop, or [start, stop, step], as of Python's range."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        value = context.resolve(self.numbers)
        parts = value if isinstance(value, list) else [value]
        try:
            return Fixed(range(*integral(parts)), distinct=True)
        except (TypeError, ValueError) as error:
            raise InputError(f"range: {value!r} is not a range: {error}") from None


class Even(Lazy[float]):
    """``num`` evenly spaced numbers from ``start`` to ``stop``, both included.

    ``start + i * step``, the last one exactly ``stop``, as ``numpy.linspace`` computes it
    (https://numpy.org/doc/stable/reference/generated/numpy.linspace.html).
    """

    def __init__(self, start: float, stop: float, num: int) -> None:
        super().__init__(num, self._number)
        self._start, self._stop = float(start), float(stop)
        self._delta = self._stop - self._start
        self._div = max(1, num - 1)
        self._step = self._delta / self._div

    @property
    def distinct(self) -> bool:
        """Whether no two of them are equal, for certain: neighbours may round to the same number."""
        largest = max(abs(self._start), abs(self._stop), abs(self._delta))
        return abs(self._step) > 4 * math.ulp(largest)

    def _number(self, index: int) -> float:
        if index and index == len(self) - 1:
            return self._stop
        if self._step == 0:  # so small that it underflows: NumPy divides first
            return index / self._div * self._delta + self._start
        return index * self._step + self._start


def powers(start: float, stop: float, num: int, base: float = 10.0) -> Lazy[float]:
    """Return ``num`` numbers from ``base ** start`` to ``base ** stop``, evenly spaced in their logarithm.

    NumPy's own power function may differ in the last bit on some machines.
    """
    exponents = Even(start, stop, num)
    return Lazy(num, lambda index: float(float(base) ** exponents[index]))


def _three(value: list[Any]) -> list[Any]:
    if len(value) != 3:
        raise ValueError("needs [start, stop, number of points]")
    return value


Points = Annotated[list[Number], AfterValidator(_three)]
"""``[start, stop, number of points]``."""


def spaced(
    kind: Callable[[float, float, int], Numbers], points: list[Any], name: str, power: str = ""
) -> Numbers:
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


class Linspace(_Numbers):
    """Evenly spaced numbers as NumPy's linspace: ``[start, stop, number of points]``."""

    key: ClassVar[str] = "linspace"
    short: ClassVar[str] = "points"
    points: Points
    """Start, stop, and the number of points."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        points = context.resolve(self.points)
        numbers = spaced(Even, points, "linspace")
        return Fixed(numbers, distinct=numbers.distinct)


class Logspace(_Numbers):
    """Powers of a base as NumPy's logspace: ``[start, stop, number of points]`` are exponents."""

    key: ClassVar[str] = "logspace"
    short: ClassVar[str] = "points"
    points: Points
    """The exponents of start and stop, and the number of points."""
    base: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    """What is raised to these powers."""

    def open(self, context: SourceContext) -> Source:
        """See Input."""
        of_base = partial(powers, base=self.base)
        points = context.resolve(self.points)
        return Fixed(spaced(of_base, points, "logspace", f"{self.base:g} to the power of "))
