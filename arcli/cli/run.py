"""``arcli run``: the main job."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from arcli.cli import complete, detach
from arcli.cli.detach import PART, Detached
from arcli.cli.error_boundary import Call, leaving, silence_stdout, tell
from arcli.cli.options import (
    ASSIGNMENT,
    COLOR,
    DURATION,
    ERRORS,
    EXPECTATION,
    FORMAT,
    TAIL,
    RunFlags,
    WithTail,
    is_inline,
    slots_of,
)
from arcli.errors import UsageError
from arcli.escape import plain
from arcli.outputs.registry import suffixes

if TYPE_CHECKING:
    from arcli.cli.notices import Notices
    from arcli.cluster.base import Cluster
    from arcli.cluster.supervisor_process import SupervisorProcess
    from arcli.execution.run import Finished
    from arcli.outputs.all_outputs import Outputs
    from arcli.outputs.progress import Progress
    from arcli.outputs.progress_display import Mode
    from arcli.outputs.stream import Streams
    from arcli.specfile.model import Spec
    from arcli.store.folder import RunFolder
    from arcli.store.resume import Kept

MOST_LOST = 3
"""Lost artifacts that are named when a run is resumed."""
MOST_PEEKED = 1_000_000
"""Bytes of a spec that are looked at for the word `cluster` before it is read for real."""


@click.command("run", cls=WithTail, short_help="Run a spec.")
@click.argument("spec", shell_complete=complete.files)
@click.option(
    "--job",
    "jobs",
    multiple=True,
    metavar="NAME",
    shell_complete=complete.jobs,
    help="Only this job, and its needs.",
)
@click.option(
    "-p",
    "--param",
    "params",
    multiple=True,
    type=ASSIGNMENT,
    shell_complete=complete.params,
    help="Set a parameter of the spec.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    type=ASSIGNMENT,
    metavar="PATH=VALUE",
    help="Replace any value of the spec, such as jobs.NAME.retries=2.",
)
@click.option("-n", "--engines", type=click.IntRange(min=1), help="How many engines.")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE",
    help=f"Also write results there; the suffix says how ({' '.join(suffixes())}).",
)
@click.option(
    "--format",
    "form",
    type=FORMAT,
    default="text",
    show_default=True,
    help="What stdout gets; raw: what the items print, as it is.",
)
@click.option("--tag", is_flag=True, help="With --format raw: each line begins with its item and a tab.")
@click.option("-q", "--quiet", is_flag=True, help="Print only when something failed.")
@click.option(
    "--summary",
    type=click.Choice(["short", "full"]),
    default="short",
    envvar="ARCLI_SUMMARY",
    show_default=True,
    help="How much of the end: full has the tables of timing. Also $ARCLI_SUMMARY.",
)
@click.option(
    "--ci",
    type=click.Choice(["auto", "github", "gitlab", "never"]),
    default="auto",
    show_default=True,
    help="Annotate failures and fold lines as this CI system reads them.",
)
@COLOR
@ERRORS
@click.option("-v", "--verbose", is_flag=True, help="Show how each item travelled.")
@click.option(
    "--progress",
    type=click.Choice(["auto", "bar", "plain", "never"]),
    default="auto",
    show_default=True,
    help="How far it is, on stderr.",
)
@TAIL
@click.option("--limit", type=click.IntRange(min=0), help="Only the first N items of each map.")
@click.option("--deadline", type=DURATION, help="Stop the whole run after this long.")
@click.option(
    "--fail-if",
    "expectations",
    multiple=True,
    type=EXPECTATION,
    help="Exit 5 if this holds, such as 'p95 > 200ms'; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--estimate", is_flag=True, help="Run some items, and tell how long all would take.")
@click.option("--resume", is_flag=True, help="Keep what the last run computed, and run what is missing.")
@click.option(
    "--run",
    "run_id",
    metavar="ID",
    shell_complete=complete.runs,
    help="With --resume or --failed: this run, or latest.",
)
@click.option("--failed", is_flag=True, help="Like --resume, and run what failed again.")
@click.option(
    "--explain", is_flag=True, help="Say what --resume keeps, what it runs, and why; also with --dry-run."
)
@click.option("--rerun-changed", is_flag=True, help="A changed function makes its items new ones.")
@click.option(
    "--cluster",
    "cluster_name",
    metavar="NAME",
    shell_complete=complete.clusters,
    help="Join a running cluster.",
)
@click.option("--inline", is_flag=True, help="Run the items in this process, for a debugger.")
@click.option(
    "-d",
    "--detach",
    is_flag=True,
    help="Print the run's id once the cluster is up; it goes on alone.",
)
@click.option("--no-overlap", is_flag=True, help="Exit 75 if this spec is running already.")
@click.pass_obj
def command(call: Call, /, **options: Any) -> int:
    """Run the jobs of SPEC, and stream their results to stdout.

    SPEC is a file, or - for standard input. Results go to stdout, everything else to stderr; what
    the run did is kept in .arcli/runs.

    \b
    Examples:
      arcli run sweep.yaml
      arcli run sweep.yaml -p n=100 -n 8 -o results.csv
      arcli run sweep.yaml --resume
    """
    from arcli.timing.process_age import process_age

    began = time.monotonic() - process_age()
    flags = RunFlags(**options)
    if (code := detached(flags)) is not None:
        return code
    with _early(flags) as helper:
        from arcli.specfile.load import load

        spec = load(flags.spec, params=dict(flags.params), sets=flags.sets, stdin=standard_input())
        if flags.jobs:
            from arcli.plan.choose import only

            spec = only(spec, flags.jobs)
        return run_spec(call, spec, flags, helper, began)


def detached(flags: RunFlags) -> int | None:
    """Start the run in a session of its own where that is asked for. Returns the exit code then.

    Raises UsageError for flags that contradict each other.
    """
    if flags.cluster_name and flags.inline:
        raise UsageError("--cluster joins engines, and --inline does without; give one of them")
    if flags.run_id and not flags.resumes:
        raise UsageError("--run says which run --resume or --failed goes on with; give one of them")
    if flags.explain and not flags.resumes:
        raise UsageError("--explain is about what --resume or --failed keeps; give one of them")
    if flags.detach and PART not in os.environ:
        from arcli.store.folder import run_root

        return detach.start(sys.argv[1:], run_root(os.environ), os.environ)
    return None


def run_spec(
    call: Call, spec: Spec, flags: RunFlags, helper: SupervisorProcess | None, began: float
) -> int:
    """Run a spec as the flags say, or show what would be done. Returns the exit code.

    ``helper`` is a cluster that is coming up already, ``began`` when the process did (monotonic).
    Raises UsageError, SpecError and what a run can raise.
    """
    from arcli.execution.run import at_once
    from arcli.specfile.model import expectations

    if flags.form == "raw" and len(spec.jobs) > 1:
        hint = f"--job NAME runs one; there are {', '.join(job.name for job in spec.jobs)}"
        raise UsageError("--format raw is for one job, and this spec has several", hint=hint)
    if flags.tag and flags.form != "raw":
        raise UsageError("--tag is for --format raw")
    expected = (*flags.expectations, *expectations(spec))
    if expected:
        from arcli.timing.thresholds import settle

        settle(expected, [job.name for job in spec.jobs])
        flags = replace(flags, expectations=expected)
    if flags.dry_run:
        from arcli.cli.dryrun import show

        if flags.explain:
            return _explain(spec, flags)
        return show(spec, flags)
    from arcli.plan.preview import preview

    preview(spec, slots=slots_of(spec, flags))
    if flags.estimate:
        return _estimate(call, spec, flags)
    _require_other_files(spec, flags.outputs)
    finished = _run(spec, flags, helper, began)
    call.told = finished.told and flags.form == "json"
    code = int(finished.summary.exit_code)
    if any(map(at_once, finished.errors)):
        call.told = True
        silence_stdout()
    with leaving(code) if finished.stopped else nullcontext():
        for error in finished.errors:
            tell(error, call)
    return code


def _estimate(call: Call, spec: Spec, flags: RunFlags) -> int:
    """Run a pilot and tell what the whole run would take. Returns 0, or how the pilot ended early."""
    from arcli.cli.estimate import estimate, show
    from arcli.cluster.cpus import usable_cpus
    from arcli.cluster.open import joins

    def pilot(spec: Spec, flags: RunFlags) -> Finished:
        return _run(spec, flags, None, time.monotonic())

    found, finished = estimate(spec, flags, pilot)
    for error in finished.errors:
        tell(error, call)
    if finished.errors or finished.stopped:
        return int(finished.summary.exit_code)
    here = spec.cluster.launcher == "embedded" and not (flags.cluster_name or joins(spec.cluster))
    usable = usable_cpus() if here and not flags.inline else found.engines
    show(found, finished, spec.name, usable, as_json=flags.form == "json")
    return 0


def _require_other_files(spec: Spec, outputs: Iterable[str]) -> None:
    """Raise UsageError where an output that a flag names is a file that the run reads."""
    from arcli.specfile.checks.overwrites import ELSEWHERE, files_read, overwritten

    paths = {Path(path): path for path in outputs if path != "-"}
    reads = files_read(spec.jobs, spec.file, spec.folder)
    for path, words in overwritten(paths, reads).items():
        raise UsageError(f"-o {path} is {words}", hint=ELSEWHERE)


@contextmanager
def _early(flags: RunFlags) -> Iterator[SupervisorProcess | None]:
    """A cluster that comes up while the spec is read, where the spec does not speak of clusters."""
    path = Path(flags.spec)
    plain = False
    if flags.spec != "-" and path.is_file():
        with path.open("rb") as file:
            plain = b"cluster" not in file.read(MOST_PEEKED)
    with early_cluster(flags, flags.engines) if plain else nullcontext() as helper:
        yield helper


@contextmanager
def early_cluster(flags: RunFlags, engines: int | None) -> Iterator[SupervisorProcess | None]:
    """An embedded cluster that comes up while the spec is read: most of a cold start.

    None where the flags ask for another kind, or for none.
    """
    helper = None
    elsewhere = flags.dry_run or flags.estimate or flags.inline or flags.cluster_name
    if not (elsewhere or any(name.startswith("cluster") for name, _ in flags.sets)):
        from arcli.cluster.cpus import usable_cpus
        from arcli.cluster.supervisor_process import Settings, SupervisorProcess

        helper = SupervisorProcess(Settings(engines or usable_cpus()))
    try:
        yield helper
    finally:
        if helper is not None:
            helper.close()


def _run(spec: Spec, flags: RunFlags, helper: SupervisorProcess | None, began: float) -> Finished:
    from arcli.cli.notices import Notices
    from arcli.execution.run import Options, execute
    from arcli.outputs.live import LiveOutput, live_stream
    from arcli.outputs.progress_display import make_progress
    from arcli.outputs.stream import standard_streams
    from arcli.plan.aside import logged
    from arcli.store.folder import run_root
    from arcli.store.live import LiveFile
    from arcli.store.storage import RunStorage

    streams = standard_streams(sys.stdout, sys.stderr, os.environ, flags.color)
    inline = is_inline(spec, flags)
    # What an item in this process prints to a descriptor would meet the display there.
    mode: Mode = "never" if inline or flags.quiet or flags.errors == "json" else flags.progress
    progress = make_progress(mode, streams, sys.stderr, os.environ, jobs=len(spec.jobs))
    tails = {job.name: flags.tail or ("both" if job.tail is True else job.tail or "") for job in spec.jobs}
    outputs = _outputs(spec, flags, streams, progress)
    if spec.cluster.python is not None and not (inline or flags.cluster_name):
        from arcli.plan.interpreter import require_ipyparallel

        require_ipyparallel(spec)
    root = run_root(os.environ)
    detached = Detached.take(os.environ)
    with (
        closing(Notices(quiet=flags.quiet, as_json=flags.errors == "json")) as notices,
        _lock(root, spec, notices, wanted=flags.no_overlap),
        _folder(root, spec, flags, notices) as (folder, kept),
        LiveOutput(live_stream(streams, progress, inline=inline), tails, LiveFile(folder.path)) as live,
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
            deadline=flags.deadline,
            stdin=standard_input(),
            kept=kept,
            history=kept if flags.explain else None,
            rerun_changed=flags.rerun_changed,
            whole_output=flags.form == "raw",
            progress=progress,
            listener=live,
            expectations=flags.expectations,
        )
        cluster = None if inline else _prepare(spec, flags, folder.path, helper)
        storage = RunStorage(folder)
        try:
            with logged(folder.path / "ipyparallel.log"):
                return execute(spec, options, storage, outputs, cluster)
        finally:
            if cluster is not None:
                cluster.stop()
            outputs.abort()
            storage.close()
            _tidy(root, spec, folder, notices)


def _tidy(root: Path, spec: Spec, folder: RunFolder, notices: Notices) -> None:
    """Remove old runs of the spec, as it or ``$ARCLI_KEEP`` says; tell once of many gigabytes."""
    from arcli.errors import OutputError
    from arcli.store.clean import Policy, clean_spec, has_grown_large, policy_from

    keep = spec.keep
    policy = policy_from(os.environ) if keep is None else Policy(keep=keep.runs, older_than=keep.age)
    try:
        if policy is not None and clean_spec(root, folder, policy):
            return
    except OutputError as error:
        notices.warn(error.message)
    with suppress(OSError):
        if has_grown_large(root):
            notices.warn(f"the runs in {root} are more than a gigabyte: `arcli clean` removes old ones")


def standard_input() -> BinaryIO | None:
    """Return the process's binary standard input, None where it is closed."""
    return sys.stdin.buffer if sys.stdin is not None else None


