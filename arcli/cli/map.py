"""``arcli map``: flags and words in, a spec out, and then what ``arcli run`` does with it."""

from __future__ import annotations

import copy
import io
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem
from msgspec.structs import replace

from arcli.cli import complete
from arcli.cli.assembly import process_age, standard_input
from arcli.cli.error_boundary import Call
from arcli.cli.map_words import Batch, marked_inputs, own_names, split_words
from arcli.cli.options import ASSIGNMENT, Parsed, RunFlags, WithTail
from arcli.cli.run import command as run_command
from arcli.cli.run import detached, early_cluster, run_spec
from arcli.errors import OutputError, SpecError, UsageError
from arcli.units import parse_duration

if TYPE_CHECKING:
    from arcli.specfile.model import Spec

NOT_HERE = {"spec", "jobs", "params"}
"""What of ``arcli run`` is about the file of a spec."""
SAVED = {
    "at_once", "deadline", "delay", "engines", "expectations", "outputs", "sets", "tail",
    "color", "errors",
}  # fmt: skip
"""What of it a saved spec says, and what is only about messages."""
DEFAULT_FORMAT = "raw"


def _halt(text: str) -> dict[str, Any]:
    """Read ``now,fail=1``, ``soon,success=3%``, ``never``, as GNU parallel has them: the key of a job."""
    how, *limits = text.split(",")
    if how not in {"never", "soon", "now"}:
        raise ValueError(f"{how!r} is none of never, soon, now")
    if how == "never" or not limits:
        return {"halt": how}
    keys: dict[str, Any] = {"how": how}
    for limit in limits:
        reason, _, number = limit.partition("=")
        if reason == "done":
            raise ValueError(f"{limit}: fail=N and success=N are reasons to stop here")
        if reason not in {"fail", "success"} or not number:
            raise ValueError(f"{limit!r} is not fail=N, success=N, or N% in their place")
        keys["failed" if reason == "fail" else "ok"] = int(number) if number.isdecimal() else number
    return {"halt": keys}


def _time_limit(text: str) -> float | str:
    """Read a duration, or leave ``200%`` of what items take."""
    return text if text.endswith("%") else parse_duration(text)


HALT = Parsed("HOW[,fail=N|success=N]", _halt)
TIME_LIMIT = Parsed("DURATION|N%", _time_limit)


