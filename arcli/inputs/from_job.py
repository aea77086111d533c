"""Values of an earlier job."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import ClassVar, Literal

from arcli.errors import InputError
from arcli.inputs.base import Input, Source, SourceContext, Stream


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
