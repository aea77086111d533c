"""A place that text for people goes to, and how wide and colourful it may be."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TextIO

from msgspec import Struct, field
from msgspec.structs import replace

from arcli.errors import OutputError
from arcli.escape import without_commands
from arcli.outputs.target import STDOUT, BestEffort, LastLine, NullStream, StreamTarget, Target, WriteTimer
from arcli.units import wrap

if TYPE_CHECKING:
    from rich.console import RenderableType

ColorMode = Literal["auto", "always", "never"]
UNBOUNDED = 1_000_000
"""How wide tables may be in a file or a log: as wide as what is in them."""
_CODES = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}


class Stream(Struct, frozen=True, kw_only=True):
    """``width`` is in columns; None is no terminal: nothing is clipped.

    ``terminal`` is the descriptor of one that may become wider and narrower. ``github``: it is GitHub's
    log, which takes lines for commands. ``line`` is the last one of a terminal.
    """

    target: Target
    width: int | None = None
    terminal: int | None = None
    color: bool = False
    encoding: str = "utf-8"
    github: bool = False
    line: LastLine | None = None

    def sized(self) -> Stream:
        """Return it as wide as its terminal is now; one that is gone stays as it was."""
        width = self.width
        if self.terminal is not None:
            with suppress(OSError):
                width = _columns(self.terminal)
        return self if width == self.width else replace(self, width=width)

    def begin_line(self) -> None:
        """End the line that something else has begun on the terminal. Raises what the target raises."""
        if self.line is not None and self.line.begun:
            self.target.write(b"\n")

    def write(self, text: str) -> None:
        """Write text that is already harmless. Raises what the target raises."""
        self.command(without_commands(text) if self.github else text)

    def command(self, text: str) -> None:
        """Write the same where it may be a command to whoever reads the log."""
        self.target.write(text.encode(self.encoding, "backslashreplace"))

    def show(self, renderable: RenderableType) -> None:
        """Write something of rich, without blanks at the ends of lines."""
        from rich.console import Console

        # Rendered to text first: rich would catch a broken pipe, and end the
        # process.
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

    def wrapped(self, text: str, indent: str) -> list[str]:
        """Return a line as it is where there is no terminal, else as many as it takes; nothing is cut."""
        return [text] if self.width is None else wrap(text, self.width, indent)

    @property
    def is_unicode(self) -> bool:
        """Whether signs beyond ASCII can be written."""
        return self.encoding.lower().replace("-", "").startswith("utf")

    @property
    def table_width(self) -> int:
        """Columns that tables may have."""
        return self.width or UNBOUNDED

    def style(self, text: str, style: str) -> str:
        """``text`` in a colour, where there are colours."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.color and text else text

    def clip(self, text: str, used: int) -> str:
        """``text`` cut to what a line has left after ``used`` columns."""
        if self.width is None:
            return text
        # ASCII is as wide as it is long; anything else is measured by what terminals make of it.
        room = max(8, self.width - used)
        if len(text) <= room and text.isascii():
            return text
        from rich.cells import cell_len, set_cell_size

        return text if cell_len(text) <= room else set_cell_size(text, room - 1).rstrip() + "…"


class Streams(Struct, frozen=True, kw_only=True):
    """The two streams of the process; ``shared`` where both are one terminal.

    ``timers`` are those of writes to either, and to every other output that somebody reads.
    ``piped``: stdout is a pipe, whose reader may well write to the terminal of stderr; ``kept``: it is
    a file.
    """

    stdout: Stream
    stderr: Stream
    shared: bool = False
    timers: list[WriteTimer] = field(default_factory=list)
    piped: bool = False
    kept: bool = False

    def for_github(self) -> Streams:
        """Return them as GitHub's log, which finds no commands but arcli's in it; a file is no log."""
        stdout, stderr = replace(self.stdout, github=not self.kept), replace(self.stderr, github=True)
        return replace(self, stdout=stdout, stderr=stderr)

    def stuck(self) -> float:
        """Tell for how many seconds a write has been blocked; safe from any thread."""
        return max((timer.seconds for timer in self.timers), default=0.0)


def standard_streams(
    stdout: TextIO | None, stderr: TextIO | None, environ: Mapping[str, str], color: ColorMode = "auto"
) -> Streams:
    """Streams for ``sys.stdout`` and ``sys.stderr``, either of which may be closed (None).

    ``NO_COLOR``, ``FORCE_COLOR``, ``TERM=dumb`` and ``COLUMNS`` mean what they do elsewhere; the first
    three where ``color`` is ``auto``.
    Raises OutputError where stdout is closed: there is nowhere for results to go.
    """
    if stdout is None:
        raise OutputError(f"{STDOUT} is closed", hint="redirect it: > results.txt, or > /dev/null")
    shared = _terminal(stdout) is not None and _terminal(stdout) == _terminal(stderr)
    lines = [LastLine()] * 2 if shared else [LastLine(), LastLine()]
    streams = [StreamTarget(stdout.buffer, line=lines[0])]
    target: Target = NullStream()
    # What stderr does not take costs no result.
    if stderr is not None:
        streams.append(StreamTarget(stderr.buffer, "standard error", lines[1]))
        target = BestEffort(streams[1])
    return Streams(
        stdout=_stream(stdout, streams[0], environ, color, lines[0]),
        stderr=_stream(stderr, target, environ, color, lines[1]),
        shared=shared,
        timers=[stream.timer for stream in streams],
        piped=_has_mode(stdout, stat.S_ISFIFO),
        kept=_has_mode(stdout, stat.S_ISREG),
    )


def has_color(stream: TextIO | None, environ: Mapping[str, str], mode: ColorMode = "auto") -> bool:
    """Tell whether what is written to a stream is to be in colour.

    https://no-color.org, https://force-color.org
    """
    if mode != "auto":
        return mode == "always"
    # Both at once: the one that takes colours away holds, since text without them can always be read.
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    return bool(environ.get("FORCE_COLOR")) or _terminal(stream) is not None


def _stream(
    stream: TextIO | None, target: Target, environ: Mapping[str, str], color: ColorMode, line: LastLine
) -> Stream:
    width, terminal, columns = None, None, environ.get("COLUMNS", "")
    # As a shell and rich have it: what somebody says goes before what the terminal says.
    if stream is not None and _terminal(stream) is not None:
        width = int(columns) if columns.isdecimal() else 0
        if not width:
            terminal = stream.fileno()
            width = _columns(terminal)
    return Stream(
        target=target,
        width=width,
        terminal=terminal,
        color=has_color(stream, environ, color),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        line=line if _terminal(stream) is not None else None,
    )


def _columns(terminal: int) -> int:
    """Return how wide a terminal is; 80 where it does not say. Raises OSError where it is gone."""
    return max(20, os.get_terminal_size(terminal).columns or 80)


def _has_mode(stream: TextIO, is_kind: Callable[[int], bool]) -> bool:
    try:
        return is_kind(os.fstat(stream.fileno()).st_mode)
    except OSError:  # a stream of somebody else's making
        return False


def _terminal(stream: TextIO | None) -> int | None:
    """Tell which terminal a stream is, None where it is none."""
    if stream is None or not stream.isatty():
        return None
    return os.fstat(stream.fileno()).st_rdev
