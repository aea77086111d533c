"""Read the command line, one file a verb; turn errors into messages and exit codes, once.

A verb's module is imported when it is invoked, so that ``arcli --help`` answers at once. Each has a
``command: click.Command``, which returns its exit code, or None for 0.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from arcli import __version__
from arcli.cli import error_boundary
from arcli.errors import OutputError, UsageError


class Verb(NamedTuple):
    """Where a command lives, and what it is for."""

    module: str
    help: str


VERBS = {
    "run": Verb("arcli.cli.run", "Run a spec and stream what comes back."),
    "map": Verb("arcli.cli.map", "Run a command or a function over items, without a spec."),
    "check": Verb("arcli.cli.check", "Check specs; run nothing."),
    "status": Verb("arcli.cli.status", "Show how a run stands."),
    "tail": Verb("arcli.cli.tail", "Show the results of a run as they come."),
    "wait": Verb("arcli.cli.wait", "Wait for runs to end, and exit as they did."),
    "cancel": Verb("arcli.cli.cancel", "Stop a run, or let it end early."),
    "show": Verb("arcli.cli.show", "Show the records of a run, or one item whole."),
    "rerun": Verb("arcli.cli.rerun", "Run items of a past run again, here; with a debugger."),
    "runs": Verb("arcli.cli.runs", "List past runs, newest first."),
    "report": Verb("arcli.cli.report", "Show where the time of a past run went."),
    "compare": Verb("arcli.cli.compare", "Compare the timing of two runs; a gate for CI."),
    "clean": Verb("arcli.cli.clean", "Remove the folders of old runs."),
    "schema": Verb("arcli.cli.schema", "Print the JSON Schema of specs, for editors."),
    "init": Verb("arcli.cli.init", "Write a commented spec that runs as it is."),
    "completion": Verb("arcli.cli.complete", "Print a script for a shell's completion."),
    "cluster": Verb("arcli.cli.cluster", "Start, list and stop clusters that outlive a run."),
    "doctor": Verb("arcli.cli.doctor", "Say what works on this machine, and what to do about the rest."),
}

SILENT = {"wait", "cancel"}
"""Verbs that write nothing to stdout."""


class Verbs(click.Group):
    """A group that knows its commands by name, and imports only the one that is invoked."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which people meet them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb's module; None for a name that is no verb."""
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        command = importlib.import_module(verb.module).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb as click does, with a suggestion for a mistyped one."""
        name = args[0]
        if name not in VERBS and not name.startswith("-") and not ctx.resilient_parsing:
            import difflib  # slower to import than everything else that --help needs

            near = difflib.get_close_matches(name, VERBS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(VERBS)}."
            ctx.fail(f"No such command {name!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and exit; with ``standalone_mode=False`` what click does then."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode, **extra)
        arguments = sys.argv[1:] if args is None else list(args)
        call = error_boundary.Call.of(arguments)

        def invoke() -> Any:
            extra.setdefault("obj", call)
            # "python -m arcli" is not what people typed, nor what they should.
            return super(Verbs, self).main(arguments, prog_name or "arcli", complete_var, False, **extra)

        sys.exit(error_boundary.guard(invoke, call))


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Print what a report of a bug should tell: arcli, ipyparallel, Python."""
    if value and not ctx.resilient_parsing:
        from importlib import metadata
        from platform import python_version

        other = f"ipyparallel {metadata.version('ipyparallel')}, Python {python_version()}"
        click.echo(f"arcli {__version__} ({other})")
        ctx.exit()


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
    help="Show the version, with those of ipyparallel and Python.",
)  # fmt: skip
@click.pass_context
def main(ctx: click.Context) -> None:
    """Run batches of Python functions and commands in parallel, from a YAML spec.

    \b
    Examples:
      arcli init && arcli run job.yaml
      arcli map 'gzip -9 {}' ::: *.log
      arcli COMMAND -h
    """
    # Every path that follows is relative to it, and would fail with a traceback of its own.
    try:
        os.getcwd()  # noqa: PTH109 - pathlib takes longer to import than the help to write
    except FileNotFoundError:
        raise UsageError(
            "the working directory does not exist any more", hint="change to one that does, then try again"
        ) from None
    # What a verb prints would be lost without a word.
    if sys.stdout is None and ctx.invoked_subcommand not in SILENT:
        raise OutputError("standard output is closed", hint="redirect it: > results.txt, or > /dev/null")
