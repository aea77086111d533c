"""Assemble what a run of a spec needs: its folder, outputs, cluster, lock, and what it resumes."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from arcli.cli.detach import Detached
from arcli.cli.options import RunFlags, engines_of, is_inline, slots_of
from arcli.escape import plain

if TYPE_CHECKING:
    from arcli.cli.messages import Notices
    from arcli.cluster.embedded.supervisor_process import SupervisorProcess
    from arcli.execution.run import Finished
    from arcli.outputs.base import Outputs
    from arcli.outputs.ci import Ci
    from arcli.outputs.progress import Mode, Progress
    from arcli.outputs.stream import Streams
    from arcli.specfile.model import Spec
    from arcli.store.clean import Policy
    from arcli.store.folder import RunFolder
    from arcli.store.resume import Kept

MOST_LOST = 3
"""Lost artifacts that are named when a run is resumed."""


def execute_spec(spec: Spec, flags: RunFlags, helper: SupervisorProcess | None, began: float) -> Finished:
    """Run a spec on its cluster, with a folder, outputs and notices of its own.

    ``helper`` is a cluster that is coming up already, ``began`` when the process did (monotonic).
    Raises UsageError, LockedError, OutputError.
    """
    from arcli.cli.messages import Notices
    from arcli.execution.context import Options
    from arcli.execution.run import execute
    from arcli.outputs.ci import detect
    from arcli.outputs.live import LiveOutput, live_stream
    from arcli.outputs.progress import make_progress
    from arcli.outputs.stream import standard_streams
    from arcli.plan.readahead import logged, results_apart
    from arcli.store.channel import LiveFile
    from arcli.store.folder import run_root
    from arcli.store.storage import RunStorage

    keep = _keep(spec)
    # Whoever names the descriptor of stdout as a file is to find it as it was.
    files = [str(output.path) for output in spec.output] + list(flags.outputs)
    generated = any(job.over is not None and job.over.only_in_runs for job in spec.jobs)
    if generated and not any(file.startswith(("/dev/", "/proc/")) for file in files):
        results_apart()
    # Outputs are opened first: whoever writes to a file that cannot be written hears of it before an
    # engine is started.
    streams = standard_streams(sys.stdout, sys.stderr, os.environ, flags.color)
    if (ci := detect(flags.ci, os.environ)) == "github":
        streams = streams.for_github()
    inline = is_inline(spec, flags)
    # What an item in this process prints to a descriptor would meet the display there.
    mode: Mode = "never" if inline or flags.quiet or flags.errors == "json" else flags.progress
    progress = make_progress(mode, streams, sys.stderr, os.environ, jobs=len(spec.jobs))
    tails = {job.name: flags.tail or ("both" if job.tail is True else job.tail or "") for job in spec.jobs}
    outputs = _outputs(spec, flags, streams, progress, ci)
    if spec.cluster.python is not None and not (inline or flags.cluster_name):
        from arcli.cluster.open import require_ipyparallel

        require_ipyparallel(spec)
    # The folder is only there once this spec may run at all, and nothing is heard before it is.
    root = run_root(os.environ)
    detached = Detached.take(os.environ)
    above = None if progress is None else progress.above(streams.stderr.target).write
    with (
        closing(
            Notices(quiet=flags.quiet, as_json=flags.errors == "json", above=above, stderr=streams.stderr)
        ) as notices,
        _lock(root, spec, notices) if flags.no_overlap else nullcontext(),
        _folder(root, spec, flags, notices) as (folder, kept),
        LiveOutput(
            live_stream(streams, progress, inline=inline),
            tails,
            LiveFile(folder.path),
            progress,
            as_json=flags.errors == "json",
        ) as live,
    ):
        if detached is not None:
            detached.adopt(folder.path)
        options = Options(
            began=began,
            notice=notices.say,
            warn=notices.warn,
            up=lambda: detached.up(folder.id) if detached is not None else None,
            stuck=streams.stuck,
            limit=flags.limit,
            at_once=flags.at_once,
            deadline=flags.deadline,
            stdin=standard_input(),
            kept=kept,
            history=kept if flags.explain else None,
            whole_output=flags.form == "raw",
            progress=progress,
            listener=live,
            expectations=flags.expectations,
        )
        cluster = None
        if not inline:
            from arcli.cluster.open import open_cluster, unused_keys

            cluster = open_cluster(
                spec.cluster.model_copy(update={"python": spec.python}),
                engines=engines_of(spec, flags),
                folder=spec.folder,
                scratch=folder.path / "cluster",
                join=flags.cluster_name,
                helper=helper,
            )
            if flags.cluster_name is not None and (unused := unused_keys(spec.cluster)):
                keys = f"cluster: {{{', '.join(unused)}}}"
                notices.say(
                    f"{keys} is not for {flags.cluster_name}, whose engines are as they were started"
                )
            # It starts processes that need no engine yet, while this one goes on.
            cluster.prepare()
        storage = RunStorage(folder)
        try:
            with logged(folder.path / "ipyparallel.log"):
                return execute(spec, options, storage, outputs, cluster)
        finally:
            if cluster is not None:
                cluster.stop()
            outputs.abort()
            storage.close()
            _tidy(root, keep, folder, notices)


def _keep(spec: Spec) -> Policy | None:
    """Return which old runs are kept, None for all. Raises UsageError for ``$ARCLI_KEEP``."""
    from arcli.store.clean import Policy, policy_from

    # What a spec says of its own runs goes before what the user says of all.
    if (keep := spec.keep) is not None:
        return Policy(keep=keep.runs, older_than=keep.age)
    return policy_from(os.environ)


def _tidy(root: Path, keep: Policy | None, folder: RunFolder, notices: Notices) -> None:
    """Remove the old runs of the run's spec that are not kept; tell once of many gigabytes."""
    from arcli.errors import OutputError
    from arcli.store.clean import clean_spec, has_grown_large

    try:
        if keep is not None and clean_spec(root, folder, keep):
            return
    except OutputError as error:
        notices.warn(error.message)
    with suppress(OSError):
        if has_grown_large(root):
            notices.warn(f"the runs in {root} are more than a gigabyte: `arcli clean` removes old ones")


