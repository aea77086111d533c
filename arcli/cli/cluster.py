"""``arcli cluster``: clusters that outlive a run, shared with ``ipcluster``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec import to_builtins

from arcli.cli import complete
from arcli.cli.cluster_engines import execute, restart, scale, send_signal
from arcli.cli.options import ASSIGNMENT, DURATION, format_option

if TYPE_CHECKING:
    from arcli.cli.error_boundary import Call
    from arcli.cluster.named import Known, Look

FORMAT = format_option("text", "json", meaning="json: one document.")


@click.group("cluster", short_help="Clusters that outlive a run.")
def command() -> None:
    """Start, list, change and stop clusters that outlive a run.

    `arcli run SPEC --cluster NAME` joins one. `ipcluster list` shows them, too, and those that
    ipcluster has started are shown here.

    \b
    Examples:
      arcli cluster start -n 8
      arcli run sweep.yaml --cluster arcli
      arcli cluster stop arcli
    """


for verb in (execute, restart, scale, send_signal):
    command.add_command(verb)


@command.command("start")
@click.option("-n", "--engines", type=click.IntRange(min=1), help="How many engines.")
@click.option(
    "--launcher",
    metavar="NAME",
    default="local",
    show_default=True,
    help="How ipyparallel starts the engines: local, or any of its launchers' names.",
)
@click.option("--profile", default="default", show_default=True, help="IPython's profile.")
@click.option("--id", "cluster_id", default="arcli", show_default=True, help="Its name.")
@click.option("--python", metavar="FILE", help="The engines' interpreter; default: arcli's own.")
@click.option(
    "--option",
    "options",
    multiple=True,
    type=ASSIGNMENT,
    metavar="CLASS.TRAIT=VALUE",
    help="A traitlet of the launcher's, such as SlurmEngineSetLauncher.queue=short.",
)
@click.option("--insecure", is_flag=True, help="No CurveZMQ: who can reach its ports can use it.")
@click.option("--timeout", type=DURATION, default=60.0, metavar="DURATION", help="How long to wait: 60s.")
@FORMAT
def start(
    form: str,
    engines: int | None,
    launcher: str,
    profile: str,
    cluster_id: str,
    python: str | None,
    options: tuple[tuple[str, str], ...],
    insecure: bool,
    timeout: float,
) -> None:
    """Start a cluster that goes on until `arcli cluster stop`.

    \b
    Examples:
      arcli cluster start -n 8
      arcli cluster start -n 64 --launcher slurm --id big
    """
    from arcli import launchers
    from arcli.cluster.embedded.supervisor_process import usable_cpus
    from arcli.cluster.launched.ipyparallel_config import IpyparallelConfig
    from arcli.cluster.named import NAME, Known, profile_folder
    from arcli.cluster.open import check_python, engine_count
    from arcli.cluster.started import start as start_cluster
    from arcli.errors import UsageError

    # Embedded and inline engines end with the run that has them: nothing of them can be started to stay.
    startable = ["local", *launchers.ipyparallels()]
    if launcher not in startable:
        raise UsageError(f"there is no launcher {launcher!r}", hint=f"there are {', '.join(startable)}")
    for flag, name in (("--id", cluster_id), ("--profile", profile)):
        if not NAME.fullmatch(name):
            hint = "letters, digits, _ . and - make a name; a colon stands between a profile and an id"
            raise UsageError(f"{flag} {name!r} is no name of a cluster's", hint=hint)
    known = launchers.named(launcher)
    assert known is not None  # it is among them
    if known.local and python is not None:
        check_python(python)
    folder = profile_folder(profile)
    one = Known(profile=profile, cluster_id=cluster_id, security=folder / "security")
    # A traitlet's value is JSON where it is some: queue=short is text, and n=4 a number.
    traits: dict[str, Any] = {}
    for name, text in options:
        try:
            traits[name] = json.loads(text)
        except ValueError:
            traits[name] = text
    # Files of the cluster go where ipcluster would put them, so that its own tools find it, too.
    recipe = IpyparallelConfig(
        launcher=launcher,
        engines=engine_count(known, engines or (usable_cpus() if known.local else None), traits),
        profile=str(folder),
        scratch=str(folder / "log"),
        python=python or sys.executable,
        cluster_id=cluster_id,
        options=traits,
        insecure=insecure,
    )
    started = start_cluster(one, recipe, timeout, lambda sentence: click.echo(sentence, err=True))
    # The name goes to stdout, for scripts; what to type next is for people.
    if form == "json":
        click.echo(json.dumps(_row(one, started)))
        return
    click.echo(f"{one.name}: {_count(started)} at {started.address}")
    click.echo(f"arcli run SPEC --cluster {one.name}", err=True)


@command.command("list")
@click.option("--profile", help="Only those of this profile.")
@FORMAT
def list_(form: str, profile: str | None) -> None:
    """List the clusters that have left files, and whether they run.

    \b
    Examples:
      arcli cluster list
      arcli cluster list --format json
    """
    from arcli.cluster.named import every

    clusters = every(profile)
    rows = [_row(one, state) for one, state in clusters]
    if form == "json":
        click.echo(json.dumps(rows))
    elif not rows:
        click.echo("no cluster is known; `arcli cluster start` starts one", err=True)
    else:
        _table(("name", "state", "engines", "launcher", "address"), rows)
        # A cluster that was killed leaves its files: nobody but the user may say that they can go.
        for one, state in clusters:
            if state.state == "gone":
                hint = f"its files are left; {one.command('stop')} removes them"
                click.echo(f"{one.name} is gone, {hint}", err=True)


@command.command("stop")
@click.argument("names", nargs=-1, metavar="NAME...", shell_complete=complete.clusters)
@click.option("--all", "everything", is_flag=True, help="All that `arcli cluster list` shows.")
@FORMAT
@click.pass_obj
def stop(call: Call, form: str, names: tuple[str, ...], everything: bool) -> int:
    """Stop clusters, and remove their files. Exits 3 if one could not be stopped.

    \b
    Examples:
      arcli cluster stop big
      arcli cluster stop --all
    """
    from arcli.cli.error_boundary import tell
    from arcli.cluster import named, started
    from arcli.errors import ClusterError, ExitCode, UsageError

    # Neither is a mistake that would stop nothing, both one that would stop too much.
    if bool(names) == everything:
        raise UsageError("give the names of clusters, or --all")
    stopped, failed = [], []
    wanted = [one.name for one in named.known()] if everything else dict.fromkeys(names)
    for name in wanted:
        # One that cannot be stopped keeps no other one running.
        try:
            one = named.find(name)
            state = started.stop(one, lambda sentence: click.echo(sentence, err=True))
        except ClusterError as error:
            if len(wanted) == 1:
                raise
            failed.append({"name": name, "why": error.message})
            call.reported = True
            tell(error, call)
            continue
        stopped.append(_row(one, state))
        if form == "text":
            was_dead = state.state == "gone"
            click.echo(f"{one.name}: {'was gone, files removed' if was_dead else 'stopped'}")
    if form == "json":
        click.echo(json.dumps({"stopped": stopped, **({"failed": failed} if failed else {})}))
    return ExitCode.NO_CLUSTER if failed else ExitCode.OK


@command.command("status")
@click.argument("name", shell_complete=complete.clusters)
@FORMAT
def status(form: str, name: str) -> int:
    """Show a cluster's engines, and what they have to do. Exits 3 if it is gone.

    \b
    Examples:
      arcli cluster status big
    """
    from arcli.cluster import named
    from arcli.errors import ExitCode

    one = named.find(name)
    cluster = named.look(one)
    engines: list[Any] = []
    if cluster.engines:
        from arcli.cluster.asked import engines as ask_engines

        engines = [to_builtins(engine) for engine in ask_engines(one)]
    if form == "json":
        click.echo(json.dumps({**_row(one, cluster), "engines": engines}))
    else:
        where = f", {_count(cluster)} at {cluster.address}" if cluster.engines is not None else ""
        click.echo(f"{one.name}: {cluster.state}{where}")
        click.echo(f"{cluster.why or one.connection_file}", err=True)
        if engines:
            _table(("engine", "host", "pid", "waiting", "done"), engines)
    # Scripts ask by the exit code whether there is a cluster that can be joined.
    return ExitCode.OK if cluster.state == "running" else ExitCode.NO_CLUSTER


def _row(one: Known, look: Look) -> dict[str, Any]:
    return {
        "name": one.name,
        "profile": one.profile,
        "cluster_id": one.cluster_id,
        "state": look.state,
        "why": look.why,
        "engines": None if look.engines is None else len(look.engines),
        "launcher": one.launcher,
        "address": look.address,
        "connection_file": str(one.connection_file),
    }


def _count(look: Look) -> str:
    from arcli.timing.words import plural

    return plural(len(look.engines or ()), "engine")


def _table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """Left-aligned columns under their names."""
    cells = [[name.upper() for name in columns]]
    cells += [["-" if row[name] is None else str(row[name]) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())
