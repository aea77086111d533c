"""Runs in Python: ``arcli.load`` for a past one, ``arcli.run`` for a new one.

Heavy imports are inside of what needs them: importing this costs as little as Python itself.
"""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arcli.engine.encode import from_tree
from arcli.errors import UsageError
from arcli.paths import is_file, is_folder

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from arcli.store.folder import RunFolder
    from arcli.store.index import Condition
    from arcli.timing.summary import RunSummary

Where = str | Callable[["Item"], bool] | None


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a run: its record, with its input and value decoded when they are asked for.

    ``folder`` is the run's, None where there are only records; ``trust``: pickles may be opened.
    """

    record: Mapping[str, Any] = field(repr=False)
    folder: Path | None = field(default=None, repr=False)
    trust: bool = field(default=False, repr=False)

    @property
    def job(self) -> str:
        """The job's name."""
        return str(self.record["job"])

    @property
    def index(self) -> int:
        """Its number in the job, from 0."""
        return int(self.record["index"])

    @property
    def status(self) -> str:
        """One of ok, error, timeout, lost, cancelled."""
        return str(self.record["status"])

    @property
    def ok(self) -> bool:
        """Whether it has a value."""
        return self.status == "ok"

    @property
    def seconds(self) -> float | None:
        """Its own compute time; None where it never ran."""
        seconds: float | None = self.record.get("seconds")
        return seconds

    @property
    def input(self) -> Any:
        """What was passed."""
        return from_tree(self.record.get("input"))

    @property
    def error(self) -> Mapping[str, str] | None:
        """``type``, ``message`` and ``traceback`` of what went wrong."""
        error: Mapping[str, str] | None = self.record.get("error")
        return error

    @property
    def value(self) -> Any:
        """The result, None where there is none. An array comes from its file.

        Raises UsageError for a value that is kept as a pickle, unless the run is trusted: opening a
        pickle runs whatever code is in it.
        """
        tree = self.record.get("value")
        # What is too large for a record, or none of JSON's, is a file beside the journal, and so is all of
        # a value that has some of it inside. Arrays are read as NumPy's own format, in which nothing can
        # be executed.
        from arcli.record import file_of

        path = None if self.folder is None else file_of(tree)
        if path is None:
            return from_tree(tree)
        if not path.endswith(".npy"):
            return self._pickled(path)
        import numpy as np

        return np.load(self._file(path), allow_pickle=False)

    def _file(self, path: object) -> Path:
        """Return a value's file. Raises UsageError where it is gone, or not within the run's folder."""
        assert self.folder is not None
        file = (self.folder / str(path)).resolve()
        if not file.is_relative_to(self.folder.resolve()):
            raise UsageError(f"the value of item {self.index} is not in its run's folder: {path}")
        if not is_file(file):
            raise UsageError(f"the value of item {self.index} of {self.job} is gone: there is no {file}")
        return file

    def _pickled(self, path: object) -> Any:
        if not self.trust:
            raise UsageError(
                f"the value of item {self.index} of {self.job} is a pickle: opening it runs what is in it",
                hint="arcli.load(…, trust=True) opens pickles of runs that are yours",
            )
        return pickle.loads(self._file(path).read_bytes())  # noqa: S301 - asked for by trust=True


