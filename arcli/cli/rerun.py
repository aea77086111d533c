"""Run items of a past run once more, here, for a debugger: everything before them is as it was."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
from msgspec import Struct

from arcli.cli import complete
from arcli.cli.assembly import standard_input
from arcli.cli.options import ASSIGNMENT, color_option
from arcli.cli.past import AS_RECORDED, differences, jobs_of, own_streams, pick_run, spec_of
from arcli.cli.show import split
from arcli.errors import ExitCode, UsageError
from arcli.outputs.base import Output
from arcli.paths import is_folder
from arcli.record import is_whole

if TYPE_CHECKING:
    from arcli.execution.context import Kept
    from arcli.outputs.stream import Stream
    from arcli.record import RecordBatch
    from arcli.specfile.model import Job, Spec
    from arcli.store.folder import RunFolder
    from arcli.store.index import JournalIndex
    from arcli.timing.summary import RunSummary


@click.command("rerun", short_help="Run items of a past run again, here.")
@click.argument("words", nargs=-1, required=True, metavar="[RUN] INDEX...", shell_complete=complete.runs)
@click.option(
    "--job",
    metavar="NAME",
    shell_complete=complete.past_jobs,
    help="The job whose items are meant, where there are several.",
)
@click.option("--pdb", is_flag=True, help="Stop in the debugger where an item raises.")
@click.option("--times", type=click.IntRange(min=1), default=1, metavar="N", help="So many times.")
@click.option(
    "-p", "--param", "params", multiple=True, type=ASSIGNMENT, help="Another value of a parameter."
)
@color_option(exposed=False)
def command(
    words: tuple[str, ...], job: str | None, pdb: bool, times: int, params: tuple[tuple[str, str], ...]
) -> int:
    """Run items of RUN again in this process: with its parameters, setup, earlier values and folder.

    RUN is an id or its beginning, latest (the default) or previous. Nothing is written into the run, nor
    into the folders of its items: with outdir they have others, which are shown. What differs from then
    is said first. Exit 0 where each item is ok, 1 where one is not.

    \b
    Examples:
      arcli rerun 17 --pdb
      arcli rerun 20261126-0915 3 4 --job fit --times 5
    """
    run, items = split(words)
    if not items:
        raise UsageError("give the number of an item", hint="`arcli show` lists them")
    from arcli.store.index import JournalIndex

    ok = True
    folder = pick_run(run or "latest")
    with JournalIndex(folder) as index:
        name = _job_of(index, items, job)
        if folder.manifest.cwd is not None and is_folder(Path(folder.manifest.cwd)):
            os.chdir(folder.manifest.cwd)
        spec = spec_of(folder, params)
        for sentence in differences(folder, spec):
            click.echo(f"arcli: {sentence}", err=True)
        with _own_folder() as place:
            spec = alone(index, spec, name, items, place, anew=bool(params))
            target = next(each for each in spec.jobs if each.name == name)
            # Where engines differ, this process stands for each that ran one of the items, one at a time.
            engines_differ = target.kind == "apply" or spec.setup.scatter
            parts = [[item] for item in items] if engines_differ else [items]
            with _blocks_again(folder, target, items) as stdin:
                for part in parts * times:  # a failure that comes and goes may need several
                    if stdin is not None:
                        stdin.seek(0)
                    shown = _Items(index=index, page=own_streams().stdout, blocks=stdin is not None)
                    shown.may_differ = bool(params)
                    ok = _once(shown, spec, target, part, pdb=pdb, stdin=stdin) and ok
    return ExitCode.OK if ok else ExitCode.ITEMS_FAILED


@contextmanager
def _own_folder() -> Iterator[str]:
    """Make a folder for those of the items, which stays where there are any."""
    place = tempfile.mkdtemp(prefix="arcli-rerun-")
    try:
        yield place
    finally:
        with suppress(OSError):
            os.rmdir(place)  # noqa: PTH106 - a text, which becomes a part of another one


@contextmanager
def _blocks_again(run: RunFolder, job: Job, items: Sequence[int]) -> Iterator[BinaryIO | None]:
    """Open what blocks of standard input are cut from once more; None for items of other sources.

    Raises UsageError where this process has none: their bytes may be many, and are not kept.
    """
    if job.over is None or not any(part.input.reads_stdin for _, part in job.over.walk()):
        yield None
        return
    # In a file, for it is read once for each time.
    with tempfile.TemporaryFile() as copy:
        stdin = standard_input()
        if stdin is not None and not stdin.isatty():
            shutil.copyfileobj(stdin, copy)
        if not copy.tell():
            from arcli.reports.items import rerun_command

            raise UsageError(
                f"the items of {job.name} are blocks of standard input, which a run does not keep",
                hint=f"give it what the run had: {rerun_command(run, job.name, items)} < FILE",
            )
        yield copy


def _job_of(index: JournalIndex, items: Sequence[int], job: str | None) -> str:
    """Return the job that has these items. Raises UsageError where none has, or several."""
    names = index.jobs if job is None else [job]
    fitting = [name for name in names if all(index.line(name, number) is not None for number in items)]
    if len(fitting) == 1:
        return fitting[0]
    # None has them, or the number alone does not say which job is meant.
    numbers = ", ".join(map(str, items))
    if not fitting:
        raise UsageError(
            f"run {index.run.id} has no record of item {numbers}", hint="`arcli show` lists them"
        )
    hint = f"--job NAME; there are {', '.join(fitting)}"
    raise UsageError(f"several jobs have an item {numbers}", hint=hint)


def _once(
    shown: _Items, spec: Spec, job: Job, items: Sequence[int], *, pdb: bool, stdin: BinaryIO | None
) -> bool:
    """Run the items once, in a run of its own that is not kept, and show them; tells whether all are ok."""
    from arcli.execution.context import Options
    from arcli.execution.run import execute
    from arcli.outputs.base import OutputMember, Outputs
    from arcli.store.folder import RunFolder, lineage
    from arcli.store.manifest import Manifest
    from arcli.store.resume import Kept
    from arcli.store.storage import RunStorage

    # Everything that the job builds on is replayed from the run, engine by engine; only the items that
    # are asked for run.
    index, run = shown.index, shown.index.run
    slots = 1 + max((entry["slot"] or 0 for entry in run.manifest.engines), default=0)
    # An item that came from a run with more engines goes to the first one.
    slot = index.record(job.name, items[0]).get("slot")
    slot = slot if isinstance(slot, int) and slot < slots else 0
    is_apply = job.kind == "apply"
    shown.number = items[0] if is_apply else None
    os.environ.update(spec.cluster.env)
    # Nothing is written into the run that the items are from.
    with tempfile.TemporaryDirectory(prefix="arcli-rerun-") as place:
        folder = RunFolder.create(Path(place), Manifest(name=spec.name))
        storage = RunStorage(folder)
        try:
            with Kept(lineage(run), folder, failed=True) as kept:
                options = Options(
                    began=time.monotonic(),
                    notice=lambda sentence: click.echo(f"arcli: {sentence}", err=True),
                    kept=Chosen(kept=kept, job=job.name, items=frozenset([0] if is_apply else items)),
                    limit=max(items) + 1 if len(spec.jobs) == 1 else None,
                    passing=(Exception,) if pdb else (),
                    slot=slot,
                    slots=slots,
                    stdin=stdin,
                )
                try:
                    shown.now = folder
                    finished = execute(spec, options, storage, Outputs([OutputMember(shown, job.name)]))
                except Exception as error:
                    if not pdb:
                        raise
                    import pdb as debugger  # noqa: T100 - what --pdb asks for

                    click.echo("".join(traceback.format_exception_only(error)), nl=False, err=True)
                    debugger.post_mortem(error.__traceback__)
                    return False
        finally:
            storage.close()
    for problem in finished.errors:
        raise problem
    return shown.ok


@dataclass(kw_only=True)
class _Items(Output):
    """An output that shows each item whole; ``number``: as the item that it was in the run.

    An item has to be the one that it was in the run, unless it ``may_differ``: then that is said.
    ``blocks``: items are blocks of standard input. ``now`` is the folder of what runs.
    """

    index: JournalIndex
    page: Stream
    number: int | None = None
    blocks: bool = False
    may_differ: bool = False
    now: RunFolder | None = None
    ok: bool = field(default=True)

    def record(self, batch: RecordBatch) -> None:
        """See Output."""
        from arcli.engine.tally import Status
        from arcli.record import decode
        from arcli.reports.items import whole

        for line in batch.lines.splitlines():
            record = decode(line)
            if not record.get("replayed"):
                record["index"] = record["index"] if self.number is None else self.number
                self._check(record)
                self.ok = self.ok and record["status"] == Status.OK
                self.page.write(whole(self.index.run, record, self.page))

    def _check(self, record: Mapping[str, Any]) -> None:
        """Tell of an item that is another one than in the run. Raises UsageError where it may not be."""
        from arcli.timing.failures import input_label

        job, number = record["job"], record["index"]
        past = self.index.record(job, number)
        before, now = past.get("input"), record["input"]
        # Of a block a record has the size. Its key tells what was in it, where all else is the same.
        other = self.blocks and self._same_parts(job) and past.get("key") != record["key"]
        if before == now and not other:
            return
        if self.blocks:
            raise UsageError(
                f"item {number} of {job} is another block of this standard input than it was in the run",
                hint="give it what the run had",
            )
        # What JSON lacks is in a record as it looked, which may be another way each time.
        if not is_whole(before):
            return
        was, is_ = (input_label(each, number) for each in (before, now))
        sentence = f"item {number} of {job} was {was} in the run, and is {is_} now"
        if not self.may_differ:
            raise UsageError(sentence, hint="have its source give what it gave then")
        click.echo(f"arcli: {sentence}", err=True)

    def _same_parts(self, job: str) -> bool:
        """Tell whether keys of items are made of the same as in the run, but for the items."""
        if self.now is None or any(each.get("outdir") for each in self.index.run.manifest.jobs):
            return False
        before, now = (run.parts().get(job, {}) for run in (self.index.run, self.now))
        return bool(before) and all(before.get(name) == now[name] for name in now if name != "source")

    def finish(self, summary: RunSummary, values: dict[str, Any]) -> None:
        """See Output."""


class Chosen(Struct, frozen=True, kw_only=True):
    """Keeps what ``kept`` has of earlier jobs, and passes over all items of ``job`` but ``items``.

    See ``context.Kept``.
    """

    kept: Kept
    job: str
    items: Collection[int]

    def compare(self, job: str, parts: Mapping[str, str]) -> Mapping[str, str]:
        """See Kept."""
        return self.kept.compare(job, parts)

    def take(self, job: str, key: str, *, index: int, exact: bool, slot: int | None) -> bytes | None:
        """See Kept."""
        from arcli.record import dump

        if job != self.job:
            return self.kept.take(job, key, index=index, exact=exact, slot=slot)
        if index in self.items:
            return None
        # Its source is still read up to it, so that the items that are wanted have their numbers;
        # this record stands for it, and is shown to nobody.
        passed_over = {
            "run": "", "job": job, "index": index, "key": key, "input": None, "status": "cancelled",
            "reason": "not asked for", "value": None, "exact": True, "error": None, "stdout": "",
            "stderr": "", "truncated": False, "attempt": 1, "seconds": None, "replayed": True,
        }  # fmt: skip
        return dump(passed_over) + b"\n"


def alone(
    index: JournalIndex, spec: Spec, job: str, items: Sequence[int], place: str, *, anew: bool = False
) -> Spec:
    """Return the spec with one job, whose items are as they were recorded, and the jobs that it needs.

    Nothing becomes of its values; folders of its items are in ``place``. ``anew``: what gives other items
    now is meant to. Raises UsageError.
    """
    from arcli.engine.program import NUMBER
    from arcli.placeholders import escaped
    from arcli.plan.preview import only

    chosen = only(spec, [job])
    # A failure is what is looked for here: it is met once, and ends nothing.
    changes: dict[str, Any] = {
        "reduce": None, "combine": None, "finish": None, "collect": None, "push_as": None,
        "gather": None, "ordered": False, "halt": "never", "retries": 0, "view": "load_balanced",
        "targets": "any",
    }  # fmt: skip
    target = next(each for each in chosen.jobs if each.name == job)
    if target.outdir is not None:
        changes["outdir"] = f"{escaped(place)}/{{{NUMBER}}}"
    changes |= _recorded(index, target, items, anew=anew)
    jobs = [each.model_copy(update=changes) if each.name == job else each for each in chosen.jobs]
    return chosen.model_copy(update={"jobs": jobs, "output": [], "sources": {}})


def _recorded(index: JournalIndex, job: Job, items: Sequence[int], *, anew: bool) -> dict[str, Any]:
    """Return what makes the items of a job those that were recorded; nothing where they are read again.

    That are those that a record does not have whole, and where they are read ``anew`` all but those of
    standard input, which is gone.
    """
    from arcli.engine.encode import from_tree
    from arcli.inputs import Over
    from arcli.plan.preview import valued

    kinds = {part.kind for _, part in job.over.walk()} if job.over is not None else set()
    inputs = {number: index.record(job.name, number).get("input") for number in items}
    before = jobs_of(index.run).get(job.name)
    if "stdin" not in kinds and (
        anew
        or before is None
        or before.job.batch != job.batch
        or not kinds
        or not kinds <= AS_RECORDED
        or any(valued(job))
        or not all(is_whole(item, kinds=kinds) for item in inputs.values())
    ):
        return {}
    # Those before and between them are passed over: all that they are there for is the numbers.
    values: list[Any] = []
    for number in range(max(items) + 1):
        item = from_tree(inputs.get(number))
        if job.batch is None:
            values.append(item)
        else:
            values += item if number in inputs else [None] * job.batch
    unpack = job.unpack or (before.unpack if before is not None else "none")
    return {"over": Over.model_validate({"list": values}), "unpack": unpack}
