"""``arcli completion``: the script that makes a shell complete arcli's command lines."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

VARIABLE = "_ARCLI_COMPLETE"
FALLBACK = "-o nosort -o bashdefault -o default"


class _Bash(BashComplete):
    """Click's, but that what it has no word for is completed as for any other program."""

    source_template = BashComplete.source_template.replace(
        "-o nosort", "-o nosort -o bashdefault -o default"
    )


class _Zsh(ZshComplete):
    """Likewise."""

    source_template = ZshComplete.source_template.replace(
        '    if [ -n "$completions_with_descriptions" ]; then',
        '    if [[ -z "${response[*]}" ]]; then _files; return; fi\n\n'
        '    if [ -n "$completions_with_descriptions" ]; then',
    )


class _Fish(FishComplete):
    """Likewise."""

    source_template = FishComplete.source_template.replace("--no-files ", "")


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


@click.command("completion", short_help="Print a script for a shell's completion.")
@click.argument("shell", type=click.Choice(list(SHELLS)))
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
    click.echo(SHELLS[shell](ctx.find_root().command, {}, "arcli", VARIABLE).source())
