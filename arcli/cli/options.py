"""Types of flags, whose bad values exit 2 with usage, as click has it; what flags add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from arcli.errors import UsageError
from arcli.outputs import registry
from arcli.units import parse_duration

if TYPE_CHECKING:
    from arcli.specfile.model import Spec
    from arcli.timing.thresholds import Expectation


class Duration(click.ParamType[float]):
    """``250ms``, ``30s``, ``5m``, ``2h`` or a number of seconds, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click."""
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Assignment(click.ParamType[tuple[str, str]]):
    """``KEY=VALUE`` as a pair; the value may hold further ``=``."""

    name = "KEY=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """See click."""
        if isinstance(value, tuple):
            return value
        key, separator, text = str(value).partition("=")
        if not separator or not key.strip():
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key.strip(), text


DURATION = Duration()
ASSIGNMENT = Assignment()


class ExpectationType(click.ParamType["Expectation"]):
    """``p95 > +10%`` and its like; see ``arcli.timing.thresholds``."""

    name = "EXPR"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Expectation:
        """See click. Raises UsageError, which shows the grammar."""
        from arcli.timing.thresholds import parse

        return parse(value) if isinstance(value, str) else value


EXPECTATION = ExpectationType()


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


def is_inline(spec: Spec, flags: dict[str, Any]) -> bool:
    """Whether items run in this process."""
    named = spec.cluster.launcher == "inline" and not flags["cluster_name"]
    return bool(flags["inline"]) or named


def slots_of(spec: Spec, flags: dict[str, Any]) -> int | None:
    """How many engines there would be, None where only a running cluster can tell."""
    from arcli.cluster.cpus import usable_cpus
    from arcli.cluster.open import joins

    if is_inline(spec, flags):
        return 1
    if flags["cluster_name"] or joins(spec.cluster):
        return None
    engines = flags["engines"] or spec.cluster.engines
    return usable_cpus() if engines == "auto" else int(engines)
