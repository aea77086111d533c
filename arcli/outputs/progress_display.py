"""Which display of progress there is on stderr: a bar for people, lines for logs, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TextIO

from arcli.outputs.progress import Progress
from arcli.outputs.progress_lines import PlainProgress
from arcli.outputs.stream import Streams

Mode = Literal["auto", "bar", "plain", "never"]


def choose(mode: Mode, streams: Streams, stream: TextIO | None, environ: Mapping[str, str]) -> Mode:
    """Return what ``auto`` comes to: a bar on a terminal, else lines.

    Lines also where results go through a pipe: they may come out beside the bar.
    """
    if mode != "auto":
        return mode
    if stream is None:
        return "never"
    plain = environ.get("CI") or environ.get("TERM") == "dumb" or streams.piped
    return "plain" if plain or not stream.isatty() else "bar"


def make_progress(
    mode: Mode, streams: Streams, stream: TextIO | None, environ: Mapping[str, str], *, jobs: int = 1
) -> Progress | None:
    """Return what ``--progress MODE`` asks for on stderr (``stream``), None for nothing."""
    chosen = choose(mode, streams, stream, environ)
    if chosen == "plain":
        # Nobody asked for lines in a log: of a short run there are none.
        patient = mode == "auto" and not (stream is not None and stream.isatty())
        return PlainProgress(streams.stderr, jobs=jobs, patient=patient or streams.piped)
    if chosen == "bar" and stream is not None:
        from arcli.outputs.bar import BarProgress

        return BarProgress(stream, color=streams.stderr.color, jobs=jobs)
    return None