def _prepare(spec: Spec, flags: RunFlags, run: Path, helper: SupervisorProcess | None) -> Cluster:
    """A cluster that does what it can beforehand while this process goes on."""
    from arcli.cluster.open import open_cluster

    wanted = spec.cluster.engines
    return open_cluster(
        spec.cluster.model_copy(update={"python": spec.python}),
        engines=flags.engines or (None if wanted == "auto" else wanted),
        folder=spec.folder,
        scratch=run / "cluster",
        join=flags.cluster_name,
        helper=helper,
    )


def _outputs(spec: Spec, flags: RunFlags, streams: Streams, progress: Progress | None) -> Outputs:
    from arcli.outputs.ci import detect
    from arcli.outputs.open import Destination, open_outputs
    from arcli.outputs.run_end import RunOrigin
    from arcli.store.folder import run_root

    destinations = [Destination.of(output, spec.folder) for output in spec.output]
    destinations += [Destination(path=path) for path in flags.outputs]
    if flags.form == "raw" and all(destination.path != "-" for destination in destinations):
        # What a function returns is its output; a command has said it all.
        options = {"tag": flags.tag, "values": spec.jobs[0].kind != "command"}
        destinations.append(Destination(path="-", format="raw", options=options))
    return open_outputs(
        destinations,
        streams=streams,
        format=flags.form,
        jobs=len(spec.jobs),
        origin=RunOrigin(spec=flags.spec, host=socket.gethostname(), argv=sys.argv),
        ci=detect(flags.ci, os.environ),
        environ=os.environ,
        quiet=flags.quiet,
        full=flags.summary == "full",
        silent=flags.errors == "json",
        verbose=flags.verbose,
        progress=progress,
        runs=run_root(os.environ) / "runs",
    )


