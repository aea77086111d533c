"""What items can be beside Python functions: something outside of this process."""

from __future__ import annotations

from typing import Any, Protocol


class Program(Protocol):
    """Runs outside for one item at a time.

    ``usage`` has what the last run cost, if known, ``printed`` its stdout, its stderr, and whether
    they were cut.
    """

    usage: dict[str, float | None] | None
    printed: tuple[str, str, bool]

    def run(self, item: Any, index: int, attempt: int = 1, outdir: str | None = None) -> Any:
        """Run one item for the ``attempt``-th time, from 1, in its folder. Returns its value.

        Raises ProgramFailed, and whatever starting it raises.
        """


class Shown:
    """What can be said of a value that is not here."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (self._text,)


class ProgramFailed(Exception):
    """A program ended in a way that is not ok. ``value`` is what the record keeps all the same.

    ``trace`` is the traceback that it left, if it did.
    """

    trace = ""

    def __init__(self, message: str, value: Any = None) -> None:
        super().__init__(message)
        self.value = value


class BadInput(ProgramFailed):
    """An item whose input is not there: it could not be sent, or does not load."""
