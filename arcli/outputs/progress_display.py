"""Which display of progress there is on stderr: a bar for people, lines for logs, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TextIO

from arcli.outputs.progress import Progress
from arcli.outputs.progress_lines import PlainProgress
from arcli.outputs.stream import Streams

Mode = Literal["auto", "bar", "plain", "never"]


def choose(mode: Mode, streams: Streams, stream: TextIO | None, environ: Mapping[str, str]) -> Mode:
    """Return what ``auto`` comes to: a bar on a terminal, lines on a dumb one or in CI, else nothing.

    Nothing either where results go through a pipe: they may come out beside the bar.
    """
    if mode != "auto":
        return mode
    if stream is None or not stream.isatty() or streams.piped:
        return "never"
    return "plain" if environ.get("CI") or environ.get("TERM") == "dumb" else "bar"


def make_progress(
    mode: Mode, streams: Streams, stream: TextIO | None, environ: Mapping[str, str]
) -> Progress | None:
    """Return what ``--progress MODE`` asks for on stderr (``stream``), None for nothing."""
    chosen = choose(mode, streams, stream, environ)
    if chosen == "plain":
        return PlainProgress(streams.stderr)
    if chosen == "bar" and stream is not None:
        from arcli.outputs.bar import BarProgress

        return BarProgress(stream, color=streams.stderr.color)
    return None
