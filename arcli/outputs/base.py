"""What every consumer of records looks like, and all of a run's as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

from msgspec import Struct, field

from arcli.outputs.stream import Stream
from arcli.outputs.target import Target
from arcli.record import RecordBatch
from arcli.timing.summary import RunSummary


class Output(Protocol):
    """Consumes one run: ``start`` once, ``record`` for each batch, then ``finish`` or ``abort``.

    An output for one job is never shown another's batches. An output never asks back.
    """

    def start(self) -> None:
        """Prove that the output can be made, before any work starts. Raises OutputError."""
        return  # with a body it is what happens where a subclass says nothing, and no gap in it

    def record(self, batch: RecordBatch) -> None:
        """Take a batch; it is the output's to let go. Raises OutputError."""
        return

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """Complete the output: the run is over, however it ended.

        ``values`` has each job's collected value, encoded. Raises OutputError.
        """

    def abort(self) -> None:
        """The output itself failed or the run cannot be summed up: leave nothing half-written."""
        return


class RunOrigin(Struct, frozen=True, kw_only=True):
    """What a run was started from: the spec's file, the host, and the command line.

    ``past``: it may not be the newest of its spec. ``stdin``: items came from standard input.
    """

    spec: str = ""
    host: str = ""
    argv: Sequence[str] = ()
    past: bool = False
    stdin: bool = False


class OutputContext(Struct, frozen=True, kw_only=True):
    """What an output is made with: where it writes, and what it is to show.

    ``name`` is what messages call it. ``job`` is the one job that it is shown, None for all;
    ``runs`` is the folder that has those of all runs. ``options`` are those of the spec that its
    format allows. Text for people goes to ``results`` while items come, and to ``report`` at the
    end; both are ``target`` where that is a file.
    ``kinds``: what each job runs, by its name. ``full``: the end has the tables of timing, too.
    """

    target: Target
    name: str
    job: str | None = None
    runs: Path = Path()
    options: Mapping[str, Any] = field(default_factory=dict)
    results: Stream
    report: Stream
    origin: RunOrigin = field(default_factory=RunOrigin)
    kinds: Mapping[str, str] = field(default_factory=dict)
    verbose: bool = False
    full: bool = False


class TargetOutput(Output):
    """An output whose bytes go to its context's target, which is open from its start to its end."""

    def __init__(self, context: OutputContext) -> None:
        self._target = context.target
        self._name = context.name
        self._job = context.job

    def start(self) -> None:
        """See Output."""
        self._target.open()

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output. What a subclass writes at the end it writes before."""
        self._target.commit()

    def abort(self) -> None:
        """See Output."""
        self._target.discard()


class OutputMember(NamedTuple):
    """An output, and the one job that it is shown (None: all).

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

    def __exit__(self, *exc: object) -> None:
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
        for member in [member for member in self._members if member.file and not summary.began]:
            self._members.remove(member)
            member.output.abort()
        self._each(lambda output: output.finish(summary, values), last=True)

    def abort(self) -> None:
        """Abort all that are neither finished nor aborted. Does so once."""
        while self._members:
            self._members.pop().output.abort()

    def _each(
        self, action: Callable[[Output], None], *, job: str | None = None, last: bool = False
    ) -> None:
        # A full disk under one file must not cost the terminal its lines, nor another file its end.
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
