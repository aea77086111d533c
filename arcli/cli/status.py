"""``arcli status``: how a run stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from msgspec import to_builtins

from arcli.cli import complete
from arcli.cli.options import color_option, format_option
from arcli.cli.past import output_page, pick_current, require_end

if TYPE_CHECKING:
    from arcli.store.folder import RunFolder


STACKS = 1.5
"""Seconds that engines have to say where they are."""


@click.command("status", short_help="Show how a run stands.")
@click.argument("run", required=False, metavar="[RUN]", shell_complete=complete.runs)
@format_option("text", "json", meaning="json: one object, with times in ISO 8601 UTC.")
@click.option("--stacks", is_flag=True, help="Show where in the code each running Python item is.")
@color_option(exposed=False)
def command(run: str | None, form: str, stacks: bool) -> None:
    """Show how RUN stands: its jobs, how far they are, its engines.

    RUN is an id or its beginning; by default the newest run that goes on, else the newest. A run
    that was killed before its end is exit 3, with the command that resumes it.

    \b
    Examples:
      arcli status
      arcli status 20261126 --format json
    """
    from arcli.record import dump

    # The exit code comes last: what is known of a run that was killed is shown all the same.
    folder = pick_current(run)
    with output_page(None) as page:
        if form == "json":
            tree = _tree(folder)
            if stacks:
                tree["stacks"] = {str(slot): text for slot, text in _asked(folder).items()}
            page.target.write(dump(tree) + b"\n")
        else:
            page.write("".join(f"{line}\n" for line in _lines(folder)))
            if stacks:
                page.write("".join(f"{line}\n" for line in _stacks(folder)))
    require_end(folder)


def _tree(run: RunFolder) -> dict[str, Any]:
    """Return all there is to tell, as one object; ``state`` is running, ended or killed."""
    from arcli.store import past

    state = past.current_state(run)
    about = {
        "run": run.id,
        "name": run.manifest.name,
        "state": past.state_of(run),
        "exit_code": run.manifest.exit_code,
        "folder": str(run.path),
    }
    return about if state is None else {**to_builtins(state), **about}


def _lines(run: RunFolder) -> Iterator[str]:
    """Yield how the run stands, its jobs, and what each engine of one that goes on is at."""
    import time

    from arcli.escape import one_line
    from arcli.store import past
    from arcli.store.channel import job_words
    from arcli.timing.words import plural
    from arcli.units import format_seconds, parse_time

    # Whether it goes on is told by its lock or its heart, since the file of its state stays as it was
    # when somebody kills it.
    how, state = past.state_of(run), past.current_state(run)
    name = one_line(run.manifest.name) or "a run"
    # As its verdict and `arcli runs` have it, with what came before its folder was made.
    summary = past.summary_of(run) if how == "ended" else None
    passed = past.ended(run, how) - past.began(run) if summary is None else summary.wall
    took = format_seconds(max(0.0, passed))
    if how == "ended":
        why = f" ({one_line(summary.error)})" if summary is not None and summary.error else ""
        yield f"{name}, run {run.id}: ended after {took}, exit {run.manifest.exit_code}{why}"
    elif how == "killed":
        yield f"{name}, run {run.id}: killed after {took}"
    elif state is None:
        yield f"{name}, run {run.id}: starting for {took}"
    else:
        where = f"process {state.pid} on {one_line(state.host)}"
        yield f"{name}, run {run.id}, {where}: {state.phase} for {took}"
        if state.stopping is not None:
            yield f"  it ends: {one_line(state.stopping)}"
    if state is None:
        return
    width = max((len(job.name) for job in state.jobs), default=0)
    for job in state.jobs:
        yield f"  {job.name:<{width}}  {job_words(job, killed=how == 'killed')}"
    if how != "running":
        return
    ready = f"{state.ready} of {plural(len(state.engines), 'engine')} ready"
    if state.ready > len(state.engines):  # items that run in the run's own process have none
        ready = "without engines"
    yield f"  {ready}, {plural(state.running, 'item')} under way"
    for engine in state.engines:
        if engine.running is not None:
            since = parse_time(engine.since)
            waited = "" if since is None else f" for {format_seconds(max(0.0, time.time() - since))}"
            host = one_line(engine.host or "?")
            yield f"    engine {engine.engine_id} on {host}: {one_line(engine.running)}{waited}"


def _asked(run: RunFolder) -> dict[int, str]:
    """Ask each engine where in the code it is. Returns what they answer, by slot. Raises OutputError."""
    from arcli.errors import OutputError
    from arcli.store import past
    from arcli.store.channel import ask_stacks

    # Engines of a run that has ended answer nothing, and nobody should wait for them.
    state = past.current_state(run)
    if state is None or past.state_of(run) != "running":
        return {}
    try:
        return ask_stacks(
            run.path, [engine.slot for engine in state.engines if engine.slot is not None], STACKS
        )
    except OSError as error:
        raise OutputError(f"{run.path}: engines cannot be asked: {error.strerror}") from None


def _stacks(run: RunFolder) -> Iterator[str]:
    """Yield the stacks as text; of what does not answer, why that may be."""
    from arcli.escape import plain
    from arcli.store import past

    answers, state = _asked(run), past.current_state(run)
    # No answer and an empty one differ: one engine cannot be asked, the other waits for a child.
    for engine in () if state is None else state.engines:
        text = answers.get(-1 if engine.slot is None else engine.slot)
        if text is None:
            yield f"engine {engine.engine_id}: no answer (idle, on another disk, in code in C)"
        elif not text:
            yield f"engine {engine.engine_id}: in a command"
        else:
            yield f"engine {engine.engine_id}:"
            yield plain(text.rstrip("\n"))