class MapCommand(WithTail):
    """Takes what follows the first ``:::`` out of click's hands: items may look like anything."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """See click. Behind a mark there are only items, which are often files."""
        if ctx.meta["arcli.map.inputs"]:
            return [CompletionItem(incomplete, type="file")]
        return super().shell_complete(ctx, incomplete)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        flags, arguments = split_words(args)
        ctx.meta["arcli.map.inputs"] = arguments
        try:
            return super().parse_args(ctx, flags)
        except click.NoSuchOption as error:
            hint = "flags of the command itself: quote it all ('ping -c1 {}'), or put -- before it"
            raise click.UsageError(f"{error.format_message()} ({hint})", ctx) from None


@click.command("map", cls=MapCommand, short_help="Run a command or a function over items.")
@click.argument("call", nargs=-1, shell_complete=complete.files)
@click.option(
    "-f", "--function", metavar="FUNCTION", help="Call this (file.py:name, module:name, an expression)."
)
@click.option(
    "--over", multiple=True, type=ASSIGNMENT, metavar="NAME=VALUES",
    help="A named input: a=1,2,3 or b=range:5 or f=glob:*.txt; several give every combination.",
)  # fmt: skip
@click.option(
    "-a", "--lines", multiple=True, metavar="FILE", help="A file whose lines are the items, as ::::."
)
@click.option("--csv", metavar="FILE", help="A table whose rows are the items: {column} in the command.")
@click.option("--jsonl", metavar="FILE", help="JSON Lines whose values are the items.")
@click.option(
    "-0", "--null", is_flag=True, help="Items on standard input end with NUL, as of find -print0."
)
@click.option(
    "--pipe", is_flag=True, help="Give blocks of standard input, or of -a FILE, to the command's own."
)
@click.option("--block", metavar="SIZE", help="With --pipe: how long a block is at least (1M).")
@click.option("--recstart", metavar="TEXT", help="With --pipe: how the first line of a record begins.")
@click.option("-k", "--keep-order", is_flag=True, help="Output in the order of the items.")
@click.option("--retries", type=click.IntRange(min=0), help="Try what fails so many times more.")
@click.option("--timeout", type=TIME_LIMIT, help="End an item that takes longer, or 200% of the median.")
@click.option("-N", "--batch", type=click.IntRange(min=1), metavar="N", help="Give N items to each call.")
@click.option("--halt", type=HALT, help="When to stop early: now,fail=1, soon,fail=3% or now,success=1.")
@click.option("--outdir", metavar="PATH", help="A folder for each item, such as out/{}.")
@click.option("--save", metavar="FILE", help="Write the spec that this stands for, and run nothing.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> int:
    """Run CALL once for each item, several at a time, and print what it prints.

    Items follow :::, lines of files ::::, both several times for every combination, :::+ and
    ::::+ to go side by side; without any they are lines of standard input. {} is the item, and is
    appended where no place is named. Values never become shell text. One word is a shell's
    command; several are a program and its arguments.

    \b
    Examples:
      arcli map 'gzip -9 {}' ::: *.log
      find . -name '*.wav' -print0 | arcli map -0 'flac {}'
      arcli map 'sim {a} {b}' --over a=1,2,3 --over b=range:5
      arcli map -f model.py:score ::: 1 2 3
    """
    began = time.monotonic() - process_age()
    call: Call = ctx.obj
    names = {*RunFlags.__struct_fields__}
    flags = RunFlags(spec="", **{name: value for name, value in options.items() if name in names})
    long = [name for option in ctx.command.params for name in option.opts if name.startswith("--")]
    batch = _batch(options, ctx.meta["arcli.map.inputs"], long)
    if options["save"]:
        _save(batch, flags, options["save"])
        # What no spec has a key for is not dropped in silence.
        own = [
            option.opts[-1]
            for option in run_command.params
            if option.name not in NOT_HERE | SAVED
            and ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        ]
        if own and not flags.quiet:
            listing = ", ".join(own)
            click.echo(f"arcli: the saved spec does not have {listing}: say it to arcli run", err=True)
        return 0
    # Whoever forgot the items would wait for a command that waits for them.
    if batch.source == ("stdin", "lines") and sys.stdin is not None and sys.stdin.isatty():
        click.echo("arcli: items are read from the terminal, one a line; Ctrl-D ends them", err=True)
    if (code := detached(flags)) is not None:
        return code
    engines = _fewer(flags.engines, flags.at_once)
    if engines and options["call"] and not flags.engines and not flags.delay:
        from arcli.cluster.embedded.supervisor_process import usable_cpus

        engines = min(engines, usable_cpus())
    with early_cluster(flags, engines) as helper:
        from arcli.cli.map_spec import relative_to, spec_tree
        from arcli.specfile.load import from_tree

        spec = from_tree(
            spec_tree(batch, relative_to(Path.cwd())),
            file=" ".join(["arcli map", *(batch.call or [f"-f {batch.function}"])]),
            folder=Path.cwd(),
            sets=flags.sets,
            stdin=standard_input(),
        )
        return run_spec(call, spec, flags, helper, began)


def _batch(flags: Mapping[str, Any], words: Sequence[str], options: Sequence[str]) -> Batch:
    """Return what the flags and words add up to. Raises UsageError where they contradict each other."""
    if bool(flags["call"]) == bool(flags["function"]):
        what = (
            "a command and -f FUNCTION exclude each other" if flags["call"] else "there is nothing to call"
        )
        raise UsageError(
            what, hint="arcli map 'gzip {}' ::: FILE…, or arcli map -f file.py:function ::: ITEM…"
        )
    blocks = _blocks(flags)
    # Files after -a are what files after :::: are, and combine with the rest as those do.
    files = () if blocks else flags["lines"]
    marked = list(marked_inputs([*words, *(part for file in files for part in ("::::", file))], options))
    tables: list[tuple[str, Any]] = [(key, flags[key]) for key in ("csv", "jsonl") if flags[key]]
    if flags["null"]:
        tables.append(("stdin", "nul"))
    if blocks:
        tables.append(("blocks", blocks))
    # A table's rows have names of their own, which leaves nothing to combine them with.
    if len(tables) + bool(marked or flags["over"]) > 1:
        raise UsageError("--csv, --jsonl, -0 and --pipe are all of the input: they go with no other")
    names = [name for name, _ in flags["over"]]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise UsageError(f"--over {twice}=… is there twice", hint=f"{twice}=1,2,3 has several values")
    taken = next((name for name in names if name in own_names(marked)), None)
    if taken is not None:
        raise UsageError(
            f"--over {taken}=… is there twice: {taken} is the name of an input after :::",
            hint="--over takes any other name",
        )
    if not (tables or marked or names):
        tables.append(("stdin", "lines"))
    # `-` is standard input wherever a file can stand.
    source = None
    if tables:
        (key, value), *_ = tables
        source = ("stdin", key) if value == "-" else (key, value)
    # Only what was asked for goes into the spec, so that one that is saved reads as if typed.
    job: dict[str, Any] = {} if flags["keep_order"] else {"ordered": False}
    job.update(flags["halt"] or {})
    for key in ("retries", "timeout", "delay", "batch"):
        if flags[key] is not None:
            job[key] = flags[key]
    top: dict[str, Any] = {}
    # Flags of a run that a spec can say, too, are lost on whoever runs the saved one.
    if flags["save"]:
        engines, concurrency = _at_once(flags)
        top.update({"cluster": {"engines": engines}} if engines else {})
        expected = [expectation.text for expectation in flags["expectations"]]
        top.update({"expect": expected} if expected else {})
        job.update({"concurrency": concurrency} if concurrency > 1 else {})
        job.update({key: flags[key] for key in ("deadline", "tail") if flags[key] is not None})
    return Batch(
        call=flags["call"],
        function=flags["function"],
        inputs=marked,
        over=flags["over"],
        outdir=flags["outdir"],
        source=source,
        job=job,
        top=top,
    )


def _at_once(flags: Mapping[str, Any]) -> tuple[int | None, int]:
    """Return engines (None: nothing was said) and items side by side in each, for a spec that is saved.

    One engine runs as many as are asked for, where it can, on whatever machine the saved spec is run.
    """
    from arcli.syntax import is_async

    engines, at_once = flags["engines"], flags["at_once"]
    if at_once is None:
        return engines, 1
    function = flags["function"]
    beside = function is None or (flags["outdir"] is None and is_async(function, Path.cwd()) is True)
    if not beside or flags["delay"]:
        return _fewer(engines, at_once), 1
    engines = min(engines or 1, at_once)
    return engines, math.ceil(at_once / engines)


def _fewer(engines: int | None, at_once: int | None) -> int | None:
    """Return how many engines are of use for so many items at a time; None where nothing was said."""
    return min((number for number in (engines, at_once) if number is not None), default=None)


def _blocks(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of ``--pipe``, none where it is not asked for. Raises UsageError."""
    settings = {"bytes": flags["block"], "start": flags["recstart"]}
    settings = {key: value for key, value in settings.items() if value is not None}
    if not flags["pipe"]:
        if settings:
            raise UsageError("--block and --recstart are for --pipe")
        return {}
    if len(flags["lines"]) > 1:
        raise UsageError("--pipe cuts one file, or standard input")
    return {"of": next((file for file in flags["lines"] if file != "-"), "stdin"), **settings}


