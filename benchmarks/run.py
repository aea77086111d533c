"""arcli and its peers side by side: whole processes, cold, in turn, over several rounds.

A table of medians and ratios against every bar; see README.md beside this file.
"""

from __future__ import annotations

import compileall
import tempfile
from pathlib import Path

import click
import table
from measure import HERE, BenchError
from rich.console import Console
from rows import ROWS, Missing, Row
from table import Measured

import arcli


@click.command(help=__doc__)
@click.option("--only", "names", multiple=True, type=click.Choice(list(ROWS)), help="This work.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="This share of the items: 0.02 for a quick look that says nothing about the bars.",
)
@click.option("--save", is_flag=True, help="Put the tables into README.md.")
def main(names: tuple[str, ...], rounds: int, scale: float, save: bool) -> None:
    if save and (names or scale != 1):
        raise click.UsageError("--save wants everything at full size: no --only, no --scale")
    console = Console(width=None if Console().is_terminal else 160)
    notes = Console(stderr=True)
    # An installed package is compiled, an editable one might not be.
    compileall.compile_dir(Path(arcli.__file__).parent, quiet=1)
    measured = [Measured(row=ROWS[name](scale)) for name in names or ROWS]
    for number in range(rounds):
        for one in measured:
            notes.print(f"round {number + 1} of {rounds}: {one.row.title}", highlight=False)
            measure_once(one)
    sheets = (table.bars(measured), table.figures(measured))
    for sheet in sheets:
        sheet.show(console)
    told = table.conditions(rounds, scale)
    console.print(told, highlight=False)
    if save:
        parts = [told, *(sheet.markdown() for sheet in sheets)]
        table.save(HERE / "README.md", {"table": "\n\n".join(parts)})


def measure_once(one: Measured) -> None:
    """One round of a row: everybody in turn; who fails or is missing is put down as absent."""
    row: Row = one.row
    for _ in range(row.times):
        for name, step in row.steps.items():
            if name in one.absent:
                continue
            with tempfile.TemporaryDirectory(prefix="arcli-bench-") as folder:
                try:
                    found = step(Path(folder))
                except (Missing, BenchError) as why:
                    one.absent[name] = str(why)
                    continue
            for figure, value in found.items():
                one.figures.setdefault(figure, []).append(value)


if __name__ == "__main__":
    main()
