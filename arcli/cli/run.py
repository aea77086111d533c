"""``arcli run``: the main job."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from arcli.cli import complete, detach
from arcli.cli.assembly import execute_spec, explain_resume, process_age, standard_input
from arcli.cli.detach import PART
from arcli.cli.error_boundary import Call, leaving, silence_stdout, tell
from arcli.cli.options import (
    DURATION,
    ERRORS,
    FORMAT,
    PARAMS,
    SETS,
    TAIL,
    RunFlags,
    WithTail,
    bounded,
    choice,
    color_option,
    fail_if_option,
    slots_of,
)
from arcli.errors import UsageError
from arcli.outputs.registry import suffixes
from arcli.paths import is_file

if TYPE_CHECKING:
    from arcli.cluster.embedded.supervisor_process import SupervisorProcess
    from arcli.specfile.model import Spec

STDOUT = 1
"""The descriptor of standard output."""
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
@PARAMS
@SETS
@click.option("-n", "--engines", type=click.IntRange(min=1), help="How many engines.")
@click.option(
    "-j",
    "--max-procs",
    "at_once",
    type=click.IntRange(min=1),
    callback=bounded,
    metavar="N",
    help="How many items at a time, on all engines together.",
)
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
@choice(
    "--summary",
    ("short", "full"),
    envvar="ARCLI_SUMMARY",
    show_envvar=True,
    help="How much of the end: full has the tables of timing.",
)
@choice(
    "--ci",
    ("auto", "github", "gitlab", "never"),
    help="Annotate failures and fold lines as this CI system reads them.",
)
@color_option(exposed=True)
@ERRORS
@click.option("-v", "--verbose", is_flag=True, help="Show how each item travelled.")
@choice(
    "--progress",
    ("auto", "full", "bar", "plain", "never"),
    help="How far it is, on stderr; full: with a line an engine, which auto has where items take long.",
)
@TAIL
@click.option("--delay", type=DURATION, help="Wait so long between the starts of two items.")
@click.option(
    "--limit", type=click.IntRange(min=0), callback=bounded, help="Only the first N items of each map."
)
@click.option("--deadline", type=DURATION, help="Stop the whole run after this long.")
@fail_if_option("p95 > 200ms")
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
    "-d", "--detach", is_flag=True, help="Print the run's id once the cluster is up; it goes on alone."
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
    began = time.monotonic() - process_age()
    flags = RunFlags(**options)
    if (code := detached(flags)) is not None:
        return code
    # A spec that has no word of clusters wants an embedded one, which can come up while the spec is
    # read. The word in a comment costs this head start, and nothing else.
    path, plain = Path(flags.spec), False
    # What is wrong with the file is told where it is read for real.
    if flags.spec != "-" and is_file(path):
        with suppress(OSError), path.open("rb") as file:
            plain = b"cluster" not in file.read(MOST_PEEKED)
    with early_cluster(flags, flags.engines) if plain and not flags.at_once else nullcontext() as helper:
        from arcli.specfile.load import load

        spec = load(flags.spec, params=dict(flags.params), sets=flags.sets, stdin=standard_input())
        if flags.jobs:
            from arcli.plan.preview import only

            spec = only(spec, flags.jobs)
        return run_spec(call, spec, flags, helper, began)


def detached(flags: RunFlags) -> int | None:
    """Start the run in a session of its own where that is asked for. Returns the exit code then.

    Raises UsageError for flags that contradict each other.
    """
    if flags.cluster_name and flags.inline:
        raise UsageError("--cluster joins engines, and --inline does without; give one of them")
    if flags.dry_run and flags.estimate:
        raise UsageError("--dry-run does nothing, and --estimate runs some items; give one of them")
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

    if flags.delay is not None:
        jobs = [job.model_copy(update={"delay": flags.delay}) for job in spec.jobs]
        spec = spec.model_copy(update={"jobs": jobs})
    if flags.form == "raw" and len(spec.jobs) > 1:
        hint = f"--job NAME runs one; there are {', '.join(job.name for job in spec.jobs)}"
        raise UsageError("--format raw is for one job, and this spec has several", hint=hint)
    if flags.tag and flags.form != "raw":
        raise UsageError("--tag is for --format raw")
    # What the spec expects and what flags do holds together: neither takes the other's place.
    expected = (*flags.expectations, *expectations(spec))
    if expected:
        from arcli.timing.thresholds import settle

        settle(expected, [job.name for job in spec.jobs])
        flags = replace(flags, expectations=expected)
    if flags.dry_run:
        from arcli.cli.preview import show_plan

        if flags.explain:
            return explain_resume(spec, flags)
        return show_plan(spec, flags)
    from arcli.plan.preview import preview

    # All that can be known to be wrong is, before an engine is paid for.
    preview(spec, slots=slots_of(spec, flags), stdin=standard_input())
    if flags.estimate:
        from arcli.cli.preview import estimate_run

        return estimate_run(call, spec, flags)
    _require_other_files(spec, flags.outputs)
    finished = execute_spec(spec, flags, helper, began)
    call.reported = finished.reported and flags.form == "json"
    code = int(finished.summary.exit_code or 0)
    # Whoever wants an end at once, or has closed stdout, is told nothing there any more.
    if any(map(at_once, finished.errors)):
        call.reported = True
        silence_stdout()
    with leaving(code) if finished.stopped else nullcontext():
        for error in finished.errors:
            tell(error, call)
    return code


def _require_other_files(spec: Spec, outputs: Iterable[str]) -> None:
    """Raise UsageError where stdout, or an output that a flag names, is a file that the run reads.

    Those in the spec were looked at when it was loaded, with their places.
    """
    from arcli.specfile.checks.whole import ELSEWHERE, files_read, overwritten

    paths: dict[Path | int, str] = {Path(path): f"-o {path}" for path in outputs if path != "-"}
    # A run that reads what it prints would never end.
    if sys.stdout is not None:
        paths[STDOUT] = "stdout"
    reads = files_read(spec.jobs, spec.setup, spec.file, spec.folder)
    for name, meaning in overwritten(paths, reads).items():
        raise UsageError(f"{name} is {meaning}", hint=ELSEWHERE)


@contextmanager
def early_cluster(flags: RunFlags, engines: int | None) -> Iterator[SupervisorProcess | None]:
    """Start an embedded cluster while the spec is read: most of a cold start.

    None where the flags ask for another kind, or for none. Raises ClusterError where limits of this process
    leave no room for one.
    """
    helper = None
    elsewhere = flags.dry_run or flags.estimate or flags.inline or flags.cluster_name
    if not (elsewhere or any(name.startswith("cluster") for name, _ in flags.sets)):
        from arcli.cluster.embedded.process_limits import check_limits
        from arcli.cluster.embedded.supervisor_process import Settings, SupervisorProcess, usable_cpus

        # How many engines there will be a spec that includes another one may yet say.
        check_limits(engines or 1, forked=sys.platform == "linux")
        helper = SupervisorProcess(Settings(engines or usable_cpus()))
    try:
        yield helper
    finally:
        if helper is not None:
            helper.close()
