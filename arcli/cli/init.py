"""``arcli init``: a first spec."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

FILE = "job.yaml"
"""The spec that is written, and what it is called unless it is given another name."""


@click.command("init", short_help="Write a first spec.")
@click.argument("file", default=FILE, metavar="[FILE]")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(file: str, force: bool) -> None:
    """Write a commented spec, which runs as it is, to FILE (job.yaml); - is stdout.

    \b
    Examples:
      arcli init
      arcli init sweep.yaml --force
    """
    from importlib import resources

    from arcli.errors import UsageError
    from arcli.escape import plain
    from arcli.outputs.target import writing

    text = (resources.files("arcli.cli") / FILE).read_text("utf-8")
    if file == "-":
        click.echo(text, nl=False)
        return
    path, typed = Path(file), shlex.quote(file)
    # Names of runs and jobs are stricter than those of files.
    name = "".join(char if char.isalnum() or char in "_.-" else "_" for char in path.stem) or "job"
    text = text.replace(FILE, typed).replace("name: job\n", f"name: {name}\n")
    # Mode x fails where the file exists, without a moment between asking and writing.
    with writing(file):
        try:
            with path.open("w" if force else "x", encoding="utf-8", errors="backslashreplace") as out:
                out.write(text)
        except FileExistsError:
            raise UsageError(
                f"{file} is there already", hint="--force replaces it; or name another file"
            ) from None
    click.echo(f"{plain(file)} is written; try: arcli run {plain(typed)}")
