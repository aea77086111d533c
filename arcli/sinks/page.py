"""A place that text for people goes to, and how wide and colourful it may be."""

from __future__ import annotations

import io
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, RenderableType

from arcli.sinks.target import Target

NO_TERMINAL_WIDTH = 100
"""How wide tables are in a file or a log."""
_CODES = {"red": "31", "yellow": "33", "dim": "2", "bold": "1"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """``width`` is in columns; None is no terminal: nothing is clipped."""

    target: Target
    width: int | None = None
    color: bool = False
    encoding: str = "utf-8"

    def write(self, text: str) -> None:
        """Write text that is already harmless. Raises what the target raises."""
        self.target.write(text.encode(self.encoding, "backslashreplace"))

    def show(self, renderable: RenderableType) -> None:
        """Write something of rich, without blanks at the ends of lines."""
        buffer = io.StringIO()
        console = Console(
            file=buffer,
            width=self.table_width,
            force_terminal=self.color,
            color_system="standard" if self.color else None,
            no_color=not self.color,
            markup=False,
            highlight=False,
            emoji=False,
            legacy_windows=False,
        )
        console.print(renderable)
        self.write("".join(line.rstrip() + "\n" for line in buffer.getvalue().splitlines()))

    @property
    def table_width(self) -> int:
        """Columns that tables have."""
        return self.width or NO_TERMINAL_WIDTH

    def style(self, text: str, style: str) -> str:
        """``text`` in a colour, where there are colours."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.color and text else text

    def clip(self, text: str, used: int) -> str:
        """``text`` cut to what a line has left after ``used`` columns."""
        if self.width is None:
            return text
        room = max(8, self.width - used)
        return text if cell_len(text) <= room else set_cell_size(text, room - 1).rstrip() + "…"
