"""Types of flags, whose bad values exit 2 with usage, as click has it; what flags add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

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
