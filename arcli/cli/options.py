"""Types of flags, whose bad values exit 2 with usage, as click has it; what flags add up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec import Struct

from arcli.cli import complete
from arcli.errors import UsageError
from arcli.outputs import registry
from arcli.units import MOST, parse_duration

if TYPE_CHECKING:
    from arcli.outputs.ci import CiMode
    from arcli.outputs.progress import Mode
    from arcli.outputs.stream import ColorMode
    from arcli.specfile.model import Spec
    from arcli.timing.thresholds import Expectation


T = TypeVar("T")


MOST_ITEMS = 1_000_000
"""Items that one request can name."""


class Parsed(click.ParamType[T]):
    """What ``parse`` makes of a text; a ValueError of it is a usage error. ``name`` stands in the help."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        """See click, which converts a default that is converted already once more."""
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _assignment(text: str) -> tuple[str, str]:
    """Read ``KEY=VALUE`` as a pair; the value may hold further ``=``."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise ValueError(f"{text!r} is not KEY=VALUE")
    return key.strip(), value


def _expectation(text: str) -> Expectation:
    """Read ``p95 > +10%`` and its like. Raises UsageError, which shows the grammar."""
    from arcli.timing.thresholds import parse

    return parse(text)


def _numbers(text: str) -> tuple[int, ...]:
    """Read ``3,7-9``: numbers and spans of them."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"{part!r} is neither a number nor a span such as 7-9")
        # A slip such as 1-1000000000 would be held number by number here, and in the request.
        span = range(int(first), int(last if dash else first) + 1)
        if not 0 < len(span) <= MOST_ITEMS:
            raise ValueError(f"{part!r} has no items, or more than {MOST_ITEMS:,}")
        numbers += span
    return tuple(numbers)


def bounded(context: click.Context, parameter: click.Parameter, count: int | None) -> int | None:
    """Return a count, MOST at most: nobody could tell it from more (a callback of click)."""
    return None if count is None else min(count, MOST)


DURATION = Parsed("duration", parse_duration)
ASSIGNMENT = Parsed("KEY=VALUE", _assignment)
EXPECTATION = Parsed("EXPR", _expectation)
NUMBERS = Parsed("NUMBERS", _numbers)


class FormatName(click.ParamType[str]):
    """The name of a format that may be on stdout; those of other packages are known, too."""

    name = "format"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Show the formats of arcli itself, as click does for a choice."""
        return f"[{'|'.join(each.name for each in registry.BUILT_IN if each.on_stdout)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        try:
            form = registry.named(value)
        except UsageError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)
        if not form.on_stdout:
            self.fail(f"{form.name} cannot be written to stdout; name a file: -o FILE", param, ctx)
        return form.name


FORMAT = FormatName()
TAIL = click.option(
    "--tail",
    type=click.Choice(["out", "err", "both"]),
    is_flag=False,
    flag_value="both",
    metavar="[=out|err|both]",
    help="Show what running items print, line by line, on stderr.",
)