def _explain(spec: Spec, flags: RunFlags) -> int:
    """Say what a resumed run would keep, what it would run, and why. Returns the exit code."""
    from arcli.execution.explain import explain
    from arcli.store.folder import lineage, run_root
    from arcli.store.resume import Kept

    earlier = _earlier(run_root(os.environ), spec, flags)
    if earlier is None:
        click.echo(f"there is no run of {spec.file}: everything would run")
        return 0
    with Kept(lineage(earlier), earlier, failed=flags.failed, on_damage=lambda *damage: None) as kept:
        click.echo(f"of run {earlier.id}:")
        for sentence in explain(
            spec,
            kept,
            slots=slots_of(spec, flags),
            limit=flags.limit,
            rerun_changed=flags.rerun_changed,
        ):
            click.echo(f"  {plain(sentence)}")
    return 0


def _earlier(root: Path, spec: Spec, flags: RunFlags) -> RunFolder | None:
    """Find the run to go on with. Raises UsageError."""
    from arcli.store.folder import find_run, latest_to_resume

    if flags.run_id is not None and flags.run_id != "latest":
        return find_run(root, flags.run_id, os.environ)
    return latest_to_resume(root, spec.file, os.environ)


@contextmanager
def _lock(root: Path, spec: Spec, notices: Notices, *, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    from arcli.store.lock import Lock, lock_for

    with Lock.hold(lock_for(root, spec.file, os.environ), f"spec {spec.file}") as lock:
        if not lock.works:
            notices.warn("the file system has no locks: --no-overlap cannot see another run of this spec")
        yield


@contextmanager
def _folder(
    root: Path, spec: Spec, flags: RunFlags, notices: Notices
) -> Iterator[tuple[RunFolder, Kept | None]]:
    """The folder of this run, and what it keeps of the one that it goes on with."""
    from arcli.errors import OutputError
    from arcli.store.describe import describe, git_state
    from arcli.store.folder import RunFolder
    from arcli.store.known import note_root

    earlier = None
    if flags.resumes:
        earlier = _earlier(root, spec, flags)
        if earlier is None:
            notices.warn(f"there is no run of {spec.file} in {root}: starting anew")
    resumes = earlier.id if earlier is not None else None
    folder = RunFolder.create(root, describe(spec, argv=sys.argv, resumes=resumes))
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
        with _kept(earlier, folder, flags, notices) as kept:
            yield folder, kept
    finally:
        asked.join()


@contextmanager
def _kept(
    earlier: RunFolder | None, folder: RunFolder, flags: RunFlags, notices: Notices
) -> Iterator[Kept | None]:
    """What an earlier run has that this one need not compute."""
    if earlier is None:
        yield None
        return
    from arcli.store.folder import lineage
    from arcli.store.resume import Kept

    def damaged(path: Path, damage: Any) -> None:
        said = f"{damage.reason}, {damage.length} bytes from byte {damage.offset} on"
        notices.say(f"{path}: {said}: what it recorded runs again")

    lost: list[str] = []

    def note_lost(path: str) -> None:
        lost.append(path)
        if len(lost) <= MOST_LOST:
            notices.say(f"{path} is not there as it was made: its item runs again")
        elif len(lost) == MOST_LOST + 1:
            notices.say("so it is with others, whose items run again, too")

    with Kept(lineage(earlier), folder, failed=flags.failed, on_damage=damaged, on_lost=note_lost) as kept:
        notices.say(f"going on with run {earlier.id}: {len(kept)} items are kept")
        yield kept