def standard_input() -> BinaryIO | None:
    """Return the process's binary standard input, None where it is closed."""
    return sys.stdin.buffer if sys.stdin is not None else None


def _outputs(
    spec: Spec, flags: RunFlags, streams: Streams, progress: Progress | None, ci: Ci | None
) -> Outputs:
    """Open the outputs of the spec and of the flags. Raises OutputError, UsageError."""
    from arcli.outputs.base import RunOrigin
    from arcli.outputs.open import Destination, RunOutputs
    from arcli.store.folder import run_root

    # Relative names of a spec are below it, those of a flag in the working directory.
    destinations = [Destination(folder=spec.folder, **dict(output)) for output in spec.output]
    destinations += [Destination(path=path) for path in flags.outputs]
    if flags.form == "raw" and all(destination.path != "-" for destination in destinations):
        # What a function returns is its output; a command has said it all.
        job = spec.jobs[0]
        blocks = job.over is not None and job.over.kind == "blocks"  # which are large, and have no name
        tag = "number" if flags.tag and blocks else flags.tag
        options = {"tag": tag, "values": job.kind != "command"}
        destinations.append(Destination(path="-", format="raw", options=options))
    common = RunOutputs(
        streams=streams,
        format=flags.form,
        kinds={job.name: job.kind for job in spec.jobs},
        origin=RunOrigin(
            spec=flags.spec,
            host=socket.gethostname(),
            argv=sys.argv,
            stdin=any(
                part.input.reads_stdin
                for job in spec.jobs
                if job.over is not None
                for _, part in job.over.walk()
            ),
        ),
        ci=ci,
        environ=os.environ,
        quiet=flags.quiet,
        full=flags.summary == "full",
        silent=flags.errors == "json",
        verbose=flags.verbose,
        progress=progress,
        runs=run_root(os.environ) / "runs",
    )
    return common.open(destinations)


def explain_resume(spec: Spec, flags: RunFlags) -> int:
    """Say what a resumed run would keep, what it would run, and why. Returns the exit code."""
    from arcli.execution.items import explain
    from arcli.store.folder import lineage, run_root
    from arcli.store.resume import Kept

    earlier = _earlier(run_root(os.environ), spec, flags)
    if earlier is None:
        click.echo(f"there is no run of {spec.file}: everything would run")
        return 0
    # Nothing is run here, so that a damaged line is no news yet: the run itself will tell of it.
    runs = lineage(earlier)
    with Kept(runs, earlier, failed=flags.failed, rerun_changed=flags.rerun_changed) as kept:
        click.echo(f"of run {earlier.id}:")
        slots, stdin = slots_of(spec, flags), standard_input()
        for sentence in explain(spec, kept, slots=slots, limit=flags.limit, stdin=stdin):
            click.echo(f"  {plain(sentence)}")
    return 0