class WithTail(click.Command):
    """A command with ``--tail``, whose value must stand behind ``=``: the next word is not it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        end = args.index("--") if "--" in args else len(args)
        options = ["--tail=both" if word == "--tail" else word for word in args[:end]]
        return super().parse_args(ctx, options + args[end:])


PARAMS = click.option(
    "-p",
    "--param",
    "params",
    multiple=True,
    type=ASSIGNMENT,
    shell_complete=complete.params,
    help="Set a parameter of the spec.",
)
SETS = click.option(
    "--set",
    "sets",
    multiple=True,
    type=ASSIGNMENT,
    metavar="PATH=VALUE",
    help="Replace any value of the spec, such as jobs.NAME.retries=2.",
)


def fail_if_option(example: str) -> Callable[[Any], Any]:
    """Return ``--fail-if``, whose help has an example of what a run is expected not to be."""
    return click.option(
        "--fail-if",
        "expectations",
        multiple=True,
        type=EXPECTATION,
        help=f"Exit 5 if this holds, such as '{example}'; may be repeated.",
    )


def choice(names: str, values: Sequence[str], **settings: Any) -> Callable[[Any], Any]:
    """Make an option that takes one of these values, the first one by default."""
    return click.option(
        *names.split(), type=click.Choice(values), default=values[0], show_default=True, **settings
    )


def color_option(*, exposed: bool) -> Callable[[Any], Any]:
    """Return ``--color``; where it is not ``exposed``, ``past.own_streams`` has it from the call."""
    meaning = "Colours; auto asks the terminal, NO_COLOR and FORCE_COLOR."
    return choice("--color", ("auto", "always", "never"), expose_value=exposed, help=meaning)


ERRORS = choice(
    "--errors", ("text", "json"), help="How stderr tells of errors: for people, or one JSON object a line."
)


def format_option(*formats: str, meaning: str) -> Callable[[Any], Any]:
    """Make the option ``--format`` of a verb that has these."""
    return choice("--format form", formats, help=meaning)


class RunFlags(Struct, frozen=True, kw_only=True):
    """The flags of ``arcli run``, by the names of its options; durations are seconds.

    ``spec`` is empty where there is no file, as in ``arcli map``.
    """

    spec: str
    jobs: tuple[str, ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    sets: tuple[tuple[str, str], ...] = ()
    engines: int | None = None
    at_once: int | None = None
    outputs: tuple[str, ...] = ()
    form: str = "text"
    tag: bool = False
    quiet: bool = False
    summary: str = "short"
    color: ColorMode = "auto"
    ci: CiMode = "auto"
    errors: str = "text"
    verbose: bool = False
    progress: Mode = "auto"
    tail: str | None = None
    delay: float | None = None
    limit: int | None = None
    deadline: float | None = None
    expectations: tuple[Expectation, ...] = ()
    dry_run: bool = False
    estimate: bool = False
    resume: bool = False
    run_id: str | None = None
    failed: bool = False
    rerun_changed: bool = False
    explain: bool = False
    cluster_name: str | None = None
    inline: bool = False
    no_overlap: bool = False
    detach: bool = False

    @property
    def resumes(self) -> bool:
        """Whether an earlier run is gone on with."""
        return self.resume or self.failed


def is_inline(spec: Spec, flags: RunFlags) -> bool:
    """Tell whether items run in this process."""
    return flags.inline or (spec.cluster.launcher == "inline" and flags.cluster_name is None)


def slots_of(spec: Spec, flags: RunFlags) -> int | None:
    """Tell how many engines there would be, None where only a running cluster can."""
    from arcli.cluster.open import joins, slots

    if is_inline(spec, flags):
        return 1
    if flags.cluster_name or joins(spec.cluster):
        return None
    return engines_of(spec, flags) or slots(spec.cluster)


def engines_of(spec: Spec, flags: RunFlags) -> int | None:
    """Return how many engines flags and spec ask for, None where neither does.

    ``-j`` is about items: commands and async functions run side by side in as many engines as there would
    be without it, but no more than items; of other functions an engine runs one at a time.
    """
    from arcli.cluster.open import joins, slots
    from arcli.plan.job import can_run_beside

    in_spec = None if spec.cluster.engines == "auto" else spec.cluster.engines
    engines = flags.engines or in_spec
    if flags.at_once is None:
        return engines
    # Plain functions run one at a time in an engine, so that so many at once need as many engines; of a
    # running cluster no more than these are used.
    beside = all(can_run_beside(job, spec.folder) for job in spec.jobs)
    if flags.engines is None and (not beside or flags.cluster_name or joins(spec.cluster)):
        return flags.at_once if engines is None or not beside else min(engines, flags.at_once)
    if engines is None:
        engines = slots(spec.cluster)
    return None if engines is None else min(engines, flags.at_once)
