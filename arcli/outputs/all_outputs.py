"""All outputs of a run as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple, Self

from arcli.outputs.base import Output
from arcli.record import RecordBatch
from arcli.timing.summary import RunSummary


class OutputMember(NamedTuple):
    """A output, and the one job that it is shown (None: all).

    ``document``: it is what stdout gets at the end. ``file``: it replaces what a file held before.
    """

    output: Output
    job: str | None = None
    document: bool = False
    file: bool = False


class Outputs:
    """Hands what it gets to every output in order; one that fails does not cost the others.

    As a context it starts the outputs, and aborts those that were not finished. An output's error
    is raised when all have had their turn; an output that has failed is aborted and gets nothing more.
    ``told`` is whether there is a whole document on stdout.
    """

    def __init__(self, members: Iterable[OutputMember]) -> None:
        self._members = list(members)
        self.told = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()

    def start(self) -> None:
        """Start all; where one cannot, abort those that could. Raises its OutputError."""
        try:
            for member in self._members:
                member.output.start()
        except BaseException:
            self.abort()
            raise

    def record(self, batch: RecordBatch) -> None:
        """Show a batch to the outputs that are to see its job. Raises the first output's error."""
        self._each(lambda output: output.record(batch), job=batch.job)

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """Finish all; files stay as they were if no job began.

        Raises the first error when all had their turn.
        """
        if not summary.began:
            self._abort_files()
        self._each(lambda output: output.finish(summary, values), last=True)

    def _abort_files(self) -> None:
        for member in [member for member in self._members if member.file]:
            self._members.remove(member)
            member.output.abort()

    def abort(self) -> None:
        """Abort all that are neither finished nor aborted. Does so once."""
        while self._members:
            self._members.pop().output.abort()

    def _each(
        self, action: Callable[[Output], None], *, job: str | None = None, last: bool = False
    ) -> None:
        first: Exception | None = None
        for member in list(self._members):
            if job is not None and member.job not in {None, job}:
                continue
            try:
                action(member.output)
                if last:
                    self._members.remove(member)
                    self.told = self.told or member.document
            # The other outputs get what is theirs before anybody hears of it.
            except Exception as error:  # noqa: BLE001 - raised below, when the others had theirs
                self._members.remove(member)
                member.output.abort()
                first = first or error
        if first is not None:
            raise first
