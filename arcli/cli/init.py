"""``arcli init``: a first spec."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

TEMPLATE = """\
# Run it:        arcli run {file}
# Check it:      arcli check {file}
# See the plan:  arcli run {file} --dry-run
name: {name}

# Values that the command line can change: arcli run {file} -p n=1000
params:
  n: 20

# Once on every engine, before the first item. What is defined here is in scope below.
setup:
  imports: [math, time]
  # path: [src]              # added to sys.path; this file's folder always is
  # push: {{scale: 2}}         # values for every engine
  # run: |                   # any Python
  #   offset = 10

# What is called with each item: an expression, a function in a file beside this one
# (`work.py:score`), or one of a module (`mypackage.models:score`).
# `command: "convert {{}} {{stem}}.png"` in its place runs a program with each item.
map: "lambda x: (time.sleep(0.01), math.sqrt(x))[1]"

# The items: a list, or a source such as
#   {{lines: names.txt}}   {{csv: table.csv}}   {{jsonl: rows.jsonl}}   {{glob: "data/**/*.txt"}}
#   {{stdin: lines}}   {{product: {{lr: [0.1, 0.01], seed: {{range: 5}}}}}}
over: {{range: "${{params.n}}"}}

# chunksize: auto      # items in a message; auto measures, and chooses by itself
# ordered: true        # false: results are shown as they come
# retries: 2           # calls of an item that failed, beyond the first
# timeout: 30s         # for one item
# halt: soon           # stop when max_failures items have failed
# max_failures: 3%

# The values become one, in the order of the items; leave it out to keep them as they are.
reduce: operator:add

# Beside what the terminal shows: .jsonl .json .csv .parquet .txt
# output: [results.jsonl]
"""


@click.command("init", short_help="Write a first spec.")
@click.argument("file", default="job.yaml", metavar="[FILE]")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(file: str, force: bool) -> None:
    """Write a commented spec, which runs as it is, to FILE (job.yaml); - is stdout.

    \b
    Examples:
      arcli init
      arcli init sweep.yaml --force
    """
    from arcli.errors import UsageError
    from arcli.escape import plain
    from arcli.outputs.target import writing

    if file == "-":
        click.echo(TEMPLATE.format(file="job.yaml", name="job"), nl=False)
        return
    path, typed = Path(file), shlex.quote(file)
    # Names of runs and jobs are stricter than those of files.
    name = "".join(char if char.isalnum() or char in "_.-" else "_" for char in path.stem) or "job"
    text = TEMPLATE.format(file=typed, name=name)
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