class Run:
    """A run, past or under way, read lazily: nothing is in memory but what is asked for.

    ``folder`` is None where there are only records.
    """

    def __init__(self, folder: Path | None, records: Path | None = None, *, trust: bool = False) -> None:
        self.folder = folder
        self._records = records
        self._trust = trust

    def __repr__(self) -> str:
        return f"<arcli.Run {self.id}>"

    @property
    def id(self) -> str:
        """The run's id; where there are only records, the one that they have."""
        if self.folder is not None:
            return self.folder.name
        return next((str(item.record.get("run")) for item in self.items()), "")

    def _past_run(self) -> RunFolder:
        """Return the run as its folder tells of it. Raises UsageError where that is gone."""
        from arcli.store.folder import RunFolder

        assert self.folder is not None
        if not is_folder(self.folder):
            raise UsageError(
                f"run {self.id} is gone: there is no {self.folder}", hint="`arcli clean` removes runs"
            )
        return RunFolder(self.folder)

    @property
    def exit_code(self) -> int | None:
        """The run's exit code, None where it goes on, was killed, or is not known."""
        return None if self.folder is None else self._past_run().manifest.exit_code

    @property
    def ok(self) -> bool:
        """Whether every job is ok: all of its items, and its value. A run without jobs never got to one."""
        jobs = self.summary.jobs
        return bool(jobs) and all(job.ok for job in jobs)

    def items(self, *, job: str | None = None, where: Where = None) -> Iterator[Item]:
        """The items, of all jobs or one, in their order; ``where`` is an expression or a function.

        Of a file of records in the order of the file. Raises UsageError for an expression that is none, a
        job that there is not, a name that no item has, and a line of the file that is no record.
        """
        from arcli.record import decode
        from arcli.store.index import Condition

        condition = Condition(where, flag="where") if isinstance(where, str) else None
        for line in self._lines(job, condition):
            item = Item(decode(line), self.folder, self._trust)
            if not callable(where) or where(item):
                yield item

    def _lines(self, job: str | None, condition: Condition | None = None) -> Iterator[bytes]:
        """Yield the records, of all jobs or one, for which a condition holds. Raises UsageError."""
        from arcli.reports.column_names import Sought, check_names
        from arcli.store.index import JournalIndex
        from arcli.store.past import kinds

        # A folder has an index, which knows where each record is; without one the records are lines of
        # a temporary file, and all of them are looked through. A slip of the pen in a condition would
        # else be a run in which nothing was found.
        asked = () if condition is None else condition.names
        if self.folder is not None:
            run = self._past_run()
            with JournalIndex(run) as index:
                _require_job(job, dict.fromkeys([*kinds(run), *index.jobs]))
                check_names(index, job, asked, "where")
                for name, number in index.items(job, condition):
                    line = index.line(name, number)
                    if line is not None:
                        yield line
        elif self._records is not None:
            names: dict[str, None] = {}
            sought = [Sought(name, "where") for name in asked]
            for line, record in _read_records(self._records):
                names[record["job"]] = None
                if job not in {None, record["job"]}:
                    continue
                for each in sought:
                    if not each.met:
                        each.look(record)
                if condition is None or condition(record):
                    yield line
            _require_job(job, names)
            for each in sought:
                each.check()

    def value(self, job: str | None = None) -> Any:
        """What a job came to: its reduced, gathered or counted value, else those of its items.

        These are a list, or a dict as ``collect: dict`` makes it. ``job`` is not needed where there is one.
        Raises UsageError, also for a job whose own value failed, or is none that JSON holds.
        """
        from arcli.reports.values import PastValues
        from arcli.store.index import JournalIndex
        from arcli.store.past import kinds

        summary = self.summary
        names = [each.name for each in summary.jobs]
        if not names:
            raise UsageError(f"run {self.id} has no jobs: it ended before the first one")
        if job is None and len(names) > 1:
            raise UsageError(f"name one of the jobs: {', '.join(names)}")
        job = names[0] if job is None else job
        if self.folder is None:
            return [item.value for item in self.items(job=job, where=lambda item: item.ok)]
        run = self._past_run()
        _require_job(job, dict.fromkeys([*kinds(run), *names]))
        with JournalIndex(run) as index:
            return PastValues(index).of(
                summary, job, lambda each: Item(each, self.folder, self._trust).value
            )

    @property
    def summary(self) -> RunSummary:
        """Counts and times of the run and its jobs."""
        from arcli.reports.collect import Wanted, read_report
        from arcli.timing.account import Account
        from arcli.timing.ledger import End
        from arcli.timing.summary import RunSummary, summarize_job

        # What was not kept has no manifest to say how the jobs ended: records are all that is known of it.
        if self.folder is not None:
            return read_report(self._past_run(), Wanted()).summary
        account = Account()
        for item in self.items():
            account.add(item.record)
        jobs = tuple(map(summarize_job, account.ledgers([], kinds={}, ended=End.DONE)))
        code = 0 if all(job.ok for job in jobs) else 1
        return RunSummary(run=self.id, name="", started="", exit_code=code, jobs=jobs)

    def to_arrow(self, *, job: str | None = None) -> pa.Table:
        """The records as a table, with the columns of ``-o results.parquet``. Needs pyarrow."""
        import pyarrow.parquet as pq

        from arcli.outputs.base import Outputs
        from arcli.outputs.open import Destination, open_files
        from arcli.reports.items import write_records

        with tempfile.TemporaryDirectory(prefix="arcli-table-") as folder:
            path = Path(folder) / "records.parquet"
            write_records(
                self._lines(job), Outputs(open_files([Destination(path=str(path))])), self.summary
            )
            return pq.read_table(path)

    def to_pandas(self, *, job: str | None = None) -> pd.DataFrame:
        """The records as a data frame, with the columns of ``-o results.parquet``. Needs pandas."""
        return self.to_arrow(job=job).to_pandas()


