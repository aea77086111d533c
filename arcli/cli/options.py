"""Types of flags: a bad value exits 2 with usage, as click has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from arcli.units import parse_duration

if TYPE_CHECKING:
    from arcli.timing.expect import Expectation


class Duration(click.ParamType[float]):
    """``250ms``, ``30s``, ``5m``, ``2h`` or a number of seconds, as seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
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
    """``p95 > +10%`` and its like; see ``arcli.timing.expect``."""

    name = "EXPR"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Expectation:
        """See click. Raises UsageError, which shows the grammar."""
        from arcli.timing.expect import parse

        return parse(value) if isinstance(value, str) else value


EXPECTATION = ExpectationType()
