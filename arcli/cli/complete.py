"""Propose what a shell completes: names of jobs, parameters, runs, clusters. Raises nothing.

Each is a ``shell_complete`` of click (https://click.palletsprojects.com/en/stable/shell-completion/).
Where there is nothing to propose, the scripts of ``arcli completion`` leave it to the shell, which
completes the names of files.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class, split_arg_string

from arcli.errors import ArcliError
from arcli.paths import is_file

if TYPE_CHECKING:
    from arcli.specfile.tree import Node


MOST_RUNS = 100


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Leave it to the shell: the names of files."""
    return [CompletionItem(incomplete, type="file")]


def jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Propose the names of the jobs of the spec that is named on the command line."""
    from arcli.specfile.names import job_name

    root = _spec()
    if root is None:
        return []
    # The one job whose keys stand at the top is called as the spec is.
    listed = root.get("jobs")
    nodes = [root] if listed is None else listed.value if listed.kind == "list" else []
    names = [str(name.value) for node in nodes if (name := node.get("name")) is not None]
    return [CompletionItem(name) for name in map(job_name, names) if name.startswith(incomplete)]


def past_jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Propose the names of the jobs of the run that is named on the command line, or meant without it."""
    from arcli.cli.past import pick_current, pick_run

    run = None
    for word in split_arg_string(os.environ.get("COMP_WORDS", ""))[2:]:
        # Numbers are items, which a run's id may begin with as well.
        if run is None and word and not word.isdecimal():
            with suppress(ArcliError, OSError):
                run = pick_run(word)
    with suppress(ArcliError, OSError):
        run = run or (pick_run("latest") if ctx.info_name == "rerun" else pick_current(None))
    names = [] if run is None else [str(job.get("name")) for job in run.manifest.jobs]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def params(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Propose the parameters of the spec that is named on the command line, up to their ``=``."""
    root = _spec()
    listed = None if root is None else root.get("params")
    names = [str(name) for name, _ in listed.entries()] if listed is not None else []
    return [CompletionItem(f"{name}=") for name in names if f"{name}=".startswith(incomplete)]


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Propose the newest runs, with the names of their specs."""
    from arcli.store.folder import list_runs, run_root

    newest = islice(list_runs(run_root(os.environ)), MOST_RUNS)
    named = [(run.id, run.manifest.name) for run in newest if run.id.startswith(incomplete)]
    latest = [("latest", "the newest")] if "latest".startswith(incomplete) else []
    return [CompletionItem(name, help=text) for name, text in [*latest, *named]]


def runs_or_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Propose runs, and files where what is there begins as no run does."""
    return runs(ctx, param, incomplete) or files(ctx, param, incomplete)


def clusters(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Propose the clusters that there are."""
    from arcli.cluster.named import known

    return [CompletionItem(one.name) for one in known() if one.name.startswith(incomplete)]


def _spec() -> Node | None:
    """Return the spec that the command line names, as far as it can be read now.

    Click gives up an unfinished command line before it has told arguments from options, so that the
    words are looked at as the shell handed them over.
    """
    from arcli.specfile.compose import compose
    from arcli.specfile.names import run_name
    from arcli.specfile.tree import Node, read

    for word in split_arg_string(os.environ.get("COMP_WORDS", "")):
        if Path(word).suffix in {".yaml", ".yml", ".json"} and is_file(Path(word)):
            with suppress(ArcliError, OSError):
                root = compose(read(word))
                if root.get("name") is None and root.kind == "map":
                    root.put("name", Node("scalar", run_name(Path(word).stem), root.text, 0, 0))
                return root
    return None


VARIABLE = "_ARCLI_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command("completion", short_help="Print a script for a shell's completion.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, /, shell: str) -> None:
    """Print the script that makes SHELL complete options, job names, parameters, runs and clusters.

    The names of files are completed as ever. It goes into ~/.bashrc, ~/.zshrc (after compinit), or
    a folder of fish's.

    \b
    Examples:
      eval "$(arcli completion bash)"
      eval "$(arcli completion zsh)"
      arcli completion fish > ~/.config/fish/completions/arcli.fish
    """
    maker = get_completion_class(shell)
    assert maker is not None
    # Click's scripts propose nothing where arcli has no word for it. Each shell has a way of its own
    # to go on as for any other program, so that the names of files can still be completed.
    zsh_describes = 'if [ -n "$completions_with_descriptions" ]; then'
    pattern, replacement = {
        "bash": ("-o nosort", "-o nosort -o bashdefault -o default"),
        "zsh": (
            zsh_describes,
            f'if [[ -z "${{response[*]}}" ]]; then _files; return; fi\n    {zsh_describes}',
        ),
        "fish": ("--no-files ", ""),
    }[shell]
    template = maker.source_template.replace(pattern, replacement)
    script = type(shell, (maker,), {"source_template": template})
    click.echo(script(ctx.find_root().command, {}, "arcli", VARIABLE).source())