def _require_job(job: str | None, names: Collection[str]) -> None:
    """Raise UsageError for a job that is none of these."""
    from arcli.suggest import near_or_all

    if job is not None and job not in names:
        raise UsageError(f"there is no job {job!r}", hint=near_or_all(job, list(names)))


def load(source: str | os.PathLike[str] = "latest", *, trust: bool = False) -> Run:
    """Load a run: ``latest``, ``previous``, an id or its beginning, its folder, or a file of records.

    Nothing of it is executed; with ``trust`` values that are pickles can be opened. Raises UsageError, also
    for a folder that is no run's and for a file whose first line is no record.
    """
    from arcli.cli.past import pick_run

    name, path = os.fspath(source), Path(source)
    if not name:
        raise UsageError("an empty name is no run's", hint=_LOADED)
    if is_folder(path):
        if not any(is_file(path / part) for part in ("manifest.json", "journal.jsonl")):
            raise UsageError(f"{name} is no run's folder: it has no manifest.json", hint=_LOADED)
        return Run(path.absolute(), trust=trust)
    if is_file(path):
        if next(_read_records(path), None) is None:
            raise UsageError(f"{name} has no records", hint=_LOADED)
        return Run(None, path.absolute(), trust=trust)
    return Run(pick_run(name).path, trust=trust)


_LOADED = "arcli.load takes latest, an id, a run's folder, or what -o results.jsonl wrote"


def _read_records(path: Path) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
    """Yield the lines of a file of records, each with what it says; a torn last one is passed over.

    The file may be packed (``.gz``). Raises UsageError with the number of a line that is no record.
    """
    from arcli.errors import InputError
    from arcli.inputs.files import UNREADABLE, opened, unreadable
    from arcli.store.journal import read_record

    try:
        with opened(path) as file:
            for number, line in enumerate(file, 1):
                record = read_record(line)
                if record is not None:
                    yield line, record
                # What a run was writing when it was killed, as in a journal.
                elif line.endswith(b"\n"):
                    raise UsageError(f"{path}:{number}: not a record", hint=_LOADED)
    except InputError as error:
        raise UsageError(error.message) from None
    except UNREADABLE as error:
        raise UsageError(f"{path} cannot be read any further: {unreadable(error)}") from None