def spec_again(argv: Sequence[str], folder: Path) -> Spec:
    """Make the spec of an earlier ``arcli map`` once more, from its command line and working directory.

    Items of standard input are not among it. Raises UsageError, SpecError.
    """
    from arcli.cli.map_spec import spec_tree
    from arcli.specfile.load import from_tree

    context = command.make_context("map", list(argv[2:]), resilient_parsing=True)
    batch = _batch(context.params, context.meta["arcli.map.inputs"], ())
    return from_tree(
        spec_tree(batch, lambda path: path),
        file=f"arcli map {batch.name}",
        folder=folder,
        sets=context.params["sets"],
        stdin=io.BytesIO(),
    )


def _save(batch: Batch, flags: RunFlags, path: str) -> None:
    """Write the spec to a file, or to standard output for ``-``. Raises OutputError, SpecError."""
    from arcli.cli.map_spec import relative_to, spec_tree, yaml_text
    from arcli.specfile.overrides import set_values

    relative = relative_to(Path.cwd() if path == "-" else Path(path).resolve().parent)
    files = [file if file == "-" else relative(file) for file in flags.outputs]
    tree = spec_tree(replace(batch, top={**batch.top, **({"output": files} if files else {})}), relative)
    if problems := list(set_values(tree, flags.sets)):
        raise SpecError(problems)
    try:
        text = yaml_text(tree)
        if path == "-":
            click.echo(text, nl=False)
        else:
            Path(path).write_text(text, "utf-8")
    except UnicodeError:
        hint = "such items can be read from a file: :::: FILE"
        raise UsageError("an item is not UTF-8 text, which a spec cannot hold", hint=hint) from None
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None


# The options of `arcli run` that make sense without a file are the same ones, but for what is raw here.
for _option in run_command.params:
    if _option.name not in NOT_HERE:
        _option = copy.copy(_option)
        if _option.name == "form":
            _option.default = DEFAULT_FORMAT
        command.params.append(_option)