def _earlier(root: Path, spec: Spec, flags: RunFlags) -> RunFolder | None:
    """Find the run to go on with. Raises UsageError."""
    from arcli.store.folder import find_run, latest_to_resume

    if flags.run_id is not None and flags.run_id != "latest":
        return find_run(root, flags.run_id, os.environ)
    return latest_to_resume(root, spec.file, os.environ)


@contextmanager
def _lock(root: Path, spec: Spec, notices: Notices) -> Iterator[None]:
    """Hold the lock of a spec. Raises LockedError, also where a run goes on that did not ask for it."""
    from arcli.errors import LockedError
    from arcli.store import past
    from arcli.store.lock import Lock, lock_for

    with Lock.hold(lock_for(root, spec.file, os.environ), f"spec {spec.file}") as lock:
        if not lock.works:
            notices.warn("the file system has no locks: --no-overlap cannot see another run of this spec")
        for run in past.runs_of(root, spec.file, os.environ):
            if past.state_of(run) == "running":
                hint = f"`arcli wait {run.id}` waits for it, `arcli cancel {run.id}` ends it"
                raise LockedError(f"run {run.id} of spec {spec.file} still goes on", hint=hint)
        yield


@contextmanager
def _folder(
    root: Path, spec: Spec, flags: RunFlags, notices: Notices
) -> Iterator[tuple[RunFolder, Kept | None]]:
    """Make the folder of this run, and find what it keeps of the one that it goes on with."""
    from arcli.errors import OutputError
    from arcli.store.describe import describe, git_state
    from arcli.store.files import note_root
    from arcli.store.folder import RunFolder

    earlier = None
    # A cron job that resumes must also work the first time.
    if flags.resumes:
        earlier = _earlier(root, spec, flags)
        if earlier is None:
            notices.warn(f"there is no run of {spec.file} in {root}: starting anew")
    resumes = earlier.id if earlier is not None else None
    folder = RunFolder.create(root, describe(spec, argv=sys.argv, resumes=resumes, limit=flags.limit))
    note_root(spec.file, root, os.environ)

    def ask_git() -> None:
        with suppress(OutputError):  # the run itself will meet what is wrong with the folder
            folder.note_git(git_state(spec.folder))

    # It may take seconds in a large repository, and nothing waits for what it says.
    asked = threading.Thread(target=ask_git, name="arcli-git", daemon=True)
    asked.start()
    if not folder.has_lock:
        notices.warn(f"{root} is on a file system without locks: runs are told by their signs of life")
    try:
        with ExitStack() as stack:
            try:
                kept = stack.enter_context(_kept(earlier, folder, flags, notices))
            except BaseException:
                # Nothing has run, and who asks for the newest run means another one.
                from arcli.store.clean import remove_run

                asked.join()
                with suppress(OutputError):
                    folder.close()
                    remove_run(folder)
                raise
            yield folder, kept
    finally:
        asked.join()


@contextmanager
def _kept(
    earlier: RunFolder | None, folder: RunFolder, flags: RunFlags, notices: Notices
) -> Iterator[Kept | None]:
    """Open what an earlier run has that this one need not compute."""
    if earlier is None:
        yield None
        return
    from arcli.store.folder import lineage
    from arcli.store.resume import Kept
    from arcli.timing.words import plural

    def damaged(path: Path, damage: Any) -> None:
        place = f"{damage.length} bytes from byte {damage.offset} on"
        notices.say(f"{path}: {damage.reason}, {place}: what it recorded runs again")

    # Of a folder that was removed each file is missing: a few names say as much as all of them.
    lost: list[str] = []

    def note_lost(path: str) -> None:
        lost.append(path)
        if len(lost) <= MOST_LOST:
            notices.say(f"{path} is not there as it was made: its item runs again")
        elif len(lost) == MOST_LOST + 1:
            notices.say("so it is with others, whose items run again, too")

    with Kept(
        lineage(earlier),
        folder,
        failed=flags.failed,
        rerun_changed=flags.rerun_changed,
        on_damage=damaged,
        on_lost=note_lost,
    ) as kept:
        # How many of them are used turns out as items are read.
        notices.say(f"going on with run {earlier.id}, which has {plural(len(kept), 'result')}")
        yield kept


_STARTTIME = 19
"""Of the fields of /proc/PID/stat behind the name, see proc_pid_stat(5): clock ticks since boot."""


def process_age() -> float:
    """Return the seconds since this process began, to a clock tick; 0 where the system cannot tell."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[_STARTTIME])
    except (OSError, ValueError, IndexError):
        return 0.0
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    return max(0.0, since_boot - ticks / os.sysconf("SC_CLK_TCK"))