def run(
    spec: str | os.PathLike[str],
    *,
    params: Mapping[str, Any] | None = None,
    engines: int | None = None,
    options: Sequence[str] = (),
    trust: bool = False,
) -> Run:
    """Run a spec as ``arcli run`` does, in a process of its own, and load what it came to.

    ``params`` replace those of the spec by values that arrive as they are: text stays text, whatever it
    looks like, and ``${`` is no more than that. A tuple becomes a list, a path its text. ``options`` are
    further words of the command line. Items that fail are no error: ask ``ok``. What interrupts this call
    stops the run, and goes on when that has ended.

    Raises UsageError where the spec is wrong, a parameter is what a spec cannot hold or the options make
    no run. Where a run could not begin it raises what its exit code says, with what it said: LockedError,
    OutputError, SetupError, and ClusterError for all else.
    """
    from arcli.cli.past import flags_of
    from arcli.errors import ClusterError, LockedError, OutputError, SetupError
    from arcli.store.channel import read_state
    from arcli.store.folder import list_runs, run_id, run_root

    path = os.fspath(spec)
    path = f"./{path}" if path.startswith("-") else path  # which is no option
    # Said before it starts: a run that is detached would go on although this call has failed.
    flags = flags_of(("arcli", "run", path, *options))
    without = {"--detach": flags.detach, "--dry-run": flags.dry_run, "--estimate": flags.estimate}
    for option, is_given in without.items():
        if is_given:
            raise _no_run(option, path, options)
    # In a process of its own: signals, standard output and `os._exit` are a command's to handle, and
    # whoever calls this from a notebook keeps his own. -P: a file in the working folder is no module.
    command = [sys.executable, "-P", "-m", "arcli", "run", path, "-q", *options]
    for name, value in (params or {}).items():
        command += ["--set", _assignment(name, value)]
    command += [] if engines is None else ["-n", str(engines)]
    earliest = run_id(time.time())
    try:
        process, log = _finish(command)
    except OSError as error:
        if error.errno != errno.E2BIG:
            raise
        hint = "put what is long into a file that the spec reads, such as over: {jsonl: items.jsonl}"
        raise UsageError("the parameters are too long for a command line", hint=hint) from None
    # The folder of the run is the one whose state was written by this process; of those from before,
    # another process may have had the same number.
    for folder in takewhile(lambda run: run.id >= earliest, list_runs(run_root(os.environ))):
        state = read_state(folder.path)
        if state is not None and state.pid == process.pid:
            return Run(folder.path, trust=trust)
    if process.returncode == 0:  # such as --help
        raise _no_run(" ".join(options), path, options)
    message = log.decode("utf-8", "replace").strip() or f"arcli ended with {process.returncode}"
    kinds = (UsageError, LockedError, OutputError, SetupError)
    kind = next((each for each in kinds if each.exit_code == process.returncode), ClusterError)
    raise kind(message)


def _assignment(name: object, value: Any) -> str:
    """Return what ``--set`` takes for a parameter, other than ``-p`` whatever the spec has in its place.

    Raises UsageError.
    """
    from arcli.specfile.overrides import text_of

    if not isinstance(name, str) or not name.strip() or set(name) & set(".=\0"):
        raise UsageError(f"params: {name!r} is not a parameter's name", hint="it is text, without a dot")
    try:
        return f"params.{name}={text_of(value)}"
    except ValueError as error:
        hint = "give numbers, text, true and false, None, lists and dicts of these"
        raise UsageError(f"params[{name!r}]: {error}", hint=hint) from None
    except RecursionError:
        raise UsageError(f"params[{name!r}] is nested too deeply") from None


def _no_run(option: str, spec: str, options: Sequence[str]) -> UsageError:
    """Return the error for options with which there is no run to load when the command has ended."""
    from arcli.escape import shell_line

    line = shell_line(["arcli", "run", spec, *options])
    return UsageError(
        f"with {option} there is no run to load when the command has ended",
        hint=f"leave it out of the options, or call `{line}` by itself",
    )


def _finish(command: Sequence[str]) -> tuple[subprocess.Popen[bytes], bytes]:
    """Run a command to its end. Returns its process, and what it said on stderr.

    What is raised here meanwhile, by Ctrl-C or by the caller's own handler of a signal, ends it first.
    """
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _, log = process.communicate()
        except BaseException:
            # By a signal that gives what runs some time. A Ctrl-C of the terminal has reached it, too: this
            # is its second signal then, which ends what runs at once.
            try:
                process.terminate()
                # What it still says is read, if its stderr has not ended before.
                if process.stderr is None or process.stderr.closed:
                    process.wait()
                else:
                    process.communicate()
            except BaseException:
                process.kill()
                raise
            raise
    return process, log
